"""The four PJM commands, each with a time limit. A command that does not answer is killed with all it started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hpcmat.dispatch.providers.pjm import answers
from hpcmat.dispatch.providers.pjm.answers import GarbledAnswer, Listed, Waited

ITEMS = "jid,st,ec,sn,pc,ermsg"
"""Items of `pjstat`: id, state, exit code, signal, PJM code, REASON."""


class NoAnswer(RuntimeError):
    """A command did not answer in time, or failed: nothing is known, and nothing changed."""


class Refused(RuntimeError):
    """PJM refused what was asked, and says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command left."""

    status: int
    output: str
    errors: str


class PjmCommands:
    """Asks the PJM of this machine.

    Parameters
    ----------
    timeout_s : float
        Seconds after which a command counts as not answering.
    """

    def __init__(self, timeout_s: float = 10.0) -> None:
        self.timeout_s = timeout_s

    def submit(self, script: Path, *options: str) -> str:
        """Id of the new job, whose output goes beside the script.

        Raises
        ------
        Refused
            PJM refused it; the message is PJM's.
        NoAnswer
            Whether there is a job now is not known: look before submitting again.
        GarbledAnswer
            The same, with an answer that names no job.
        """
        answer = self._ask("pjsub", *options, str(script), folder=script.parent)
        if answer.status != 0:
            raise Refused((answer.errors or answer.output).strip() or f"pjsub ended with status {answer.status}")
        return answers.submitted_id(answer.output)

    def wait(self, ids: Iterable[str]) -> dict[str, Waited]:
        """`pjwait -w waitnone`: which jobs have ended, and how; raises NoAnswer or GarbledAnswer."""
        return answers.waited(self._told("pjwait", "-w", "waitnone", *ids))

    def active(self, ids: Iterable[str]) -> dict[str, Listed]:
        """`pjstat` of jobs that have not ended; raises NoAnswer or GarbledAnswer."""
        return answers.listed(self._told("pjstat", "--data", "-v", "--choose", ITEMS, *ids))

    def history(self, ids: Iterable[str]) -> dict[str, Listed]:
        """`pjstat -H` of jobs that have ended; raises NoAnswer or GarbledAnswer."""
        return answers.listed(self._told("pjstat", "-H", "--data", "-v", "--choose", ITEMS, *ids))

    def delete(self, job: str, reason: str = "") -> bool:
        """Delete a job; False where PJM cannot do so now and should be asked again.

        A job that PJM does not know counts as deleted.

        Raises
        ------
        Refused
            It belongs to someone else.
        NoAnswer
            Nothing is known.
        """
        why = ("--reason", reason[:63]) if reason else ()
        answer = self._ask("pjdel", *why, job)
        errors = answer.errors + answer.output
        if answer.status == 0 or answers.no_such_job(errors):
            return True
        if answers.not_deletable_now(errors):
            return False
        raise Refused(errors.strip() or f"pjdel ended with status {answer.status}")

    def _told(self, *command: str) -> str:
        answer = self._ask(*command)
        if answer.status != 0:
            raise NoAnswer(f"{command[0]} ended with status {answer.status}: {answer.errors.strip()[:200]}")
        return answer.output

    def _ask(self, *command: str, folder: Path | None = None) -> Answer:
        pipe = subprocess.PIPE
        try:
            process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
            )
        except OSError as error:
            raise NoAnswer(f"{command[0]}: {error.strerror}; is this a login node with PJM?") from error
        try:
            output, errors = process.communicate(timeout=self.timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise NoAnswer(f"{command[0]}: no answer within {self.timeout_s:g} s") from None
        return Answer(process.returncode, output.decode(errors="replace"), errors.decode(errors="replace"))


__all__ = ["Answer", "GarbledAnswer", "NoAnswer", "PjmCommands", "Refused"]
