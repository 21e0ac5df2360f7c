"""Surrogate of one property over a pool: fitted to the values known, it answers with distributions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hpcmat.errors import InputError
from hpcmat.surrogates.properties.gaussian_process import GaussianProcess, Points, fit_gaussian_process
from hpcmat.surrogates.properties.warp import Warp, warps_for

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_JOINT = 3000
"""Candidates whose values are drawn jointly: the covariance of so many takes 70 MB."""
_PRIOR_SCORES = 10.0
"""Left-out errors of the stated size that are believed before any is seen."""


@dataclass(frozen=True, slots=True, eq=False)
class PropertyModel:
    """Posterior of a property."""

    process: GaussianProcess
    warp: Warp
    inflation: float
    """Factor of all standard deviations, from left-out errors."""

    def intervals(self, x: Points, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
        """Median, lower and upper bound (n,) of the value that a calculation would give."""
        mean, deviation = self.standardised(x)
        reach = ndtri(0.5 + level / 2) * deviation
        lower, median, upper = (self.warp.backward(mean + step) for step in (-reach, 0.0 * reach, reach))
        return median, lower, upper

    def scores(self, x: Points, values: Floats) -> Floats:
        """(n,) errors of predictions over their deviations, in the warped unit."""
        mean, deviation = self.standardised(x)
        scores: Floats = (self.warp.forward(values) - mean) / deviation
        return scores

    def standardised(self, x: Points) -> tuple[Floats, Floats]:
        """Mean and deviation (n,) of the warped value that a calculation would give."""
        mean, variance = self.process.predict(x)
        return mean, self.inflation * np.sqrt(variance + self.process.kernel.noise)

    def sample(self, x: Points, count: int, rng: np.random.Generator) -> Floats:
        """(count, n) draws of the values that calculations at all points would give, from their joint posterior.

        Raises
        ------
        InputError
            More than `MOST_JOINT` points.
        """
        if len(x) > MOST_JOINT:
            raise InputError(f"{len(x)} candidates are too many to draw jointly; preselect {MOST_JOINT} of them")
        mean, covariance = self.process.predict_jointly(x)
        covariance[np.diag_indices(len(x))] += self.process.kernel.noise
        factor = np.linalg.cholesky(covariance)
        return self.warp.backward(mean + self.inflation * rng.standard_normal((count, len(x))) @ factor.T)


def fit_property(points: Points, values: Floats, groups: Ints, curved: bool = True) -> PropertyModel:
    """The surrogate under the warp of largest evidence.

    Parameters
    ----------
    points : n points of standardised descriptors.
    values : (n,) in any unit.
    groups : (D,) group of each descriptor.
    curved : False for Bayesian linear regression.

    Raises
    ------
    InputError
        There are no values, or they are not finite.
    """
    if len(values) == 0 or len(values) != len(points) or not np.isfinite(values).all():
        raise InputError("a surrogate needs at least one finite value, and one for each point; leave failed ones out")
    fits = []
    for warp in warps_for(values):
        process = fit_gaussian_process(points, warp.forward(values), groups, curved)
        fits.append((process.log_evidence + warp.log_slopes(values), process, warp))
    _, process, warp = max(fits, key=lambda fit: fit[0])
    return PropertyModel(process, warp, _inflation(process))


def _inflation(process: GaussianProcess) -> float:
    scores = process.left_out()
    return float(np.sqrt((_PRIOR_SCORES + (scores**2).sum()) / (_PRIOR_SCORES + len(scores))))
