"""How VASP fails, as told by its output: unfinished, unconverged, and its errors by their words."""

from __future__ import annotations

import re
from pathlib import Path

from hpcmat.engines.base import EngineFailure, log_tail
from hpcmat.engines.external.calculation import corrupt, read_output, text_of
from hpcmat.engines.external.engine import check_ending
from hpcmat.engines.external.errors import ErrorTable, classify, runtime_error, unconverged
from hpcmat.engines.external.run import STDERR_NAME, Ending
from hpcmat.records import FailureKind

LOG_NAME, OUTPUT_NAME = "vasp.log", "OUTCAR"
_END = "Voluntary context switches:"
_STATED = re.compile(
    r"VERY BAD NEWS! internal error in subroutine.*|Error EDDDAV:.*|Error EDDRMM:.*|EDWAV: internal error.*"
    r"|Sub-Space-Matrix is not hermitian.*|LAPACK: Routine ZPOTRF failed.*|BRMIX: very serious problems.*"
    r"|ZBRENT: fatal error.*|TOO FEW BANDS.*|POSMAP internal error.*|ERROR.*"
)
_ERRORS: ErrorTable = (
    (r"edddav|eddrmm|edwav|sub-space|zpotrf|zhegv", FailureKind.DIAGONALIZATION, "the eigensolver failed; use another"),
    (r"brmix", FailureKind.DIVERGED, "the density lost its electrons; use gentler mixing"),
    (r"posmap|sgrcon|ibzkpt|pricel|rotmat|inverse lattice", FailureKind.SYMMETRY, "leave symmetry out"),
    (r"too few bands", FailureKind.BAD_SETTINGS, "set more bands in engine.extra"),
    (r"incar|potcar|poscar|kpoints|not recognized|reading", FailureKind.BAD_SETTINGS, "correct the engine's settings"),
)  # fmt: skip


def check_failures(folder: Path, ending: Ending, steps: list[float], limit: int) -> None:
    """Raise `EngineFailure` for a run that is not finished and converged.

    Parameters
    ----------
    steps : change of the energy in each step of the cycle, eV; after `limit` steps VASP goes on without a word.
    """
    said, log = text_of(folder / LOG_NAME), log_tail(folder / LOG_NAME)
    # It goes on without the missing bands: the warning may stand anywhere.
    found = _STATED.search(said)
    stated = (
        " ".join(found[0].strip(" |").split()) if found else runtime_error(f"{said}\n{log_tail(folder / STDERR_NAME)}")
    )
    if stated:
        raise classify("VASP", stated, _ERRORS, log)
    check_ending(ending, folder, LOG_NAME)
    text = read_output(folder / OUTPUT_NAME)
    if _END not in text:
        raise corrupt(f"{OUTPUT_NAME} breaks off before its end", log_tail(folder / OUTPUT_NAME))
    if "aborting loop because EDIFF is reached" not in text or len(steps) > limit:
        raise unconverged([abs(step) for step in steps], "eV", log)


def not_finished(folder: Path, ending: Ending, reason: str) -> EngineFailure:
    """Failure of a run whose results cannot be read: what VASP says, or else a damaged file."""
    try:
        check_failures(folder, ending, [], 1)
    except EngineFailure as failure:
        return failure
    return corrupt(reason, log_tail(folder / LOG_NAME))
