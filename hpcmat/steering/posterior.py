"""Posterior after many labels, through sums over them: what it costs does not grow with their number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

Floats = NDArray[np.float64]


class Observations:
    """Sum of zᵀ z over the rows of labels, z = x R₀, for each kind of row, since each kind has a noise of its own.

    The rows are multiplied by the factor of a posterior covariance, R₀ R₀ᵀ, before they are squared. In the basis as it
    is, directions of which the labels say nothing would drown in the rounding errors of the others: covariances span
    more orders of magnitude than a sum of squares can hold.

    Parameters
    ----------
    factor : (F, M), R₀; coefficients that were not fitted have rows of zeros.
    """

    def __init__(self, factor: Floats, kinds: int = 3) -> None:
        self._factor = factor
        self._sums = np.zeros((kinds, factor.shape[1], factor.shape[1]))

    def add(self, parts: Sequence[Floats], sign: int = 1) -> None:
        """Take labels in, or out again with a sign of -1; one (R, F) array of rows for each kind."""
        for total, rows in zip(self._sums, parts, strict=True):
            projected = rows @ self._factor
            total += sign * (projected.T @ projected)

    def serves(self, factor: Floats) -> bool:
        """Whether `posterior` can be had for this factor: it must be of the same coefficients."""
        return np.array_equal(_fitted(self._factor), _fitted(factor))

    def posterior(self, factor: Floats, noise: Floats) -> Floats:
        """Covariance R (I + Tᵀ W T)⁻¹ Rᵀ of a prior R Rᵀ after the labels; R = R₀ T, W the sums over noise².

        No covariance is inverted: the middle has no eigenvalue below 1.

        Parameters
        ----------
        factor : (F, M), R
        noise : standard deviation of each kind of rows.
        """
        fitted = _fitted(factor)
        turn = np.linalg.solve(self._factor[fitted], factor[fitted])
        middle = turn.T @ np.tensordot(1.0 / noise**2, self._sums, 1) @ turn + np.eye(factor.shape[1])
        root = solve_triangular(cholesky(middle, lower=True), factor.T, lower=True)
        covariance: Floats = root.T @ root
        return covariance


def _fitted(factor: Floats) -> NDArray[np.bool_]:
    return np.asarray(factor.any(axis=1))
