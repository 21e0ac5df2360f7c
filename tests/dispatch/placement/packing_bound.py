"""x"""


def lower_bound(nodes, requests, durations=None):
    durations = durations or {}
    timed = [(request.demand, durations.get(request.id, request.predicted_s)) for request in requests]
    cores, count = nodes[0].cores, len(nodes)
    wholes = [(d.nodes, s) for d, s in timed if d.whole]
    parts = [(d.cores, s) for d, s in timed if not d.whole]
    bounds = [max(s for _, s in timed)]
    area = sum(n * s for n, s in wholes) / count
    bounds += [v for v in weighed(wholes, count)]
    if not parts:
        bounds.append(area * count / reach({n for n, _ in wholes}, count))
    else:
        bounds += [area + v / count for v in weighed(parts, cores)]
    return max(bounds)


def weighed(items, total):
    for f in dual_feasible({n for n, _ in items}, total):
        yield sum(f[n] * s for n, s in items)


def dual_feasible(sizes, total):
    for k in range(total // 2 + 1):
        yield {n: 1.0 if n > total - k else n / total if n >= k else 0.0 for n in sizes}
    for lam in range(1, total // 2 + 1):
        top = total // lam
        yield {
            n: (1 - ((total - n) // lam) / top) if 2 * n > total else 0.5 if 2 * n == total else (n // lam) / top
            for n in sizes
        }
    for k in range(1, total):
        yield {n: n / total if (k + 1) * n % total == 0 else (k + 1) * n // total / k for n in sizes}


def reach(sizes, total):
    ok = 1
    for size in sizes:
        for _ in range(total // size):
            ok |= ok << size
    return max(x for x in range(total + 1) if ok >> x & 1)
