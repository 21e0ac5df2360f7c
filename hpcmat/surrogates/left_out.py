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


def left_out(
    blocks: list[Observations], structures: list[int], fit: tuple[Floats, Floats, float], included: list[bool]
) -> list[LeftOut]:
    """Some structures under the fit (mean, factor, β), each without itself; the factor is upper triangular."""
    mean, factor, beta = fit
    x, y = (np.concatenate(parts) for parts in zip(*map(weighted, blocks), strict=True))
    fitted, z = y - x @ mean, blas.dtrmm(1.0, factor, x, side=1)
    scores, start = [], 0
    for block, structure, is_in in zip(blocks, structures, included, strict=True):
        mine = slice(start, start := start + len(block.targets))
        residual, variance = _without(z[mine], fitted[mine], beta) if is_in else (fitted[mine], _squares(z[mine]))
        scores.append(LeftOut(structure, residual, fitted[mine], y[mine] - residual, variance, block.sigma, block.kind))
    return scores


def _squares(z: Floats) -> Floats:
    squares: Floats = np.einsum("rf,rf->r", z, z)
    return squares


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
            noise[number] = unit * calibrating_deviation(square[mine], variance[mine])
    return noise


def calibrating_deviation(square: Floats, variance: Floats) -> float:
    """√s of the noise variance s with Σ r² / (v + s) + c / s = n + c, in the unit in which 1 is expected.

    The c pseudo-rows have a residual of 1 and no epistemic variance: s stays near 1 with few rows, and above 0 where
    the epistemic variance alone explains the residuals. The left side falls with s, so bisection finds the root.

    Parameters
    ----------
    square, variance : (n,) squared residuals and their epistemic variances.
    """
    low, high = 1e-12, PSEUDO_COUNT + float(square.sum()) + 1.0
    for _ in range(100):
        middle = np.sqrt(low * high)
        excess = np.sum(square / (variance + middle)) + PSEUDO_COUNT / middle - len(square) - PSEUDO_COUNT
        low, high = (middle, high) if excess > 0 else (low, middle)
    return float((low * high) ** 0.25)
