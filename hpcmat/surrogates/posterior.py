r"""Gaussian posterior of linear coefficients, from weighted rows of several kinds.

    y = X θ + ε,   ε_r ~ N(0, σ_r² / β),   θ_f ~ N(0, 1 / (α p_f))

σ_r is the target error of row r (it weighs energies against forces against stress), p_f the relative prior precision.
α and β maximise the evidence (MacKay, Neural Comput. 4 (1992) 415) on one eigendecomposition. The posterior is

    S = (α P + β Xᵀ σ⁻² X)⁻¹ = R Rᵀ,     θ̄ = β S Xᵀ σ⁻² y

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
    alpha: float
    beta: float
    effective_parameters: float
    """γ = Σ βλ / (αp + βλ): how many coefficients the data determine."""
    log_evidence: float

    def variance(self, rows: Floats) -> Floats:
        """Variance x S xᵀ of each row, from not knowing the coefficients."""
        variance: Floats = np.sum((rows @ self.factor) ** 2, axis=-1)
        return variance


def fit_posterior(observations: Observations, prior_precision: Floats) -> Posterior:
    """Posterior by evidence maximisation.

    Raises
    ------
    InputError
        Where there are no rows, a number is not finite, or a target error or prior precision is not positive.
    """
    _check(observations, prior_precision)
    x = observations.rows / observations.sigma[:, None]
    y = observations.targets / observations.sigma
    scale = 1.0 / np.sqrt(prior_precision)
    gram = x.T @ x
    values, vectors = np.linalg.eigh(gram * np.outer(scale, scale))
    values = np.maximum(values, 0.0)
    projection = vectors.T @ (scale * (x.T @ y))
    alpha, beta = _maximise_evidence(values, projection, float(y @ y), len(y))
    precision = alpha + beta * values
    mean = scale * (vectors @ (beta * projection / precision))
    factor = scale[:, None] * vectors / np.sqrt(precision)
    return Posterior(
        mean=mean,
        factor=factor,
        noise=_noise(observations, x, y - x @ mean, factor, beta),
        alpha=alpha,
        beta=beta,
        effective_parameters=float(np.sum(beta * values / precision)),
        log_evidence=_log_evidence(values, projection, float(y @ y), len(y), (alpha, beta)),
    )


def _check(observations: Observations, prior_precision: Floats) -> None:
    if len(observations.targets) == 0:
        raise InputError("there is nothing to fit; give at least one label")
    if not (np.isfinite(observations.rows).all() and np.isfinite(observations.targets).all()):
        raise InputError("rows or labels are not finite; remove the damaged label")
    if observations.sigma.min() <= 0 or prior_precision.min() <= 0:
        raise InputError("target errors and prior precisions must be positive; correct the settings")


def _maximise_evidence(values: Floats, projection: Floats, yy: float, n: int) -> tuple[float, float]:
    """MacKay's fixed point for α and β in the eigenbasis."""
    # One pseudo-row of unit residual keeps β finite where the features can express every label.
    alpha = beta = 1.0
    for _ in range(MAX_ITERATIONS):
        floor = beta * values[-1] / LARGEST_CONDITION
        t = beta * projection / (alpha + beta * values)
        gamma = float(np.sum(beta * values / (alpha + beta * values)))
        residual = max(yy - 2 * float(t @ projection) + float(values @ t**2), 0.0)
        new_alpha = max(gamma / max(float(t @ t), 1e-300), floor, 1e-12)
        new_beta = (n - gamma + 1.0) / (residual + 1.0)
        change = max(abs(np.log(new_alpha / alpha)), abs(np.log(new_beta / beta)))
        alpha, beta = new_alpha, new_beta
        if change < TOLERANCE:
            break
    return float(alpha), float(beta)


def _log_evidence(values: Floats, projection: Floats, yy: float, n: int, scales: tuple[float, float]) -> float:
    alpha, beta = scales
    t = beta * projection / (alpha + beta * values)
    misfit = beta * (yy - 2 * float(t @ projection) + float(values @ t**2)) + alpha * float(t @ t)
    complexity = float(np.sum(np.log1p(beta * values / alpha)))
    return 0.5 * (n * float(np.log(beta / (2 * np.pi))) - misfit - complexity)


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
