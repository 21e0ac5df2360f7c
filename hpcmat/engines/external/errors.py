"""From what a code says when it fails to the kind of failure, which decides on the remedy."""

from __future__ import annotations

import re

from hpcmat.engines.base import EngineFailure
from hpcmat.records import FailureKind

ErrorTable = tuple[tuple[str, FailureKind, str], ...]
"""Regular expression, kind, and what to do; the first that matches counts."""

_ANYWHERE: ErrorTable = (
    (r"runtime error: end of file", FailureKind.BAD_SETTINGS,
     "an input or pseudopotential file is cut short; put a whole one in its place"),
    (r"allocat|out of memory|(?:insufficient|not enough)(?: virtual)? memory", FailureKind.OUT_OF_MEMORY,
     "memory ran out; give the task more memory"),
    (r"no space left|disk quota|disk full|error (?:while )?writing|while writing|write error", FailureKind.DISK_FULL,
     "the disk of the work folder is full; free some space"),
)  # fmt: skip
"""What the machine and the runtime library say, whichever code they end."""

_SLOSHING_STEPS = 10
_SLOSHING_RATIO = 0.1
"""A cycle that after many steps is no nearer than this part of its best early value sloshes; others are slow."""


def classify(code: str, stated: str, table: ErrorTable, tail: str) -> EngineFailure:
    """Failure for an error message; a crash where neither the code's table nor that of all codes knows it."""
    for pattern, kind, advice in (*_ANYWHERE, *table):
        if re.search(pattern, stated, re.IGNORECASE):
            return EngineFailure(kind, f"{code}: {stated}: {advice}", tail)
    return EngineFailure(FailureKind.CRASH, f"{code}: {stated}; run it again", tail)


def runtime_error(text: str) -> str:
    """The line in which the runtime of a Fortran program says why it ended; empty where there is none."""
    found = re.search(
        r"(?:Fortran runtime error|Error allocating|Operating system error|Program received signal).*", text
    )
    return " ".join(found[0].split()) if found else ""


def stopped_in_time(tail: str) -> EngineFailure:
    """Failure of a run that saw its walltime come and left what it had."""
    message = "it stopped by itself before its walltime; the next attempt goes on from there"
    return EngineFailure(FailureKind.WALLTIME, message, tail)


def unconverged(accuracy: list[float], unit: str, tail: str) -> EngineFailure:
    """Failure of a cycle that ran out of steps: it sloshes, or it was only slow.

    Parameters
    ----------
    accuracy : what the code prints of the distance to self-consistency in each step, in `unit`.
    """
    if sloshes(accuracy):
        best = min(accuracy[:3])
        message = f"charge sloshing: from {best:.2g} to {accuracy[-1]:.2g} {unit}; use gentler mixing"
        return EngineFailure(FailureKind.DIVERGED, message, tail)
    last = f"{accuracy[-1]:.2g} {unit}" if accuracy else "nothing"
    message = f"the self-consistency cycle came to {last} in {len(accuracy)} steps; use gentler mixing or more steps"
    return EngineFailure(FailureKind.NOT_CONVERGED, message, tail)


def sloshes(accuracy: list[float]) -> bool:
    """Whether a cycle of many steps ends no nearer to convergence than its first three."""
    return len(accuracy) > _SLOSHING_STEPS and min(accuracy[-3:]) > _SLOSHING_RATIO * min(accuracy[:3])
