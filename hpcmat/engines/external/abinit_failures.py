"""How ABINIT fails, as told by its output and log: unfinished, unconverged, and its errors by their words."""

from __future__ import annotations

import re
from pathlib import Path

from hpcmat.engines.base import EngineFailure, log_tail
from hpcmat.engines.external.calculation import corrupt, text_of
from hpcmat.engines.external.engine import check_ending
from hpcmat.engines.external.errors import ErrorTable, classify, runtime_error, stopped_in_time, unconverged
from hpcmat.engines.external.run import STDERR_NAME, Ending
from hpcmat.records import FailureKind

LOG_NAME, OUTPUT_NAME = "log.txt", "run.abo"
_END = "Calculation completed."

_ERRORS: ErrorTable = (
    (r"number of bands.*number of planewaves", FailureKind.BAD_SETTINGS,
     "the cutoff is below what the bands need; raise engine.cutoff_ev"),
    (r"not enough bands|number of bands|nband", FailureKind.TOO_FEW_BANDS, "use more bands"),
    (r"symmetry.break|not symmetric|symmetr|symkpt|tnons|gbl_", FailureKind.SYMMETRY,
     "the symmetry analysis failed; leave symmetry out"),
    (r"eigen|zhegv|zheev|cholesky|lapack|cgwf|lobpcg", FailureKind.DIAGONALIZATION,
     "the eigensolver failed; use another one"),
    (r"consistency of input|input variable|input file|pseudopot|psp|not allowed", FailureKind.BAD_SETTINGS,
     "the input is refused; correct the engine's settings"),
)  # fmt: skip


def check_failures(folder: Path, ending: Ending) -> None:
    """Raise `EngineFailure` for a run that is not finished and converged."""
    output, log = text_of(folder / OUTPUT_NAME), text_of(folder / LOG_NAME)
    tail = log_tail(folder / LOG_NAME)
    stated = _stated(log) or runtime_error(log_tail(folder / STDERR_NAME))
    if stated:
        raise classify("ABINIT", stated, _ERRORS, tail)
    if "Approaching time limit" in log and "was not enough SCF cycles to converge" in output:
        raise stopped_in_time(tail)
    if "was not enough SCF cycles to converge" in output:
        residuals = [float(row) for row in re.findall(r"^ ETOT(?:\s+\S+){4}\s+(\S+)", output, re.MULTILINE)]
        raise unconverged(residuals, "Ha (residual)", tail)
    check_ending(ending, folder, LOG_NAME)
    if _END not in output or _END not in log:
        raise corrupt(f"{OUTPUT_NAME} breaks off before its end", tail)
    # It goes on without the missing bands and warns in its log alone, in the steps in which bands still change.
    if "Action: increase slightly the number of bands" in log:
        raise EngineFailure(FailureKind.TOO_FEW_BANDS, "the highest band is occupied; use more bands", tail)


def _stated(log: str) -> str:
    """What the code says where it stops by itself with an error; what is wrong with refused input stands before."""
    found = re.search(r"--- !(?:ERROR|BUG|\w+Error)\n.*?message: \|\n(.*?)\.\.\.", log, re.DOTALL)
    if found is None:
        return ""
    details = re.search(r"^ \w+: ERROR -\n(.*?)\n\s*\n", log, re.DOTALL | re.MULTILINE)
    return " ".join(f"{details[1] if details else ''} {found[1]}".split())
