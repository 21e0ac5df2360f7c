"""Noise of energies, forces and stresses, each by what the posterior knows of the structure.

The arguments of `GradedNoise` are the epistemic variance of the quantity itself and the mean epistemic variance of the
forces in the structure, in units of the constant noise. The second tells a perfect crystal, whose every error is
small, from an atom that happens to be known well in a melt or at a surface. Further arguments were tried on left-out
residuals of lithium (Zuo et al. 2020) and left out: predicted forces, the leverage of a site, its Mahalanobis distance
and its distance to training sites, the density of its neighbours, the residuals of the sites most like it. None ranked
errors better, and with all of them the likelihood grew by 0.02 per row. Surfaces remain underestimated, by a factor of
about 1.5: the fit misses their labels nearly as far as the fit without them does, so that no posterior tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcmat.surrogates.graded_noise import QUANTILES, USUAL_RANGE, GradedNoise, Observed, fit_graded_noise
from hpcmat.surrogates.left_out import LeftOut, calibrating_deviation

Floats = NDArray[np.float64]

ENERGY, FORCES, STRESS = range(3)
FORCE_ROWS = 6.0
"""Rows for which all forces of a structure count: its residuals are not independent."""
BROKEN_SYMMETRY = 3e-4
"""eV/Å: labels of a crystal break its symmetry by so much where grids or sampling of the Brillouin zone do. Of copper
one structure in six does so, of silicon none: however clean the others are, one that is not must be expected."""
STRESS_ROWS = 3.0
"""The same for the six components of a stress."""
NOT_ZERO = 1e-30
"""Least square of a unit."""
FEWEST_STRUCTURES = 8
"""With fewer left-out structures the noise is constant."""


@dataclass(frozen=True, slots=True, eq=False)
class Epistemic:
    """Epistemic variances of one structure."""

    energy: float
    """(eV/atom)²"""
    forces: Floats
    """(n,) (eV/Å)², mean over the three components, so that rotations leave it alone."""
    stress: float
    """(eV/Å³)², mean over the components; 0 without stress."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelNoise:
    """What the features cannot express, structure by structure and atom by atom."""

    units: Floats
    """(3,) constant noise of the posterior: eV/atom, eV/Å, eV/Å³"""
    energy: GradedNoise
    forces: GradedNoise
    stress: GradedNoise

    @property
    def kinds(self) -> tuple[GradedNoise, GradedNoise, GradedNoise]:
        """Of energies, forces, stresses."""
        return self.energy, self.forces, self.stress

    def energy_variance(self, epistemic: Epistemic) -> float:
        """Noise variance of the energy per atom, (eV/atom)²."""
        return float(self.energy.variance(_structure_arguments(epistemic, ENERGY, self.units))[0])

    def force_variance(self, epistemic: Epistemic) -> Floats:
        """Noise variance (n,) (eV/Å)² of the force components of each atom."""
        return self.forces.variance(_force_arguments(epistemic, self.units))

    def stress_variance(self, epistemic: Epistemic) -> float:
        """Noise variance of a stress component, (eV/Å³)²."""
        return float(self.stress.variance(_structure_arguments(epistemic, STRESS, self.units))[0])


def constant_noise(units: Floats) -> LabelNoise:
    """The same noise (3,) for every structure and atom: eV/atom, eV/Å, eV/Å³."""
    return LabelNoise(units, *(GradedNoise(float(unit)) for unit in units))


def _structure_arguments(epistemic: Epistemic, kind: int, units: Floats) -> Floats:
    own = epistemic.energy if kind == ENERGY else epistemic.stress
    return np.array([[own / _square(units[kind]), _mean(epistemic.forces) / _square(units[FORCES])]])


def _force_arguments(epistemic: Epistemic, units: Floats) -> Floats:
    v = epistemic.forces
    arguments: Floats = np.column_stack([v, np.full(len(v), _mean(v))]) / _square(units[FORCES])
    return arguments


