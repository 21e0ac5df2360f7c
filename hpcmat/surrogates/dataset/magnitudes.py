"""Labels that cannot be right by their size alone: robust statistics, with bounds that no real frame met.

A frame is an outlier in energy where its energy per atom, after the atoms' own share is taken off, is further from the
median than `ENERGY_OUTLIER`; in force where its largest force is above `FORCE_OUTLIER`. It is left out only where its
structure lies in the range of the others' and a rough potential of the set expects much less: a dimer among crystals, a
compressed cell, or one hot frame among cold ones is far off with reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from numpy.typing import NDArray

from hpcmat.surrogates.dataset.data import Frame, Problem
from hpcmat.surrogates.dataset.factors import ENERGY, unit_like
from hpcmat.surrogates.dataset.geometry import Surroundings
from hpcmat.surrogates.dataset.rough_model import Estimate

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ENERGY_OUTLIER = (1.5, 20.0)
"""eV/atom, and multiples of the standard deviation by the median absolute deviation: above both is an outlier. Liquid
silicon lies 0.8 eV/atom above the crystal."""
FORCE_OUTLIER = (10.0, 20.0)
"""eV/Å, and multiples of the median of the frames' largest forces."""
RESTING = 0.05
"""eV/Å: frames whose largest force is below say nothing about the usual size of forces."""
ENOUGH = 8
"""Frames below which no statistics are made."""
MARGIN = (0.02, 0.25)
"""By which nearest distance (in covalent radii) and coordination may leave the range of the others."""
MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
UNEXPECTED = (8.0, 5.0)
"""Multiples of what a rough potential expects of energy and force: the real energies of silicon are 4 times as far."""
UNIT_TOLERANCE = 0.2
"""Of the ratio of an energy to the energy expected."""
UNIT_MULTIPLE = 5.0
"""As the second of `ENERGY_OUTLIER`, for energies that another unit would explain: many of them widen the median."""


def check_magnitudes(
    frames: tuple[Frame, ...], near: dict[int, Surroundings], rough: dict[int, Estimate]
) -> list[Problem]:
    """Outliers in energy and in force; `rough` is empty where no rough potential could be fitted."""
    if len(frames) < ENOUGH:
        return []
    return [*_energies(frames, near, rough), *_forces(frames, near, rough)]


def energies_per_atom(frames: tuple[Frame, ...]) -> Floats:
    """Label energies (N,) eV/atom."""
    return np.array([frame.label.energy / len(frame.label.structure) for frame in frames])


def by_composition(frames: tuple[Frame, ...], energies: Floats) -> Floats:
    """Energies per atom (N,) eV as far as the composition explains them: a sum over the atoms.

    Least absolute deviations by reweighting, so that up to half of the energies may be wrong.
    """
    elements = sorted({symbol for frame in frames for symbol in frame.label.structure.symbols})
    counts = np.array([[Counter(frame.label.structure.symbols)[element] for element in elements] for frame in frames])
    shares = counts / counts.sum(axis=1, keepdims=True)
    weights = np.ones(len(frames))
    expected = np.zeros(len(frames))
    for _ in range(50):
        root = np.sqrt(weights)
        expected = shares @ np.linalg.lstsq(shares * root[:, None], energies * root, rcond=1e-10)[0]
        weights = 1.0 / np.maximum(abs(energies - expected), 1e-4)
    return expected


def _energies(frames: tuple[Frame, ...], near: dict[int, Surroundings], rough: dict[int, Estimate]) -> list[Problem]:
    energies = energies_per_atom(frames)
    expected = by_composition(frames, energies)
    deviation = energies - expected
    deviation -= np.median(deviation)
    floor, multiple = ENERGY_OUTLIER
    sigma = MAD * float(np.median(abs(deviation)))
    ratios = np.divide(energies, expected, out=np.zeros_like(energies), where=expected != 0)
    units = [_unit(frame, ratio) for frame, ratio in zip(frames, ratios, strict=True)]
    explained = (abs(deviation) > max(floor, UNIT_MULTIPLE * sigma)) & np.array([unit != "" for unit in units])
    outliers = (abs(deviation) > max(floor, multiple * sigma)) | explained
    usual = _usual(frames, near, outliers) & (abs(deviation) > UNEXPECTED[0] * _rough_deviation(frames, rough))
    named = [unit if known else "" for unit, known in zip(units, explained & usual, strict=True)]
    problems = _unit_problems(frames, ratios, named)
    absurd = np.flatnonzero(outliers & usual & ~explained)
    if len(absurd):
        text = f"the energy is {_range(deviation[absurd])} eV/atom off that of like structures; compute it again"
        problems.append(Problem(_indices(frames, absurd), "absurd energy", text, True))
    far = np.flatnonzero(outliers & ~usual)
    if len(far):
        off = _range(deviation[far])
        text = f"the energy is {off} eV/atom off the others', and so is the structure; check it"
        problems.append(Problem(_indices(frames, far), "unusual energy", text))
    return problems


