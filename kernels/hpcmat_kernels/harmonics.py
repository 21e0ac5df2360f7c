r"""Real spherical harmonics without the factor 1/(4π), so that Y_00 = 1.

    Y_{l,±m}(x, y, z) = N_lm Π_lm(z) {c_m, s_m},   Π_lm = d^m P_l / dz^m,   c_m + i s_m = (x + i y)^m

on unit vectors; N_lm makes the mean of Y² over the sphere 1. The gradient is that of this polynomial, extended to all
space: whoever needs a derivative with respect to position projects it on the tangent plane and divides by r.
Component (l, m) has index l² + l + m.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray


def lm_index(degree: int, order: int) -> int:
    """Index of the component (l, m), -l <= m <= l."""
    return degree * degree + degree + order


@lru_cache(maxsize=16)
def normalisation(l_max: int) -> NDArray[np.float64]:
    """N_lm for 0 <= m <= l <= l_max; shape (l_max + 1, l_max + 1)."""
    table = np.zeros((l_max + 1, l_max + 1))
    for degree in range(l_max + 1):
        for order in range(degree + 1):
            ratio = math.factorial(degree - order) / math.factorial(degree + order)
            table[degree, order] = math.sqrt((2 * degree + 1) * ratio * (2 if order else 1))
    table.setflags(write=False)
    return table


def degree_of_index(l_max: int) -> NDArray[np.int64]:
    """Degree l of each component; shape ((l_max + 1)²,)."""
    return np.repeat(np.arange(l_max + 1), 2 * np.arange(l_max + 1) + 1)


@njit(cache=True)
def legendre_into(z: Any, table: Any) -> None:
    """Write Π_lm(z) into `table[l, m]` for l, m < len(table) (zero for m > l)."""
    diagonal = 1.0
    for m in range(len(table)):
        table[m, m] = diagonal
        diagonal *= 2 * m + 1
        for degree in range(m):
            table[degree, m] = 0.0
        if m + 1 < len(table):
            table[m + 1, m] = (2 * m + 1) * z * table[m, m]
        for degree in range(m + 2, len(table)):
            above = (2 * degree - 1) * z * table[degree - 1, m] - (degree + m - 1) * table[degree - 2, m]
            table[degree, m] = above / (degree - m)


@njit(cache=True)
def harmonics_into(direction: Any, norms: Any, table: Any, values: Any, gradient: Any) -> None:
    """Write Y_lm into `values` and its extended gradient into `gradient[lm, :]` for one unit vector.

    `table` is scratch of shape (l_max + 2, l_max + 2); `norms` comes from `normalisation(l_max)`.
    """
    x, y, z = direction[0], direction[1], direction[2]
    legendre_into(z, table)
    c, s, c_before, s_before = 1.0, 0.0, 0.0, 0.0
    for m in range(len(norms)):
        for degree in range(m, len(norms)):
            centre = degree * degree + degree
            polynomial = norms[degree, m] * table[degree, m]
            slope = norms[degree, m] * table[degree, m + 1]
            values[centre + m] = polynomial * c
            gradient[centre + m, 0] = m * polynomial * c_before
            gradient[centre + m, 1] = -m * polynomial * s_before
            gradient[centre + m, 2] = slope * c
            if m > 0:
                values[centre - m] = polynomial * s
                gradient[centre - m, 0] = m * polynomial * s_before
                gradient[centre - m, 1] = m * polynomial * c_before
                gradient[centre - m, 2] = slope * s
        c_before, s_before = c, s
        c, s = x * c - y * s, x * s + y * c


@njit(cache=True)
def _harmonics_table(directions: Any, norms: Any) -> Any:
    n_lm = len(norms) ** 2
    values = np.empty((len(directions), n_lm))
    gradient = np.empty((len(directions), n_lm, 3))
    table = np.empty((len(norms) + 1, len(norms) + 1))
    for p in range(len(directions)):
        harmonics_into(directions[p], norms, table, values[p], gradient[p])
    return values, gradient


def spherical_harmonics(directions: ArrayLike, l_max: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Y (p, lm) and extended gradient (p, lm, 3) at unit vectors (p, 3).

    Raises
    ------
    ValueError
        Where a direction is not a unit vector (to 1e-8) or l_max < 0.
    """
    unit = np.ascontiguousarray(directions, dtype=np.float64)
    if l_max < 0:
        raise ValueError(f"l_max must be >= 0, not {l_max}: correct the settings.")
    if unit.ndim != 2 or unit.shape[1] != 3 or not np.allclose(np.linalg.norm(unit, axis=1), 1.0, atol=1e-8):
        raise ValueError("Directions must be unit vectors of shape (p, 3): divide each by its length.")
    values, gradient = _harmonics_table(unit, normalisation(l_max))
    return values, gradient
