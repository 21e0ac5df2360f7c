"""Which tasks start now, and where: priority with ageing, one reservation, and backfill behind it.

The order is by priority, raised by one for each `ageing_s` of waiting. Among equals come first those that would outlast
all other work if they waited, then whatever leaves the fewest nodes idle, and large ones before small ones, which fill
gaps. The first task that does not fit gets a reservation: the nodes that are expected to be free for it first. Others
may start if they leave those nodes, or will have left them by then (Lifka, JSSPP 1995; predictions that proved wrong
are corrected as in Tsafrir, Etsion and Feitelson, IEEE TPDS 18, 789, 2007). What could not end before the allocation
does stays in the queue, and keeps no node from what could.

Where only tasks of equal standing wait, on nodes that are all alike, the queue is played forward instead, and what ends
first is started (see `lookahead`).

Predictions err. Once the promised time has passed, the nodes of the reservation are fixed and nothing more is started
on them: every task there has a limit, so the wait is bounded and no task starves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby

from hpcmat.dispatch.placement.fitting import Shadow, best_fill, earliest, fits_ever, kinds_of, place, room_of
from hpcmat.dispatch.placement.lookahead import applies, look_ahead
from hpcmat.dispatch.placement.state import Demand, Policy, Request, Reservation, Running, State

_GAINED = 0.9
"""Share of a fresh allocation up to which a task gains by waiting for one, whose first minutes are not its own."""
_URGENT = 0.8
"""Share of all the work that is left beyond which one task is urgent; of 0.6, 0.7 and 0.8 the last packed best."""


@dataclass(frozen=True, slots=True)
class Hopeless:
    """A waiting task that will never run here, and why."""

    task: int
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now."""

    starts: tuple[Running, ...] = ()
    reservation: Reservation | None = None
    hopeless: tuple[Hopeless, ...] = ()


def decide(state: State, policy: Policy) -> Decision:
    """Starts, reservation and tasks to give up, from the state alone."""
    left, kinds = policy.ends_at - state.now, kinds_of(state.usable)
    fits = {demand: fits_ever(demand, kinds) for demand in {r.demand for r in state.waiting}}
    reasons = {r.id: _why_never(r, fits[r.demand], left) for r in state.waiting}
    hopeless = tuple(Hopeless(task, reason) for task, reason in reasons.items() if reason)
    filling = _Filling(state, policy)
    possible = [r for r in state.waiting if not reasons[r.id] and not held_back(r, state.now, policy)]
    if applies(possible, state, policy) and (chosen := look_ahead(possible, state, policy)) is not None:
        filling.fill(chosen)
        return Decision(tuple(filling.starts), None, hopeless)
    classes = ordered(possible, state, policy)
    for equals in classes:
        filling.fill_class(equals, last=equals is classes[-1])
    return Decision(tuple(filling.starts), filling.reservation, hopeless)


def never(request: Request, state: State, policy: Policy) -> str:
    """Why a task can never run in this allocation; empty where it can."""
    return _why_never(request, fits_ever(request.demand, kinds_of(state.usable)), policy.ends_at - state.now)


def held_back(request: Request, at: float, policy: Policy) -> bool:
    """Whether a task that could begin then has to wait for the next allocation, being unable to end in this one.

    It must end, or have saved enough, before the allocation drains: the time from there to the end is kept for what
    takes longer than predicted. A task that no such allocation is long enough for gains nothing by waiting and begins.
    """
    left = policy.drains_at - at
    return left <= 0.0 or left < request.needed_s <= _GAINED * policy.lasts_s


def _why_never(request: Request, fits: bool, left: float) -> str:
    if not fits:
        return f"needs {describe(request)}, which the allocation does not have; ask for less, or for a larger one"
    if request.needed_s > left:
        return f"needs {request.needed_s:.0f} s, but the allocation ends in {max(left, 0):.0f} s; submit it to the next"
    return ""


def describe(request: Request) -> str:
    """A demand in words."""
    demand = request.demand
    gpus = f" and {demand.gpus} GPUs" if demand.gpus else ""
    if not demand.whole:
        return f"{demand.cores} cores{gpus} of one node"
    return f"{demand.nodes} whole nodes of at least {demand.cores} cores{gpus}"


