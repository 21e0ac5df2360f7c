"""Volume, bulk modulus and energy of a crystal: the first part of every recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase.cell import Cell

from hpcmat.engines.recipes.relaxation import relaxation
from hpcmat.engines.recipes.spec import RecipeSpec
from hpcmat.engines.recipes.steps import Properties, Work
from hpcmat.engines.sampling import scaled
from hpcmat.errors import InputError
from hpcmat.records import Structure
from hpcmat.surrogates.equation_of_state import EquationOfState, fit_equation_of_state
from hpcmat.units import GPA_PER_EV_PER_ANG3

_COARSE = 4
"""Steps of volume by which the minimum is bracketed."""
_FINE = 3
"""Volumes on each side of the minimum from which the equation of state is fitted."""
_FARTHEST = 24
"""Steps of volume from the guess: a factor of 2 with the default step."""
_ROUGHEST = 0.03
"""Scatter over the rise of the curve to its ends; the bulk modulus is then uncertain by about 5 %."""


@dataclass(frozen=True, slots=True, eq=False)
class Rest:
    """A crystal at zero pressure."""

    crystal: Structure
    state: EquationOfState

    @property
    def properties(self) -> Properties:
        """What the equation of state gives."""
        return (
            ("bulk_modulus_gpa", self.state.bulk_modulus_gpa),
            ("lattice_constant_ang", float(Cell(self.crystal.cell).get_bravais_lattice().a)),
            ("volume_ang3", self.state.volume),
            ("energy_ev", self.state.energy),
            ("density_g_cm3", _density(self.crystal)),
        )


def equation_of_state(structure: Structure, spec: RecipeSpec) -> Work[Rest]:
    """Volume, bulk modulus and energy of the crystal at zero pressure.

    The atoms are relaxed at the first volume and keep their fractional coordinates at the others: exact where symmetry
    holds them, else the bulk modulus is too large by what relaxation at each volume would give.
    """
    relaxed = (yield from relaxation(structure, spec)).structure
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
    return Rest(scaled(relaxed, state.volume / _volume(relaxed)), state)


def _require_smooth(state: EquationOfState, volumes: Sequence[float]) -> None:
    """Refuse energies whose scatter would decide the bulk modulus."""
    reach = 0.5 * float(np.ptp(volumes))
    depth = 0.5 * state.bulk_modulus_gpa / GPA_PER_EV_PER_ANG3 * reach**2 / state.volume
    if state.scatter > _ROUGHEST * depth:
        raise InputError(
            f"energies scatter by {1000 * state.scatter:.2g} meV/atom around the equation of state, "
            f"{100 * state.scatter / depth:.0f} % of its depth; converge the engine: a larger cutoff, more k-points"
        )


def _add(energies: dict[int, float], steps: Sequence[int], structure: Structure, spec: RecipeSpec) -> Work[None]:
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
