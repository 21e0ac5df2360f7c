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


def judge(covariance: Array, candidates: Sequence[Array], reference: Array) -> tuple[Array, Array]:
    """Gain and leverage of each candidate.

    Parameters
    ----------
    covariance : (F, F)
    candidates : C arrays (R, F), rows divided by their noise; R may differ.
    reference : (F, F), M, mean of x xᵀ over the force rows of the reference distribution, (eV/Å)².

    Returns
    -------
    gains : (C,), fall of tr(M S) when the rows are observed, (eV/Å)²
    leverages : (C,), tr(X S Xᵀ)
    """
    gains, leverages = np.empty(len(candidates)), np.empty(len(candidates))
    # Candidates of one size are judged together: one large product instead of many small ones.
    sizes = np.array([len(rows) for rows in candidates])
    for size in np.unique(sizes):
        members = np.flatnonzero(sizes == size)
        rows = np.stack([candidates[int(i)] for i in members])
        gains[members], leverages[members] = _judge_alike(covariance, rows, reference)
    return gains, leverages


def variance_reductions(covariance: Array, candidates: Array, reference: Array) -> Array:
    """The gains alone; `candidates` (C, R, F)."""
    return judge(covariance, list(candidates), reference)[0]


def rank_by_gain(covariance: Array, candidates: Sequence[Array], reference: Array) -> tuple[tuple[int, float], ...]:
    """(index, gain) of all candidates, best first; equal gains in the order given; see `judge`."""
    gains = judge(covariance, candidates, reference)[0]
    order = sorted(range(len(gains)), key=lambda index: (-gains[index], index))
    return tuple((index, float(gains[index])) for index in order)


def _judge_alike(covariance: Array, candidates: Array, reference: Array) -> tuple[Array, Array]:
    # All rows in one product; a stack of matrices would be multiplied one by one.
    size = candidates.shape
    projected = (candidates.reshape(-1, size[2]) @ covariance).reshape(size)
    inner = projected @ candidates.transpose(0, 2, 1)
    leverages: Array = np.trace(inner, axis1=1, axis2=2)
    weighted = (projected.reshape(-1, size[2]) @ reference).reshape(size) @ projected.transpose(0, 2, 1)
    gains: Array = np.trace(np.linalg.solve(inner + np.eye(size[1]), weighted), axis1=1, axis2=2)
    return gains, leverages