def ordered(waiting: list[Request], state: State, policy: Policy) -> list[list[Request]]:
    """The queue, first to start first, in classes within which only the packing decides."""
    urgent = _URGENT * _work_left_s(waiting, state)
    promised = state.reservation.task if state.reservation else None

    def rank(request: Request) -> tuple[float, ...]:
        demand, predicted = request.demand, request.predicted_s
        level = request.priority + (state.now - request.submitted) // policy.ageing_s
        standing = (-level, request.id != promised, -predicted if predicted > urgent else 0.0)
        nodes = demand.nodes if demand.whole else 0
        return (*standing, -nodes, -demand.gpus, -demand.cores, -predicted, request.submitted, request.id)

    ranked = sorted((rank(request), request) for request in waiting)
    return [[request for _, request in equals] for _, equals in groupby(ranked, key=lambda pair: pair[0][:3])]


def _work_left_s(waiting: list[Request], state: State) -> float:
    """How long the nodes would be busy with all that is known, packed without gaps."""
    cores = [node.cores for node in state.usable]
    if not cores:
        return 0.0
    mean = sum(cores) / len(cores)
    queued = sum((r.demand.nodes * mean if r.demand.whole else r.demand.cores) * r.predicted_s for r in waiting)
    left = [(r.shares, r.expected_end(state.now) - state.now) for r in state.running]
    return float(queued + sum(share.cores * s for shares, s in left for share in shares)) / sum(cores)


class _Filling:
    """The starts of one decision, and the room they leave."""

    def __init__(self, state: State, policy: Policy) -> None:
        self._state, self._policy = state, policy
        self._room, self._half = room_of(state), len(state.usable) / 2
        self._shadow: Shadow | None = None
        self._failed: dict[Demand, float] = {}
        self.starts: list[Running] = []
        self.spent = False
        """Whether the launcher cannot start one more."""

    def fill(self, chosen: list[Request]) -> None:
        """Start tasks that are known to fit."""
        for request in chosen:
            self._start(request)

    def fill_class(self, equals: list[Request], last: bool) -> None:
        """Start what fits of one class.

        Tasks of more than half the nodes cannot run together, so that all their waiting adds up. Smaller ones of the
        last class get no reservation: against their equals it would keep nodes idle that could have been filled.
        """
        for request in best_fill(equals, self._room, self._shadow):
            if self._full:
                self.spent = True
                return
            if self._room.slots and self._start(request):
                continue
            protected = not last or request.demand.nodes > self._half
            if protected:
                self._reserve(request)
            if not self._room.slots and (self._shadow is not None or not protected):
                # Those that follow are no larger.
                return

    @property
    def reservation(self) -> Reservation | None:
        """The promise made, or the old one where its task could not even be tried for want of a launch."""
        if self._shadow is not None or not self.spent:
            return self._shadow.reservation if self._shadow else None
        old, started = self._state.reservation, {running.request.id for running in self.starts}
        waits = old is not None and any(r.id == old.task and r.id not in started for r in self._state.waiting)
        return old if waits else None

    @property
    def _full(self) -> bool:
        limit = self._policy.max_concurrent
        return limit is not None and len(self._state.running) + len(self.starts) >= limit

    def _start(self, request: Request) -> bool:
        if request.predicted_s >= self._failed.get(request.demand, math.inf):
            return False
        shares = place(request, self._room, self._shadow, self._state.now)
        if shares:
            self.starts.append(Running(request, shares, self._state.now))
        else:
            self._failed[request.demand] = request.predicted_s
        return bool(shares)

    def _reserve(self, request: Request) -> None:
        """No node is kept idle for a task that could not end in time if all goes as predicted."""
        if self._shadow is not None:
            return
        shadow = earliest(request, self._state, self.starts)
        at = max(shadow.reservation.at, self._state.now)
        if at + request.needed_s <= self._policy.ends_at and not held_back(request, at, self._policy):
            self._shadow = shadow
