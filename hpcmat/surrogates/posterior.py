r"""Gaussian posterior of linear coefficients, from weighted rows of several kinds.

    y = X θ + ε,   ε_r ~ N(0, σ_r² / β),   θ_f ~ N(0, 1 / (α_g p_f))

σ_r is the target error of row r (it weighs energies against forces against stress), p_f the relative prior precision, g
the group of a coefficient. α and β maximise the evidence (MacKay, Neural Comput. 4 (1992) 415). The posterior is

    S = (α_g P + β Xᵀ σ⁻² X)⁻¹ = R Rᵀ,     θ̄ = β S Xᵀ σ⁻² y

The noise of each kind that enters predictions is then estimated from leave-one-structure-out residuals, in closed
form: they need no count of effective parameters, so that they stay honest when there are more features than labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hpcmat.errors import InputError

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
PSEUDO_COUNT = 1.0
"""Weight, in rows, of the target error in the estimate of the noise: keeps it sane with a handful of labels."""
LARGEST_CONDITION = 1e13
"""Prior precision is kept above (largest eigenvalue) / this, so that rounding cannot make S indefinite."""


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """Rows of the design matrix with their labels."""

    rows: Floats
    """(m, F)"""
    targets: Floats
    """(m,)"""
    sigma: Floats
    """(m,) target error of each row, in the unit of its target."""
    kind: Ints
    """(m,) kind of each row: 0 energy per atom, 1 force, 2 stress."""
    structure: Ints
    """(m,) structure each row belongs to; rows of one structure are adjacent."""


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Mean and covariance of the coefficients, and the noise of each kind of row."""

    mean: Floats
    """(F,)"""
    factor: Floats
    """R (F, F) with S = R Rᵀ."""
    noise: Floats
    """(3,) standard deviation of what the features cannot express, in the unit of each kind."""
    alpha: Floats
    """(groups,) prior precision of each group of coefficients, over p."""
    beta: float
    """Precision of the rows, over 1/σ²."""
    effective_parameters: float
    """γ = Σ βλ / (αp + βλ): how many coefficients the data determine."""
    log_evidence: float

    def variance(self, rows: Floats) -> Floats:
        """Variance x S xᵀ of each row, from not knowing the coefficients."""
        variance: Floats = np.sum((rows @ self.factor) ** 2, axis=-1)
        return variance


@dataclass(frozen=True, slots=True, eq=False)
class _Statistics:
    """Sums over weighted rows that determine the posterior."""

    gram: Floats
    """Xᵀ σ⁻² X"""
    projection: Floats
    """Xᵀ σ⁻² y"""
    yy: float
    n: int

    def whitened(self, precision: Floats) -> _Statistics:
        """The same for coefficients of unit prior precision."""
        scale = 1.0 / np.sqrt(precision)
        return _Statistics(self.gram * np.outer(scale, scale), self.projection * scale, self.yy, self.n)

    def residual(self, t: Floats) -> float:
        """Sum of squared weighted residuals of coefficients t."""
        return max(self.yy - 2 * float(t @ self.projection) + float(t @ self.gram @ t), 0.0)


def fit_posterior(observations: Observations, prior_precision: Floats, groups: Ints | None = None) -> Posterior:
    """Posterior by evidence maximisation.

    Parameters
    ----------
    observations : weighted rows.
    prior_precision : (F,) relative prior precision p of each coefficient.
    groups : (F,) group 0 .. of each coefficient; each group has its own α. All in one by default.

    Raises
    ------
    InputError
        Where there are no rows, a number is not finite, or a target error or prior precision is not positive.
    """
    _check(observations, prior_precision)
    x = observations.rows / observations.sigma[:, None]
    y = observations.targets / observations.sigma
    statistics = _Statistics(x.T @ x, x.T @ y, float(y @ y), len(y))
    groups = np.zeros(x.shape[1], dtype=np.int64) if groups is None else groups
    alpha, beta = _maximise_evidence(statistics, prior_precision, groups)
    white = statistics.whitened(alpha[groups] * prior_precision)
    values, vectors = np.linalg.eigh(white.gram)
    values = np.maximum(values, 0.0)
    factor = vectors / np.sqrt((1.0 + beta * values) * (alpha[groups] * prior_precision)[:, None])
    mean = beta * factor @ (factor.T @ statistics.projection)
    return Posterior(
        mean=mean,
        factor=factor,
        noise=_noise(observations, x, y - x @ mean, factor, beta),
        alpha=alpha,
        beta=beta,
        effective_parameters=float(np.sum(beta * values / (1.0 + beta * values))),
        log_evidence=_log_evidence(values, vectors.T @ white.projection, white, beta),
    )


def _check(observations: Observations, prior_precision: Floats) -> None:
    if len(observations.targets) == 0:
        raise InputError("there is nothing to fit; give at least one label")
    if not (np.isfinite(observations.rows).all() and np.isfinite(observations.targets).all()):
        raise InputError("rows or labels are not finite; remove the damaged label")
    if observations.sigma.min() <= 0 or prior_precision.min() <= 0:
        raise InputError("target errors and prior precisions must be positive; correct the settings")


def _maximise_evidence(statistics: _Statistics, prior: Floats, groups: Ints) -> tuple[Floats, float]:
    """α of each group and β: first one α for all, then each its own."""
    alpha, beta = _common_scale(statistics.whitened(prior))
    n_groups = int(groups.max()) + 1
    start = np.full(n_groups, alpha)
    return (start, beta) if n_groups == 1 else _group_scales(statistics, prior, groups, (start, beta))


