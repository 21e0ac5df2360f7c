r"""Whether a structure lies outside of what a potential was trained on.

Several scores, larger is stranger: from the posterior, the epistemic standard deviation of forces √(x S xᵀ) and of the
energy per atom √(e S eᵀ), e the mean of the site rows; from the site rows b alone, their leverage √(b S bᵀ), their
Mahalanobis distance to the training sites in principal components, the distance to the nearest of them, and their
local outlier factor, which compares that distance with those between the neighbours there.

`extrapolation_score` joins the two that miss different things: the largest force σ sees single atoms that are unlike
all others (a melt among crystals), the energy σ sees structures all of whose atoms are slightly off (another volume,
another coordination) and which no force betrays. Each is divided by what 95 % of the training structures stay below,
and the larger counts: 1 is the edge of the training set. With the outlier factor as a third, vacancies among hot
crystals would be found somewhat more often (`perf/bench_extrapolation.py`), at the price of keeping training sites in
the file; surfaces, other phases and compressed cells would not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from hpcmat.errors import InputError
from hpcmat.records import Structure
from hpcmat.surrogates.ace import Design
from hpcmat.surrogates.left_out import LeftOut
from hpcmat.surrogates.potential import Potential

Floats = NDArray[np.float64]

EDGE_QUANTILE = 0.95
"""Share of training structures within a limit. The median would call half of them strange, the largest would follow
one outlier."""
SMALLEST_VARIANCE = 1e-6
"""Principal components below this share of the largest are rounding."""
ENERGY, FORCES = 0, 1
"""Kinds of rows."""
MIN_LIMIT = float(np.finfo(np.float64).tiny)
NEAREST_COMPONENTS = 20
"""Principal components in which the nearest training site is looked for: more drown in noise."""
MOST_SITES = 3000
"""Training sites, chosen at random, among which it is looked for."""
NOT_ZERO = 1e-9
"""Standard deviations: least distance between sites that are copies of each other."""
OUTLIER_NEIGHBORS = 6
"""Nearest training sites that the local outlier factor compares with."""


@dataclass(frozen=True, slots=True)
class PosteriorScores:
    """How little the posterior knows of one structure."""

    force_max: float
    """eV/Å, largest epistemic standard deviation of an atom's force component (rms over components)."""
    force_mean: float
    """eV/Å, mean over atoms."""
    energy: float
    """eV/atom, epistemic standard deviation of the energy per atom."""
    leverage_max: float
    """eV, largest epistemic standard deviation of a site energy."""


@dataclass(frozen=True, slots=True)
class ExtrapolationLimits:
    """What 95 % of the training structures stay below."""

    force_max: float
    """eV/Å"""
    energy: float
    """eV/atom"""

    def named(self) -> tuple[tuple[str, float], ...]:
        """(name, value), as the metadata of a potential hold them."""
        return ("force_sigma_ev_per_ang", self.force_max), ("energy_sigma_ev_per_atom", self.energy)


@dataclass(frozen=True, slots=True, eq=False)
class SiteDistribution:
    """Site rows of the training structures: mean, scale and principal components."""

    mean: Floats
    """(F,)"""
    scale: Floats
    """(F,)"""
    axes: Floats
    """(F, k): (b - mean) / scale @ axes has unit variance in each component, the largest first."""
    nearest: KDTree
    """Some training sites in the first components."""

    def project(self, sites: Floats) -> Floats:
        """Whitened components (n, k) of site rows (n, F)."""
        whitened: Floats = (sites - self.mean) / self.scale @ self.axes
        return whitened

    def mahalanobis(self, sites: Floats) -> Floats:
        """Distance (n,) of each site from the mean, in standard deviations."""
        distance: Floats = np.linalg.norm(self.project(sites), axis=1)
        return distance

    def to_nearest(self, sites: Floats) -> Floats:
        """Distance (n,) to the nearest training site."""
        return np.asarray(self.nearest.query(self.project(sites)[:, :NEAREST_COMPONENTS])[0], dtype=np.float64)

    def outlier_factor(self, sites: Floats) -> Floats:
        """Local outlier factor (n,) (Breunig et al., SIGMOD 2000): 1 for a site as close to others as they are."""
        k = min(OUTLIER_NEIGHBORS, self.nearest.n - 1)
        found, index = self._nearest(self.nearest.data, k + 1)
        core = found[:, -1]
        density = 1.0 / (np.maximum(core[index[:, 1:]], found[:, 1:]).mean(axis=1) + NOT_ZERO)
        found, index = self._nearest(self.project(sites)[:, :NEAREST_COMPONENTS], k)
        factor: Floats = density[index].mean(axis=1) * (np.maximum(core[index], found).mean(axis=1) + NOT_ZERO)
        return factor

    def _nearest(self, points: Floats, k: int) -> tuple[Floats, NDArray[np.int64]]:
        """Distances (n, k) to the nearest training sites and their numbers."""
        found, index = self.nearest.query(points, k=range(1, k + 1))
        return np.asarray(found, dtype=np.float64), np.asarray(index, dtype=np.int64)


