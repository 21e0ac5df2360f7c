"""Choice by uncertainty within trusted bounds, as concurrent learning does it.

Zhang et al., Phys. Rev. Mater. 3 (2019) 023804 (DP-GEN): frames whose largest force deviation is below a lower bound
are known already, those above an upper bound are too far off to be trusted as structures; what is labelled is drawn
uniformly from those in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcmat.steering.acquisition import Ranks, ranks_of

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrustWindow:
    """Bounds of the largest force deviation in a frame, eV/Å."""

    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Trusted:
    """Indices of frames by what their deviation says."""

    accurate: tuple[int, ...]
    """Below the window."""
    candidates: tuple[int, ...]
    """In it, the bounds included."""
    failed: tuple[int, ...]
    """Above it, or not a number."""


def largest_deviation(covariance: Array, forces: Array) -> float:
    """Largest epistemic standard deviation of an atom's force, eV/Å, rms over its components.

    Parameters
    ----------
    covariance : (F, F)
    forces : (3n, F), force rows in eV/Å; row 3i + a is component a of atom i.
    """
    variances = np.einsum("rf,rf->r", forces @ covariance, forces)
    return float(np.sqrt(max(0.0, variances.reshape(-1, 3).mean(axis=1).max())))


def rank_by_deviation(covariance: Array, forces: Sequence[Array]) -> Ranks:
    """(index, deviation in eV/Å) of all candidates, the most uncertain first."""
    return ranks_of(np.array([largest_deviation(covariance, rows) for rows in forces]))


def sort_by_trust(deviations: Array, window: TrustWindow) -> Trusted:
    """Frames that are known, worth labelling, and not to be trusted."""
    accurate = deviations < window.lower
    inside = (deviations >= window.lower) & (deviations <= window.upper)
    parts = (accurate, inside, ~accurate & ~inside)
    return Trusted(*(tuple(int(index) for index in np.flatnonzero(part)) for part in parts))


def draw_trusted(deviations: Array, window: TrustWindow, draw: float) -> tuple[int, str]:
    """A frame whose deviation lies in the window, any of them alike; where none does, any frame.

    Parameters
    ----------
    deviations : (C,), eV/Å
    draw : a uniform number in [0, 1).

    Returns
    -------
    Index of the frame, and a clause that says why.
    """
    inside = sort_by_trust(deviations, window).candidates
    bounds = f"between {window.lower:g} and {window.upper:g} eV/Å"
    if not inside:
        return int(draw * len(deviations)), f"drawn from all, since no largest deviation is {bounds}"
    return inside[int(draw * len(inside))], f"drawn from the {len(inside)} whose largest deviation is {bounds}"
