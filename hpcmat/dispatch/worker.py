"""What happens to one task inside a worker: claim, fork, run, publish.

The worker itself stays clean: it imports what a runner needs once and forks a child for every attempt. The child
claims the attempt, runs it in its work folder and publishes the record. It is the leader of a session of its own, so
that a time-out ends it with all it started, and it needs neither worker nor driver to finish: killing either of them
loses nothing. The kernel's alarm clock ends it where no parent is left to do so.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NoReturn

from hpcmat.dispatch.launchers.place import LaunchEnd, Place, ends_in, move_out
from hpcmat.dispatch.marks import EPOCH_VARIABLE, LAUNCH_VARIABLE, TASK_PROCESS_NAME
from hpcmat.dispatch.placement.processes import kill_marked
from hpcmat.dispatch.runner import call_at, call_runner
from hpcmat.dispatch.verdict import amended
from hpcmat.errors import StorageError
from hpcmat.records import Execution, Failure, FailureKind, Record, Task, decode, encode
from hpcmat.store.atomic import sha256_of, sync_file
from hpcmat.store.claims import HEARTBEAT_S, Process, claimant, touch_claim
from hpcmat.store.results import Attempt, AttemptState, ResultStore

STOP_GRACE_S = 5.0
"""Time that the ranks of a task are given to end at its walltime."""
_ALARM_GRACE_S = 5.0
_CLEAN_EXIT, _NOT_OURS_EXIT, _UNPUBLISHED_EXIT = 0, 80, 81
_SOFTWARE = ("hpcmat", "numpy", "scipy", "numba", "ase", "parsl", "gpaw")


class Ending(StrEnum):
    """How the worker's part of a task ended; what came of it stands in the result store."""

    DONE = "done"
    ELSEWHERE = "elsewhere"
    """Already computed, or being executed by another process now."""
    DECLINED = "declined"
    """Nothing began: the driver that asked is dead, or its allocation about to end; its successor will ask again."""


@dataclass(frozen=True, slots=True)
class Order:
    """A task and where its result goes."""

    task: Task
    store: str
    driver: Process
    cores_per_node: int
    place: Place | None = None
    """Nodes that the task was given; None where it is one process in the worker."""
    predicted_s: float | None = None
    """Expected duration, s; None where nothing like it has run."""


@dataclass(frozen=True, slots=True)
class _Run:
    """The process that ran an attempt, since when, and what it used."""

    pid: int
    started: float
    usage: resource.struct_rusage


def perform(text: str) -> str:
    """Carry out one order; returns its `Ending`.

    Raises
    ------
    StorageError
        Not even the failure could be recorded (full disk).
    """
    return carry_out(decode(Order, text))[0]


def carry_out(order: Order) -> tuple[Ending, tuple[LaunchEnd, ...]]:
    """The same for an order that is read already, with how the launches of its last attempt ended."""
    if order.driver.local and not order.driver.alive:
        return Ending.DECLINED, ()
    _warm_up(order.task)
    store = ResultStore(order.store)
    reader, writer = os.pipe()
    started = time.time()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _run_child(order, store)
    os.close(writer)
    try:
        timed_out = _watch(pid, reader, store, order)
    finally:
        os.close(reader)
    _, status, usage = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    ends = _clear_up(order, store, pid) if order.place else ()
    if code in {_CLEAN_EXIT, _NOT_OURS_EXIT}:
        return (Ending.DONE if code == _CLEAN_EXIT else Ending.ELSEWHERE), ends
    _publish_death(order, store, _Run(pid, started, usage), _cause_of_death(code, timed_out))
    return Ending.DONE, ends


def _clear_up(order: Order, store: ResultStore, pid: int) -> tuple[LaunchEnd, ...]:
    """End the ranks that a task has left, and tell how its launches ended."""
    _end_ranks(pid)
    if mark := os.environ.get(LAUNCH_VARIABLE):
        # Ranks have sessions of their own, and outlive a launcher that was killed.
        kill_marked(mark)
    attempt = next((a for a in store.attempts(order.task.key) if _belongs_to(a, pid)), None)
    if attempt is None:
        return ()
    ends = ends_in(attempt.folder)
    move_out(attempt.folder)
    return ends


def _warm_up(task: Task) -> None:
    module = import_module(task.runner.partition(":")[0])
    prepare = getattr(module, "warm_up", None)
    if prepare is not None:
        prepare(task.request)
    _software()


def _watch(pid: int, reader: int, store: ResultStore, order: Order) -> bool:
    """Wait for the child's end of the pipe to close, with heartbeats; True if it had to be killed for its walltime."""
    task = order.task
    deadline = time.monotonic() + task.resources.walltime_s
    while (left := deadline - time.monotonic()) > 0:
        if select.select([reader], [], [], min(left, HEARTBEAT_S))[0]:
            return False
        for attempt in store.attempts(task.key):
            if _belongs_to(attempt, pid):
                touch_claim(attempt.folder)
    _signal_session(pid, signal.SIGKILL if order.place is None else signal.SIGTERM)
    return True


