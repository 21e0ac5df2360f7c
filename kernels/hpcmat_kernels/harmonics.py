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


@lru_cache(maxsize=16)
def recursion(l_max: int) -> NDArray[np.float64]:
    """Factors of the recursion of P_lm = N_lm Π_lm, shape (3, l_max + 1, l_max + 1).

    P_lm = r[0] z P_{l-1,m} - r[1] P_{l-2,m} for l > m, P_mm = r[0], dP_lm/dz = r[2] P_{l,m+1}.
    """
    norms = normalisation(l_max)
    table = np.zeros((3, l_max + 1, l_max + 1))
    for m in range(l_max + 1):
        table[0, m, m] = norms[m, m] * math.prod(range(1, 2 * m, 2))
        for degree in range(m + 1, l_max + 1):
            table[0, degree, m] = (2 * degree - 1) / (degree - m) * norms[degree, m] / norms[degree - 1, m]
            table[2, degree, m] = norms[degree, m] / norms[degree, m + 1]
        for degree in range(m + 2, l_max + 1):
            table[1, degree, m] = (degree + m - 1) / (degree - m) * norms[degree, m] / norms[degree - 2, m]
    table.setflags(write=False)
    return table


@njit(cache=True)
def scratch(factors: Any) -> Any:
    """Workspace of `harmonics_into`; its zeros above the diagonal stay zero."""
    size = factors.shape[1] + 1
    return np.zeros((size, size))


@njit(cache=True)
def harmonics_into(direction: Any, factors: Any, table: Any, values: Any, gradient: Any) -> None:
    """Write Y_lm into `values` and its extended gradient into `gradient[lm, :]` for one unit vector.

    `factors` comes from `recursion(l_max)`; `table` from `scratch(factors)`.
    """
    x, y, z = direction[0], direction[1], direction[2]
    size = factors.shape[1]
    for m in range(size):
        before, current = 0.0, factors[0, m, m]
        table[m, m] = current
        for degree in range(m + 1, size):
            before, current = current, factors[0, degree, m] * z * current - factors[1, degree, m] * before
            table[degree, m] = current
    for degree in range(size):
        centre = degree * degree + degree
        values[centre] = table[degree, 0]
        gradient[centre, 0], gradient[centre, 1] = 0.0, 0.0
        gradient[centre, 2] = factors[2, degree, 0] * table[degree, 1]
    c, s, c_before, s_before = x, y, 1.0, 0.0
    for m in range(1, size):
        for degree in range(m, size):
            plus, minus = degree * degree + degree + m, degree * degree + degree - m
            polynomial = table[degree, m]
            slope, ring = factors[2, degree, m] * table[degree, m + 1], m * polynomial
            values[plus], values[minus] = polynomial * c, polynomial * s
            gradient[plus, 0], gradient[plus, 1], gradient[plus, 2] = ring * c_before, -ring * s_before, slope * c
            gradient[minus, 0], gradient[minus, 1], gradient[minus, 2] = ring * s_before, ring * c_before, slope * s
        c, s, c_before, s_before = x * c - y * s, x * s + y * c, c, s


@njit(cache=True)
def _harmonics_table(directions: Any, factors: Any) -> Any:
    size = factors.shape[1]
    values = np.empty((len(directions), size * size))
    gradient = np.empty((len(directions), size * size, 3))
    table = scratch(factors)
    for p in range(len(directions)):
        harmonics_into(directions[p], factors, table, values[p], gradient[p])
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
    values, gradient = _harmonics_table(unit, recursion(l_max))
    return values, gradient
