r"""Surrogate of one property over a pool: fitted to the values known, it answers with distributions.

The distribution of a value is a mixture, over the warps and the hyperparameters that the values leave possible, of
normal ones in the warped unit:

    P(y ≤ v) = Σ_i w_i Φ((z_i(v) - μ_i) / σ_i)

Joint draws have these distributions, and the rank correlations of the most probable process: a Gaussian copula. That
neglects what candidates share because one choice of hyperparameters moves them together, and costs one factor of their
covariance instead of one for each part of the mixture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr, ndtri

from hpcmat.errors import InputError
from hpcmat.surrogates.properties.gaussian_process import GaussianProcess, Points
from hpcmat.surrogates.properties.hyperparameters import fit_plausible
from hpcmat.surrogates.properties.warp import Warp, paired_warps, warps_for

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

MOST_JOINT = 3000
"""Candidates whose values are drawn jointly: the covariance of so many takes 70 MB."""
_PRIOR_SCORES = 10.0
"""Left-out errors of the stated size that are believed before any is seen."""
_LEAST_SHARE = 0.05
"""Warps of less evidence are left out."""
_NODES = np.linspace(-5.0, 5.0, 41)
_MASSES = np.exp(-0.5 * _NODES**2) / np.exp(-0.5 * _NODES**2).sum()
"""A normal distribution as masses at places: trapezoidal, so that the masses below a place are exact to 1e-3."""
_FARTHEST = 12.0
"""Score of a value that cannot be told from impossible."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part of the mixture."""

    weight: float
    process: GaussianProcess
    warp: Warp
    inflation: float
    """Factor of all standard deviations, from left-out errors."""

    def standardised(self, x: Points) -> tuple[Floats, Floats]:
        """Mean and deviation (n,) of the warped value that a calculation would give."""
        mean, variance = self.process.predict(x)
        return mean, self.inflation * np.sqrt(variance + self.process.kernel.noise)

    def scores(self, x: Points, values: Floats) -> Floats:
        """(n,) errors of predictions over their deviations, in the warped unit."""
        mean, deviation = self.standardised(x)
        scores: Floats = (self.warp.forward(values) - mean) / deviation
        return scores

    def left_out_densities(self, values: Floats) -> Floats:
        """(n,) log densities of the values predicted here, each from the others."""
        rows = _predicted(self.process)
        deviations = self.inflation * self.process.left_out_deviations()[rows]
        scores = self.process.left_out()[rows] / self.inflation
        densities: Floats = self.warp.log_slope(values) - np.log(deviations) - 0.5 * (scores**2 + np.log(2 * np.pi))
        return densities

    def places(self, x: Points) -> Floats:
        """(nodes, n) values at the nodes of the normal distribution."""
        mean, deviation = self.standardised(x)
        return self.warp.backward(mean + _NODES[:, None] * deviation)


