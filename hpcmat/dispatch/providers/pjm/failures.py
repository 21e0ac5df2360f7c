"""PJM ends as hpcmat's typed failures."""

from __future__ import annotations

from parsl.jobs.states import JobState

from hpcmat.dispatch.providers.pjm.codes import Cause, JobEnd, meaning_of, sentence
from hpcmat.records import Failure, FailureKind

_KINDS: dict[Cause, FailureKind] = {
    Cause.USER: FailureKind.KILLED,
    Cause.SUBMISSION: FailureKind.BAD_SETTINGS,
    Cause.WALLTIME: FailureKind.WALLTIME,
    Cause.MEMORY: FailureKind.OUT_OF_MEMORY,
    Cause.DISK: FailureKind.DISK_FULL,
    Cause.PREEMPTION: FailureKind.PREEMPTED,
    Cause.MACHINE: FailureKind.NODE_LOST,
    Cause.PROGRAM: FailureKind.CRASH,
}


def failure_of(end: JobEnd) -> Failure | None:
    """Why a job gave no result; None where it ended well."""
    meaning = meaning_of(end)
    if meaning.state is JobState.COMPLETED:
        return None
    exit_code = end.exit_code if end.code == 0 else None
    return Failure(_KINDS[meaning.cause], sentence(end), exit_code=exit_code)
