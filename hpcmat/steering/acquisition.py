"""Which candidate to label next: expected reduction of the variance of what the potential will be asked for.

A linear model with Gaussian noise has a posterior covariance S that does not depend on the labels' values. What a
label is worth is therefore known before it is computed, and labels in flight are accounted for exactly, by
conditioning S on their rows. Rows are design rows divided by the noise, so that the noise has unit variance.

I-optimality (Atkinson, Donev & Tobias 2007, ch. 10): with the mean force variance on a reference distribution
tr(M S), M the average of x xᵀ over force rows of that distribution, rows X reduce it by
tr[M S Xᵀ (I + X S Xᵀ)⁻¹ X S].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Array = NDArray[np.float64]


def condition(covariance: Array, rows: Array) -> Array:
    """Posterior covariance after observing rows with unit noise.

    Parameters
    ----------
    covariance : (F, F)
    rows : (R, F), divided by their noise.

    Returns
    -------
    (F, F), S - S Xᵀ (I + X S Xᵀ)⁻¹ X S
    """
    projected = rows @ covariance
    inner = projected @ rows.T
    inner[np.diag_indices_from(inner)] += 1.0
    updated: Array = covariance - projected.T @ cho_solve(cho_factor(inner), projected)
    return 0.5 * (updated + updated.T)


def variance_reduction(covariance: Array, rows: Array, reference: Array) -> float:
    """Fall of tr(M S) when rows are observed: the gain of I-optimality.

    Parameters
    ----------
    covariance : (F, F)
    rows : (R, F), divided by their noise.
    reference : (F, F), M, mean of x xᵀ over the force rows of the reference distribution, (eV/Å)².
    """
    projected = rows @ covariance
    inner = projected @ rows.T
    inner[np.diag_indices_from(inner)] += 1.0
    weighted = projected @ reference @ projected.T
    return float(np.trace(cho_solve(cho_factor(inner), weighted)))


def rank_by_gain(covariance: Array, candidates: Sequence[Array], reference: Array) -> tuple[tuple[int, float], ...]:
    """(index, gain) of all candidates, best first; equal gains in the order given."""
    gains = [variance_reduction(covariance, rows, reference) for rows in candidates]
    order = sorted(range(len(gains)), key=lambda index: (-gains[index], index))
    return tuple((index, gains[index]) for index in order)
