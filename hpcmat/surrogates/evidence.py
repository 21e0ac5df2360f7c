r"""Scales of prior and noise that make the labels most probable, from the triangle of the weighted rows.

With RᵀR = [X y]ᵀ[X y] and coefficients of unit prior precision, X → X D, D = (α_g p)^-1/2, all that is needed is in the
triangle of

    [ 1   0 ]        [ T  q ]
    [ √β R D' ]   →  [ 0  s ]        D' = diag(D, 1)

TᵀT = 1 + β D XᵀX D is the posterior precision, t = T⁻¹ q the posterior mean, s² = β |y - X D t|² + |t|². No product
XᵀX is formed, so that a condition of XᵀX up to the square of 1e16 does no harm.

Fits that begin near their scales take T from XᵀX, in a quarter of the time. Since no eigenvalue of TᵀT is below 1, the
error ε tr TᵀT of its rounding bounds the relative error of each; where that is too much, the triangle serves them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, lapack

from hpcmat.surrogates.triangles import inverse
from hpcmat.surrogates.tsqr import join

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_ITERATIONS = 200
TOLERANCE = 1e-4
"""Relative change of α and β at which the evidence has converged."""
MAX_GROUP_ITERATIONS = 40
GROUP_TOLERANCE = 0.02
"""The same for several groups, whose fixed point is approached slowly and need not be sharp."""
GROUP_RANGE = 1e4
"""Factor by which the α of a group may differ from the common one: an idle group is damped, never cut off."""
DIGITS = 4
"""To which the scales of groups are rounded at each iteration: else rounding errors decide when the iteration stops,
and grow to 1e-7 of the scales on the way."""
ROUGH_ITERATIONS = 1
"""For scales of a fit on the way, which begin near those of the one before."""
LARGEST_LOSS = 1e-3
"""Relative error of posterior precisions that products of rows may leave: far below what σ is known to."""
LARGEST_CONDITION = 1e13
"""The common prior precision is kept above (largest eigenvalue) / this."""


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """What is believed of the coefficients before any label."""

    precision: Floats
    """(F,) relative prior precision p of each."""
    groups: Ints
    """(F,) group 0 .. of each; each group has its own α."""


@dataclass(frozen=True, slots=True, eq=False)
class Root:
    """The weighted rows and targets as far as the coefficients are concerned."""

    triangle: Floats
    """(F + 1, F + 1) R with RᵀR = [X y]ᵀ[X y]"""
    n: int
    """Number of rows."""
    threads: int = 1

    def scaled(self, scale: Floats) -> Floats:
        """The triangle for coefficients that are multiplied by `scale` (F,) to give the true ones."""
        scaled: Floats = self.triangle * np.append(scale, 1.0)
        return scaled

    def posterior(self, scale: Floats, beta: float) -> Floats:
        """[T q; 0 s] (F + 1, F + 1) for coefficients over `scale` (F,)."""
        unit = np.zeros(self.triangle.shape, order="F")
        np.fill_diagonal(unit[:-1, :-1], 1.0)
        rows = np.asfortranarray(self.scaled(scale))
        rows *= np.sqrt(beta)
        return join(unit, rows)

    def residual(self, solution: Solution) -> float:
        """Sum of squared weighted residuals."""
        coefficients = solution.scale * solution.mean
        rest = self.triangle[:-1, -1] - self.triangle[:-1, :-1] @ coefficients
        return float(rest @ rest + self.triangle[-1, -1] ** 2)


@dataclass(frozen=True, slots=True, eq=False)
class Gram:
    """The same with half the digits."""

    matrix: Floats
    """(F + 1, F + 1) [X y]ᵀ[X y], its upper triangle."""
    n: int
    """Number of rows."""
    threads: int = 1

    def posterior(self, scale: Floats, beta: float) -> Floats:
        """As of `Root`; raises LinAlgError where no digits are left."""
        columns = np.sqrt(beta) * np.append(scale, 1.0)
        precision = self.matrix * columns
        precision *= columns[:, None]
        precision[np.diag_indices(len(scale))] += 1.0
        triangle, failure = lapack.dpotrf(np.asfortranarray(precision), overwrite_a=1)
        if failure:
            raise np.linalg.LinAlgError("the rows determine some coefficients to more digits than their squares hold")
        found: Floats = triangle
        return found

    def residual(self, solution: Solution) -> float:
        """Sum of squared weighted residuals."""
        rest = float(solution.triangle[-1, -1] ** 2 - solution.mean @ solution.mean)
        return max(rest, 0.0) / solution.beta


@dataclass(frozen=True, eq=False)
class Solution:
    """The posterior at given scales, in coefficients of unit prior precision."""

    scale: Floats
    """(F,) D = (α_g p)^-1/2: true coefficients over those here."""
    beta: float
    n: int
    triangle: Floats
    """(F + 1, F + 1) [T q; 0 s]"""
    threads: int = 1

    @cached_property
    def inverse(self) -> Floats:
        """T⁻¹ (F, F), upper triangular; the covariance is T⁻¹ T⁻ᵀ."""
        return inverse(self.triangle[:-1, :-1], self.threads)

    @cached_property
    def mean(self) -> Floats:
        """Posterior mean t (F,)."""
        mean: Floats = lapack.dtrtrs(self.triangle[:-1, :-1], self.triangle[:-1, -1])[0]
        return mean

    @cached_property
    def determined(self) -> Floats:
        """1 - S_ff (F,): how far the data determine each coefficient; its sum is γ."""
        determined: Floats = np.maximum(1.0 - np.einsum("fg,fg->f", self.inverse, self.inverse), 0.0)
        return determined

    @property
    def loss(self) -> float:
        """Bound of the relative error of posterior precisions where T comes from products of rows."""
        return float(np.finfo(np.float64).eps * np.einsum("fg,fg->", self.triangle[:-1, :-1], self.triangle[:-1, :-1]))

    @property
    def log_evidence(self) -> float:
        """Log density of the weighted targets, marginal over the coefficients."""
        misfit = float(self.triangle[-1, -1]) ** 2
        half_log_determinant = float(np.sum(np.log(np.abs(np.diag(self.triangle)[:-1]))))
        return 0.5 * (self.n * float(np.log(self.beta / (2 * np.pi))) - misfit) - half_log_determinant


def solve(root: Root | Gram, prior: Prior, alpha: Floats, beta: float) -> Solution:
    """The posterior at given scales: α (groups,) and β; raises LinAlgError where a Gram has too few digits."""
    scale = 1.0 / np.sqrt(alpha[prior.groups] * prior.precision)
    return Solution(scale, beta, root.n, root.posterior(scale, beta), root.threads)


@dataclass(frozen=True, slots=True, eq=False)
class Scales:
    """Scales of prior and noise."""

    common: float
    """The α that all groups would share."""
    alpha: Floats
    """(groups,)"""
    beta: float


def maximise_evidence(root: Root, prior: Prior) -> Scales:
    """α of each group and β: first one α for all, then each its own.

    They are MacKay's fixed point (Neural Comput. 4 (1992) 415): α_g = γ_g / |t_g|², β = (n - γ) / |y - X t|².
    """
    n_groups = int(prior.groups.max()) + 1
    alpha, beta = (_rounded(scale) for scale in _common_scale(root, prior))
    start = Scales(alpha, np.full(n_groups, alpha), beta)
    return start if n_groups == 1 else improved_scales(root, prior, start)


def _common_scale(root: Root, prior: Prior) -> tuple[float, float]:
    """The fixed point for one α and β, in the eigenbasis."""
    r = root.scaled(1.0 / np.sqrt(prior.precision))
    gram = r.T @ r
    values, vectors = eigh(gram[:-1, :-1], overwrite_a=True, check_finite=False, driver="evd")
    values, projection, yy = np.maximum(values, 0.0), vectors.T @ gram[:-1, -1], float(gram[-1, -1])
    alpha = beta = 1.0
    for _ in range(MAX_ITERATIONS):
        t = beta * projection / (alpha + beta * values)
        gamma = float(np.sum(beta * values / (alpha + beta * values)))
        residual = max(yy - 2 * float(t @ projection) + float(values @ t**2), 0.0)
        floor = max(beta * values[-1] / LARGEST_CONDITION, 1e-12)
        before = alpha, beta
        alpha, beta = max(gamma / max(float(t @ t), 1e-300), floor), _beta(root.n, gamma, residual)
        if _change(before, (alpha, beta)) < TOLERANCE:
            break
    return float(alpha), float(beta)


def improved_scales(root: Root | Gram, prior: Prior, near: Scales, iterations: int = MAX_GROUP_ITERATIONS) -> Scales:
    """That fixed point for one α per group, each within GROUP_RANGE of the common one, or some iterations towards it.

    Raises LinAlgError where a Gram has too few digits.

    Parameters
    ----------
    near : scales of much the same rows, from which to start.
    """
    alpha, beta = near.alpha, near.beta
    low, high = near.common / GROUP_RANGE, near.common * GROUP_RANGE
    for _ in range(iterations):
        solution = solve(root, prior, alpha, beta)
        determined = np.bincount(prior.groups, solution.determined, minlength=len(alpha))
        size = np.bincount(prior.groups, solution.mean**2, minlength=len(alpha))
        before = alpha, beta
        updated = np.clip(alpha * determined / np.maximum(size, 1e-300), low, high)
        alpha = np.array([_rounded(value) for value in updated])
        beta = _rounded(_beta(root.n, float(determined.sum()), root.residual(solution)))
        if _change(before, (alpha, beta)) < GROUP_TOLERANCE:
            break
    return Scales(near.common, alpha, beta)


def _beta(n: int, gamma: float, residual: float) -> float:
    # One pseudo-row of unit residual keeps β finite where the features can express every label.
    return (n - gamma + 1.0) / (residual + 1.0)


def _rounded(scale: float) -> float:
    return float(f"{scale:.{DIGITS - 1}e}")


def _change(before: tuple[Floats | float, float], after: tuple[Floats | float, float]) -> float:
    return float(max(np.max(np.abs(np.log(np.divide(b, a)))) for a, b in zip(before, after, strict=True)))
