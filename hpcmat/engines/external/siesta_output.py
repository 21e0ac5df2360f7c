"""What SIESTA wrote: a label where `FORCE_STRESS` and the output agree and are complete, else the failure.

ASE reads both. `FORCE_STRESS` has the digits; the output confirms them with fewer, and says whether the cycle
converged.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from hpcmat.engines.base import log_tail
from hpcmat.engines.external.calculation import Calculation, corrupt, read_output
from hpcmat.engines.external.engine import check_ending, check_version
from hpcmat.engines.external.errors import ErrorTable, classify, runtime_error, unconverged
from hpcmat.engines.external.run import STDERR_NAME, Ending
from hpcmat.records import FailureKind, Label
from hpcmat.units import EV_PER

Array = NDArray[np.float64]

LABEL = "siesta"
OUTPUT_NAME, FORCES_NAME = f"{LABEL}.out", "FORCE_STRESS"
_PRINTED = 0.51e-6
"""Half of the last digit of energies, forces and stresses in the output (eV, Å)."""
_FACTOR = 2e-5
"""Part by which eV of SIESTA and ours may differ: its constants are older."""
_NUMBER = r"\s+(-?\d+\.\d+)"
_ERRORS: ErrorTable = (
    (r"scf_not_conv|not converge", FailureKind.NOT_CONVERGED, "use gentler mixing or more steps"),
    (r"diag|cholesky|eigen", FailureKind.DIAGONALIZATION, "the eigensolver failed; use another one"),
    (r"alloc|memory", FailureKind.OUT_OF_MEMORY, "give the task more memory"),
    (r"pseudo|fdf|basis|species|xc|kgrid|coordinates", FailureKind.BAD_SETTINGS, "correct the engine's settings"),
)  # fmt: skip


def read_label(calculation: Calculation, folder: Path, ending: Ending) -> Label:
    """The label of one run of SIESTA.

    Raises
    ------
    EngineFailure
        `NOT_CONVERGED`, `DIAGONALIZATION`, `BAD_SETTINGS`, `OUT_OF_MEMORY`, `CRASH`, or `CORRUPT_OUTPUT` where the two
        files are not complete or contradict each other.
    """
    text, tail = read_output(folder / OUTPUT_NAME), log_tail(folder / OUTPUT_NAME)
    _check_failures(text, folder, ending)
    try:
        version = _only(r"^\s*(?:Siesta )?Version\s*:\s*(?:siesta-)?v?(\d+\.\S+)$", text)
        check_version(version, calculation)
        return _label(calculation, folder, text, version)
    except (ValueError, IndexError, AssertionError, UnboundLocalError) as error:
        raise corrupt(f"{OUTPUT_NAME} and {FORCES_NAME} are not both whole ({error})", tail) from error


def _check_failures(text: str, folder: Path, ending: Ending) -> None:
    tail = log_tail(folder / OUTPUT_NAME)
    if "SCF_NOT_CONV" in text or "SCF did not converge" in text:
        steps = [float(row) for row in re.findall(r"^\s+scf:\s+\d+(?:\s+\S+){3}\s+(\d+\.\d+)", text, re.MULTILINE)]
        raise unconverged(steps, "(density matrix)", tail)
    found = re.search(r"^(?:ERROR:?|Stopping Program|.*\bFATAL\b).*$", text, re.MULTILINE)
    stated = " ".join(found[0].split()) if found else runtime_error(log_tail(folder / STDERR_NAME))
    if stated:
        raise classify("SIESTA", stated, _ERRORS, tail)
    check_ending(ending, folder, OUTPUT_NAME)
    if "Job completed" not in text or "SCF cycle converged" not in text:
        raise corrupt(f"{OUTPUT_NAME} breaks off before its end", tail)


def _label(calculation: Calculation, folder: Path, text: str, version: str) -> Label:
    from ase.io.siesta_output import OutputReader

    _check_structure(calculation, folder, text)
    reader: Any = OutputReader(LABEL, folder)
    energy = _energy(folder, text)
    results = reader.read_forces_stress()
    forces, stress = np.array(results["forces"]), np.array(results["stress"])
    again = re.findall(
        r"^siesta:\s+(\d+)" + 3 * _NUMBER + "$", _after(text, "siesta: Atomic forces (eV/Ang):"), re.MULTILINE
    )
    _confirm("forces", forces, [row[1:] for row in again[: len(forces)]])
    rows = re.findall(
        r"^siesta:" + 3 * _NUMBER + "$", _after(text, "siesta: Stress tensor (static) (eV/Ang**3):"), re.MULTILINE
    )
    matrix = stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)
    _confirm("stress", matrix, rows[:3])
    wanted = calculation.engine.stress  # type: ignore[union-attr]
    return Label(
        structure=calculation.structure,
        energy=energy,
        forces=forces,
        stress=stress if wanted else np.zeros(0),
        method=calculation.method,
        energy_kind="free",
        scf_steps=int(_only(r"SCF cycle converged after\s+(\d+) iterations", text)),
        notes=(f"SIESTA {version}",),
    )


def _energy(folder: Path, text: str) -> float:
    """eV; the first line of `FORCE_STRESS`, in Ry, confirmed by the free energy of the output."""
    energy = float(read_output(folder / FORCES_NAME).splitlines()[0]) * EV_PER["ry"]
    stated = [float(word) for word in re.findall(r"^siesta: (?:FreeEng|Etot)\s+=\s+(-?\d+\.\d+)$", text, re.MULTILINE)]
    if not stated or min(abs(energy - other) for other in stated) > _PRINTED + _FACTOR * abs(energy):
        raise ValueError("they contradict each other in the energy")
    return energy


def _check_structure(calculation: Calculation, folder: Path, text: str) -> None:
    """Number and kinds of the atoms, and their positions as the output repeats them."""
    structure = calculation.structure
    lines = read_output(folder / FORCES_NAME).splitlines()[5:]
    kinds = [int(line.split()[1]) for line in lines]
    block = _after(text, "outcoor: Atomic coordinates (Ang):").splitlines()[1 : len(structure) + 1]
    positions = np.array([[float(word) for word in line.split()[:3]] for line in block])
    same = kinds == [atomic_numbers[symbol] for symbol in structure.symbols] and np.allclose(
        positions, structure.positions, rtol=0, atol=1e-6
    )
    if not same:
        raise ValueError("the output is of another structure")


def _confirm(name: str, ours: Array, printed: list[tuple[str, ...]]) -> None:
    theirs = np.array(printed, dtype=float)
    if theirs.shape != ours.shape or not np.all(abs(theirs - ours) <= _PRINTED + _FACTOR * abs(ours)):
        raise ValueError(f"they contradict each other in the {name}")


def _after(text: str, heading: str) -> str:
    return text[text.rindex(heading) :]


def _only(pattern: str, text: str) -> str:
    found = re.findall(pattern, text, re.MULTILINE)
    if len(found) != 1:
        raise ValueError(f"{len(found)} lines instead of one for {pattern!r}")
    return str(found[0])
