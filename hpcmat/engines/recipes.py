"""Recipes: properties of a crystal as a series of labels, each of which is a task of its own.

A recipe is a generator. It yields the structures it needs next and is sent their labels; what it returns are the
properties. It has no other input, so that it can be run again from its first line at any time: labels that exist are
handed to it at once, and it stops where one is missing. Whoever drives it needs to remember nothing, a label is never
paid for twice, and those of one round can be computed at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase.cell import Cell
from numpy.typing import NDArray
from pydantic import Field

from hpcmat.engines.settings import Positive, StrictModel
from hpcmat.errors import InputError
from hpcmat.records import Label, Structure
from hpcmat.surrogates.equation_of_state import EquationOfState, fit_equation_of_state
from hpcmat.units import GPA_PER_EV_PER_ANG3

Floats = NDArray[np.float64]
Property = Literal["bulk_modulus_gpa", "lattice_constant_ang", "volume_ang3", "energy_ev", "density_g_cm3"]
Properties = tuple[tuple[Property, float], ...]
Steps = Generator[tuple[Structure, ...], tuple[Label, ...], Properties]

_COARSE = 4
"""Steps of volume by which the minimum is bracketed."""
_FINE = 3
"""Volumes on each side of the minimum from which the equation of state is fitted."""
_FARTHEST = 24
"""Steps of volume from the guess: a factor of 2 with the default step."""
_ROUGHEST = 0.03
"""Scatter over the rise of the curve to its ends; the bulk modulus is then uncertain by about 5 %."""
_LONGEST_ANG = 0.2
_COMPLIANCE = 0.05
"""Å per eV/Å of the first step of a relaxation."""


class RecipeSpec(StrictModel):
    """How the properties of one candidate are computed."""

    name: Literal["equation-of-state"] = Field(
        default="equation-of-state",
        description="Relaxation of the atoms, then energies at several volumes, all angles and ratios kept.",
    )
    volume_step: Positive = Field(
        default=0.03, le=0.1, description="Relative distance of two volumes; the fit spans three on each side."
    )
    max_force_ev_per_ang: Positive = Field(
        default=0.03, description="Atoms are relaxed until no force is larger, eV/Å."
    )
    max_relaxation_steps: int = Field(default=40, ge=1, description="Labels of one relaxation at most.")

    def steps(self, structure: Structure) -> Steps:
        """The recipe for one crystal."""
        return equation_of_state(structure, self)


@dataclass(frozen=True, slots=True)
class Need:
    """Structures whose labels a recipe waits for."""

    structures: tuple[Structure, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a recipe has no result, though all its labels are there."""

    reason: str


Standing = Need | Refusal | Properties


def advance(steps: Steps, known: Callable[[Structure], Label | None]) -> Standing:
    """Run a recipe as far as the labels known allow.

    Returns
    -------
    Need
        The structures of the present round that have no label.
    Refusal
        The labels tell that the candidate has no such property: no minimum, say.
    tuple
        The properties.
    """
    try:
        wanted = next(steps)
        while True:
            labels = [known(structure) for structure in wanted]
            missing = tuple(s for s, label in zip(wanted, labels, strict=True) if label is None)
            if missing:
                return Need(missing)
            wanted = steps.send(tuple(label for label in labels if label is not None))
    except StopIteration as end:
        properties: Properties = end.value
        return properties
    except InputError as error:
        return Refusal(str(error))


def equation_of_state(structure: Structure, spec: RecipeSpec) -> Steps:
    """Volume, bulk modulus and energy of the crystal at zero pressure.

    The atoms are relaxed at the first volume and keep their fractional coordinates at the others: exact where symmetry
    holds them, else the bulk modulus is too large by what relaxation at each volume would give.
    """
    relaxed = yield from relaxation(structure, spec)
    energies: dict[int, float] = {}
    yield from _add(energies, (-_COARSE, 0, _COARSE), relaxed, spec)
    while (side := _open_side(energies)) != 0:
        edge = (max(energies) if side > 0 else min(energies)) + side * _COARSE
        if abs(edge) > _FARTHEST:
            raise InputError("the energy has no minimum within a factor of two of the volume; give a better structure")
        yield from _add(energies, (edge,), relaxed, spec)
    centre = _lowest(energies)
    yield from _add(energies, range(centre - _FINE, centre + _FINE + 1), relaxed, spec)
    fitted = sorted(energies, key=lambda step: (abs(step - centre), step))[: 2 * _FINE + 1]
    volumes = [_volume(relaxed) * _fraction(step, spec) for step in fitted]
    state = fit_equation_of_state(volumes, [energies[step] for step in fitted])
    _require_smooth(state, volumes)
    found = scaled(relaxed, state.volume / _volume(relaxed))
    return (
        ("bulk_modulus_gpa", state.bulk_modulus_gpa),
        ("lattice_constant_ang", float(Cell(found.cell).get_bravais_lattice().a)),
        ("volume_ang3", state.volume),
        ("energy_ev", state.energy),
        ("density_g_cm3", _density(found)),
    )


