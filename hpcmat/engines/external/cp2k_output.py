"""What CP2K wrote: a label where its output and its copy for SCINE agree and are complete, else the failure.

Every number of a label is printed in `cp2k.out` and confirmed: energy, forces and structure by the file that CP2K
writes for SCINE, stresses by their symmetry, trace and eigenvalues. A damaged digit is a contradiction, not another
label.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from hpcmat.engines.base import EngineFailure, log_tail
from hpcmat.engines.external.calculation import Calculation, corrupt, only, read_output, text_of
from hpcmat.engines.external.cp2k_failures import OUTPUT_NAME, STEP, check_failures
from hpcmat.engines.external.cp2k_input import Geometry, geometry_of, grid_of
from hpcmat.engines.external.engine import check_version
from hpcmat.engines.external.run import Ending
from hpcmat.engines.settings.cp2k import Cp2kSettings
from hpcmat.records import Label
from hpcmat.units import ANG_PER, EV_PER, GPA_PER_EV_PER_ANG3

Array = NDArray[np.float64]

SCINE_NAME = "cp2k-1_0.scine"
_ROUNDING = 0.51e-12
"""Half of the last digit of the energy (Hartree) that both files print."""
_STRESS_ROUNDING = 1e-10
"""Relative to the largest component, of which twelve digits are printed."""
_NUMBER = r"(-?\d+\.\d+(?:E[+-]\d+)?)"


@dataclass(frozen=True, slots=True, eq=False)
class _Copy:
    """What the file for SCINE says: Hartree, Hartree/bohr (it calls the force a gradient), Å."""

    energy: float
    forces: Array
    symbols: tuple[str, ...]
    geometry: Geometry


def read_label(calculation: Calculation, folder: Path, ending: Ending) -> Label:
    """The label of one run of CP2K.

    Raises
    ------
    EngineFailure
        See `check_failures`; `CORRUPT_OUTPUT` too where the two files are not complete or contradict each other.
    """
    check_failures(text_of(folder / OUTPUT_NAME), folder, ending)
    text = read_output(folder / OUTPUT_NAME)
    tail = log_tail(folder / OUTPUT_NAME)
    try:
        check_version(only(r"CP2K\| version string:\s+CP2K version (\S+)", text), calculation)
        return _label(calculation, text, _copy(read_output(folder / SCINE_NAME)))
    except (ValueError, IndexError) as error:
        raise corrupt(f"{OUTPUT_NAME} and {SCINE_NAME} are not both whole ({error})", tail) from error
    except EngineFailure as failure:
        raise EngineFailure(failure.kind, failure.message, tail) from failure


def _label(calculation: Calculation, text: str, copy: _Copy) -> Label:
    settings = calculation.engine
    assert isinstance(settings, Cp2kSettings)
    geometry = geometry_of(calculation.structure)
    _check_geometry(calculation, geometry, copy)
    _check_grid(text, grid_of(geometry, settings))
    energy, forces = _energy(text), _forces(text, len(calculation.structure))
    if abs(energy - copy.energy) > _ROUNDING or not np.array_equal(forces, copy.forces):
        raise ValueError("they contradict each other in energy or forces")
    revision = only(r"CP2K\| source code revision number:\s+(\S+)", text)
    flags = only(r"CP2K\| cp2kflags: (.*)", text).strip()
    return Label(
        structure=calculation.structure,
        # The digits that both files have.
        energy=copy.energy * EV_PER["ha"],
        forces=forces * (EV_PER["ha"] / ANG_PER["bohr"]),
        stress=_stress(text) if settings.stress and geometry.periodic else np.zeros(0),
        method=calculation.method,
        energy_kind="free",
        scf_steps=_steps(text),
        notes=(f"CP2K {calculation.method.version} {revision}, {flags}",),
    )


def _energy(text: str) -> float:
    return float(only(r"^ ENERGY\| Total FORCE_EVAL \( QS \) energy \[.*\]:\s+" + _NUMBER + "$", text))


def _forces(text: str, n_atoms: int) -> Array:
    lines = text[text.index(" ATOMIC FORCES in [a.u.]") :].splitlines()[3:]
    rows = [re.fullmatch(r"\s+(\d+)\s+\d+\s+[A-Z][a-z]?" + 3 * (r"\s+" + _NUMBER), line) for line in lines[:n_atoms]]
    if [int(row[1]) for row in rows if row] != list(range(1, n_atoms + 1)) or "SUM OF ATOMIC FORCES" not in lines[
        n_atoms
    ]:
        raise ValueError("forces of some atoms are missing")
    return np.array([[float(word) for word in row.groups()[1:]] for row in rows if row])


def _stress(text: str) -> Array:
    """Voigt components in eV/Å³, positive under tension; CP2K's are in GPa, positive under pressure."""
    rows = re.findall(r"^ STRESS\|\s+([xyz])" + 3 * (r"\s+" + _NUMBER) + "$", text, re.MULTILINE)
    if [row[0] for row in rows] != list("xyzxyz"):
        raise ValueError("rows of the stress are missing")
    matrix = np.array([[float(word) for word in row[1:]] for row in rows[:3]])
    eigenvalues = only(r"^ STRESS\| Eigenvalues((?:\s+" + _NUMBER.replace("(-", "(?:-") + r"){3})$", text).split()
    trace = float(only(r"^ STRESS\| 1/3 Trace\s+" + _NUMBER + "$", text))
    scale = float(np.max(np.abs(matrix)))
    same = (
        np.array_equal(matrix, matrix.T)
        and abs(np.trace(matrix) / 3.0 - trace) <= _STRESS_ROUNDING * scale
        and np.allclose(
            np.linalg.eigvalsh(matrix), np.array(eigenvalues, dtype=float), rtol=0, atol=_STRESS_ROUNDING * scale
        )
    )
    if not same:
        raise ValueError("the stress contradicts itself")
    return np.array(full_3x3_to_voigt_6_stress(-matrix / GPA_PER_EV_PER_ANG3), dtype=np.float64)