def posterior_scores(potential: Potential, design: Design) -> PosteriorScores:
    """Scores of one structure from its design rows."""
    forces = np.sqrt(potential.epistemic_force_variance_of(design).mean(axis=1))
    energy = float(np.sqrt(potential.epistemic_variance(design.energy))) / len(design.site)
    leverage = float(np.sqrt(potential.epistemic_variance(design.site).max()))
    return PosteriorScores(float(forces.max()), float(forces.mean()), energy, leverage)


def left_out_limits(scores: Sequence[LeftOut]) -> ExtrapolationLimits:
    """Limits from the training structures, each scored without itself: 5 % of structures like them lie beyond each one.

    Raises
    ------
    InputError
        No structures.
    """
    variances = [(score.variance * score.sigma**2, score.kind) for score in scores]
    force = [variance[kind == FORCES].reshape(-1, 3).mean(axis=1).max() for variance, kind in variances]
    energy = [variance[kind == ENERGY].max() for variance, kind in variances]
    return _limits(np.sqrt(force), np.sqrt(energy))


def extrapolation_limits(scores: Sequence[PosteriorScores]) -> ExtrapolationLimits:
    """Limits from scores of structures like the training structures that were held out.

    The training structures themselves will do, but their scores are too small, since each has taught the posterior: of
    new structures like them 1.3 times as many lie beyond with 200 training structures and three times with 25 (Si, Cu
    and Li).

    Raises
    ------
    InputError
        No scores.
    """
    return _limits(np.array([s.force_max for s in scores]), np.array([s.energy for s in scores]))


def _limits(force: Floats, energy: Floats) -> ExtrapolationLimits:
    if not len(force):
        raise InputError("limits need at least one structure; give the training set")
    # A training set of perfect crystals has no forces at all; anything with forces is then beyond it.
    edges = [max(float(np.quantile(values, EDGE_QUANTILE)), MIN_LIMIT) for values in (force, energy)]
    return ExtrapolationLimits(*edges)


def extrapolation_score(scores: PosteriorScores, limits: ExtrapolationLimits) -> float:
    """How far outside a structure lies: above 1 beyond one of the limits, as at most a tenth of the training set is."""
    return max(scores.force_max / limits.force_max, scores.energy / limits.energy)


def score_structure(potential: Potential, structure: Structure, limits: ExtrapolationLimits) -> float:
    """`extrapolation_score` of a structure; raises InputError where the potential cannot describe it."""
    return extrapolation_score(posterior_scores(potential, potential.design(structure)), limits)


def site_distribution(designs: Sequence[Design], seed: int = 0) -> SiteDistribution:
    """Distribution of the sites of training structures; `seed` chooses which sites are kept as neighbours.

    Raises
    ------
    InputError
        Fewer than two sites.
    """
    sites = np.concatenate([design.site for design in designs]) if designs else np.empty((0, 0))
    if len(sites) < 2:
        raise InputError("a distribution of sites needs at least two atoms; give the training set")
    mean, scale = sites.mean(axis=0), sites.std(axis=0)
    scale = np.where(scale > 1e-12 * np.abs(sites).max(axis=0), scale, np.inf)
    standard = (sites - mean) / scale
    values, vectors = np.linalg.eigh(standard.T @ standard / len(sites))
    order = np.argsort(values)[::-1]
    kept = order[values[order] > SMALLEST_VARIANCE * values[order[0]]]
    axes = vectors[:, kept] / np.sqrt(values[kept])
    chosen = np.random.default_rng(seed).permutation(len(sites))[:MOST_SITES]
    return SiteDistribution(mean, scale, axes, KDTree((standard[chosen] @ axes)[:, :NEAREST_COMPONENTS]))


def area_under_curve(outside: ArrayLike, inside: ArrayLike) -> float:
    """AUROC: probability that a score of what lies outside exceeds one of what lies inside, ties counting half.

    Raises
    ------
    InputError
        One of the two is empty or a score is not a number.
    """
    from scipy.stats import rankdata

    positive, negative = np.asarray(outside, dtype=np.float64), np.asarray(inside, dtype=np.float64)
    if not len(positive) or not len(negative):
        raise InputError("the area needs scores of both kinds; give at least one of each")
    both = np.concatenate([positive, negative])
    if np.isnan(both).any():
        raise InputError("scores must be numbers; check the structures that were scored")
    n, m = len(positive), len(negative)
    return float((rankdata(both)[:n].sum() - n * (n + 1) / 2) / (n * m))
