r"""Noise of forces that is not the same for every atom.

What the features cannot express is not spread evenly: atoms near a crystal's sites are described far better than those
of a melt or a surface, and the same atoms have a larger epistemic variance v, because fewer labels are like them. The
noise variance of an atom is therefore a monotone function of v,

    s²(v) = s₀² exp(h(log v / s₀²)),

with h linear between knots, constant below the first and continued with its last slope above the last. s₀ is the
constant noise of the posterior. The knots' values have the greatest penalised likelihood of left-out residuals,

    w Σ [log(s² + v) + ⟨r²⟩ / (s² + v)] / 2 + c Σ_k [h_k + exp(-h_k)] / 2 + smoothness ∫ h''² / 2,

the first sum over atoms with their mean square residual ⟨r²⟩. w makes all atoms together count as `ROWS_PER_STRUCTURE`
rows per structure: residuals within a structure are not independent. The second term, c pseudo-rows at each knot, pulls
to h = 0, the constant noise, and wins where there are few data. Further arguments were tried and left out: on Si, Cu
and Li (Zuo et al. 2020) neither the predicted force nor the mean of v over the structure improved the likelihood of
test forces once v was known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from hpcmat.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROWS_PER_STRUCTURE = 6.0
FEWEST_STRUCTURES = 8
"""With fewer left-out structures the noise is constant."""
KNOT_SPACING = 1.0
"""In log v."""
KNOT_RANGE = 12.0
"""Largest distance of the first from the last knot, in log v: atoms held by symmetry have v = 0."""
QUANTILES = (0.02, 0.999)
"""Quantiles of log v at the first and the last knot."""
PSEUDO_ROWS = 0.02
"""Rows at each knot whose mean square residual is s₀²: they keep the noise from vanishing where a few labels happen to
be exact, since exp(h) stays above about `PSEUDO_ROWS` over the number of rows near the knot. Five-fold, and with 12 and
25 training structures, 0.01 to 0.03 gave the rms z nearest to 1 on Si, Cu and Li; 0.003 gave 2.0 for 12 of copper."""
SMOOTHNESS = 1.0
LARGEST_LAST_SLOPE = 1.0
"""Above the last knot the noise variance grows at most like v, as the epistemic one does."""
SMALLEST_LOG = float(np.log(1e-6))
"""Least h: noise stays above a thousandth of the constant one, also for atoms held by symmetry."""
LARGEST_LOG = float(np.log(1e6))
NOT_ZERO = 1e-30
"""Least v / s₀², for the logarithm."""


@dataclass(frozen=True, slots=True, eq=False)
class ForceNoise:
    """Noise of force components as a function of their epistemic variance."""

    constant: float
    """s₀, eV/Å"""
    knots: Floats
    """(k,) increasing values of log v / s₀²; empty where the noise is constant."""
    values: Floats
    """(k,) h at the knots, not falling."""

    def variance(self, epistemic_variance: ArrayLike) -> Floats:
        """Noise variance (n,) (eV/Å)² of the force components of each atom; always positive.

        Parameters
        ----------
        epistemic_variance : (n,) (eV/Å)², mean over the three components, so that rotations leave it alone.
        """
        v = np.asarray(epistemic_variance, dtype=np.float64)
        if not len(self.knots):
            return np.full(v.shape, self.constant**2)
        logarithm = _hats(_abscissa(v, self.constant), self.knots) @ self.values
        noise: Floats = self.constant**2 * np.exp(np.minimum(logarithm, LARGEST_LOG))
        return noise


def constant_noise(sigma: float) -> ForceNoise:
    """The same noise (eV/Å) for every atom."""
    return ForceNoise(sigma, np.empty(0), np.empty(0))


def fit_force_noise(residuals: Floats, epistemic_variance: Floats, structure: Ints, constant: float) -> ForceNoise:
    """Noise from residuals of training labels, each predicted without its own structure.

    Parameters
    ----------
    residuals : (m, 3) eV/Å, left-out residuals of m atoms.
    epistemic_variance : (m,) (eV/Å)², mean over components, under the posterior without the structure.
    structure : (m,) number of the structure of each atom.
    constant : s₀ > 0, eV/Å.

    Raises
    ------
    InputError
        Shapes do not match, a number is not finite, a variance is negative or the constant is not positive.
    """
    _check(residuals, epistemic_variance, structure, constant)
    n_structures = len(np.unique(structure))
    u = _abscissa(epistemic_variance, constant)
    if n_structures < FEWEST_STRUCTURES or np.ptp(u) < KNOT_SPACING:
        return constant_noise(constant)
    knots = _knots(u)
    square = (residuals**2).mean(axis=1) / constant**2
    weight = ROWS_PER_STRUCTURE * n_structures / len(u)
    return ForceNoise(constant, knots, _most_likely(u, square, knots, weight))


def _check(residuals: Floats, variance: Floats, structure: Ints, constant: float) -> None:
    m = len(variance)
    if residuals.shape != (m, 3) or np.shape(structure) != (m,):
        raise InputError("residuals (m, 3), variances (m,) and structures (m,) do not match; pass one row per atom")
    if not (np.isfinite(residuals).all() and np.isfinite(variance).all() and np.isfinite(constant)):
        raise InputError("residuals and variances must be finite; remove the damaged label")
    if constant <= 0 or (m and variance.min() < 0):
        raise InputError("the constant noise must be positive and no variance negative; check the posterior")


def _abscissa(variance: Floats, constant: float) -> Floats:
    return np.log(np.maximum(variance / constant**2, NOT_ZERO))


def _knots(u: Floats) -> Floats:
    first, last = np.quantile(u, QUANTILES)
    first = max(first, last - KNOT_RANGE)
    knots: Floats = np.linspace(first, last, max(3, round((last - first) / KNOT_SPACING) + 1))
    return knots


def _hats(u: Floats, knots: Floats) -> Floats:
    """Weights (m, k) of the knots' values: linear between knots, constant below, continued above."""
    left = np.clip(np.searchsorted(knots, u) - 1, 0, len(knots) - 2)
    t = np.maximum((u - knots[left]) / (knots[left + 1] - knots[left]), 0.0)
    weights, rows = np.zeros((len(u), len(knots))), np.arange(len(u))
    weights[rows, left], weights[rows, left + 1] = 1.0 - t, t
    return weights