def _square(unit: float) -> float:
    # Labels without stress have a noise of zero.
    return max(float(unit) ** 2, NOT_ZERO)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Residuals:
    """One left-out structure: its epistemic variances and mean square residuals."""

    epistemic: Epistemic
    energy: float
    forces: Floats
    """(n,) mean over components"""
    stress: float | None
    telling: bool


def fit_label_noise(scores: Sequence[LeftOut], telling: frozenset[int], units: Floats) -> LabelNoise | None:
    """Noise from residuals of training labels, each predicted without its own structure; None where there are few.

    The forces of `telling` structures are enough. Of energies there is one per structure: all tell how the noise
    varies, and the telling ones how large it is, because the basis may have followed the energies of the others.

    Parameters
    ----------
    scores : structures that were fitted.
    telling : those that the basis was not trained on.
    units : (3,) constant noise of the posterior.
    """
    if len(telling) < FEWEST_STRUCTURES or not (units[[ENERGY, FORCES]] > 0).all():
        return None
    structures = [_residuals(score, score.structure in telling) for score in scores]
    with_stress = [s for s in structures if s.stress is not None]
    return LabelNoise(
        units,
        energy=_of_structures(structures, ENERGY, units, 1.0),
        forces=_of_forces([s for s in structures if s.telling], units),
        stress=_of_structures(with_stress, STRESS, units, STRESS_ROWS),
    )


def _residuals(score: LeftOut, telling: bool) -> _Residuals:
    square, variance = (score.residual * score.sigma) ** 2, score.variance * score.sigma**2
    energy, forces, stress = (score.kind == kind for kind in range(3))
    epistemic = Epistemic(
        energy=float(variance[energy][0]),
        forces=variance[forces].reshape(-1, 3).mean(axis=1),
        stress=_mean(variance[stress]),
    )
    square_of_stress = _mean(square[stress]) if stress.any() else None
    return _Residuals(
        epistemic, float(square[energy][0]), square[forces].reshape(-1, 3).mean(axis=1), square_of_stress, telling
    )


def _of_forces(structures: list[_Residuals], units: Floats) -> GradedNoise:
    unit = units[FORCES] ** 2
    square = np.concatenate([s.forces for s in structures]) / unit
    arguments = np.concatenate([_force_arguments(s.epistemic, units) for s in structures])
    weight, n_atoms = FORCE_ROWS * len(structures) / max(len(square), 1), round(len(square) / len(structures))
    lowest, highest = np.quantile(arguments, QUANTILES, axis=0)
    if (lowest < np.exp(-USUAL_RANGE) * highest).all():
        # One structure more that symmetry holds, and whose labels break it.
        square = np.append(square, np.full(n_atoms, min(BROKEN_SYMMETRY**2 / unit, 1.0)))
        arguments = np.concatenate([arguments, np.tile(lowest, (n_atoms, 1))])
    return fit_graded_noise(Observed(square, arguments[:, 0], arguments, weight, True), float(units[FORCES]))


def _of_structures(structures: list[_Residuals], kind: int, units: Floats, weight: float) -> GradedNoise:
    """Noise of energies or stresses: its form by all structures, its size by the telling ones."""
    constant, telling = float(units[kind]), np.array([s.telling for s in structures], dtype=bool)
    if telling.sum() < FEWEST_STRUCTURES or constant <= 0:
        return GradedNoise(constant)
    missed = [s.energy if kind == ENERGY else s.stress or 0.0 for s in structures]
    square = np.array(missed) / units[kind] ** 2
    arguments = np.concatenate([_structure_arguments(s.epistemic, kind, units) for s in structures])
    noise = fit_graded_noise(Observed(square, arguments[:, 0], arguments, weight), constant)
    found = noise.variance(arguments)[telling] / constant**2
    factor = calibrating_deviation(square[telling] / found, arguments[telling, 0] / found)
    return noise.scaled(factor)
