"""When to stop: a bound on the error from the validation stream, and the plateau of a learning curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, stdtrit

Floats = NDArray[np.float64]

USUAL_VARIANCE = 0.7
"""Prior of the variance of log squared errors at one condition. Of frames from dynamics of EMT copper,
Stillinger-Weber silicon, Lennard-Jones argon and EMT copper-gold it was between 0.1 and 1."""
USUAL_FREEDOM = 8.0
"""How many trajectories the prior is worth."""
LOOK_GROWTH = 1.2
NOTHING = 1e-12
"""Part of the mean below which a squared error is not told from none."""


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """Force RMSE on the validation stream, eV/Å, with one-sided confidence bounds."""

    rmse: float
    lower: float
    upper: float


def error_bound(
    frame_mse: Sequence[Sequence[float]], confidence: float, look: int = 1, last: bool = False
) -> ErrorBound | None:
    r"""RMSE over conditions that count alike, and its bounds, from squared errors of trajectories at each.

    Frames of one trajectory resemble one another, so that the trajectory is the unit; conditions differ by orders of
    magnitude, so that a bound on all errors in one heap would rest on luck. At each condition c the mean squared errors
    of n_c trajectories are taken as log-normal, with one variance s² of the logarithms for all. It is that of the
    conditions with the largest errors, which make the mean, together with a prior (`USUAL_VARIANCE`): no ten frames can
    show whether a few of a hundred carry most of the error. With ν degrees of freedom in all, v_c the share of a
    condition in the mean, and an error rate p, the logarithm of the mean square is known within

        √[(t_{ν,p})² s² Σ v_c² / n_c + (s²/2)² (ν / χ²_{ν,p} - 1)²],

    the interval of a log-normal mean by recovered variances (Zou & Donner, Stat. Med. 28 (2009) 3, eq. 5), for a sum
    of conditions.

    A campaign looks repeatedly, and each look may stop it: see `looks_at` for what a look is, and `look_rate` for the
    error rate that it may have. The fit that takes in what was on its way then has what they left, `rate_left`.

    Parameters
    ----------
    frame_mse : for each condition, mean squared force error of each trajectory judged there, (eV/Å)².
    confidence : probability with which `upper` (and, separately, `lower`) holds over all looks.
    look : how many times the bound was computed to decide, this one included.
    last : nothing is decided any more, after so many looks.

    Returns
    -------
    ErrorBound or None
        None without frames.
    """
    squares = [np.asarray(each, dtype=float) for each in frame_mse if len(each)]
    if not squares:
        return None
    mean = float(np.mean([each.mean() for each in squares]))
    if mean == 0.0:
        return ErrorBound(0.0, 0.0, 0.0)
    rate = rate_left(confidence, look) if last else look_rate(confidence, look)
    variance, freedom = _log_variance(squares, mean)
    typical = [math.exp(float(_logarithms(each, mean).mean()) + 0.5 * variance) for each in squares]
    # Where a few trajectories carry the error their mean is the better guide.
    means = np.maximum(typical, [each.mean() for each in squares])
    shares, numbers = means / means.sum(), np.array([each.size for each in squares])
    location = -stdtrit(freedom, rate) * math.sqrt(variance * float((shares**2 / numbers).sum()))
    spread = 0.5 * variance * (0.5 * freedom / float(gammaincinv(0.5 * freedom, rate)) - 1.0)
    factor = math.exp(0.5 * math.hypot(location, spread))
    return ErrorBound(math.sqrt(mean), math.sqrt(mean) / factor, math.sqrt(float(means.mean())) * factor)


def look_rate(confidence: float, look: int) -> float:
    """Error rate of the k-th look, (1 - confidence) · 6 / (π k)²: by the union bound all looks hold at once."""
    return (1.0 - confidence) * 6.0 / (math.pi * look) ** 2


def rate_left(confidence: float, looks: int) -> float:
    """What so many looks left of 1 - confidence: more than the next one would spend, which will not come."""
    return (1.0 - confidence) - sum(look_rate(confidence, look) for look in range(1, looks + 1))


def _log_variance(squares: Sequence[Floats], mean: float) -> tuple[float, float]:
    """Variance of log squared errors and its degrees of freedom; conditions of small errors count less."""
    means = np.array([each.mean() for each in squares])
    weights = means / means.max()
    scatter = [float(((logs := _logarithms(each, mean)) - logs.mean()) @ (logs - logs.mean())) for each in squares]
    freedom = USUAL_FREEDOM + float(weights @ [each.size - 1 for each in squares])
    return (USUAL_FREEDOM * USUAL_VARIANCE + float(weights @ scatter)) / freedom, freedom


def _logarithms(squares: Floats, mean: float) -> Floats:
    """Of squared errors; one that is nothing beside the mean has a logarithm all the same."""
    return np.log(np.maximum(squares, NOTHING * mean))


def looks_at(frames: Sequence[int], first: int) -> tuple[int, ...]:
    """Which fits, by their place, may stop a campaign: the first on enough frames, then each on a fifth more.

    Fits between two looks are judged by nearly the same frames. Were each of them a look, every later one would have to
    be surer of itself and cost more labels than are lost by waiting.

    Parameters
    ----------
    frames : validation frames of each fit, oldest first.
    first : how many the first look needs.
    """
    looks, needed = list[int](), float(first)
    for place, number in enumerate(frames):
        if number >= needed:
            looks.append(place)
            needed = LOOK_GROWTH * number
    return tuple(looks)


def on_plateau(rmse: Sequence[float], fits: int, gain: float) -> bool:
    """Whether none of the last `fits` fits was better than the best before them by the relative `gain`."""
    if fits <= 0 or len(rmse) <= fits:
        return False
    best_before, best_since = min(rmse[:-fits]), min(rmse[-fits:])
    return best_since > (1.0 - gain) * best_before