def _common_scale(white: _Statistics) -> tuple[float, float]:
    """MacKay's fixed point for one α and β, in the eigenbasis."""
    values, vectors = np.linalg.eigh(white.gram)
    values, projection = np.maximum(values, 0.0), vectors.T @ white.projection
    alpha = beta = 1.0
    for _ in range(MAX_ITERATIONS):
        t = beta * projection / (alpha + beta * values)
        gamma = float(np.sum(beta * values / (alpha + beta * values)))
        residual = max(white.yy - 2 * float(t @ projection) + float(values @ t**2), 0.0)
        floor = max(beta * values[-1] / LARGEST_CONDITION, 1e-12)
        before = alpha, beta
        alpha, beta = max(gamma / max(float(t @ t), 1e-300), floor), _beta(white.n, gamma, residual)
        if _change(before, (alpha, beta)) < TOLERANCE:
            break
    return float(alpha), float(beta)


def _group_scales(
    statistics: _Statistics, prior: Floats, groups: Ints, start: tuple[Floats, float]
) -> tuple[Floats, float]:
    """MacKay's fixed point for one α per group, each within GROUP_RANGE of the common one."""
    alpha, beta = start
    low, high = start[0] / GROUP_RANGE, start[0] * GROUP_RANGE
    for _ in range(MAX_GROUP_ITERATIONS):
        white = statistics.whitened(alpha[groups] * prior)
        covariance = np.linalg.inv(np.eye(len(prior)) + beta * white.gram)
        t = beta * covariance @ white.projection
        determined = np.bincount(groups, 1.0 - np.diag(covariance), minlength=len(alpha))
        size = np.bincount(groups, t**2, minlength=len(alpha))
        before = alpha, beta
        alpha = np.clip(alpha * np.maximum(determined, 0.0) / np.maximum(size, 1e-300), low, high)
        beta = _beta(statistics.n, float(determined.sum()), white.residual(t))
        if _change(before, (alpha, beta)) < GROUP_TOLERANCE:
            break
    return alpha, beta


def _beta(n: int, gamma: float, residual: float) -> float:
    # One pseudo-row of unit residual keeps β finite where the features can express every label.
    return (n - gamma + 1.0) / (residual + 1.0)


def _change(before: tuple[Floats | float, float], after: tuple[Floats | float, float]) -> float:
    return float(max(np.max(np.abs(np.log(np.divide(b, a)))) for a, b in zip(before, after, strict=True)))


def _log_evidence(values: Floats, projection: Floats, white: _Statistics, beta: float) -> float:
    """Log density of the weighted targets, marginal over coefficients of unit prior precision."""
    t = beta * projection / (1.0 + beta * values)
    misfit = white.yy - 2 * float(t @ projection) + float(values @ t**2)
    complexity = float(np.sum(np.log1p(beta * values)))
    return 0.5 * (white.n * float(np.log(beta / (2 * np.pi))) - beta * misfit - float(t @ t) - complexity)


def leave_one_structure_out(
    observations: Observations, x: Floats, residual: Floats, factor: Floats, beta: float
) -> Iterator[tuple[slice, Floats, Floats]]:
    """For each structure: its rows, their residuals and epistemic variances under the posterior without it.

    All in units of the target error. With V = X_s S X_sᵀ the residuals are (1 - β V)⁻¹ r and the covariance
    V (1 - β V)⁻¹, exact for fixed α and β.
    """
    edges = np.flatnonzero(np.diff(observations.structure, prepend=-1, append=-1))
    for start, stop in pairwise(edges):
        rows = slice(int(start), int(stop))
        z = x[rows] @ factor
        values, vectors = np.linalg.eigh(z @ z.T)
        without = 1.0 / np.maximum(1.0 - beta * values, 1e-12)
        left_out = vectors @ (without * (vectors.T @ residual[rows]))
        yield rows, left_out, (vectors**2) @ (np.maximum(values, 0.0) * without)


def _noise(observations: Observations, x: Floats, residual: Floats, factor: Floats, beta: float) -> Floats:
    """Standard deviation per kind at which left-out residuals have a mean square z of 1; 0 for a kind without rows."""
    square, variance = np.empty(len(residual)), np.empty(len(residual))
    for rows, left_out, epistemic in leave_one_structure_out(observations, x, residual, factor, beta):
        square[rows], variance[rows] = left_out**2, epistemic
    noise = np.zeros(3)
    for kind in range(3):
        mine = observations.kind == kind
        if mine.any():
            unit = float(observations.sigma[mine].mean())
            noise[kind] = unit * np.sqrt(_calibrating_variance(square[mine], variance[mine]))
    return noise


def _calibrating_variance(square: Floats, variance: Floats) -> float:
    """Noise variance s with Σ r² / (v + s) + c / s = n + c, in units of the target error.

    The c pseudo-rows have the target error and no epistemic variance: s stays near 1 with few rows, and above 0 where
    the epistemic variance alone explains the residuals. The left side falls with s, so bisection finds the root.
    """
    low, high = 1e-12, PSEUDO_COUNT + float(square.sum()) + 1.0
    for _ in range(100):
        middle = np.sqrt(low * high)
        excess = np.sum(square / (variance + middle)) + PSEUDO_COUNT / middle - len(square) - PSEUDO_COUNT
        low, high = (middle, high) if excess > 0 else (low, middle)
    return float(np.sqrt(low * high))
