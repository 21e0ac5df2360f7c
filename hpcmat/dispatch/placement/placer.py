"""The thread that decides and starts: it sleeps until something happens, and does no slow work itself."""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

from hpcmat.dispatch.launchers.dialects import Blame
from hpcmat.dispatch.marks import LAUNCH_VARIABLE
from hpcmat.dispatch.placement.decision import decide
from hpcmat.dispatch.placement.fences import Fences
from hpcmat.dispatch.placement.nodes import Node, Share
from hpcmat.dispatch.placement.outcome import Ended, StopReason, TaskFailed
from hpcmat.dispatch.placement.state import Policy, Request, Running, State
from hpcmat.errors import DispatchError
from hpcmat.records import Failure, FailureKind

GRACE_S = 5.0
"""From the request to end until the kill."""


class Work(Protocol):
    """What a task does on the nodes that it got; `run` belongs to one thread, `stop` and `kill` to any other."""

    def run(self, stopped: Callable[[], StopReason | None]) -> Ended:
        """Do it to the end; `stopped` tells whether it was asked to end, and why."""

    def stop(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it at once."""


@dataclass(frozen=True, slots=True)
class Job:
    """A task with all that is needed to start it."""

    request: Request
    future: Future[Any]
    begin: Callable[[tuple[Share, ...], dict[str, str]], Work]
    """Its work on the nodes that it gets, all processes marked so; raises DispatchError where that cannot be."""


@dataclass(slots=True)
class _Active:
    """A launch under way."""

    job: Job
    work: Work
    stop_at: float
    reason: StopReason
    """Why it will be stopped, should it still run then."""
    kill_at: float | None = None


class Placer:
    """Runs jobs on the nodes of one allocation until it is closed.

    Parameters
    ----------
    nodes, policy : where and by which rules; `policy.ends_at` on the clock of `time.monotonic`.
    marks : environment of every process that is started.
    """

    def __init__(self, nodes: tuple[Node, ...], policy: Policy, marks: dict[str, str]) -> None:
        self._policy, self._marks = policy, marks
        self._state, self._fences = State(time.monotonic(), nodes), Fences()
        self._jobs: dict[int, Job] = {}
        self._active: dict[int, _Active] = {}
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._closing = False
        self._pool = ThreadPoolExecutor(policy.max_concurrent or sum(node.cores for node in nodes), "launch")
        self._thread = threading.Thread(target=self._loop, name="placement", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it still decides."""
        return self._thread.is_alive()

    @property
    def state(self) -> State:
        """As of the last decision."""
        return self._state

    def submit(self, job: Job) -> None:
        """Queue a job; its future is always settled, whatever happens."""
        self._events.put(lambda: self._submitted(job))
        if not self._thread.is_alive():
            _settle(job.future, Ended(error=DispatchError("placement has ended; start another executor")))

    def fence(self, name: str) -> None:
        """Start nothing more on a node."""
        self._events.put(lambda: self._judge(Blame(certain=(name,))))

    def give_back(self, answer: Any) -> None:
        """Start nothing of what waits; its futures give this answer."""
        self._events.put(lambda: self._give_back(answer))

    def close(self) -> None:
        """End what runs, give up what waits, and return when all of it is gone."""
        self._events.put(self._close)
        self._thread.join()
        self._pool.shutdown()

    def _loop(self) -> None:
        try:
            while not (self._closing and not self._active):
                self._handle_events()
                self._stop_overdue()
                self._decide()
        except BaseException as error:
            # Nobody may wait for ever for a thread that has died.
            self._give_up(error)
            raise

    def _handle_events(self) -> None:
        try:
            self._events.get(timeout=self._patience())()
            while True:
                self._events.get_nowait()()
        except queue.Empty:
            pass
        self._state = replace(self._state, now=time.monotonic())

    def _patience(self) -> float | None:
        """Seconds until something is due though nothing happens."""
        due = [a.stop_at if a.kill_at is None else a.kill_at for a in self._active.values()]
        due += [self._policy.ends_at - request.needed_s for request in self._state.waiting]
        # A task that can no longer begin gives up what was reserved for it.
        latest = [self._policy.drains_at - request.needed_s for request in self._state.waiting]
        due += [at for at in latest if at > self._state.now]
        if not due:
            return None
        # Later than a month means never, and more than the operating system can wait for.
        return min(max(0.0, min(due) - time.monotonic()), 30 * 86400.0)

    def _submitted(self, job: Job) -> None:
        if self._closing:
            _settle(job.future, Ended(error=DispatchError("the executor was shut down; start another")))
            return
        self._jobs[job.request.id] = job
        self._state = self._state.submit(job.request)
        job.future.add_done_callback(lambda future: self._if_cancelled(future, job.request.id))

    def _if_cancelled(self, future: Future[Any], task: int) -> None:
        if future.cancelled():
            self._events.put(lambda: self._cancelled(task))

    def _cancelled(self, task: int) -> None:
        if task in self._active:
            self._stop(self._active[task], StopReason.CANCELLED)
        elif self._jobs.pop(task, None) is not None:
            self._state = self._state.drop(frozenset([task]))

    def _close(self) -> None:
        self._closing = True
        failure = Failure(FailureKind.KILLED, "the executor was shut down before it started")
        for task in self._not_begun:
            self._drop(task, Ended(error=TaskFailed(failure)))
        for active in self._active.values():
            self._stop(active, StopReason.CLOSED)

    def _give_back(self, answer: Any) -> None:
        for task in self._not_begun:
            self._drop(task, Ended(answer))

    @property
    def _not_begun(self) -> list[int]:
        return [task for task in self._jobs if task not in self._active]

    def _drop(self, task: int, result: Ended) -> None:
        self._state = self._state.drop(frozenset([task]))
        _settle(self._jobs.pop(task).future, result)

    def _stop_overdue(self) -> None:
        now = time.monotonic()
        for active in self._active.values():
            if active.kill_at is None and now >= active.stop_at:
                self._stop(active, active.reason)
            elif active.kill_at is not None and now >= active.kill_at:
                active.work.kill()
                active.kill_at = now + GRACE_S

    def _stop(self, active: _Active, reason: StopReason) -> None:
        if active.kill_at is None:
            active.reason, active.kill_at = reason, time.monotonic() + GRACE_S
            active.work.stop()

    def _decide(self) -> None:
        decision = decide(self._state, self._policy)
        for hopeless in decision.hopeless:
            kind = FailureKind.NODE_LOST if self._state.fenced else FailureKind.PREEMPTED
            self._drop(hopeless.task, Ended(error=TaskFailed(Failure(kind, hopeless.reason))))
        self._state = self._state.begin(decision.starts, decision.reservation)
        for running in decision.starts:
            self._start(running)

    def _start(self, running: Running) -> None:
        job, now = self._jobs[running.request.id], self._state.now
        try:
            work = job.begin(running.shares, self._marks | {LAUNCH_VARIABLE: uuid.uuid4().hex})
        except DispatchError as error:
            self._gone(running, Ended(error=error))
            _settle(job.future, Ended(error=error))
            return
        limit = now + running.request.limit_s
        reason = StopReason.WALLTIME if limit <= self._policy.ends_at else StopReason.ALLOCATION
        active = _Active(job, work, min(limit, self._policy.ends_at), reason)
        self._active[running.request.id] = active
        self._pool.submit(self._execute, running, active)

    def _execute(self, running: Running, active: _Active) -> None:
        """The whole life of a launch, in a thread of its own."""
        try:
            result = active.work.run(lambda: None if active.kill_at is None else active.reason)
        except BaseException as error:  # noqa: BLE001 - the caller must hear of it, and the nodes must be freed
            result = Ended(error=error)
        self._events.put(lambda: self._gone(running, result))
        _settle(active.job.future, result)

    def _gone(self, running: Running, result: Ended) -> None:
        self._state = self._state.end(running.request.id)
        self._jobs.pop(running.request.id, None)
        self._active.pop(running.request.id, None)
        if result.blame:
            self._judge(result.blame)
        else:
            self._fences = self._fences.clear(share.node.name for share in running.shares)

    def _judge(self, blame: Blame) -> None:
        self._fences = self._fences.judge(blame)
        self._state = replace(self._state, fenced=self._fences.fenced)

    def _give_up(self, error: BaseException) -> None:
        for active in self._active.values():
            active.work.kill()
        for task in self._not_begun:
            self._drop(task, Ended(error=error))


def _settle(future: Future[Any], result: Ended) -> None:
    """Hand over a result, unless nobody wants it any more."""
    if not future.set_running_or_notify_cancel():
        return
    if result.error is not None:
        future.set_exception(result.error)
    else:
        future.set_result(result.value)
