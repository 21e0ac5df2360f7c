"""How pw.x fails, as told by its output: unfinished, unconverged, and its errors by their words."""

from __future__ import annotations

import re
from pathlib import Path

from hpcmat.engines.base import EngineFailure, log_tail
from hpcmat.engines.external.calculation import corrupt, text_of
from hpcmat.engines.external.engine import check_ending
from hpcmat.engines.external.errors import ErrorTable, classify, runtime_error, stopped_in_time, unconverged
from hpcmat.engines.external.run import STDERR_NAME, Ending
from hpcmat.records import FailureKind

CODE_NAME, OUTPUT_NAME = "pw.x", "pw.out"
_END = "JOB DONE.\n=" + 78 * "-" + "="

_ERRORS: ErrorTable = (
    (r"more bands than PWs", FailureKind.BAD_SETTINGS,
     "the cutoff is below what the bands need; raise engine.cutoff_ev"),
    (r"too few bands|not enough bands", FailureKind.TOO_FEW_BANDS, "use more bands"),
    (r"charge is wrong|odd number of electrons|smearing is needed", FailureKind.BAD_SETTINGS,
     "fixed occupations do not fit a metal; set engine.smearing_ev"),
    (r"cholesky|cdiaghg|rdiaghg|diagonaliz|c_bands|regterg|cegterg|bands are not converged",
     FailureKind.DIAGONALIZATION, "the eigensolver failed; use another one"),
    (r"sym|rotation|kpoint_grid|divide_class", FailureKind.SYMMETRY,
     "the symmetry analysis failed; leave symmetry out"),
    (r"davcio", FailureKind.CRASH, "a file of its own cannot be read; run it again"),
    (r"readpp|read_upf|upf|pseudo|namelist|card|reading|input|from .* : ?bad|not allowed|not implemented|ecut",
     FailureKind.BAD_SETTINGS, "the input is refused; correct the engine's settings"),
)  # fmt: skip


def check_failures(folder: Path, ending: Ending) -> None:
    """Raise `EngineFailure` for an output that is not that of a finished and converged calculation.

    `NOT_CONVERGED`, `DIVERGED` (sloshing, NaN), `WALLTIME` (it stopped by itself, and can be gone on with),
    `DIAGONALIZATION`, `SYMMETRY`, `BAD_SETTINGS`, `OUT_OF_MEMORY`, `DISK_FULL`, `CRASH`, or `CORRUPT_OUTPUT` for an
    output that breaks off although the program ended well.
    """
    text, tail = text_of(folder / OUTPUT_NAME), log_tail(folder / OUTPUT_NAME)
    whole = text.rstrip().endswith(_END)
    stated = _stated(text) or ("" if whole else runtime_error(log_tail(folder / STDERR_NAME)))
    if stated:
        raise classify(CODE_NAME, stated, _ERRORS, tail)
    failure = _unconverged(text, tail)
    if failure is not None:
        raise failure
    check_ending(ending, folder, OUTPUT_NAME)
    if not whole:
        raise corrupt(f"{OUTPUT_NAME} breaks off before its end", tail)


def _stated(text: str) -> str:
    """What the code says where it stops by itself with an error."""
    found = re.search(r"Error in routine\s+(.*?)\n(.*?)(?:\n\s*%%%|\n\s*\n|\Z)", text, re.DOTALL)
    return " ".join(" ".join(found.groups()).split()) if found else runtime_error(text)


def _unconverged(text: str, tail: str) -> EngineFailure | None:
    if "Maximum CPU time exceeded" in text:
        return stopped_in_time(tail)
    if re.search(r"(?:total energy|scf accuracy).*(?:NaN|Infinity|\*\*\*\*)", text):
        return EngineFailure(FailureKind.DIVERGED, "the cycle diverged (not a number); use gentler mixing", tail)
    if "convergence NOT achieved" not in text:
        return None
    accuracy = [float(word) for word in re.findall(r"estimated scf accuracy\s+<\s+(\d[\d.E+-]*) Ry", text)]
    return unconverged(accuracy, "Ry", tail)
