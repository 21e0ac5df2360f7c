"""When to stop: a bound on the error from the validation stream, and the plateau of a learning curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """Force RMSE on the validation stream, eV/Å, with one-sided confidence bounds."""

    rmse: float
    lower: float
    upper: float


def error_bound(frame_mse: Sequence[float], confidence: float, look: int = 1) -> ErrorBound | None:
    """RMSE and its bounds from mean squared errors of independent frames.

    The frame is the unit, because force components of one frame are correlated: the mean over frames of the mean
    squared error has a Student t interval. A campaign looks after every fit and stops at the first success, so the
    k-th look spends only (1 - confidence) · 6 / (π k)²: the chance that any look errs stays below 1 - confidence.

    A few hot frames carry most of the error, so that the mean of a sample without them is far too low and its spread as
    well. The upper bound is therefore widened by the skewness γ, t + γ (1 + 2 t²) / (6 √n) (Chen, J. Am. Stat. Assoc.
    90 (1995) 767). With ten frames it still errs more often than it says where a third of them carry all of the error.

    Parameters
    ----------
    frame_mse : mean squared force error of each validation frame, (eV/Å)².
    confidence : probability with which `upper` (and, separately, `lower`) holds over all looks.
    look : how many times the bound was computed to decide, this one included.

    Returns
    -------
    ErrorBound or None
        None without frames; with a single frame `upper` is infinite.
    """
    mse = np.asarray(frame_mse, dtype=float)
    if mse.size == 0:
        return None
    mean = float(mse.mean())
    if mse.size == 1:
        return ErrorBound(math.sqrt(mean), 0.0, math.inf)
    error_rate = (1.0 - confidence) * 6.0 / (math.pi * look) ** 2
    quantile = -stdtrit(mse.size - 1, error_rate)
    unit = float(mse.std(ddof=1)) / math.sqrt(mse.size)
    widened = quantile + _skewness(mse) * (1.0 + 2.0 * quantile**2) / (6.0 * math.sqrt(mse.size))
    return ErrorBound(math.sqrt(mean), math.sqrt(max(0.0, mean - quantile * unit)), math.sqrt(mean + widened * unit))


def _skewness(values: NDArray[np.float64]) -> float:
    """Skewness without bias, 0 where negative: a bound must not narrow because of it."""
    n, spread = values.size, float(values.std())
    if n < 3 or spread == 0.0:
        return 0.0
    third = float(np.mean(((values - values.mean()) / spread) ** 3))
    return max(0.0, third * math.sqrt(n * (n - 1)) / (n - 2))


def on_plateau(rmse: Sequence[float], fits: int, gain: float) -> bool:
    """Whether none of the last `fits` fits was better than the best before them by the relative `gain`."""
    if fits <= 0 or len(rmse) <= fits:
        return False
    best_before, best_since = min(rmse[:-fits]), min(rmse[-fits:])
    return best_since > (1.0 - gain) * best_before