def _signal_session(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        os.kill(pid, number)


def _end_ranks(session: int) -> None:
    """Let the guards of ranks end them, those on other nodes included, and kill what is left here."""
    deadline = time.monotonic() + STOP_GRACE_S
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(session, signal.SIGTERM)
            time.sleep(0.05)
        os.killpg(session, signal.SIGKILL)


def _belongs_to(attempt: Attempt, pid: int) -> bool:
    process = claimant(attempt.folder)
    return process is not None and process.local and process.pid == pid


def _run_child(order: Order, store: ResultStore) -> NoReturn:
    code = _UNPUBLISHED_EXIT
    try:
        _isolate(order.task.resources.walltime_s)
        attempt = store.begin(order.task.key)
        ours = attempt is not None and _execute(order, store, attempt)
        code = _CLEAN_EXIT if ours else _NOT_OURS_EXIT
    except BaseException:  # noqa: BLE001 - the child must never return into the worker's stack
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _isolate(walltime_s: float) -> None:
    os.setsid()
    # What a task starts is ended with it, not with the driver.
    os.environ.pop(EPOCH_VARIABLE, None)
    Path("/proc/self/comm").write_text(TASK_PROCESS_NAME)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, walltime_s + _ALARM_GRACE_S)


def _execute(order: Order, store: ResultStore, attempt: Attempt) -> bool:
    """False where its result came too late to count."""
    started = time.time()
    _redirect_output(attempt.folder / "output.txt")
    os.chdir(attempt.folder)
    task, place = order.task, order.place
    if place is None:
        outcome = call_runner(task.runner, task.request, attempt.folder, attempt.number)
    else:
        outcome = call_at(place, task.runner, task.request, attempt.folder, attempt.number)
        outcome = amended(outcome, ends_in(attempt.folder))
    _flush()
    run = _Run(os.getpid(), started, resource.getrusage(resource.RUSAGE_SELF))
    return store.publish(_record(order, attempt, outcome, run), attempt.folder)


def _record(order: Order, attempt: Attempt, outcome: str, run: _Run) -> Record:
    task = order.task
    execution = Execution(
        attempt=attempt.number,
        host=os.uname().nodename,
        pid=run.pid,
        started=run.started,
        finished=time.time(),
        worker=order.place.shares[0].node.name if order.place else _worker_name(),
        cpu_s=0.0 if order.place else run.usage.ru_utime + run.usage.ru_stime,
        peak_memory_mib=run.usage.ru_maxrss / 1024.0,
        nodes=task.resources.nodes,
        cores=order.place.cores if order.place else task.resources.ranks * task.resources.threads,
        cores_per_node=order.cores_per_node,
    )
    return Record(
        key=task.key,
        task_kind=task.kind,
        request=task.request,
        outcome=outcome,
        accepted=json.loads(outcome)["kind"] != "failure",
        execution=execution,
        provenance=task.provenance,
        governance=task.governance,
        files=_files(attempt.folder),
        software=_software(),
    )


def _publish_death(order: Order, store: ResultStore, run: _Run, failure: Failure) -> None:
    """Record what a child that died could not; an attempt it never claimed, or had published, needs nothing."""
    attempt = next((a for a in store.attempts(order.task.key) if _belongs_to(a, run.pid)), None)
    if attempt is None or attempt.state is AttemptState.DONE:
        if failure.exit_code == _UNPUBLISHED_EXIT and attempt is None:
            raise StorageError(f"{order.store}: cannot be written by the worker; see its log and free space")
        return
    tail = _tail(attempt.folder / "output.txt")
    outcome = encode(Failure(failure.failure, failure.message, tail, failure.exit_code))
    store.publish(_record(order, attempt, outcome, run), attempt.folder)


def _cause_of_death(code: int, timed_out: bool) -> Failure:
    if timed_out or code == -signal.SIGALRM:
        return Failure(FailureKind.WALLTIME, "killed at its walltime", exit_code=code)
    if code in {-signal.SIGKILL, -signal.SIGTERM}:
        # Schedulers send the second before the first.
        return Failure(FailureKind.KILLED, f"killed from outside ({signal.Signals(-code).name})", exit_code=code)
    if code == _UNPUBLISHED_EXIT:
        return Failure(FailureKind.DISK_FULL, "the result could not be written", exit_code=code)
    reason = f"died by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"
    return Failure(FailureKind.CRASH, reason, exit_code=code)


def _worker_name() -> str:
    environment = os.environ
    return f"{environment.get('PARSL_WORKER_BLOCK_ID', '0')}/{environment.get('PARSL_WORKER_RANK', '0')}"


def _redirect_output(path: Path) -> None:
    _flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue


def _files(folder: Path) -> tuple[tuple[str, str], ...]:
    own = {"claim.json", "record.json"}
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name not in own and p.name[0] != ".")
    for name in names:
        # The record that follows is durable; what it names must be so before.
        sync_file(folder / name)
    return tuple((name, sha256_of(folder / name)) for name in names)


def _tail(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[-2000:]
    except OSError:
        return ""


@lru_cache(maxsize=1)
def _software() -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, Any]] = []
    for package in _SOFTWARE:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)
