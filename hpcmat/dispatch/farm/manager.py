"""One rank of the farm at work: the root and the others differ only in who is above them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from selectors import EVENT_READ, DefaultSelector
from typing import Protocol

from hpcmat.dispatch.farm.layout import FarmLayout
from hpcmat.dispatch.farm.messages import Downward, ResultMessage, Upward
from hpcmat.dispatch.farm.processes import WorkerProcesses
from hpcmat.dispatch.farm.ranks import Ranks
from hpcmat.dispatch.farm.routing import Router

_LONGEST_REST_S = 0.002
"""MPI cannot be waited for without spinning, which would take a core from the tasks; it is looked at this often."""
_REPORT_GAP_S = 0.0005
"""Reports follow each other no faster: what ends meanwhile goes in one message, and a message costs more than a task
in it. The first after a pause goes at once."""
Branch = tuple[str, int]


class Superior(Protocol):
    """Where a rank's tasks come from and its results go."""

    def send(self, message: Upward) -> None:
        """Pass results on."""

    def receive(self) -> Iterator[Downward]:
        """What has arrived."""


class DriverAbove:
    """The root's superior: the driver, by a socket. Its end is the order to end."""

    def __init__(self, connection: Connection, selector: DefaultSelector) -> None:
        self._connection = connection
        selector.register(connection, EVENT_READ, None)

    def send(self, message: Upward) -> None:
        """Pass results on, unless the driver is gone."""
        try:
            self._connection.send(message)
        except ConnectionError:
            return

    def receive(self) -> Iterator[Downward]:
        """What has arrived."""
        try:
            while self._connection.poll():
                yield self._connection.recv()
        except (EOFError, ConnectionError):
            yield Downward(stop=True)


class RankAbove:
    """A manager's superior: the rank above, whose orders come with the messages of the other ranks."""

    def __init__(self, ranks: Ranks, parent: int) -> None:
        self._ranks = ranks
        self._parent = parent

    def send(self, message: Upward) -> None:
        """Pass results on."""
        self._ranks.send(self._parent, message)

    def receive(self) -> Iterator[Downward]:
        """Nothing."""
        return iter(())


class Manager:
    """Deals tasks to its workers and to the ranks below, and passes their results on."""

    def __init__(self, ranks: Ranks, layout: FarmLayout, superior: Superior, selector: DefaultSelector) -> None:
        self._ranks, self._layout, self._superior, self._selector = ranks, layout, superior, selector
        self._router: Router[Branch] = Router()
        self._results: list[ResultMessage] = []
        self._places = 0
        """Not offered upwards yet."""
        self._granted: set[int] = set()
        self._open = set(ranks.children)
        self._heard = dict.fromkeys(ranks.children, time.monotonic())
        self._reported = self._busy = time.monotonic()
        self._stopping = False

    def serve(self, workers: WorkerProcesses) -> None:
        """Work until told to end, and all ranks below have ended."""
        stocked = len(self._ranks.children) + 1
        self._places = self._layout.prefetch * self._layout.workers_per_manager * stocked
        while not (self._stopping and not self._open):
            self._listen(workers)
            self._deal(workers)
            self._report()
            self._watch()
        workers.end()
        self._superior.send(Upward(closed=True))

    def _listen(self, workers: WorkerProcesses) -> None:
        heard = False
        for key, _ in self._selector.select(self._rest_s()):
            heard = True
            if key.data is not None:
                self._listen_to_worker(workers, key.data)
        for rank, message in self._ranks.receive():
            heard = True
            self._take(rank, message)
        for order in self._superior.receive():
            heard = True
            self._obey(order)
        if heard:
            self._busy = time.monotonic()

    def _rest_s(self) -> float:
        """A twentieth of the time since anything came: short in the middle of work, cheap when there is none."""
        rest = min(_LONGEST_REST_S, 0.05 * (time.monotonic() - self._busy))
        return min(rest, _REPORT_GAP_S) if self._results else rest

    def _listen_to_worker(self, workers: WorkerProcesses, slot: int) -> None:
        told = workers.listen(slot)
        if told.result is not None:
            self._results.append(told.result)
        if not told.ready:
            self._router.withdraw(("worker", slot))
            return
        self._router.offer(("worker", slot))
        if slot not in self._granted:
            # Once only: from then on each result, of a lost worker too, is the offer of another place.
            self._granted.add(slot)
            self._places += 1

    def _take(self, rank: int, message: Upward | Downward) -> None:
        if isinstance(message, Downward):
            self._obey(message)
            return
        self._heard[rank] = time.monotonic()
        self._router.offer(("rank", rank), message.places + len(message.results))
        self._results.extend(message.results)
        self._places += message.places
        if message.closed:
            self._open.discard(rank)

    def _obey(self, order: Downward) -> None:
        self._router.accept(order.tasks)
        if order.stop and not self._stopping:
            self._stopping = True
            for rank in self._ranks.children:
                self._ranks.send(rank, order)

    def _deal(self, workers: WorkerProcesses) -> None:
        if self._stopping:
            return
        for (kind, number), tasks in self._router.deal().items():
            if kind == "rank":
                self._ranks.send(number, Downward(tuple(tasks)))
            else:
                workers.give(number, tasks[0])

    def _report(self) -> None:
        """Everything that has gathered in one message: the busier the tree, the longer its messages."""
        now = time.monotonic()
        news = self._results or self._places
        if now - self._reported > (_REPORT_GAP_S if news else self._layout.heartbeat_s):
            self._superior.send(Upward(self._places, tuple(self._results)))
            self._results, self._places, self._reported = [], 0, now

    def _watch(self) -> None:
        now = time.monotonic()
        for rank in self._open:
            if now - self._heard[rank] > self._layout.silence_s:
                self._ranks.abort(f"rank {rank} has been silent for {self._layout.silence_s:g} s")
