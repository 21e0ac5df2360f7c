"""Placement in simulated time: the decisions of the executor, with durations that are known."""

import heapq
from dataclasses import dataclass, field, replace

from hpcmat.dispatch.placement.decision import decide
from hpcmat.dispatch.placement.state import Policy, Reservation, State


@dataclass
class Trace:
    """What happened: (start, end, shares) by task, tasks given up, and the first promise to each task."""

    spans: dict = field(default_factory=dict)
    hopeless: dict = field(default_factory=dict)
    promises: dict[int, Reservation] = field(default_factory=dict)
    decisions: int = 0

    @property
    def makespan(self) -> float:
        return max(end for _, end, _ in self.spans.values())


def simulate(nodes, requests, durations=None, policy=None, fences=()):
    """Run requests, each arriving when it was submitted; `durations` by id, else as predicted (and never beyond the
    limit); `fences` are (time, name)."""
    policy = policy or Policy()
    durations = durations or {}
    state, trace = State(0.0, tuple(nodes)), Trace()
    events = [(request.submitted, 0, request.id, request) for request in requests]
    events += [(at, 1, number, name) for number, (at, name) in enumerate(fences)]
    heapq.heapify(events)
    while events:
        now = events[0][0]
        state = replace(state, now=now)
        while events and events[0][0] == now:
            _, kind, task, what = heapq.heappop(events)
            state = apply(state, kind, task, what)
        decision = decide(state, policy)
        trace.decisions += 1
        trace.hopeless |= {h.task: h.reason for h in decision.hopeless}
        state = state.drop(frozenset(h.task for h in decision.hopeless)).begin(decision.starts, decision.reservation)
        if decision.reservation is not None:
            trace.promises.setdefault(decision.reservation.task, decision.reservation)
        for started in decision.starts:
            request = started.request
            end = now + min(durations.get(request.id, request.predicted_s), request.limit_s)
            trace.spans[request.id] = (now, end, started.shares)
            heapq.heappush(events, (end, 2, request.id, None))
    assert not state.running
    return trace, state


def apply(state, kind, task, what):
    if kind == 0:
        return state.submit(what)
    if kind == 1:
        return replace(state, fenced=state.fenced | {what})
    return state.end(task)


def overused(trace, nodes):
    """(node, time) where more was handed out than there is, by counting anew from the spans."""
    found = []
    for node in nodes:
        changes = []
        for start, end, shares in trace.spans.values():
            for share in shares:
                if share.node.name == node.name:
                    changes += [(start, 1, share), (end, 0, share)]
        cores, gpus = 0, []
        for at, begins, share in sorted(changes, key=lambda change: change[:2]):
            cores += share.cores if begins else -share.cores
            for number in share.gpus:
                gpus.append(number) if begins else gpus.remove(number)
            if cores > node.cores or len(set(gpus)) < len(gpus) or any(number >= node.gpus for number in gpus):
                found.append((node.name, at))
    return found
