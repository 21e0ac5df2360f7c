"""Radial functions: Chebyshev polynomials times a cutoff that vanishes to third order.

    u = max(0, 1 - r / r_c),   s = (2 r - (r_c + r_in)) / (r_c - r_in),   g_k(r) = T_k(s) u^3,   k = 0 .. K-1.

With an inner core (r_0, r_1) each g_k is also multiplied by the step

    f(t) = 6 t^5 - 15 t^4 + 10 t^3,   t = min(1, max(0, (r - r_0) / (r_1 - r_0))),

twice differentiable at both ends: below r_0, where no training data reach, a repulsive pair potential is left alone.

Their span (without core, polynomials of degree <= K + 2 with a triple zero at r_c) does not depend on r_in, which only
conditions the basis. Only polynomials: nothing in the hot loop calls the mathematical library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

NO_CORE = (0.0, 0.0)
"""Value of `core` for radial functions that reach down to r = 0."""


@njit(cache=True, inline="always")
def radial_into(distance: Any, cutoff: Any, inner: Any, values: Any, slopes: Any) -> None:
    """Write g_k and dg_k/dr of one distance into two vectors of length K >= 2."""
    u = max(0.0, 1.0 - distance / cutoff)
    stretch = 2.0 / (cutoff - inner)
    s = (2.0 * distance - (cutoff + inner)) / (cutoff - inner)
    u3 = u * u * u
    du3 = -3.0 * u * u / cutoff
    t_before, t = 1.0, s
    d_before, d = 0.0, 1.0
    values[0], slopes[0] = u3, du3
    values[1], slopes[1] = s * u3, s * du3 + stretch * u3
    for k in range(2, len(values)):
        t_before, t, d_before, d = t, 2.0 * s * t - t_before, d, 2.0 * t + 2.0 * s * d - d_before
        values[k] = t * u3
        slopes[k] = t * du3 + d * stretch * u3


@njit(cache=True, inline="always")
def core_into(distance: Any, core: Any, values: Any, slopes: Any) -> None:
    """Multiply g_k by the step f of an inner core, and correct dg_k/dr; nothing without core."""
    start, end = core
    if end == 0.0:
        return
    t = min(1.0, max(0.0, (distance - start) / (end - start)))
    step = t * t * t * (10.0 + t * (6.0 * t - 15.0))
    slope = 30.0 * t * t * (1.0 - t) * (1.0 - t) / (end - start)
    for k in range(len(values)):
        slopes[k] = slopes[k] * step + values[k] * slope
        values[k] *= step


@njit(cache=True)
def _radial_table(distances: Any, n_radial: int, cutoff: float, inner: float, core: Any) -> Any:
    values = np.empty((len(distances), n_radial))
    slopes = np.empty((len(distances), n_radial))
    for p in range(len(distances)):
        radial_into(distances[p], cutoff, inner, values[p], slopes[p])
        core_into(distances[p], core, values[p], slopes[p])
    return values, slopes


def radial_functions(
    distances: ArrayLike, n_radial: int, cutoff: float, inner: float, core: tuple[float, float] = NO_CORE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values (p, K) and derivatives (p, K) 1/Å of the radial functions at `distances` (p,) Å.

    Raises
    ------
    ValueError
        Where K < 2, not 0 <= inner < cutoff, or not 0 <= r_0 < r_1 < cutoff for a core other than `NO_CORE`.
    """
    check_radial(n_radial, cutoff, inner)
    check_core(core, cutoff)
    r = np.ascontiguousarray(distances, dtype=np.float64)
    values, slopes = _radial_table(r, n_radial, cutoff, inner, (float(core[0]), float(core[1])))
    return values, slopes


def check_radial(n_radial: int, cutoff: float, inner: float) -> None:
    """Refuse radial settings that give no basis."""
    if n_radial < 2:
        raise ValueError(f"At least 2 radial functions are needed, not {n_radial}: correct the settings.")
    if not (np.isfinite(cutoff) and np.isfinite(inner) and 0 <= inner < cutoff):
        raise ValueError(f"0 <= inner ({inner} Å) < cutoff ({cutoff} Å) must hold: correct the settings.")


def check_core(core: Sequence[float], cutoff: float) -> None:
    """Refuse a core that is not `NO_CORE` and does not lie within the cutoff."""
    if len(core) != 2:
        raise ValueError(f"A core is two radii (r_0, r_1) in Å, not {core}: correct the settings.")
    start, end = core
    if (start, end) != NO_CORE and not (np.isfinite(end) and 0 <= start < end < cutoff):
        raise ValueError(
            f"0 <= r_0 ({start} Å) < r_1 ({end} Å) < cutoff ({cutoff} Å) must hold for the core: "
            "correct the settings, or leave the core out."
        )
