"""How ABINIT fails, as told by its output and log: unfinished, unconverged, and its errors by their words."""

from __future__ import annotations

import re
from pathlib import Path

from hpcmat.engines.base import log_tail
from hpcmat.engines.external.calculation import corrupt
from hpcmat.engines.external.engine import check_ending
from hpcmat.engines.external.errors import ErrorTable, classify, runtime_error, unconverged
from hpcmat.engines.external.run import STDERR_NAME, Ending

LOG_NAME, OUTPUT_NAME = "log.txt", "run.abo"
_END = "Calculation completed."

_ERRORS: ErrorTable = ()


def check_failures(folder: Path, ending: Ending) -> None:
    """Raise `EngineFailure` for a run that is not finished and converged."""
    output, log = (_text(folder / name) for name in (OUTPUT_NAME, LOG_NAME))
    tail = log_tail(folder / LOG_NAME)
    found = re.search(r"--- !(?:ERROR|BUG)\n.*?message: \|\n(.*?)\.\.\.", log, re.DOTALL)
    stated = " ".join(found[1].split()) if found else runtime_error(log_tail(folder / STDERR_NAME))
    if stated:
        raise classify("ABINIT", stated, _ERRORS, tail)
    if "was not enough SCF cycles to converge" in output:
        residuals = [float(row) for row in re.findall(r"^ ETOT(?:\s+\S+){4}\s+(\S+)", output, re.MULTILINE)]
        raise unconverged(residuals, "Ha (residual)", tail)
    check_ending(ending, folder, LOG_NAME)
    if _END not in output:
        raise corrupt(f"{OUTPUT_NAME} breaks off before its end", tail)


def _text(path: Path) -> str:
    """What there is of a file; nothing if it is missing, as after a crash at the start."""
    return path.read_text(errors="replace") if path.is_file() else ""
