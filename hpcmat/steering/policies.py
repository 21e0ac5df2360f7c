"""Rules that rank candidates, by name, on whatever grounds a choice rests.

A policy is a rule and the share of labels drawn at random beside it. Rules ask for what they need and for nothing
else, so that grounds may be made when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpcmat.steering.acquisition import Ranks, rank_by_gain, rank_by_information
from hpcmat.steering.diversity import rank_by_distance, rank_by_volume
from hpcmat.steering.trust import rank_by_deviation

Array = NDArray[np.float64]


class Grounds(Protocol):
    """What a choice among candidates rests on."""

    @property
    def covariance(self) -> Array:
        """Posterior covariance (F, F), labels in flight taken in."""

    @property
    def reference(self) -> Array:
        """Mean of x xᵀ over force rows of what the potential is for (F, F)."""

    @property
    def rows(self) -> Sequence[Array]:
        """Design rows of each candidate over their noise (R, F)."""

    @property
    def forces(self) -> Sequence[Array]:
        """Force rows of each candidate (3n, F), eV/Å."""

    @property
    def labelled(self) -> Array:
        """Force rows of all that is labelled or in flight (L, F), eV/Å."""

    @property
    def descriptors(self) -> Array:
        """Mean features of each candidate's atoms (C, F), scaled."""

    @property
    def known(self) -> Array:
        """The same of what is labelled or in flight (K, F)."""


RULES: dict[str, Callable[[Grounds], Ranks]] = {
    "i-optimal": lambda on: rank_by_gain(on.covariance, on.rows, on.reference),
    "d-optimal": lambda on: rank_by_information(on.covariance, on.rows),
    "uncertain": lambda on: rank_by_deviation(on.covariance, on.forces),
    "farthest-point": lambda on: rank_by_distance(on.descriptors, on.known),
    "maxvol": lambda on: rank_by_volume(on.forces, on.labelled),
}
"""Rules with a ranking; `trusted` and `random` draw instead."""

SCORES = {
    "i-optimal": "lowers the mean force variance on what is explored the most",
    "d-optimal": "tells the most of the coefficients",
    "uncertain": "has the most uncertain atom",
    "farthest-point": "is the farthest from what is labelled",
    "maxvol": "extrapolates the most from what is labelled",
}
"""What it means to be first by each rule."""


def rank(rule: str, grounds: Grounds) -> Ranks:
    """Candidates by a rule, best first."""
    return RULES[rule](grounds)


def random_share(fraction: float, n_fitted: int, n_ahead: int, refit_every: int) -> float:
    """Share of labels drawn at random, for a choice that runs ahead of its potential.

    A potential tells how little the coefficients are known and not how far the model will miss a frame: misfit shows in
    labels alone. Many choices by one covariance gather extreme frames, whose misfit bends the fit for all others;
    frames drawn at random are those that the potential is for. Where m labels are decided that a potential of n labels
    has not seen, its policy holds with the probability n / (n + m), and else a frame is drawn. For the first labels
    beyond it, which the next fit waits for however many workers there are, it holds as it is.

    Parameters
    ----------
    fraction : share where nothing runs ahead. 0 stays 0: who wants no draws gets none.
    n_fitted : n, labels that the potential has seen; not 0.
    n_ahead : m, labels in flight that it has not seen.
    refit_every : labels from one fit to the next.
    """
    if fraction == 0.0 or n_ahead < refit_every:
        return fraction
    return 1.0 - (1.0 - fraction) * n_fitted / (n_fitted + n_ahead)
