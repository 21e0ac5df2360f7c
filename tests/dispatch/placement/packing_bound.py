"""A makespan that no packing of rigid tasks can beat, preemption included.

It is the longest task, or the sum of time times weighted size over all tasks, whichever is more. A weight is a dual
feasible function f: sizes that fit together into a whole weigh at most 1 together, so that the nodes do at most one
unit of weighted work per second. Tried for sizes of x of N (nodes of the allocation; cores of a node for parts):
* Martello and Vigo, Management Science 44, 388 (1998): 1 where x > N - k, x/N where x >= k, else 0; k = 0 is the area;
* Fekete and Schepers, Math. Program. 91, 11 (2001): x/N where (k+1)x/N is whole, else its floor over k;
* Carlier, Clautiaux and Moukrim, Comput. Oper. Res. 34, 2223 (2007), f_0 scaled: floor(x/l) / floor(N/l) below N/2, and
  one minus the same of N - x above;
and, without parts, the area divided by the largest number of nodes that sizes of this mix can fill.
"""


def lower_bound(nodes, requests):
    """Shortest possible makespan of tasks that are all there at the start, on nodes that are alike, s."""
    assert {(node.cores, node.gpus) for node in nodes} == {(nodes[0].cores, 0)}
    timed = [(request.demand, request.predicted_s) for request in requests]
    wholes = [(demand.nodes, s) for demand, s in timed if demand.whole]
    parts = [(demand.cores, s) for demand, s in timed if not demand.whole]
    area = sum(n * s for n, s in wholes)
    bounds = [max(s for _, s in timed), *weighted_work(wholes, len(nodes))]
    if parts:
        bounds += [(area + work) / len(nodes) for work in weighted_work(parts, nodes[0].cores)]
    else:
        bounds.append(area / most_filled({n for n, _ in wholes}, len(nodes)))
    return max(bounds)


def weighted_work(items, total):
    for weight in dual_feasible({size for size, _ in items}, total):
        yield sum(weight[size] * s for size, s in items)


def dual_feasible(sizes, total):
    for k in range(total // 2 + 1):
        yield {x: 1.0 if x > total - k else x / total if x >= k else 0.0 for x in sizes}
    for k in range(1, total):
        yield {x: x / total if (k + 1) * x % total == 0 else (k + 1) * x // total / k for x in sizes}
    for unit in range(1, total // 2 + 1):
        top = total // unit
        yield {
            x: x // unit / top if 2 * x < total else 0.5 if 2 * x == total else 1 - (total - x) // unit / top
            for x in sizes
        }


def most_filled(sizes, total):
    sums = 1
    for size in sizes:
        for _ in range(total // size):
            sums |= sums << size
    return max(n for n in range(total + 1) if sums >> n & 1)
