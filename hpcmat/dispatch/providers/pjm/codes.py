"""What a PJM job's end means: its PJM code, as documented in UG, CR and EG, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from parsl.jobs.states import JobState


class Reaction(StrEnum):
    """What a submitter may sensibly do after a job has ended."""

    NOTHING = "nothing"
    REPORT = "report"
    """The same submission would end the same way."""
    RESUME = "resume"
    """Submit again and go on from what was kept; the job did nothing wrong."""
    MORE_MEMORY = "more memory"
    """More nodes, or fewer ranks on each."""
    RETRY_ONCE = "retry once"
    RETRY_ELSEWHERE = "retry elsewhere"
    """On other nodes, at no cost to the job's account of attempts."""
    RETRY_LATER = "retry later"


class Cause(StrEnum):
    """Whose doing an end was."""

    USER = "user"
    SUBMISSION = "submission"
    WALLTIME = "walltime"
    MEMORY = "memory"
    DISK = "disk"
    PREEMPTION = "preemption"
    MACHINE = "machine"
    PROGRAM = "program"


@dataclass(frozen=True, slots=True)
class EndCode:
    """One PJM code."""

    meaning: str
    state: JobState
    cause: Cause
    reaction: Reaction


REJECTED, ERROR = -1, -2
"""In place of a PJM code where the state of a job is RJT or ERR and no code was told."""


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended, as `pjwait` or `pjstat -H` tell it."""

    code: int
    """PJM code, or REJECTED or ERROR."""
    exit_code: int = 0
    """Of the job script; it counts only where the code is 0."""
    signal: int = 0
    """That ended the job script, or 0."""
    reason: str = ""
    """REASON of `pjstat`, e.g. `ANOTHER JOB STARTED`."""


_FAILED, _TIMEOUT, _CANCELLED = JobState.FAILED, JobState.TIMEOUT, JobState.CANCELLED
_REJECTED = (Cause.SUBMISSION, Reaction.REPORT)
_LOST = (Cause.MACHINE, Reaction.RETRY_ELSEWHERE)
_INTERNAL = (Cause.MACHINE, Reaction.RETRY_LATER)

END_CODES: dict[int, EndCode] = {
    1: EndCode("deleted by pjdel", _CANCELLED, Cause.USER, Reaction.NOTHING),
    2: EndCode("rejected at acceptance", _FAILED, *_REJECTED),
    3: EndCode("rejected by the manager's exit function", _FAILED, *_REJECTED),
    4: EndCode("held: its step dependency is false", _CANCELLED, *_REJECTED),
    6: EndCode("deleted: its step dependency is false", _CANCELLED, *_REJECTED),
    7: EndCode("ended by deadline scheduling", _TIMEOUT, Cause.PREEMPTION, Reaction.RESUME),
    8: EndCode("cancelled by the manager's exit function", _FAILED, *_REJECTED),
    9: EndCode("not re-executable when job data were rebuilt", _FAILED, Cause.MACHINE, Reaction.RESUME),
    11: EndCode("elapse limit exceeded", _TIMEOUT, Cause.WALLTIME, Reaction.RESUME),
    12: EndCode("memory limit exceeded", _FAILED, Cause.MEMORY, Reaction.MORE_MEMORY),
    13: EndCode("disk limit exceeded", _FAILED, Cause.DISK, Reaction.REPORT),
    16: EndCode("directory or standard files not reachable", _FAILED, Cause.SUBMISSION, Reaction.RETRY_ONCE),
    18: EndCode("ended past its guaranteed time for another job", _TIMEOUT, Cause.PREEMPTION, Reaction.RESUME),
    20: EndCode("node down", _FAILED, *_LOST),
    21: EndCode("the job script could not be executed", _FAILED, *_REJECTED),
    22: EndCode("interconnect error", _FAILED, *_LOST),
    23: EndCode("killed by the out-of-memory killer", _FAILED, Cause.MEMORY, Reaction.MORE_MEMORY),
    25: EndCode("high-availability failure", _FAILED, *_LOST),
    26: EndCode("prologue or epilogue failed", _FAILED, Cause.MACHINE, Reaction.RETRY_ONCE),
    27: EndCode("exit process of the resources failed", _FAILED, Cause.MACHINE, Reaction.RETRY_ONCE),
    28: EndCode("execution environment failed", _FAILED, *_REJECTED),
    29: EndCode("invalid execution environment", _FAILED, *_REJECTED),
    30: EndCode("suspending or resuming failed", _FAILED, Cause.MACHINE, Reaction.REPORT),
    100: EndCode("internal error of the job manager", _FAILED, *_INTERNAL),
    120: EndCode("internal error of the scheduler", _FAILED, *_INTERNAL),
    140: EndCode("internal error of resource management", _FAILED, *_INTERNAL),
    160: EndCode("internal error of Tofu", _FAILED, *_INTERNAL),
    180: EndCode("internal error of storage", _FAILED, *_INTERNAL),
    REJECTED: EndCode("rejected", _FAILED, *_REJECTED),
    ERROR: EndCode("in the state ERROR until it is deleted", _FAILED, Cause.MACHINE, Reaction.REPORT),
}
"""All but 0, after which the script's own end decides."""

_SUCCESS = EndCode("ended normally", JobState.COMPLETED, Cause.PROGRAM, Reaction.NOTHING)
_PROGRAM = EndCode("the job script failed", JobState.FAILED, Cause.PROGRAM, Reaction.REPORT)
_UNKNOWN = EndCode("a PJM code that the manuals do not list", JobState.FAILED, Cause.MACHINE, Reaction.REPORT)


def meaning_of(end: JobEnd) -> EndCode:
    """What an end means; a script that failed under PJM code 0 has failed."""
    if end.code == 0:
        return _PROGRAM if end.exit_code or end.signal else _SUCCESS
    return END_CODES.get(end.code, _UNKNOWN)


def sentence(end: JobEnd) -> str:
    """One line for people: meaning, code, and the reason that PJM gave."""
    parts = [f"{meaning_of(end).meaning} (PJM code {end.code})" if end.code > 0 else meaning_of(end).meaning]
    if end.code == 0 and end.signal:
        parts.append(f"signal {end.signal}")
    elif end.code == 0 and end.exit_code:
        parts.append(f"exit code {end.exit_code}")
    if end.reason:
        parts.append(end.reason)
    return ": ".join(parts)
