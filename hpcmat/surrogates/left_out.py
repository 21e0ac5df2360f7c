r"""Each structure under the posterior without it, in closed form; the noise that makes its residuals likely.

With V = X_s S X_sᵀ, all in units of the target error, the residuals are (1 - β V)⁻¹ r and the covariance V (1 - β V)⁻¹,
exact for fixed α and β.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from hpcmat.surrogates.rows import Observations, weighted

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PSEUDO_COUNT = 1.0
"""Weight, in rows, of the target error in the estimate of the noise: keeps it sane with a handful of labels."""
SMALLEST_PIVOT = 1e-5
"""Of the Cholesky factor of 1 - β V, below which eigenvalues tell better what the structure alone determines."""


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """One structure under the posterior without it, in units of the target errors."""

    structure: int
    residual: Floats
    """(m,) label minus prediction"""
    fitted: Floats
    """(m,) the same under the posterior with it; equal to the above where it was not fitted."""
    expected: Floats
    """(m,) prediction, without the energy baseline"""
    variance: Floats
    """(m,) epistemic"""
    sigma: Floats
    """(m,) the target errors"""
    kind: Ints
    """(m,)"""


def leave_one_structure_out(
    observations: Observations, x: Floats, residual: Floats, factor: Floats, beta: float
) -> Iterator[tuple[slice, Floats, Floats]]:
    """For each structure: its rows, their residuals and epistemic variances under the posterior without it.

    All in units of the target error; x are the weighted rows, the residuals those of the whole fit.
    """
    edges = np.flatnonzero(np.diff(observations.structure, prepend=-1, append=-1))
    for start, stop in pairwise(edges):
        rows = slice(int(start), int(stop))
        left_out, variance = _without(x[rows] @ factor, residual[rows], beta)
        yield rows, left_out, variance


def left_out(block: Observations, structure: int, fit: tuple[Floats, Floats, float], included: bool) -> LeftOut:
    """One structure under the fit (mean, factor, β) without it; the factor is upper triangular."""
    mean, factor, beta = fit
    x, y = weighted(block)
    fitted, z = y - x @ mean, blas.dtrmm(1.0, factor, x, side=1)
    residual, variance = _without(z, fitted, beta) if included else (fitted, np.einsum("rf,rf->r", z, z))
    return LeftOut(structure, residual, fitted, y - residual, variance, block.sigma, block.kind)


def _without(z: Floats, residual: Floats, beta: float) -> tuple[Floats, Floats]:
    """Residuals and variances of the rows of one structure without it, z = X_s R."""
    v = z @ z.T
    triangle, failure = lapack.dpotrf(np.eye(len(v)) - beta * v, lower=1)
    if failure or np.diag(triangle).min() < SMALLEST_PIVOT:
        return _without_where_exact(v, residual, beta)
    left: Floats = lapack.dpotrs(triangle, residual, lower=1)[0]
    # V (1 - β V)⁻¹ = V + β V (1 - β V)⁻¹ V, of which no digits cancel.
    half = lapack.dtrtrs(triangle, v, lower=1)[0]
    variance: Floats = np.diag(v) + beta * np.einsum("mr,mr->r", half, half)
    return left, variance


def _without_where_exact(v: Floats, residual: Floats, beta: float) -> tuple[Floats, Floats]:
    """The same where the structure alone determines some of what its rows say, to the last digit."""
    values, vectors = np.linalg.eigh(v)
    without = 1.0 / np.maximum(1.0 - beta * values, 1e-12)
    left: Floats = vectors @ (without * (vectors.T @ residual))
    variance: Floats = (vectors**2) @ (np.maximum(values, 0.0) * without)
    return left, variance


def calibrated_noise(scores: list[LeftOut]) -> Floats:
    """Standard deviation per kind (3,) at which residuals have a mean square z of 1; 0 for a kind without rows."""
    kind = np.concatenate([score.kind for score in scores])
    sigma = np.concatenate([score.sigma for score in scores])
    square = np.concatenate([score.residual for score in scores]) ** 2
    variance = np.concatenate([score.variance for score in scores])
    noise = np.zeros(3)
    for number in range(3):
        mine = kind == number
        if mine.any():
            unit = float(sigma[mine].mean())
            noise[number] = unit * np.sqrt(_calibrating_variance(square[mine], variance[mine]))
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
