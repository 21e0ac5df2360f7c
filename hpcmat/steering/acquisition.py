"""Which candidate to label next: expected reduction of the variance of what the potential will be asked for.

A linear model with Gaussian noise has a posterior covariance S that does not depend on the labels' values. What a
label is worth is therefore known before it is computed, and labels in flight are accounted for exactly, by
conditioning S on their rows. Rows are design rows divided by the noise, so that the noise has unit variance.

I-optimality (Atkinson, Donev & Tobias 2007, ch. 10): with the mean force variance on a reference distribution
tr(M S), M the average of x xᵀ over force rows of that distribution, rows X reduce it by
tr[M S Xᵀ (I + X S Xᵀ)⁻¹ X S].

Misfit, what the features cannot express, is larger for some rows than the fit believes: those of hot, dense or
defective frames. With D the variance of the rows' misfit over that of the noise, a label also adds
tr[(D - I) Kᵀ M K] to the error, K = S Xᵀ (I + X S Xᵀ)⁻¹ being the weights that its rows get in the fit. A gain that
counts this is the fall of the error of the fit that will be made, not of one whose noise is right everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Array = NDArray[np.float64]
Ranks = tuple[tuple[int, float], ...]
"""(index, score) of candidates, best first; equal scores in the order given."""
Rank = Callable[[Array, Sequence[Array]], Ranks]
"""A rule: posterior covariance (F, F) and the rows of each candidate in, their ranks out."""


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


def retract(covariance: Array, rows: Array) -> Array:
    """Posterior covariance without rows that `condition` had taken in, of a job that failed.

    Parameters
    ----------
    covariance : (F, F)
    rows : (R, F), divided by their noise.

    Returns
    -------
    (F, F), S + S Xᵀ (I - X S Xᵀ)⁻¹ X S

    Raises
    ------
    LinAlgError
        The rows were not taken in before: I - X S Xᵀ is not positive definite.
    """
    projected = rows @ covariance
    inner = np.eye(len(rows)) - projected @ rows.T
    widened: Array = covariance + projected.T @ cho_solve(cho_factor(inner), projected)
    return 0.5 * (widened + widened.T)


def judge(
    covariance: Array, candidates: Sequence[Array], reference: Array, excess: Sequence[Array] | None = None
) -> tuple[Array, Array]:
    """Gain and leverage of each candidate.

    Parameters
    ----------
    covariance : (F, F)
    candidates : C arrays (R, F), rows divided by their noise; R may differ.
    reference : (F, F), M, mean of x xᵀ over the force rows of the reference distribution, (eV/Å)².
    excess : C arrays (R,), the diagonal of D - I; zero where absent.

    Returns
    -------
    gains : (C,), fall of the mean force variance on the reference when the rows are observed, (eV/Å)²; with excess it
        may be negative.
    leverages : (C,), tr(X S Xᵀ)
    """
    gains, leverages = np.empty(len(candidates)), np.empty(len(candidates))
    # Candidates of one size are judged together: one large product instead of many small ones.
    sizes = np.array([len(rows) for rows in candidates])
    for size in np.unique(sizes):
        members = np.flatnonzero(sizes == size)
        rows = np.stack([candidates[int(i)] for i in members])
        added = np.zeros(rows.shape[:2]) if excess is None else np.stack([excess[int(i)] for i in members])
        gains[members], leverages[members] = _judge_alike(covariance, rows, reference, added)
    return gains, leverages


def variance_reductions(covariance: Array, candidates: Array, reference: Array) -> Array:
    """The gains alone; `candidates` (C, R, F)."""
    return judge(covariance, list(candidates), reference)[0]


def information_gains(covariance: Array, candidates: Sequence[Array]) -> Array:
    """What the rows of each candidate tell of the coefficients, ½ log det (I + X S Xᵀ): the gain of D-optimality.

    Parameters
    ----------
    covariance : (F, F)
    candidates : C arrays (R, F), rows divided by their noise; R may differ.

    Returns
    -------
    (C,), nats
    """
    determinants = (np.linalg.slogdet(np.eye(len(rows)) + rows @ covariance @ rows.T)[1] for rows in candidates)
    return 0.5 * np.fromiter(determinants, dtype=float, count=len(candidates))


def rank_by_gain(
    covariance: Array, candidates: Sequence[Array], reference: Array, excess: Sequence[Array] | None = None
) -> Ranks:
    """(index, gain) of all candidates, best first; equal gains in the order given; see `judge`."""
    return ranks_of(judge(covariance, candidates, reference, excess)[0])


def rank_by_information(covariance: Array, candidates: Sequence[Array]) -> Ranks:
    """(index, gain) of all candidates by D-optimality, as `rank_by_gain`."""
    return ranks_of(information_gains(covariance, candidates))


def greedy_batch(covariance: Array, candidates: Sequence[Array], count: int, rank: Rank) -> Ranks:
    """Several candidates, each the best when those before it are in flight.

    For the information gain, which is submodular, a greedy batch has at least 1 - 1/e of the best batch's gain
    (Nemhauser, Wolsey & Fisher, Math. Program. 14 (1978) 265).

    Returns
    -------
    (index, gain when it was chosen), in the order of choice; all candidates where `count` exceeds their number.
    """
    left, chosen = list(range(len(candidates))), list[tuple[int, float]]()
    while left and len(chosen) < count:
        place, gain = rank(covariance, [candidates[index] for index in left])[0]
        index = left.pop(place)
        covariance = condition(covariance, candidates[index])
        chosen.append((index, gain))
    return tuple(chosen)


def ranks_of(scores: Array) -> Ranks:
    """(index, score), greatest first; equal scores in the order given."""
    order = np.argsort(-scores, kind="stable")
    return tuple((int(index), float(scores[index])) for index in order)


def _judge_alike(covariance: Array, candidates: Array, reference: Array, excess: Array) -> tuple[Array, Array]:
    # All rows in one product; a stack of matrices would be multiplied one by one.
    size = candidates.shape
    projected = (candidates.reshape(-1, size[2]) @ covariance).reshape(size)
    inner = projected @ candidates.transpose(0, 2, 1)
    leverages: Array = np.trace(inner, axis1=1, axis2=2)
    weighted = (projected.reshape(-1, size[2]) @ reference).reshape(size) @ projected.transpose(0, 2, 1)
    inner += np.eye(size[1])
    solved = np.linalg.solve(inner, weighted)
    gains: Array = np.trace(solved, axis1=1, axis2=2)
    if excess.any():
        # Kᵀ M K = (I + X S Xᵀ)⁻¹ X S M S Xᵀ (I + X S Xᵀ)⁻¹
        spread = np.linalg.solve(inner, solved.transpose(0, 2, 1))
        gains -= (excess * np.diagonal(spread, axis1=1, axis2=2)).sum(axis=1)
    return gains, leverages
