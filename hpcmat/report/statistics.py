"""Errors with confidence intervals, from few validation frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Interval = tuple[float, float]
"""Lower and upper end."""

NORMAL_95 = 1.959963984540054


def student_quantile(confidence: float, degrees: int) -> float:
    """Return t such that a Student variable with `degrees` degrees of freedom is within ±t with this probability."""
    return float(special.stdtrit(degrees, 0.5 * (1.0 + confidence)))


def mean_interval(values: Sequence[float], confidence: float) -> Interval | None:
    """Two-sided t interval of the mean of independent values; None for fewer than two of them."""
    data = np.asarray(values, dtype=np.float64)
    if data.size < 2:
        return None
    half = student_quantile(confidence, data.size - 1) * float(data.std(ddof=1)) / math.sqrt(data.size)
    mean = float(data.mean())
    return mean - half, mean + half


def root_mean(values: Sequence[float]) -> float | None:
    """Root of the mean of squares that are given already squared; None for none."""
    return math.sqrt(float(np.mean(values))) if len(values) else None


def root_mean_interval(squares: Sequence[float], confidence: float) -> Interval | None:
    """Interval of a root mean square, from one mean square per frame.

    A frame is the unit that is drawn at random: components within one frame are correlated, so that counting them
    as independent would make the interval far too narrow. The ends of the t interval of the mean square are clipped
    at zero and rooted.
    """
    ends = mean_interval(squares, confidence)
    return None if ends is None else (math.sqrt(max(ends[0], 0.0)), math.sqrt(max(ends[1], 0.0)))


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """`y = exp(intercept) * x**slope`, with the covariance of the two."""

    intercept: float
    slope: float
    covariance: NDArray[np.float64]
    degrees: int

    def solve(self, y: float, confidence: float) -> tuple[float, Interval] | None:
        """Return x where the law reaches y, with its interval (delta method); None where it does not fall."""
        if self.slope >= 0.0:
            return None
        log_x = (math.log(y) - self.intercept) / self.slope
        gradient = np.array([-1.0 / self.slope, -log_x / self.slope])
        sigma = math.sqrt(max(float(gradient @ self.covariance @ gradient), 0.0))
        half = student_quantile(confidence, self.degrees) * sigma
        # Beyond a factor of e^20 the number means no more than "unknown"; exp must not overflow either.
        return tuple_of_exponentials(log_x, half)


def tuple_of_exponentials(log_x: float, half: float) -> tuple[float, Interval]:
    """Return exp of a logarithm and of the ends of its interval, kept within what a float can hold."""
    low, middle, high = (math.exp(min(max(value, -50.0), 50.0)) for value in (log_x - half, log_x, log_x + half))
    return middle, (low, high)


def fit_power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw | None:
    """Least squares in logarithms; None for fewer than four points or fewer than three different x."""
    if len(x) < 4 or len(set(x)) < 3:
        return None
    design = np.column_stack([np.ones(len(x)), np.log(x)])
    target = np.log(y)
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ target
    degrees = len(x) - 2
    residual = target - design @ coefficients
    covariance = inverse * float(residual @ residual) / degrees
    return PowerLaw(float(coefficients[0]), float(coefficients[1]), covariance, degrees)


def relative_difference(value: float | None, reference: float | None) -> float | None:
    """Return value / reference - 1, or None where one is missing."""
    return None if value is None or reference is None else value / reference - 1.0
