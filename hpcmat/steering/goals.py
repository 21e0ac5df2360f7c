"""What makes a candidate good, and which of too many candidates are worth a joint draw.

Surrogates know properties, goals are of their values: a surrogate of |y - v| would have to learn a kink where the best
candidates are, and would promise negative distances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Sense = Literal["maximise", "minimise", "reach"]

LEVELS = (np.arange(32) + 0.5) / 32
"""Evenly spaced probabilities, whose quantiles stand for a distribution."""
_LUCK = 0.9
"""Probability with which a candidate is no better than its prospect."""
_BLOCK = 500


@dataclass(frozen=True, slots=True)
class Goal:
    """Whether more, less or one value of a property is best."""

    sense: Sense
    value: float = 0.0
    """The one to reach."""

    def utility(self, values: Floats) -> Floats:
        """What is to be maximised, for values of the property."""
        match self.sense:
            case "maximise":
                return values
            case "minimise":
                return -values
            case "reach":
                return -np.abs(values - self.value)

    def prospects(self, quantiles: Floats) -> Floats:
        """(n,) utilities exceeded with a probability of 10 %, from quantiles (L, n) at `LEVELS`.

        They are high for what is good, and for what is too uncertain to tell.
        """
        found: Floats = np.quantile(self.utility(quantiles), _LUCK, axis=0)
        return found


def preselect(utilities: Floats, count: int) -> Ints:
    """The `count` of the candidates (n, m) that the fewest others exceed in all m objectives, in ascending order."""
    if utilities.shape[1] == 1:
        better = np.argsort(np.argsort(-utilities[:, 0], kind="stable"))
    else:
        blocks = [utilities[start : start + _BLOCK] for start in range(0, len(utilities), _BLOCK)]
        better = np.concatenate([(utilities > block[:, None]).all(axis=-1).sum(axis=1) for block in blocks])
    chosen: Ints = np.sort(np.argsort(better, kind="stable")[:count])
    return chosen
