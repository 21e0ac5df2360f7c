"""Labels that look as if they were in another unit or had the other sign, by a rough potential of the whole set.

The slope of a frame's labels against the rough potential's values is 1 within a factor of two; of frames in another
unit it is the factor of that unit. Only disordered frames count: in symmetric ones a pair potential may have the sign
of a stress wrong. Nothing is left out for this reason: it is a suspicion.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcmat.surrogates.dataset.data import Frame, Problem
from hpcmat.surrogates.dataset.factors import FORCES, STRESS, unit_like
from hpcmat.surrogates.dataset.magnitudes import by_composition, energies_per_atom
from hpcmat.surrogates.dataset.rough_model import Estimate

Floats = NDArray[np.float64]

CORRELATION = 0.8
"""Between labels and rough values of a frame, below which its slope says nothing."""
FORCES_TOLERANCE = 0.5
STRESS_TOLERANCE = 1.0
"""Of slopes, as in `unit_like`: a factor of 1.5 and of 2."""
ENERGY_SLOPES = (0.15, 8.0)
"""Usual slopes of energies against those of the rough potential within a group. A pair potential makes too little of
the energy of covalent crystals: the slope of silicon is 4; of energies in Hartree it would be 0.04 to 0.15."""
ENERGY_CORRELATION = 0.85
LEAST_FORCES = 1e-3
"""eV/Å: smaller rough forces are those of a perfect crystal. Forces of a few eV/Å in Ha/Bohr are 0.02 and more."""
RESTING_SHARE = 0.1
"""Of the median of the frames' rough forces: frames below say nothing."""
FEWEST_FRAMES = 5
FEWEST_ATOMS = 8
"""In all frames of one suspicion together: fewer agree by chance."""


def check_units(frames: tuple[Frame, ...], rough: dict[int, Estimate]) -> list[Problem]:
    """Suspicions about the units and signs of forces, stresses and energies; `rough` may be empty."""
    pairs = [_Pair(frame, rough[frame.index]) for frame in frames if rough and len(frame.label.forces)]
    sizes = np.array([pair.rms for pair in pairs])
    if not np.any(sizes > LEAST_FORCES):
        return []
    moving = RESTING_SHARE * float(np.median(sizes[sizes > LEAST_FORCES]))
    usable = [pair for pair in pairs if pair.rms > moving and pair.various]
    return [*_forces(usable), *_stress(usable), *_energies(usable)]


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """A frame and what the rough potential says of it."""

    frame: Frame
    rough: Estimate

    @property
    def rms(self) -> float:
        """Root mean square of the rough force components, eV/Å."""
        return float(np.sqrt(np.mean(self.rough.forces**2)))

    @property
    def various(self) -> bool:
        """Whether the rough forces are of many sizes, as in a disordered frame."""
        sizes = np.linalg.norm(self.rough.forces.reshape(-1, 3), axis=1)
        return len(np.unique(np.round(sizes / sizes.max(initial=LEAST_FORCES), 3))) > len(sizes) / 2


def _forces(pairs: list[_Pair]) -> list[Problem]:
    found: dict[str, list[_Pair]] = defaultdict(list)
    for pair in pairs:
        slope, correlation = _slope(pair.rough.forces, np.ravel(pair.frame.label.forces))
        if abs(correlation) > CORRELATION:
            found[unit_like(slope, FORCES, FORCES_TOLERANCE)].append(pair)
    return _suspicions(found, "force", "eV/Å")


def _stress(pairs: list[_Pair]) -> list[Problem]:
    found: dict[str, list[_Pair]] = defaultdict(list)
    for pair in pairs:
        if len(pair.frame.label.stress) and len(pair.rough.stress):
            # Deviators: the pressure of a pair potential is not to be trusted.
            slope, correlation = _slope(_deviator(pair.rough.stress), _deviator(pair.frame.label.stress))
            if abs(correlation) > CORRELATION:
                found[unit_like(slope, STRESS, STRESS_TOLERANCE)].append(pair)
    return _suspicions(found, "stress", "eV/Å³, positive under tension")


def _suspicions(found: dict[str, list[_Pair]], quantity: str, ours: str) -> list[Problem]:
    total = sum(map(len, found.values()))
    problems = []
    for unit, pairs in found.items():
        if unit and sum(len(pair.frame.label.structure) for pair in pairs) >= FEWEST_ATOMS:
            share = "all" if len(pairs) == total else f"{len(pairs)} of {total}"
            text = f"{quantity} in {share} disordered frames seems to be {unit}; it must be {ours}"
            problems.append(Problem(tuple(pair.frame.index for pair in pairs), "mixed units", text))
    return problems


def _energies(pairs: list[_Pair]) -> list[Problem]:
    """Differences of energies within a group against those that the forces imply."""
    slopes = []
    groups: dict[str, list[_Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.frame.group].append(pair)
    for members in groups.values():
        if len(members) >= FEWEST_FRAMES:
            slope, correlation = _energy_slope(members)
            if abs(correlation) > ENERGY_CORRELATION:
                slopes.append(slope)
    if not slopes:
        return []
    slope = float(np.median(slopes))
    low, high = ENERGY_SLOPES
    if slope < 0:
        text = "energies rise where the forces lead; check the sign of the forces"
    elif not low < slope < high:
        text = (
            f"energies vary {slope:.2g} times as much as the forces imply; check the units of energy and forces, and "
            "that the energy is of the cell, not of an atom"
        )
    else:
        return []
    return [Problem((), "mixed units", text)]


def _energy_slope(pairs: list[_Pair]) -> tuple[float, float]:
    frames = tuple(pair.frame for pair in pairs)
    both = (energies_per_atom(frames), np.array([pair.rough.energy for pair in pairs]))
    labels, rough = (energies - by_composition(frames, energies) for energies in both)
    return _slope(rough - rough.mean(), labels - labels.mean())


def _slope(rough: Floats, labels: Floats) -> tuple[float, float]:
    """Slope of a line through the origin, and the correlation; zeros where either side vanishes."""
    product, square, other = float(rough @ labels), float(rough @ rough), float(labels @ labels)
    return (product / square, product / float(np.sqrt(square * other))) if square * other > 0 else (0.0, 0.0)


def _deviator(stress: Floats) -> Floats:
    mean = stress[:3].mean()
    return np.concatenate([stress[:3] - mean, np.sqrt(2.0) * stress[3:]])