def _most_likely(u: Floats, square: Floats, knots: Floats, weight: float) -> Floats:
    """Values of h at the knots; its unknowns are the first value and the steps, which keeps it from falling."""
    k, spacing = len(knots), knots[1] - knots[0]
    steps = np.tril(np.ones((k, k)))
    hats = _hats(u, knots) @ steps
    epistemic = np.exp(u)
    bend = np.diff(np.eye(k), 2, axis=0) / spacing**1.5
    penalty = SMOOTHNESS * steps.T @ bend.T @ bend @ steps

    def cost(x: Floats) -> tuple[float, Floats]:
        noise = np.exp(np.clip(hats @ x, SMALLEST_LOG, LARGEST_LOG))
        total = noise + epistemic
        likelihood = float(np.sum(np.log(total) + square / total))
        slope = hats.T @ ((1.0 - square / total) / total * noise)
        h = steps @ x
        inverse = np.exp(-h)
        value = weight * likelihood + PSEUDO_ROWS * float(np.sum(h + inverse)) + float(x @ penalty @ x)
        gradient = 0.5 * weight * slope + 0.5 * PSEUDO_ROWS * steps.T @ (1.0 - inverse) + penalty @ x
        return 0.5 * value, gradient

    bounds = [(SMALLEST_LOG, LARGEST_LOG), *[(0.0, np.inf)] * (k - 2), (0.0, LARGEST_LAST_SLOPE * spacing)]
    found = minimize(cost, np.zeros(k), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500})
    values: Floats = steps @ found.x
    return values