def _unit(frame: Frame, ratio: float) -> str:
    """The unit in which an energy so many times the expected one would be usual, or an empty text."""
    n = len(frame.label.structure)
    per_atom = {"eV per atom instead of eV per cell": 1 / n} if n > 1 else {}
    return unit_like(float(ratio), ENERGY | per_atom, UNIT_TOLERANCE)


def _unit_problems(frames: tuple[Frame, ...], ratios: Floats, units: list[str]) -> list[Problem]:
    found: dict[str, list[int]] = defaultdict(list)
    for i, unit in enumerate(units):
        if unit:
            found[unit].append(i)
    problems = []
    for unit, places in found.items():
        times = f"{np.median(ratios[places]):.4g} times"
        text = f"the energy is {times} what is usual here: it looks like {unit}; give eV per cell"
        problems.append(Problem(_indices(frames, places), "mixed units", text, True))
    return problems


def _rough_deviation(frames: tuple[Frame, ...], rough: dict[int, Estimate]) -> Floats:
    """Distance (N,) eV/atom of the rough energy from what the composition makes expect; zeros without estimates."""
    if not rough:
        return np.zeros(len(frames))
    energies = np.array([rough[frame.index].energy for frame in frames])
    deviation: Floats = abs(energies - by_composition(frames, energies))
    return deviation


def _forces(frames: tuple[Frame, ...], near: dict[int, Surroundings], rough: dict[int, Estimate]) -> list[Problem]:
    largest = np.array([abs(frame.label.forces).max(initial=0.0) for frame in frames])
    moving = largest[largest > RESTING]
    floor, multiple = FORCE_OUTLIER
    if len(moving) < ENOUGH:
        return []
    outliers = largest > max(floor, multiple * float(np.median(moving)))
    nearest = np.array([near[frame.index].nearest for frame in frames])
    # Large forces have a reason where atoms are nearer than in any other frame.
    usual = nearest > nearest[~outliers].min() - MARGIN[0]
    if rough:
        usual &= largest > UNEXPECTED[1] * np.array([abs(rough[frame.index].forces).max() for frame in frames])
    absurd, far = np.flatnonzero(outliers & usual), np.flatnonzero(outliers & ~usual)
    problems = []
    typical = f"usual here are {np.median(moving):.2g}"
    if len(absurd):
        text = f"forces up to {largest[absurd].max():.3g} eV/Å ({typical}) without short distances; compute them again"
        problems.append(Problem(_indices(frames, absurd), "absurd forces", text, True))
    if len(far):
        text = f"forces up to {largest[far].max():.3g} eV/Å ({typical}), perhaps with reason; check them"
        problems.append(Problem(_indices(frames, far), "large forces", text))
    return problems


def _usual(frames: tuple[Frame, ...], near: dict[int, Surroundings], outliers: Bools) -> Bools:
    """Whether nearest distance and coordination lie in the range of the frames that are no outliers."""
    features = np.array([[near[frame.index].nearest, near[frame.index].coordination] for frame in frames])
    others = features[~outliers]
    inside = (features > others.min(axis=0) - MARGIN) & (features < others.max(axis=0) + MARGIN)
    result: Bools = inside.all(axis=1)
    return result


def _indices(frames: tuple[Frame, ...], places: NDArray[np.intp] | list[int]) -> tuple[int, ...]:
    return tuple(frames[i].index for i in places)


def _range(values: Floats) -> str:
    low, high = values.min(), values.max()
    return f"{low:+.3g}" if len(values) == 1 else f"{low:+.3g} to {high:+.3g}"
