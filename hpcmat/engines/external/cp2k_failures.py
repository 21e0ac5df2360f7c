"""How CP2K fails, as told by its output: unfinished, unconverged, and its errors by their words."""

from __future__ import annotations

import re
from pathlib import Path

from hpcmat.engines.base import EngineFailure, log_tail
from hpcmat.engines.external.calculation import corrupt
from hpcmat.engines.external.engine import check_ending
from hpcmat.engines.external.errors import ErrorTable, classify, runtime_error, stopped_in_time, unconverged
from hpcmat.engines.external.run import STDERR_NAME, Ending
from hpcmat.records import FailureKind

OUTPUT_NAME = "cp2k.out"
STEP = r"^\s+(\d+) \S+\s+\S+(?:\s+\d\.\d+E[+-]\d+)?\s+[\d.]+\s+(\S+)\s+(-?\d+\.\d+|\S+)\s+\S+$"
"""A row of the self-consistency cycle: number, convergence, energy."""

_ERRORS: ErrorTable = (
    (r"received signal", FailureKind.CRASH, "run it again"),
    (r"not converged", FailureKind.NOT_CONVERGED, "use gentler mixing or more steps"),
    (r"basis set|potential|unknown keyword|unknown (?:sub)?section|already present|invalid|expected|incompatible|"
     r"could not be found|not implemented|not available|nonperiodic|poisson|wavelet|spin|multiplicity|electrons|added",
     FailureKind.BAD_SETTINGS, "correct the engine's settings"),
    (r"cholesky|diagonali|elpa|syev|eigen", FailureKind.DIAGONALIZATION, "the eigensolver failed; use another one"),
    (r"symmetr|k-?point", FailureKind.SYMMETRY, "leave symmetry out"),
    (r"nan|not a number|infinite", FailureKind.DIVERGED, "use gentler mixing"),
)  # fmt: skip


def check_failures(text: str, folder: Path, ending: Ending) -> None:
    """Raise `EngineFailure` for an output that is not that of a finished and converged calculation.

    CP2K ends with exit code 0 and prints energy, forces and stress although the cycle did not converge or its time ran
    out: only its words tell.
    """
    tail = log_tail(folder / OUTPUT_NAME)
    failure = _unfinished(text, tail) or _stated_error(text, folder, tail)
    if failure is not None:
        raise failure
    check_ending(ending, folder, OUTPUT_NAME)
    if "PROGRAM STOPPED IN" not in text.rpartition("PROGRAM ENDED AT")[2] or "PROGRAM ENDED AT" not in text:
        raise corrupt(f"{OUTPUT_NAME} breaks off before its end", tail)


def _unfinished(text: str, tail: str) -> EngineFailure | None:
    if "exceeded requested execution time" in text:
        return stopped_in_time(tail)
    rows = re.findall(STEP, text, re.MULTILINE)
    if any("nan" in word.lower() or "inf" in word.lower() or "*" in word for row in rows for word in row):
        return EngineFailure(FailureKind.DIVERGED, "the cycle diverged (not a number); use gentler mixing", tail)
    if "SCF run NOT converged" not in text:
        return None
    return unconverged([float(row[1]) for row in rows], "(density matrix)", tail)


def _stated_error(text: str, folder: Path, tail: str) -> EngineFailure | None:
    found = re.search(r"\[ABORT\](.*?)\n \*{79}", text, re.DOTALL)
    if found is not None:
        # A box with a drawing at its left and the place in the sources at its end.
        words = [
            re.sub(r"^ \*(?:  \\___/|    \||  O/\||/\| \|| / \\)?|\*$", "", line) for line in found[1].splitlines()
        ]
        stated = " ".join(" ".join(words).replace("/| |", "").replace("/ \\", "").split())
        return classify("CP2K", stated, _ERRORS, tail)
    if "PROGRAM ENDED AT" in text:
        return None
    errors = log_tail(folder / STDERR_NAME)
    stated = runtime_error(errors)
    return classify("CP2K", stated, _ERRORS, errors) if stated else None