def _require_smooth(state: EquationOfState, volumes: Sequence[float]) -> None:
    """Refuse energies whose scatter would decide the bulk modulus."""
    reach = 0.5 * float(np.ptp(volumes))
    depth = 0.5 * state.bulk_modulus_gpa / GPA_PER_EV_PER_ANG3 * reach**2 / state.volume
    if state.scatter > _ROUGHEST * depth:
        raise InputError(
            f"energies scatter by {1000 * state.scatter:.2g} meV/atom around the equation of state, "
            f"{100 * state.scatter / depth:.0f} % of its depth; converge the engine: a larger cutoff, more k-points"
        )


def relaxation(
    structure: Structure, spec: RecipeSpec
) -> Generator[tuple[Structure, ...], tuple[Label, ...], Structure]:
    """The structure with its atoms at rest in the given cell, by BFGS (Nocedal & Wright 2006, eq. 6.17).

    Raises
    ------
    InputError
        It has not come to rest after the number of steps allowed.
    """
    inverse = _COMPLIANCE * np.eye(3 * len(structure))
    before: tuple[Floats, Floats] | None = None
    for _ in range(spec.max_relaxation_steps):
        (label,) = yield (structure,)
        if np.linalg.norm(label.forces, axis=1).max() <= spec.max_force_ev_per_ang:
            return structure
        here = structure.positions.ravel(), -label.forces.ravel()
        if before is not None:
            inverse = _updated(inverse, here[0] - before[0], here[1] - before[1])
        step = (-inverse @ here[1]).reshape(-1, 3)
        step *= min(1.0, _LONGEST_ANG / np.linalg.norm(step, axis=1).max())
        before = here
        structure = Structure(structure.symbols, structure.positions + step, structure.cell, structure.pbc)
    raise InputError(f"the atoms have not come to rest after {spec.max_relaxation_steps} steps; start nearer to it")


def scaled(structure: Structure, volume_fraction: float) -> Structure:
    """The structure with its volume times `volume_fraction`, fractional coordinates kept."""
    stretch = volume_fraction ** (1.0 / 3.0)
    return Structure(structure.symbols, structure.positions * stretch, structure.cell * stretch, structure.pbc)


def _updated(inverse: Floats, step: Floats, change: Floats) -> Floats:
    """BFGS update of the inverse Hessian; left as it is where the curvature along the step is not positive."""
    curvature = float(step @ change)
    if curvature <= 1e-12:
        return inverse
    left = np.eye(len(step)) - np.outer(step, change) / curvature
    updated: Floats = left @ inverse @ left.T + np.outer(step, step) / curvature
    return updated


def _add(
    energies: dict[int, float], steps: Sequence[int], structure: Structure, spec: RecipeSpec
) -> Generator[tuple[Structure, ...], tuple[Label, ...], None]:
    """Energies per atom at more steps of volume."""
    new = tuple(step for step in steps if step not in energies)
    if new:
        labels = yield tuple(scaled(structure, _fraction(step, spec)) if step else structure for step in new)
        energies |= {step: label.energy / len(structure) for step, label in zip(new, labels, strict=True)}


def _open_side(energies: Mapping[int, float]) -> int:
    """-1 or 1 where the least energy is that of the smallest or the largest volume, else 0."""
    least = _least(energies)
    return int(least == max(energies)) - int(least == min(energies))


def _least(energies: Mapping[int, float]) -> int:
    """Step of the least energy; of several, the one nearest to the first guess, which has neighbours."""
    return min(energies, key=lambda step: (energies[step], abs(step)))


def _lowest(energies: Mapping[int, float]) -> int:
    """Step nearest to the minimum of the parabola through the least energy and its neighbours."""
    steps = sorted(energies)
    middle = steps.index(_least(energies))
    low, centre, high = steps[middle - 1 : middle + 2]
    left = (energies[centre] - energies[low]) / (centre - low)
    right = (energies[high] - energies[centre]) / (high - centre)
    if left == right:
        raise InputError("the energy does not depend on the volume; give a denser structure")
    # The slope is `left` half-way to the lower neighbour and `right` half-way to the higher one.
    share = left / (left - right)
    return round(0.5 * (low + centre) + share * 0.5 * (high - low))


def _fraction(step: int, spec: RecipeSpec) -> float:
    return float((1.0 + spec.volume_step) ** step)


def _volume(structure: Structure) -> float:
    """Å³ per atom."""
    return abs(float(np.linalg.det(structure.cell))) / len(structure)


def _density(structure: Structure) -> float:
    from ase.data import atomic_masses, atomic_numbers
    from ase.units import _amu

    mass = np.mean([atomic_masses[atomic_numbers[symbol]] for symbol in structure.symbols]) * _amu * 1e3
    return float(mass / (_volume(structure) * 1e-24))
