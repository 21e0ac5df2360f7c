"""The workers of one manager: processes at the far end of pipes, replaced when they die."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from selectors import EVENT_READ, DefaultSelector

from hpcmat.dispatch.farm.messages import ResultMessage, TaskMessage, Verdict
from hpcmat.dispatch.farm.worker import READY, RESULT, work
from hpcmat.errors import DispatchError

_STILLBORN_LIMIT = 3
"""Workers in a row that died before they were ready, after which another would too."""


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    connection: Connection
    task: int | None = None
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What came of listening to a worker."""

    result: ResultMessage | None
    ready: bool
    """Whether it can take a task; if not, it is dead and its successor will say so."""


def start_fork_server() -> ForkServerContext:
    """The clean process that forks the workers; must be called before MPI is started in this one.

    It imports once what all workers need: on thousands of nodes that spares the file system.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hpcmat.dispatch.farm.worker", "hpcmat.dispatch.worker"])
    forkserver.ensure_running()
    return context


class WorkerProcesses:
    """So many workers, each with at most one task."""

    def __init__(self, context: ForkServerContext, rank: int, count: int, selector: DefaultSelector) -> None:
        self._context = context
        self._rank = rank
        self._selector = selector
        self._stillborn = 0
        self._workers = {slot: self._start(slot) for slot in range(count)}

    def give(self, slot: int, task: TaskMessage) -> None:
        """Hand a task to a worker that is ready; one that has just died is noticed when it is next listened to."""
        worker = self._workers[slot]
        worker.task = task.number
        try:
            worker.connection.send_bytes(task.payload)
        except ConnectionError:
            return

    def listen(self, slot: int) -> Told:
        """What a worker whose pipe can be read says, or its silence.

        Raises
        ------
        DispatchError
            Workers die before they are ready.
        """
        worker = self._workers[slot]
        try:
            told = worker.connection.recv_bytes()
        except (EOFError, ConnectionError):
            return Told(self._replace(slot, worker), ready=False)
        if told == READY:
            self._stillborn, worker.ready = 0, True
            return Told(None, ready=True)
        assert worker.task is not None, "only a task makes a worker speak"
        verdict: Verdict = "result" if told[:1] == RESULT else "error"
        result = ResultMessage(worker.task, verdict, told[1:])
        worker.task = None
        return Told(result, ready=True)

    def end(self) -> None:
        """Kill all workers; what they started in sessions of their own goes on."""
        for worker in self._workers.values():
            self._selector.unregister(worker.connection)
            worker.connection.close()
            worker.process.kill()
        for worker in self._workers.values():
            worker.process.join()

    def _replace(self, slot: int, dead: _Worker) -> ResultMessage | None:
        self._selector.unregister(dead.connection)
        dead.connection.close()
        dead.process.join()
        self._stillborn += not dead.ready
        if self._stillborn >= _STILLBORN_LIMIT:
            raise DispatchError(f"{self._stillborn} workers in a row died before they were ready; see this log")
        self._workers[slot] = self._start(slot)
        if dead.task is None:
            return None
        return ResultMessage(dead.task, "lost", f"{self._rank}/{slot} {os.uname().nodename}".encode())

    def _start(self, slot: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, (self._rank, slot)), name=f"hpcmat-worker-{slot}")
        process.start()
        theirs.close()
        self._selector.register(ours, EVENT_READ, slot)
        return _Worker(process, ours)
