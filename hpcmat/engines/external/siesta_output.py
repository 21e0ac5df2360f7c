"""What SIESTA wrote: a label where `FORCE_STRESS` and the output agree and are complete, else the failure.

ASE reads both. `FORCE_STRESS` has the digits; the output confirms them with fewer, and says whether the cycle
converged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from hpcmat.engines.base import log_tail
from hpcmat.engines.external.calculation import Calculation, corrupt, only, read_output
from hpcmat.engines.external.engine import check_ending, check_version
from hpcmat.engines.external.errors import ErrorTable, classify, runtime_error, unconverged
from hpcmat.engines.external.run import STDERR_NAME, Ending
from hpcmat.records import FailureKind, Label
from hpcmat.units import ANG_PER, EV_PER

Array = NDArray[np.float64]

LABEL = "siesta"
OUTPUT_NAME, FORCES_NAME = f"{LABEL}.out", "FORCE_STRESS"
_PRINTED = 1.1e-6
"""Last digit of energies, forces and stresses in the output (eV, Å)."""
_UNITS = ((13.60580, 0.529177), (EV_PER["ry"], ANG_PER["bohr"]))
"""eV and Å in SIESTA's Ry and bohr: those of version 4, and those of CODATA."""
_RY_PER_BOHR, _RY_PER_BOHR3 = (EV_PER["ry"] / ANG_PER["bohr"] ** power for power in (1, 3))
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
        version = only(r"^\s*(?:Siesta )?Version\s*:\s*(?:siesta-)?v?(\d+\.\S+)$", text)
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
    block = _after(text, "siesta: Atomic forces (eV/Ang):")
    again = re.findall(r"^siesta:\s+(\d+)" + 3 * _NUMBER + "$", block, re.MULTILINE)[: len(forces)]
    _confirm("forces", forces / _RY_PER_BOHR, [row[1:] for row in again], [ry / bohr for ry, bohr in _UNITS])
    block = _after(text, "siesta: Stress tensor (static) (eV/Ang**3):")
    rows = re.findall(r"^siesta:" + 3 * _NUMBER + "$", block, re.MULTILINE)[:3]
    matrix = stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3) / _RY_PER_BOHR3
    _confirm("stress", matrix, rows, [ry / bohr**3 for ry, bohr in _UNITS])
    wanted = calculation.engine.stress  # type: ignore[union-attr]
    return Label(
        structure=calculation.structure,
        energy=energy,
        forces=forces,
        stress=stress if wanted else np.zeros(0),
        method=calculation.method,
        energy_kind="free",
        scf_steps=int(only(r"SCF cycle converged after\s+(\d+) iterations", text)),
        notes=(f"SIESTA {version}",),
    )


def _energy(folder: Path, text: str) -> float:
    """eV; the first line of `FORCE_STRESS`, in Ry, confirmed by the free energy of the output."""
    energy = float(read_output(folder / FORCES_NAME).splitlines()[0])
    stated = re.findall(r"^siesta: FreeEng\s+=\s+(-?\d+\.\d+)$", text, re.MULTILINE)
    _confirm("energy", np.array([energy]), stated[-1:], [ry for ry, _ in _UNITS])
    return energy * EV_PER["ry"]


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


def _confirm(name: str, ours: Array, printed: Sequence[object], units: list[float]) -> None:
    """Refuse numbers in atomic units that in no unit of SIESTA are those printed."""
    theirs = np.array(printed, dtype=float)
    if theirs.shape != ours.shape or not any(np.all(abs(theirs - ours * unit) <= _PRINTED) for unit in units):
        raise ValueError(f"they contradict each other in the {name}")


def _after(text: str, heading: str) -> str:
    return text[text.rindex(heading) :]
