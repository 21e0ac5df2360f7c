"""Surrogates over all candidates of a screening: at which points they are fitted and asked, and for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcmat.records import Structure
from hpcmat.steering.fidelity import Outlook
from hpcmat.steering.goals import LEVELS, Goal, preselect
from hpcmat.surrogates.properties.descriptors import Descriptors, describe_structures
from hpcmat.surrogates.properties.gaussian_process import Points
from hpcmat.surrogates.properties.model import MOST_JOINT, PropertyModel, fit_fidelities

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

MOST_WEIGHED = 200
"""Candidates of the largest chances among which courses of several calculations are weighed."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Values of some candidates at one fidelity."""

    rows: Ints
    """(n,) which candidates."""
    values: Floats
    """(n,) of one property."""


class Surrogates:
    """Surrogates over all candidates of a screening, which are named by their numbers."""

    def __init__(self, descriptors: Descriptors) -> None:
        self._groups = descriptors.groups
        self._values = descriptors.standardised()

    @classmethod
    def of(cls, structures: Sequence[Structure]) -> Surrogates:
        """Candidates of these structures; errors as `describe_structures`."""
        return cls(describe_structures(structures))

    def fit(self, dear: Known, cheap: Known) -> PropertyModel:
        """Surrogate of dear values, of which there must be some; of cheap ones there need not."""
        rows = np.concatenate([dear.rows, cheap.rows])
        fidelity = np.repeat([1.0, 0.0], [len(dear.rows), len(cheap.rows)])
        points = Points(self._values[rows], fidelity, rows)
        return fit_fidelities(points, np.concatenate([dear.values, cheap.values]), self._groups)

    def asked(self, rows: Ints, model: PropertyModel) -> Points:
        """Where to ask a model for dear values of candidates."""
        return self._paired(rows, 1.0) if model.paired else self._alone(rows)

    def promising(self, rows: Ints, models: Sequence[PropertyModel], goals: Sequence[Goal], keep: Flags) -> Ints:
        """Rows of the candidates to draw jointly: all, or those to keep (r,) and those of the best prospects."""
        if len(rows) <= MOST_JOINT:
            return rows
        quantiles = [model.quantiles(self.asked(rows, model), LEVELS) for model in models]
        hopes = np.column_stack([goal.prospects(some) for goal, some in zip(goals, quantiles, strict=True)])
        hopes[keep] = np.inf
        return rows[preselect(hopes, MOST_JOINT)]

    def outlook(self, model: PropertyModel, chances: Known, flying: Ints, askable: Flags) -> Outlook:
        """What the next calculations may bring, where cheap values tell of dear ones.

        Parameters
        ----------
        model : paired.
        chances : probabilities to be among the best of the candidates free for a dear calculation.
        flying : candidates whose cheap values are in flight.
        askable : (n,) which candidates may be computed cheaply.
        """
        most = np.sort(np.argsort(-chances.values, kind="stable")[:MOST_WEIGHED])
        rows = chances.rows[most]
        subjects = np.flatnonzero(askable[rows])
        cheap = self._paired(np.concatenate([flying, rows[subjects]]), 0.0)
        dear = self._paired(rows, 1.0)
        both = Points(
            np.vstack([dear.values, cheap.values]),
            np.concatenate([dear.fidelity, cheap.fidelity]),
            np.concatenate([rows, flying, rows[subjects]]),
        )
        covariance = model.best.predict_jointly(both)[1]
        covariance[np.diag_indices(len(both))] += model.best.kernel.noises(both)
        r = len(rows)
        return Outlook(
            rows, chances.values[most], covariance.diagonal()[:r], covariance[r:, r:], covariance[:r, r:], subjects
        )

    def _alone(self, rows: Ints) -> Points:
        return Points(self._values[rows], np.zeros(len(rows)))

    def _paired(self, rows: Ints, fidelity: float) -> Points:
        return Points(self._values[rows], np.full(len(rows), fidelity), rows)
