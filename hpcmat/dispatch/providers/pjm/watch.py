"""States of PJM jobs over time. An end is final, and a question without a clear answer changes nothing.

Bad answers taken for ends once made Parsl ask for 43 blocks at once (Parsl's issue 2851).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from parsl.jobs.states import JobState

from hpcmat.dispatch.providers.pjm.answers import STATES
from hpcmat.dispatch.providers.pjm.codes import JobEnd, meaning_of
from hpcmat.dispatch.providers.pjm.commands import GarbledAnswer, NoAnswer, PjmCommands

_log = logging.getLogger(__name__)
_Rows = TypeVar("_Rows")


@dataclass(frozen=True, slots=True)
class Watched:
    """A job as it was last known."""

    state: JobState = JobState.PENDING
    end: JobEnd | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing can change any more."""
        return self.end is not None or self.state is JobState.CANCELLED


class JobWatch:
    """Keeps the states of jobs; `refresh` asks PJM about those that have not ended."""

    def __init__(self, commands: PjmCommands) -> None:
        self._commands = commands
        self.jobs: dict[str, Watched] = {}

    def add(self, job: str) -> None:
        """Watch a job that was just submitted."""
        self.jobs.setdefault(job, Watched())

    def cancelled(self, job: str) -> None:
        """Note that PJM accepted the deletion of a job."""
        if not self.jobs[job].ended:
            self.jobs[job] = Watched(JobState.CANCELLED)

    def refresh(self) -> bool:
        """Ask once: `pjwait` for ends, then `pjstat` for what goes on and for jobs that `pjwait` keeps silent about.

        False where there was no clear answer; then nothing has changed.
        """
        still = [job for job, known in self.jobs.items() if not known.ended]
        told = _ask(self._commands.wait, still)
        if told is None:
            return not still
        ended = [job for job in still if job in told and told[job].end is not None]
        for job in ended:
            self._set_end(job, told[job].end)
        for job in still:
            if job in told and told[job].held:
                self.jobs[job] = Watched(JobState.HELD)
        self._look_at_active([job for job in still if job in told and told[job].end is None and not told[job].held])
        self._look_at_history([job for job in still if job not in told], ended)
        return True

    def _look_at_active(self, jobs: list[str]) -> None:
        for job, row in (_ask(self._commands.active, jobs) or {}).items():
            if job in jobs and row.state in STATES:
                self.jobs[job] = Watched(STATES[row.state])

    def _look_at_history(self, silent: list[str], ended: list[str]) -> None:
        """Rejected jobs are found here alone, and the REASON of the ended ones."""
        for job, row in (_ask(self._commands.history, [*silent, *ended]) or {}).items():
            if job in silent and row.end is not None:
                self._set_end(job, row.end)
            elif job in ended and row.end is not None:
                known = self.jobs[job]
                assert known.end is not None
                self.jobs[job] = Watched(known.state, replace(known.end, reason=row.end.reason))

    def _set_end(self, job: str, end: JobEnd | None) -> None:
        assert end is not None
        self.jobs[job] = Watched(meaning_of(end).state, end)


def _ask(question: Callable[[Iterable[str]], _Rows], jobs: list[str]) -> _Rows | None:
    """The answer, or None where there is none that can be trusted."""
    if not jobs:
        return None
    try:
        return question(jobs)
    except (NoAnswer, GarbledAnswer) as error:
        _log.warning("states stay as they were: %s", error)
        return None
