"""What the PJM commands print, read strictly: an answer that cannot be understood is garbled, never a state.

Formats: EG chapter 2 and CR. `pjstat` without `--data` cannot be split at blanks, since START_DATE holds one.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

from parsl.jobs.states import JobState

from hpcmat.dispatch.providers.pjm.codes import ERROR, REJECTED, JobEnd


class GarbledAnswer(ValueError):
    """A command printed something that its manual does not know."""


STATES: dict[str, JobState] = {
    "ACC": JobState.PENDING,
    "QUE": JobState.PENDING,
    "RNA": JobState.PENDING,
    "HLD": JobState.HELD,
    "SPP": JobState.HELD,
    "SPD": JobState.HELD,
    "RNP": JobState.RUNNING,
    "RUN": JobState.RUNNING,
    "RNE": JobState.RUNNING,
    "RNO": JobState.RUNNING,
    "RSM": JobState.RUNNING,
}
"""Of jobs that have not ended; EXT, CCL, ERR and RJT are ends, and their codes say which."""

ENDED = ("EXT", "CCL", "ERR", "RJT")

_JOB_ID = r"\d+(?:_\d+|\[\d+\])?"
_SUBMITTED = re.compile(rf"\[INFO\.?\] PJM 0000 pjsub Job (?P<id>{_JOB_ID}) submitted\.")
_WAITED = re.compile(rf"(?P<id>{_JOB_ID}) (?P<code>\d+|X|E|H|-) (?P<exit>-?\d+|-) (?P<signal>\d+|-)")
_NOT_ENDED, _ERROR, _HELD, _PARENT = "X", "E", "H", "-"
_NO_SUCH_JOB = re.compile(r"\[ERR\.\] PJM 0112 ")
_NOT_NOW = re.compile(r"\[ERR\.\] PJM 0113 ")


@dataclass(frozen=True, slots=True)
class Waited:
    """One line of `pjwait`: an end, or that there is none yet."""

    end: JobEnd | None = None
    """Of a parent of bulk or step jobs it says only that all have ended; how, each tells for itself."""
    held: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of `pjstat --data`: a state, with its end where it has ended."""

    state: str
    end: JobEnd | None = None


def submitted_id(output: str) -> str:
    """Job id that `pjsub` announced; of a step job the sub-job, of a bulk job the parent."""
    found = _SUBMITTED.search(output)
    if found is None:
        raise GarbledAnswer(f"pjsub named no job: {output.strip()[:200]!r}")
    return found["id"]


def waited(output: str) -> dict[str, Waited]:
    """Lines of `pjwait`; jobs that it does not know have none."""
    found: dict[str, Waited] = {}
    for line in _lines(output):
        match = _WAITED.fullmatch(line)
        if match is None:
            raise GarbledAnswer(f"pjwait printed {line[:200]!r}")
        found[match["id"]] = _waited(match)
    return found


def listed(output: str) -> dict[str, Listed]:
    """Rows of `pjstat --data`, by the names of its header: sites insert columns of their own."""
    rows = list(csv.reader(_lines(output)))
    if not rows:
        raise GarbledAnswer("pjstat printed no header")
    header = rows[0]
    if header[0] != "H" or "JOB_ID" not in header or "ST" not in header:
        raise GarbledAnswer(f"pjstat printed the header {','.join(header)[:200]!r}")
    found: dict[str, Listed] = {}
    for row in rows[1:]:
        if len(row) != len(header) or row[0]:
            raise GarbledAnswer(f"pjstat printed the row {','.join(row)[:200]!r}")
        cells = dict(zip(header, row, strict=True))
        if not re.fullmatch(_JOB_ID, cells["JOB_ID"]) or cells["ST"] not in (*STATES, *ENDED):
            raise GarbledAnswer(f"pjstat printed the row {','.join(row)[:200]!r}")
        found[cells["JOB_ID"]] = _listed(cells)
    return found


def no_such_job(output: str) -> bool:
    """Whether `pjdel` knows no such job."""
    return _NO_SUCH_JOB.search(output) is not None


def not_deletable_now(output: str) -> bool:
    """Whether `pjdel` must be asked again later: a job cannot be deleted while it begins or ends."""
    return _NOT_NOW.search(output) is not None


def _waited(match: re.Match[str]) -> Waited:
    code = match["code"]
    if code == _NOT_ENDED:
        return Waited()
    if code == _HELD:
        return Waited(held=True)
    number = {_ERROR: ERROR, _PARENT: 0}.get(code)
    return Waited(JobEnd(int(code) if number is None else number, _number(match["exit"]), _number(match["signal"])))


def _listed(cells: dict[str, str]) -> Listed:
    state = cells["ST"]
    if state not in ENDED:
        return Listed(state)
    code = cells.get("PC", "")
    known = int(code) if code.isdigit() else ERROR if state == "ERR" else REJECTED
    end = JobEnd(known, _number(cells.get("EC", "")), _number(cells.get("SN", "")), cells.get("REASON", "").strip(" -"))
    return Listed(state, end)


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"-?\d+", text) else 0


def _lines(output: str) -> list[str]:
    return [line.rstrip() for line in output.splitlines() if line.strip()]