def _steps(text: str) -> int:
    stated = int(only(r"\*\*\* SCF run converged in\s+(\d+) steps \*\*\*", text))
    rows = [int(row[0]) for row in re.findall(STEP, text, re.MULTILINE)]
    if rows != list(range(1, stated + 1)):
        raise ValueError("steps of the cycle are missing")
    return stated


def _check_grid(text: str, grid: tuple[int, int, int]) -> None:
    found = re.findall(r"^ BRILLOUIN\| K-Point grid\s+(\d+)\s+(\d+)\s+(\d+)$", text, re.MULTILINE)
    if found != ([tuple(map(str, grid))] if grid != (1, 1, 1) else []):
        raise ValueError("another grid of k-points")


def _check_geometry(calculation: Calculation, geometry: Geometry, copy: _Copy) -> None:
    """The calculation must be of the structure asked for: an output of another one is whole, too."""
    found = copy.geometry
    same = (
        copy.symbols == calculation.structure.symbols
        and found.periodic == geometry.periodic
        and np.allclose(found.positions, geometry.positions, rtol=0, atol=1e-8)
        and np.allclose(found.cell, geometry.cell, rtol=0, atol=1e-8)
    )
    if not same:
        raise ValueError("the output is of another structure")


def _copy(text: str) -> _Copy:
    energy = float(only(r"^energy: \[\s*" + _NUMBER + r", 'hartree' \]$", text))
    head, _, gradient = text.partition("\ngradient:\n unit: 'hartree/bohr'\n values: \n")
    lattice, _, coordinates = head.partition("\n coordinates: \n")
    # Symbols of one letter have a colon, those of two have none; so that B and C may be atoms or lattice vectors.
    row = r"^   - ([A-Z][a-z]?):?\s+\[" + ",".join(3 * [r"\s*" + _NUMBER]) + r" \]$"
    cell, atoms, forces = (re.findall(row, part, re.MULTILINE) for part in (lattice, coordinates, gradient))
    if [vector[0] for vector in cell] != list("ABC") or [atom[0] for atom in atoms] != [force[0] for force in forces]:
        raise ValueError("lattice vectors or atoms are missing")
    periodic = only(r"^ periodicity:  \[ ([TF], [TF], [TF]) \]$", lattice) == "T, T, T"
    symbols = tuple(atom[0] for atom in atoms)
    return _Copy(energy, _vectors(forces), symbols, Geometry(_vectors(cell), _vectors(atoms), periodic))


def _vectors(rows: list[tuple[str, ...]]) -> Array:
    return np.array([[float(word) for word in row[1:]] for row in rows])
