"""The farm as a Parsl executor: the driver's end of it."""

from __future__ import annotations

import heapq
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from parsl.app.errors import RemoteExceptionWrapper
from parsl.errors import ParslError
from parsl.executors.base import ParslExecutor
from parsl.executors.errors import InvalidResourceSpecification
from parsl.executors.high_throughput.errors import WorkerLost
from parsl.serialize import deserialize, pack_apply_message

from hpcmat.dispatch.farm.job import END_S, FarmJob
from hpcmat.dispatch.farm.layout import FarmLayout
from hpcmat.dispatch.farm.messages import Downward, ResultMessage, TaskMessage, Upward
from hpcmat.errors import DispatchError
from hpcmat.store.atomic import make_folder

_BARREN_STARTS = 3
"""Lives of the farm in a row without any result, after which it is given up."""


class FarmLost(DispatchError, ParslError):  # type: ignore[misc]
    """The farm's MPI job ended while the task was out; whether the task ran, its result must tell."""


class FarmExecutor(ParslExecutor):  # type: ignore[misc]
    """Runs tasks on a farm of managers and workers; see `hpcmat.dispatch.farm`.

    Tasks wait here and go out by priority: never more than the workers and their prefetch can take. Fulfils Parsl's
    executor interface, and without Parsl's kernel that of `concurrent.futures` but for `map`.

    Parameters
    ----------
    layout : FarmLayout
        Its shape.
    folder : Path
        Where each life of the farm makes a folder for its log; Parsl's kernel puts its own in its place.
    setup : str
        Shell lines run before the launcher.
    label : str
        Name for Parsl.
    """

    def __init__(self, layout: FarmLayout, folder: Path, setup: str = "", label: str = "farm") -> None:
        super().__init__(run_dir=str(folder))
        self.label = label
        self._layout = layout
        self._setup = setup
        self._numbers = count()
        self._changed = threading.Condition()
        """Guards all that follows."""
        self._waiting: list[tuple[int, int, bytes]] = []
        """Heap of (−priority, number, payload)."""
        self._futures: dict[int, Future[Any]] = {}
        self._out: dict[int, Future[Any]] = {}
        self._places = 0
        self._connection: Connection | None = None
        self._job: FarmJob | None = None
        self._closing = False
        self._defeat: FarmLost | None = None
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._keep, self._send)]

    @property
    def bad_state_is_set(self) -> bool:
        """Whether the farm was given up; another executor must take its place."""
        return self._defeat is not None

    def start(self) -> None:
        """Start the MPI job; tasks may be submitted at once."""
        for thread in self._threads:
            thread.start()

    def submit(
        self, func: Callable[..., Any], resource_specification: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Queue a call.

        Parameters
        ----------
        resource_specification : `priority` (default 0; the highest goes first) and nothing else.

        Raises
        ------
        InvalidResourceSpecification
            Another key.
        FarmLost
            The farm was given up or shut down.
        """
        if unknown := set(resource_specification) - {"priority"}:
            raise InvalidResourceSpecification(unknown, "a farm knows only the key priority")
        payload = pack_apply_message(func, args, kwargs, buffer_threshold=sys.maxsize)
        future: Future[Any] = Future()
        with self._changed:
            if self._closing or self._defeat is not None:
                raise FarmLost("the farm does not run; start another") from self._defeat
            number = next(self._numbers)
            self._futures[number] = future
            heapq.heappush(self._waiting, (-resource_specification.get("priority", 0), number, payload))
            if self._places:
                self._changed.notify_all()
        return future

    def shutdown(self) -> None:
        """End the farm; what has no result yet fails as lost."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(END_S)
        with self._changed:
            if self._job is not None:
                self._job.kill()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._lose("the farm was shut down", waiting=True)
        super().shutdown()

    def monitor_resources(self) -> bool:
        """Parsl's monitoring forks in the worker, which `perform` does itself."""
        return False

    def _keep(self) -> None:
        """Start the farm, and again when it has died."""
        barren = 0
        while not self._closing:
            try:
                results, reason = self._live()
            except (DispatchError, OSError) as error:
                self._give_up(str(error))
                return
            barren = 0 if results else barren + 1
            self._lose(reason, waiting=False)
            if barren == _BARREN_STARTS:
                self._give_up(f"{barren} starts without a result: {reason}")
                return

    def _give_up(self, reason: str) -> None:
        self._defeat = FarmLost(f"the farm was given up: {reason}")
        self._lose(str(self._defeat), waiting=True)

    def _live(self) -> tuple[int, str]:
        """One life of the farm; returns how many results it gave and why it ended."""
        folder = Path(tempfile.mkdtemp(prefix=f"{self.label}-", dir=make_folder(Path(self.run_dir))))
        job = FarmJob(self._layout, folder, self._setup)
        with self._changed:
            self._job = job
            if self._closing:
                job.kill()
        results = self._receive(job)
        with self._changed:
            self._job = self._connection = None
        return results, f"its MPI job ended with status {job.end()}; see {job.log}: {job.words()}"

    def _receive(self, job: FarmJob) -> int:
        """Take results in until the farm ends or falls silent; returns how many."""
        results = 0
        try:
            connection = job.meet()
            with self._changed:
                self._connection, self._places = connection, 0
                self._changed.notify_all()
            while connection.poll(self._layout.silence_s):
                message = connection.recv()
                results += len(message.results)
                self._take(message)
                if message.closed:
                    return results
        except (EOFError, OSError):
            pass
        job.kill()
        return results

    def _take(self, message: Upward) -> None:
        with self._changed:
            self._places += message.places + len(message.results)
            ended = [(self._out.pop(result.number), result) for result in message.results]
            self._changed.notify_all()
        for future, result in ended:
            _settle(future, result)

    def _send(self) -> None:
        """Send tasks out while there are both tasks and places; at the end, the order to end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or (self._waiting and self._places and self._connection))
                connection = self._connection
                if self._closing:
                    break
                order = Downward(tuple(self._departing()))
            _pass(connection, order)
        if connection is not None:
            _pass(connection, Downward(stop=True))
        elif self._job is not None:
            self._job.kill()

    def _departing(self) -> Iterator[TaskMessage]:
        while self._waiting and self._places:
            _, number, payload = heapq.heappop(self._waiting)
            future = self._futures.pop(number)
            if future.set_running_or_notify_cancel():
                self._places -= 1
                self._out[number] = future
                yield TaskMessage(number, payload)

    def _lose(self, reason: str, *, waiting: bool) -> None:
        with self._changed:
            lost, self._out = list(self._out.values()), {}
            if waiting:
                lost += [future for future in self._futures.values() if future.set_running_or_notify_cancel()]
                self._futures, self._waiting = {}, []
        for future in lost:
            future.set_exception(FarmLost(reason))


def _pass(connection: Connection | None, order: Downward) -> None:
    assert connection is not None, "there are places only where there is a connection"
    with suppress(OSError):
        # Where it cannot be sent, the thread that receives has noticed, or will, and fails what is out.
        connection.send(order)


def _settle(future: Future[Any], result: ResultMessage) -> None:
    if result.verdict == "lost":
        worker, _, host = result.payload.decode().partition(" ")
        future.set_exception(WorkerLost(worker, host))
        return
    try:
        value = deserialize(result.payload)
    except Exception as error:  # noqa: BLE001 - a result that cannot be read must not end the thread that reads
        future.set_exception(error)
        return
    if result.verdict == "error" and isinstance(value, RemoteExceptionWrapper):
        future.set_exception(value.get_exception())
    else:
        future.set_result(value)