@dataclass(frozen=True, slots=True, eq=False)
class PropertyModel:
    """Posterior of a property."""

    best: GaussianProcess
    """The most probable process, whose correlations joint draws have."""
    parts: tuple[Part, ...]

    @property
    def paired(self) -> bool:
        """Whether it was fitted to values of both fidelities, and is to be asked for dear ones of named crystals."""
        return self.best.kernel.paired

    @property
    def warp(self) -> Warp:
        """That of largest weight."""
        return max(self.parts, key=lambda part: part.weight).warp

    def intervals(self, x: Points, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
        """Median, lower and upper bound (n,) of the value that a calculation would give."""
        median, lower, upper = self.quantiles(x, np.array([0.5, 0.5 - level / 2, 0.5 + level / 2]))
        return median, lower, upper

    def quantiles(self, x: Points, levels: Floats) -> Floats:
        """(L, n) values that a calculation would not exceed with the probabilities `levels`: (L,), or (L, n)."""
        levels = np.broadcast_to(levels if levels.ndim == 2 else levels[:, None], (len(levels), len(x)))
        found = np.empty(levels.shape)
        for start in range(0, len(x), MOST_JOINT):
            some = slice(start, start + MOST_JOINT)
            found[:, some] = self._quantiles(x.part(some), levels[:, some])
        return found

    def _quantiles(self, x: Points, levels: Floats) -> Floats:
        places = np.concatenate([part.places(x) for part in self.parts])
        masses = np.concatenate([part.weight * _MASSES for part in self.parts])
        order = np.argsort(places, axis=0)
        places, sorted_masses = np.take_along_axis(places, order, axis=0), masses[order]
        below = np.cumsum(sorted_masses, axis=0) - 0.5 * sorted_masses
        columns = [np.interp(at, known, value) for at, known, value in zip(levels.T, below.T, places.T, strict=True)]
        return np.column_stack(columns)

    def scores(self, x: Points, values: Floats) -> Floats:
        """(n,) normal scores of values: standard normal where predictions are right, 1.96 at the end of an interval."""
        scores = np.array([part.scores(x, values) for part in self.parts])
        weights = np.array([part.weight for part in self.parts])
        # The smaller tail, since the other is 1 to all digits.
        below, above = ndtri(weights @ ndtr(scores)), -ndtri(weights @ ndtr(-scores))
        return np.clip(np.where(below < 0, below, above), -_FARTHEST, _FARTHEST)

    def left_out_density(self, values: Floats) -> float:
        """Σ log density of the values (n,) predicted here, each from the others."""
        densities = [np.log(part.weight) + part.left_out_densities(values) for part in self.parts]
        return float(logsumexp(densities, axis=0).sum())

    def sample(self, x: Points, count: int, rng: np.random.Generator) -> Floats:
        """(count, n) draws of the values that calculations at all points would give, from their joint posterior.

        Raises
        ------
        InputError
            More than `MOST_JOINT` points.
        """
        if len(x) > MOST_JOINT:
            raise InputError(f"{len(x)} candidates are too many to draw jointly; preselect {MOST_JOINT} of them")
        covariance = self.best.predict_jointly(x)[1]
        covariance[np.diag_indices(len(x))] += self.best.kernel.noise
        factor = np.linalg.cholesky(covariance)
        normal = rng.standard_normal((count, len(x))) @ factor.T / np.sqrt(np.diag(covariance))
        return self.quantiles(x, ndtr(normal))


def fit_property(points: Points, values: Floats, groups: Ints, curved: bool = True) -> PropertyModel:
    """The surrogate, averaged over warps and hyperparameters by their evidence.

    Parameters
    ----------
    points : n points of standardised descriptors. Where they name crystals, values of both fidelities are among them:
        the model is of the dear ones.
    values : (n,) in any unit.
    groups : (D,) group of each descriptor.
    curved : False for Bayesian linear regression.

    Raises
    ------
    InputError
        There are no values, or they are not finite.
    """
    if len(values) == 0 or len(values) != len(points) or not np.isfinite(values).all():
        raise InputError("a surrogate needs at least one finite value, and one for each point; leave failed ones out")
    warped = _warped(values) if points.crystals is None else _paired(points, values)
    fits = [fit_plausible(points, each.values, groups, curved) for each in warped]
    evidences = np.array([fit.log_evidence + each.log_slopes for fit, each in zip(fits, warped, strict=True)])
    shares = np.exp(evidences - evidences.max())
    shares = np.where(shares >= _LEAST_SHARE, shares, 0.0) / shares[shares >= _LEAST_SHARE].sum()
    parts = [
        Part(share / len(fit.processes), process, each.warp, _inflation(process))
        for share, fit, each in zip(shares, fits, warped, strict=True)
        for process in fit.processes
        if share > 0
    ]
    return PropertyModel(fits[int(evidences.argmax())].best, tuple(parts))


def fit_fidelities(points: Points, values: Floats, groups: Ints) -> PropertyModel:
    """The surrogate of dear values, from those of both fidelities or from the dear ones alone.

    It is of the kind that predicts each dear value better from the others: cheap values that say nothing are as if they
    were not there.

    Parameters
    ----------
    points : n points with the crystal that each is of; some of fidelity 1.
    values, groups : as of `fit_property`; the same errors.
    """
    dear = points.fidelity == 1.0
    alone = fit_property(Points(points.values[dear], np.zeros(int(dear.sum()))), values[dear], groups)
    if dear.all():
        return alone
    together = fit_property(points, values, groups)
    return together if together.left_out_density(values[dear]) > alone.left_out_density(values[dear]) else alone


@dataclass(frozen=True, slots=True, eq=False)
class _Warped:
    """Values as a process takes them."""

    warp: Warp
    """Of the values that are predicted."""
    values: Floats
    """(n,) standardised"""
    log_slopes: float


def _warped(values: Floats) -> list[_Warped]:
    return [_Warped(warp, warp.forward(values), warp.log_slopes(values)) for warp in warps_for(values)]


def _paired(points: Points, values: Floats) -> list[_Warped]:
    assert points.crystals is not None, "only points of named crystals come here"
    dear = points.fidelity == 1.0
    _, first, second = np.intersect1d(points.crystals[dear], points.crystals[~dear], return_indices=True)
    pairs = values[dear][first], values[~dear][second]
    found = paired_warps(values[dear], values[~dear], pairs)
    return [_Warped(warp.dear, warp.forward(values, dear), warp.log_slopes(values, dear)) for warp in found]


def _predicted(process: GaussianProcess) -> Flags:
    """(n,) which values are of the kind that is predicted: the dear ones where crystals are told apart."""
    every = np.ones(len(process.points), dtype=bool)
    return process.points.fidelity == 1.0 if process.kernel.paired else every


def _inflation(process: GaussianProcess) -> float:
    scores = process.left_out()[_predicted(process)]
    return float(np.sqrt((_PRIOR_SCORES + (scores**2).sum()) / (_PRIOR_SCORES + len(scores))))
