"""Which tasks of equal standing to start together, found by playing the queue forward.

Filling the nodes now is not always filling them best: what fits today may leave a gap beside everything that comes
later. Each sensible choice is therefore played to the end of the queue, with the largest task that fits started first
whenever nodes fall free, and the choice that ends first is made (the pilot method: Duin and Voss, Networks 34, 181,
1999). Holding nodes back for a while is one of the choices. Nothing is left to chance, and no state is kept: the next
decision looks anew.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterator

from hpcmat.dispatch.placement.fitting import kinds_of
from hpcmat.dispatch.placement.state import Policy, Request, State

_STEPS = 50_000
"""Looks at the queue that one decision may cost: some ten milliseconds, a fraction of a launch."""
_CONTENT = 1.002
"""No other choice is looked for where the first one ends this close to the earliest possible end."""

_Queue = dict[int, list[float]]
"""Predicted durations by number of nodes, longest last."""
_Ends = list[tuple[float, int]]
"""Heap of the times when so many nodes fall free."""


def applies(waiting: list[Request], state: State, policy: Policy) -> bool:
    """Whether the queue can be played forward: tasks of equal standing on whole nodes that are all alike, not many."""
    if not waiting or state.reservation is not None or len(kinds_of(state.usable)) != 1:
        return False
    levels = {r.priority + (state.now - r.submitted) // policy.ageing_s for r in waiting}
    whole = all(r.demand.whole for r in waiting) and all(r.request.demand.whole for r in state.running)
    free_of_fences = not any(share.node.name in state.fenced for r in state.running for share in r.shares)
    limit = policy.max_concurrent
    unlimited = limit is None or len(waiting) + len(state.running) <= limit
    sizes = len({r.demand.nodes for r in waiting})
    return len(levels) == 1 and whole and free_of_fences and unlimited and len(waiting) * sizes * sizes < _STEPS


def look_ahead(waiting: list[Request], state: State, policy: Policy) -> list[Request] | None:
    """Tasks to start now; None where not all that wait would end within the allocation.

    Parameters
    ----------
    waiting : tasks that `applies` has accepted, those of one size in the order in which they shall start.
    """
    by_size: dict[int, list[Request]] = defaultdict(list)
    for request in waiting:
        by_size[request.demand.nodes].append(request)
    queue = {size: sorted(r.predicted_s for r in requests) for size, requests in by_size.items()}
    ends = [(r.expected_end(state.now), len(r.shares)) for r in state.running]
    end, choice = _best(queue, ends, len(state.usable), state.now)
    if end > min(policy.ends_at, policy.drains_at):
        return None
    longest_first = {size: iter(sorted(rs, key=lambda r: -r.predicted_s)) for size, rs in by_size.items()}
    return [next(longest_first[size]) for size in choice]


def _best(queue: _Queue, ends: _Ends, nodes: int, now: float) -> tuple[float, tuple[int, ...]]:
    free = nodes - sum(size for _, size in ends)
    work = sum(size * sum(durations) for size, durations in queue.items()) + sum(n * (t - now) for t, n in ends)
    best: tuple[float, tuple[int, ...]] = (math.inf, ())
    for choice in dict.fromkeys(_choices(queue, free)):
        if choice or ends:
            best = min(best, (_end_of(choice, queue, ends, free, now), choice), key=lambda found: found[0])
        if best[0] - now <= _CONTENT * work / nodes:
            break
    return best


def _choices(queue: _Queue, free: int) -> Iterator[tuple[int, ...]]:
    """Large ones first; the same from another size on; without the small ones, which holds nodes back; or nothing."""
    sizes = sorted((size for size in queue if size <= free), reverse=True)
    for first in range(len(sizes)):
        yield _filled([*sizes[first:], *sizes[:first]], queue, free)
    for last in reversed(range(len(sizes))):
        yield _filled(sizes[:last], queue, free)
    for first in range(1, len(sizes)):
        yield _filled(sizes[first:], queue, free)
    yield ()


def _filled(sizes: list[int], queue: _Queue, free: int) -> tuple[int, ...]:
    chosen: list[int] = []
    for size in sizes:
        count = min(len(queue[size]), free // size)
        chosen += [size] * count
        free -= size * count
    return tuple(chosen)


def _end_of(choice: tuple[int, ...], queue: _Queue, ends: _Ends, free: int, now: float) -> float:
    """When all is done if this is started now, and later the largest task that fits whenever nodes fall free."""
    left, heap = {size: durations.copy() for size, durations in sorted(queue.items(), reverse=True)}, ends.copy()
    for size in choice:
        heap.append((now + left[size].pop(), size))
        free -= size
    heapq.heapify(heap)
    while heap:
        now, size = heapq.heappop(heap)
        free += size
        while heap and heap[0][0] == now:
            free += heapq.heappop(heap)[1]
        for size, durations in left.items():
            while size <= free and durations:
                heapq.heappush(heap, (now + durations.pop(), size))
                free -= size
    return now
