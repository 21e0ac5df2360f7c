"""What becomes of a task whose launcher has ended: its result, or a typed failure."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from hpcmat.dispatch.launchers.dialects import Blame, blame
from hpcmat.dispatch.launchers.request import Launch, Launcher
from hpcmat.dispatch.launchers.world import WRONG_WORLD_EXIT
from hpcmat.dispatch.placement.calls import ERROR_FILE, RESULT_FILE, CommandResult, RankError, read_value
from hpcmat.dispatch.placement.processes import Exit
from hpcmat.errors import DispatchError
from hpcmat.records import Failure, FailureKind

_TAIL = 4000
_NOBODY = Blame()


class StopReason(StrEnum):
    """Why a running task was ended by us."""

    WALLTIME = "killed at its walltime"
    ALLOCATION = "ended with the allocation"
    CANCELLED = "cancelled"
    CLOSED = "the executor was shut down"


class TaskFailed(DispatchError):
    """An MPI task gave no result; `failure` says why."""

    def __init__(self, failure: Failure, folder: Path | None = None) -> None:
        where = f"; see {folder}" if folder else ""
        super().__init__(f"{failure.failure}: {failure.message}{where}")
        self.failure = failure
        self.folder = folder


@dataclass(frozen=True, slots=True)
class Ended:
    """A launch that is over, as its caller and as the nodes see it."""

    value: Any = None
    error: BaseException | None = None
    blame: Blame = _NOBODY


@dataclass(frozen=True, slots=True)
class Execution:
    """A launch, who made it and what it was for."""

    launcher: Launcher
    launch: Launch
    nodes: tuple[str, ...]
    function: bool
    """Whether the ranks call a Python function, whose result is a file."""


def ended(execution: Execution, end: Exit, stopped: StopReason | None) -> Ended:
    """Result or failure. A task that finished although it was being stopped has finished."""
    folder = execution.launch.folder
    try:
        if end.code == 0:
            value = read_value(folder / RESULT_FILE) if execution.function else None
            return Ended(value if execution.function else CommandResult(folder, execution.nodes, end.wall_s))
        if stopped is None and (folder / ERROR_FILE).exists():
            return Ended(error=_error_of_rank(read_value(folder / ERROR_FILE)))
    except DispatchError as error:
        return Ended(error=error)
    tail = _tail(execution.launch.output.stderr)
    at_fault = _NOBODY if stopped else blame(execution.launcher, tail, execution.nodes)
    kind, message = _cause(end, stopped, at_fault)
    return Ended(error=TaskFailed(Failure(kind, message, tail, end.code), folder), blame=at_fault)


def _cause(end: Exit, stopped: StopReason | None, at_fault: Blame) -> tuple[FailureKind, str]:
    if stopped is not None:
        kinds = {StopReason.WALLTIME: FailureKind.WALLTIME, StopReason.ALLOCATION: FailureKind.PREEMPTED}
        return kinds.get(stopped, FailureKind.KILLED), str(stopped)
    if end.code is None:
        return FailureKind.BAD_SETTINGS, f"the launcher could not be started: {end.problem}"
    if at_fault:
        return FailureKind.NODE_LOST, f"says the launcher of {', '.join(at_fault.certain or at_fault.suspected)}"
    if end.code == WRONG_WORLD_EXIT:
        return FailureKind.BAD_SETTINGS, "MPI's world has not the size asked for: launcher and MPI library do not fit"
    if end.code in {-signal.SIGKILL, 128 + signal.SIGKILL}:
        return FailureKind.KILLED, "killed from outside (SIGKILL); for want of memory, perhaps"
    return FailureKind.CRASH, f"left with exit code {end.code}"


def _error_of_rank(failed: RankError) -> BaseException:
    failed.error.add_note(f"raised by rank {failed.rank}:\n{failed.trace}")
    return failed.error


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
