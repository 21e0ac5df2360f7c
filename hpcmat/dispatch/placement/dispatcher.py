"""Tasks of a campaign on the nodes of one allocation: each where and when it fits, with as many ranks as it needs."""

from __future__ import annotations

import itertools
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from hpcmat.dispatch.dispatcher import Dispatcher
from hpcmat.dispatch.launchers.dialects import dialect_of
from hpcmat.dispatch.launchers.place import Place
from hpcmat.dispatch.launchers.request import Launcher
from hpcmat.dispatch.placement.decision import held_back, never
from hpcmat.dispatch.placement.fitting import fit_at_once
from hpcmat.dispatch.placement.nodes import Node, Share
from hpcmat.dispatch.placement.outcome import TaskFailed
from hpcmat.dispatch.placement.placer import Job, Placer
from hpcmat.dispatch.placement.shepherds import Shepherd, start_server
from hpcmat.dispatch.placement.state import Demand, Policy, Request, State
from hpcmat.dispatch.worker import Ending, Order
from hpcmat.errors import DispatchError
from hpcmat.records import Failure, FailureKind, Resources, Task

_PRELOADED = ("hpcmat.engines.labelling", "hpcmat.engines.exploration", "hpcmat.surrogates.training")
_LIMIT_S = 60.0
"""So long after the walltime a shepherd is given up."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """Nodes, what starts processes on them, and what each task gets of them."""

    nodes: tuple[Node, ...]
    launcher: Launcher
    resources: Callable[[Task, int], Resources]
    """Of a task, where so many nodes can be used."""
    smallest: Resources
    """What the smallest label takes."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of every task."""

    def demand(self, resources: Resources) -> Demand:
        """What these resources occupy."""
        ranks = resources.ranks // resources.nodes
        whole = resources.nodes > 1 or not dialect_of(self.launcher).shares_nodes
        return Demand(resources.nodes, ranks * resources.threads, resources.gpus_per_node, whole)


def worker_pool(workers: int, threads: int = 1, nodes: int = 1) -> Allocation:
    """Nodes with so many workers each, as an allocation whose tasks are one process of a worker's threads."""

    def one_process(task: Task, _nodes: int) -> Resources:
        return replace(task.resources, threads=threads)

    pool = tuple(Node(f"pool-{number}", workers * threads) for number in range(nodes))
    return Allocation(pool, Launcher("hydra"), one_process, Resources(threads=threads))


class PlacementDispatcher(Dispatcher):
    """Places tasks inside an allocation; a context manager.

    Parameters
    ----------
    allocation : Allocation
        Where tasks run.
    folder, campaign : as for every dispatcher.
    """

    def __init__(self, allocation: Allocation, folder: Path, campaign: str) -> None:
        self._allocation = allocation
        self._placer: Placer | None = None
        self._smallest = allocation.demand(allocation.smallest)
        workers = fit_at_once(self._smallest, State(0.0, allocation.nodes))
        super().__init__(folder, campaign, max(1, workers))
        # A driver in an allocation begins with it.
        left = math.inf if self._drain_at is None else self._drain_at - time.time()
        most = dialect_of(allocation.launcher).max_concurrent
        self._policy = Policy(drains_at=time.monotonic() + left, lasts_s=left, max_concurrent=most)
        self._ids = itertools.count(1)
        self._too_small = False

    @property
    def healthy(self) -> bool:
        """Whether tasks are still placed."""
        return self._placer is not None and self._placer.alive

    @property
    def draining(self) -> bool:
        """Whether the allocation ends soon, or has lost nodes without which some task cannot run."""
        return self._too_small or super().draining

    @property
    def state(self) -> State:
        """Nodes and tasks as of the last decision."""
        return self._placer.state if self._placer else State(0.0, self._allocation.nodes)

    @property
    def nodes(self) -> int:
        """Nodes of the allocation, those that have failed included."""
        return len(self._allocation.nodes)

    @property
    def cores(self) -> int:
        """Those of all nodes."""
        return sum(node.cores for node in self._allocation.nodes)

    @property
    def room(self) -> int:
        """As many as run, and those that could begin at once; one more where nothing waits to be placed."""
        state = self.state
        return len(state.running) + max(1, fit_at_once(self._smallest, state))

    @property
    def held(self) -> int:
        """Of the tasks that wait for nodes."""
        now = time.monotonic()
        return sum(held_back(request, now, self._policy) for request in self.state.waiting)

    def give_back(self) -> None:
        """What waits for nodes."""
        if self._placer is not None:
            self._placer.give_back(Ending.DECLINED)

    def resources(self, task: Task) -> Resources:
        """What the site gives it, of the nodes that have not failed."""
        return self._allocation.resources(task, max(1, len(self.state.usable)))

    def submit(self, order: Order) -> Future[str]:
        """Queue one order; the future gives its `Ending`, or raises where nobody carried it out."""
        if self._placer is None:
            raise DispatchError("the dispatcher is not running; enter it as a context first")
        request = self._request(order)
        future: Future[str] = Future()
        reason = never(request, self.state, self._policy)
        if reason:
            self._too_small = True
            future.set_exception(TaskFailed(Failure(FailureKind.NODE_LOST, reason)))
            return future
        self._placer.submit(Job(request, future, partial(self._shepherd, order)))
        return future

    def _request(self, order: Order) -> Request:
        resources = order.task.resources
        # Others wait for what a fit or an exploration brings forth.
        priority = 0 if order.task.kind == "label" else 1
        predicted = min(order.predicted_s or resources.walltime_s, resources.walltime_s)
        demand, limit = self._allocation.demand(resources), resources.walltime_s + _LIMIT_S
        return Request(next(self._ids), demand, time.monotonic(), predicted, limit, priority)

    def _shepherd(self, order: Order, shares: tuple[Share, ...], marks: dict[str, str]) -> Shepherd:
        resources = order.task.resources
        place = Place(self._allocation.launcher, shares, resources.ranks // resources.nodes, resources.threads)
        # What is launched finds what the driver finds.
        paths = os.pathsep.join(path for path in sys.path if path)
        return Shepherd(order, place, {**self._allocation.environment, **marks, "PYTHONPATH": paths})

    def _prepare(self) -> None:
        start_server(_PRELOADED)

    def _start(self) -> None:
        self._placer = Placer(self._allocation.nodes, self._policy, {})

    def _stop(self) -> None:
        if self._placer is None:
            return
        self._placer.close()
        self._placer = None
