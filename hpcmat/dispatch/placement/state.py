"""Frozen state of one allocation: its nodes, the tasks that wait and those that run. Times are seconds of one clock."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from hpcmat.dispatch.placement.nodes import Node, Share


class Demand(NamedTuple):
    """What a task occupies: `nodes` whole nodes, or a part of one; at least `cores` and `gpus` on each of them.

    Several nodes are always whole: parts of several nodes would have to be free on all of them at once. A tuple, since
    every decision looks up every waiting demand.
    """

    nodes: int = 1
    cores: int = 1
    gpus: int = 0
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """A task that waits, as far as placement knows it."""

    id: int
    demand: Demand
    submitted: float
    predicted_s: float
    """Expected duration."""
    limit_s: float
    """It is killed after so long."""
    priority: int = 0
    checkpoint_s: float | None = None
    """After so long it has saved enough to go on elsewhere; None where it must end to be worth anything."""

    @property
    def needed_s(self) -> float:
        """Shortest run that is not in vain."""
        return self.predicted_s if self.checkpoint_s is None else min(self.checkpoint_s, self.predicted_s)


@dataclass(frozen=True, slots=True)
class Running:
    """A task on its nodes."""

    request: Request
    shares: tuple[Share, ...]
    started: float

    def expected_end(self, now: float) -> float:
        """As predicted; a task that is late is expected to stay as long again as it is late, up to its limit."""
        predicted = self.started + self.request.predicted_s
        if now <= predicted:
            return predicted
        return min(2.0 * now - predicted, max(now, self.started + self.request.limit_s))


@dataclass(frozen=True, slots=True)
class Reservation:
    """Nodes promised to the first task that does not fit, and the time when they should be free."""

    task: int
    at: float
    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules that do not change while the allocation lasts."""

    ends_at: float = math.inf
    """When every task must be gone."""
    max_concurrent: int | None = None
    ageing_s: float = 600.0
    """So long a wait is worth one step of priority."""
    drains_at: float = math.inf
    """When nothing begins any more; what could neither end nor save enough by then waits for another allocation."""
    lasts_s: float = math.inf
    """From the beginning of an allocation such as this one until it drains."""


@dataclass(frozen=True, slots=True)
class State:
    """All that a decision depends on."""

    now: float
    nodes: tuple[Node, ...]
    waiting: tuple[Request, ...] = ()
    running: tuple[Running, ...] = ()
    reservation: Reservation | None = None
    fenced: frozenset[str] = field(default_factory=frozenset)

    @property
    def usable(self) -> tuple[Node, ...]:
        """Nodes that are not fenced."""
        return tuple(node for node in self.nodes if node.name not in self.fenced)

    def submit(self, request: Request) -> State:
        """With one more task waiting."""
        return replace(self, waiting=(*self.waiting, request))

    def drop(self, ids: frozenset[int]) -> State:
        """Without some waiting tasks."""
        return replace(self, waiting=tuple(r for r in self.waiting if r.id not in ids))

    def begin(self, started: tuple[Running, ...], reservation: Reservation | None) -> State:
        """With tasks moved from the queue to their nodes."""
        kept = self.drop(frozenset(r.request.id for r in started))
        return replace(kept, running=(*self.running, *started), reservation=reservation)

    def end(self, task: int) -> State:
        """With a task gone from its nodes."""
        return replace(self, running=tuple(r for r in self.running if r.request.id != task))
