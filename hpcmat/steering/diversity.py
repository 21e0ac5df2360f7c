"""Candidates unlike what is labelled: by distance, and by the volume that rows span. Labels' noise is not considered.

Both look at geometry alone. They are here as measures for the rules that ask what the potential will be used for, and
for choosing where there is no posterior yet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lu, solve

from hpcmat.steering.acquisition import Ranks, ranks_of

Array = NDArray[np.float64]

VOLUME_TOLERANCE = 1.01
"""A row replaces another where it enlarges the volume by more than this factor."""
MAX_SWAPS = 1000


def distances(candidates: Array, known: Array) -> Array:
    """Distance of each candidate from the nearest known structure (C,), in the unit of the descriptors.

    Parameters
    ----------
    candidates : (C, D), one descriptor each.
    known : (K, D); with K = 0 the distance is that from the mean of the candidates.
    """
    others = known if len(known) else candidates.mean(axis=0, keepdims=True)
    squares = (candidates**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2.0 * candidates @ others.T
    nearest: Array = np.sqrt(np.maximum(squares, 0.0).min(axis=1))
    return nearest


def rank_by_distance(candidates: Array, known: Array) -> Ranks:
    """(index, distance) of all candidates, the one farthest from everything known first."""
    return ranks_of(distances(candidates, known))


def farthest_first(candidates: Array, known: Array, count: int) -> Ranks:
    """Several candidates, each farthest from what is known and from those chosen before it.

    Gonzalez, Theor. Comput. Sci. 38 (1985) 293: no point is left farther than twice the best possible radius.
    """
    chosen: list[tuple[int, float]] = []
    for _ in range(min(count, len(candidates))):
        away = distances(candidates, known)
        away[[index for index, _ in chosen]] = -1.0
        index = int(np.argmax(away))
        chosen.append((index, float(away[index])))
        known = np.concatenate([known, candidates[index : index + 1]])
    return tuple(chosen)


def maxvol(rows: Array) -> NDArray[np.int64]:
    """Rows that span the largest volume, nearly: indices (F,) of a square submatrix A of rows (R, F), R ≥ F.

    From the pivots of an LU factorisation, rows are swapped for others while one enlarges |det A| by more than 1 %
    (Goreinov et al., in Matrix Methods, World Scientific 2010, p. 247). Then every row is a combination of the chosen
    ones with coefficients of at most 1.01.
    """
    permutation = lu(rows, p_indices=True)[0]
    # lu gives rows = L[permutation] U: the place of each row among the pivots.
    chosen = np.argsort(permutation)[: rows.shape[1]].astype(np.int64)
    for _ in range(MAX_SWAPS):
        weights = expressed(rows, rows[chosen])
        row, place = np.unravel_index(np.argmax(np.abs(weights)), weights.shape)
        if abs(weights[row, place]) <= VOLUME_TOLERANCE:
            break
        chosen[place] = row
    return chosen


def expressed(rows: Array, active: Array) -> Array:
    """Coefficients (R, F) of rows (R, F) as combinations of the active rows (F, F)."""
    coefficients: Array = solve(active.T, rows.T).T
    return coefficients


def rank_by_volume(candidates: Sequence[Array], labelled: Array) -> Ranks:
    """(index, γ) of all candidates, the largest extrapolation grade first.

    γ is the largest coefficient by which a candidate's row is a combination of the active rows, which MaxVol finds
    among the labelled ones; above 1 it extrapolates (Podryabinkin & Shapeev, Comput. Mater. Sci. 140 (2017) 171).
    Rows are projected on the directions that the labelled ones span to a relative 1e-8.

    Parameters
    ----------
    candidates : one (R, F) array each; R may differ.
    labelled : (L, F)
    """
    _, values, directions = np.linalg.svd(labelled, full_matrices=False)
    # Divided by the singular values, which changes no grade, the solves stay well-conditioned.
    kept = values > 1e-8 * values[0]
    projection = directions[kept].T / values[kept]
    projected = labelled @ projection
    active = projected[maxvol(projected)]
    return ranks_of(np.array([np.abs(expressed(rows @ projection, active)).max() for rows in candidates]))
