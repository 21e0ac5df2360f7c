"""Whether an engine's forces and stress are the derivatives of its energy: finite differences along random directions.

A random direction has a part along every component, so that one wrong component shows. Strains keep the volume: with
a fixed cutoff the basis changes with the volume, and energies then contain what the stress of codes leaves out (Pulay
stress; Francis and Payne, J. Phys.: Condens. Matter 2, 4395 (1990)).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcmat.engines.base import EngineFailure
from hpcmat.engines.kpoints import kpoint_grid
from hpcmat.engines.settings import EngineSettings
from hpcmat.engines.study.calculations import calculate
from hpcmat.errors import InputError
from hpcmat.records import Label, Structure
from hpcmat.units import GPA_PER_EV_PER_ANG3

Array = NDArray[np.float64]

CUTOFF_FACTOR = 2.0
DISPLACEMENT_ANG = 0.01
STRAIN = 0.005
RATTLE_ANG, SHEAR = 0.05, 0.02
"""Of the structure at which derivatives are compared: without symmetry, no component is zero by itself."""
FORCE_TOLERANCE, FORCE_FLOOR_EV_PER_ANG = 0.01, 0.005
STRESS_TOLERANCE, STRESS_FLOOR_GPA = 0.03, 0.1


@dataclass(frozen=True, slots=True)
class Comparison:
    """One derivative: what the engine gives and what its energies give, in `unit`."""

    quantity: str
    stated: float
    differences: float
    unit: str
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether both are the same within the tolerance."""
        return abs(self.stated - self.differences) <= self.tolerance


def verify(settings: EngineSettings, structure: Structure, folder: Path, seed: int = 0) -> tuple[Comparison, ...]:
    """Compare forces and, where the engine gives one, stress with finite differences, in five calculations.

    A single atom has no force, and its crystal the stress alone.

    At a low cutoff the two differ because the basis changes with the cell: give `tight_settings`, since what is in
    question is the code. Calculations go through the acceptance and the failure ladder of a campaign.

    Parameters
    ----------
    structure : any small cell; it is rattled and sheared.
    folder : where the calculations are made, each in a folder of its own.

    Raises
    ------
    EngineFailure
        One of the calculations failed.
    InputError
        The grid of k-points would change with the strain.
    """
    rng = np.random.default_rng(seed)
    base = _without_symmetry(structure, rng)
    label = _labels(settings, [base], folder / "base")[0]
    comparisons = [_force(settings, label, folder / "displaced", rng)] if len(base) > 1 else []
    if label.stress.size:
        comparisons.append(_stress(settings, label, folder / "strained", rng))
    return tuple(comparisons)


def tight_settings(settings: EngineSettings) -> EngineSettings:
    """The same with twice the cutoff, where there is one."""
    cutoff = getattr(settings, "cutoff_ev", None)
    return settings if cutoff is None else settings.model_copy(update={"cutoff_ev": CUTOFF_FACTOR * cutoff})


def _force(settings: EngineSettings, label: Label, folder: Path, rng: np.random.Generator) -> Comparison:
    base = label.structure
    direction = _unit(rng.normal(size=base.positions.shape), centred=True)
    ends = [_displaced(base, sign * DISPLACEMENT_ANG * direction) for sign in (1.0, -1.0)]
    energies = _energies(settings, ends, folder)
    stated = float(np.sum(label.forces * direction))
    tolerance = FORCE_FLOOR_EV_PER_ANG + FORCE_TOLERANCE * abs(stated)
    force = -(energies[0] - energies[1]) / (2.0 * DISPLACEMENT_ANG)
    return Comparison("force along a random direction", stated, force, "eV/Å", tolerance)


def _stress(settings: EngineSettings, label: Label, folder: Path, rng: np.random.Generator) -> Comparison:
    base = label.structure
    strain = rng.normal(size=(3, 3))
    strain = strain + strain.T
    strain = _unit(strain - np.trace(strain) / 3.0 * np.eye(3))
    ends = [strained(base, sign * STRAIN * strain) for sign in (1.0, -1.0)]
    _check_grids(settings, [base, *ends])
    energies = _energies(settings, ends, folder)
    volume = abs(float(np.linalg.det(base.cell)))
    differences = (energies[0] - energies[1]) / (2.0 * STRAIN * volume) * GPA_PER_EV_PER_ANG3
    xx, yy, zz, yz, xz, xy = label.stress * GPA_PER_EV_PER_ANG3
    stated = float(np.sum(strain * np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])))
    tolerance = STRESS_FLOOR_GPA + STRESS_TOLERANCE * abs(stated)
    return Comparison("stress along a random shear", stated, differences, "GPa", tolerance)


def strained(structure: Structure, strain: Array) -> Structure:
    """The structure under a symmetric strain (3, 3): r → (1 + ε) r for cell and positions."""
    change = np.eye(3) + strain
    return replace(structure, positions=structure.positions @ change, cell=structure.cell @ change)


def _without_symmetry(structure: Structure, rng: np.random.Generator) -> Structure:
    shear = np.array([[0.0, 1.0, -0.7], [1.0, 0.0, 0.4], [-0.7, 0.4, 0.0]]) * SHEAR
    sheared = strained(structure, shear)
    return _displaced(sheared, rng.normal(scale=RATTLE_ANG, size=structure.positions.shape))


def _displaced(structure: Structure, displacements: Array) -> Structure:
    return replace(structure, positions=structure.positions + displacements)


def _energies(settings: EngineSettings, structures: list[Structure], folder: Path) -> list[float]:
    return [label.energy for label in _labels(settings, structures, folder)]


def _labels(settings: EngineSettings, structures: list[Structure], folder: Path) -> list[Label]:
    calculated = calculate(settings, structures, folder)
    for _, failure in calculated.failures:
        raise EngineFailure(failure.failure, failure.message, failure.log_tail)
    return [label for label in calculated.labels if label is not None]


def _unit(direction: Array, centred: bool = False) -> Array:
    if centred:
        direction = direction - direction.mean(axis=0)
    result: Array = direction / np.linalg.norm(direction)
    return result


def _check_grids(settings: EngineSettings, structures: list[Structure]) -> None:
    spacing = getattr(settings, "kpoint_spacing_per_ang", None)
    if spacing is not None and len(set(_grids(structures, spacing))) > 1:
        raise InputError(
            "the grid of k-points changes under a strain of 0.5 %, so that energies cannot be compared; "
            "change engine.kpoint_spacing_per_ang by some percent"
        )


def _grids(structures: list[Structure], spacing: float) -> Iterator[tuple[int, int, int]]:
    return (kpoint_grid(structure.cell, spacing) for structure in structures)
