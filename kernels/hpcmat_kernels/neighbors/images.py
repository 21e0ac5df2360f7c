"""Wrapping atoms into the cell, and the periodic images around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

FARTHEST_ANG = 1e9
"""Coordinates beyond this have lost the digits that a distance needs."""
FREE_POINTS = 1_000_000
MOST_IMAGES_PER_ATOM = 64
"""Beyond both, a cutoff is not meant for its cell: the images would fill the memory."""
TINY = 1e-300
SLACK = 1e-9
"""Relative widening of searches, far above rounding: it costs nothing but a few useless tests."""


@njit(cache=True)
def inverse_of(cell: Any) -> Any:
    """Inverse of a (3, 3) matrix, by cross products."""
    inverse, volume = np.empty((3, 3)), 0.0
    for a in range(3):
        u, v = (a + 1) % 3, (a + 2) % 3
        for b in range(3):
            c, d = (b + 1) % 3, (b + 2) % 3
            inverse[b, a] = cell[u, c] * cell[v, d] - cell[u, d] * cell[v, c]
    for b in range(3):
        volume += cell[0, b] * inverse[b, 0]
    for a in range(3):
        for b in range(3):
            inverse[a, b] /= volume
    return inverse


@njit(cache=True)
def completed(cell: Any, periodic: Any) -> Any:
    """The cell with rows of axes without periodicity replaced by unit vectors orthogonal to the periodic ones."""
    result = np.zeros((3, 3))
    for a in range(3):
        for b in range(3):
            result[a, b] = cell[a, b] if periodic[a] else 0.0
    for a in range(3):
        if not periodic[a]:
            _set_normal(result, a)
    return result


@njit(cache=True)
def _set_normal(rows: Any, axis: Any) -> None:
    """Make a row a unit vector orthogonal to the other two, of which one or both may be zero."""
    u, v = (axis + 1) % 3, (axis + 2) % 3
    first, second = _length(rows, u), _length(rows, v)
    if first == 0.0 and second == 0.0:
        rows[axis, axis] = 1.0
        return
    other = (rows[v, 0], rows[v, 1], rows[v, 2])
    if first == 0.0:
        u = v
    if first == 0.0 or second == 0.0:
        # The axis that makes the largest angle with the only row.
        x, y, z = abs(rows[u, 0]), abs(rows[u, 1]), abs(rows[u, 2])
        other = (
            1.0 if x <= y and x <= z else 0.0,
            1.0 if y < x and y <= z else 0.0,
            1.0 if z < x and z < y else 0.0,
        )
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        rows[axis, a] = rows[u, b] * other[c] - rows[u, c] * other[b]
    length = _length(rows, axis)
    for a in range(3):
        rows[axis, a] /= max(length, TINY)


@njit(cache=True)
def _length(rows: Any, a: Any) -> Any:
    return np.sqrt(rows[a, 0] ** 2 + rows[a, 1] ** 2 + rows[a, 2] ** 2)


@njit(cache=True)
def wrap(positions: Any, lattice: Any) -> Any:
    """Positions in the cell, the lattice translation taken off each (n, 3), fractional coordinates; success.

    `lattice` = (cell, inverse, periodic). Fails where a coordinate is not finite or beyond `FARTHEST_ANG`.
    """
    cell, inverse, periodic = lattice
    n, fine = len(positions), True
    inside, wraps, fractional = np.empty((n, 3)), np.empty((n, 3), dtype=np.int32), np.empty((n, 3))
    for i in range(n):
        x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
        if not (abs(x) < FARTHEST_ANG and abs(y) < FARTHEST_ANG and abs(z) < FARTHEST_ANG):
            fine, x, y, z = False, 0.0, 0.0, 0.0
        inside[i, 0], inside[i, 1], inside[i, 2] = x, y, z
        for a in range(3):
            f = x * inverse[0, a] + y * inverse[1, a] + z * inverse[2, a]
            floor = np.floor(f) if periodic[a] and abs(f) < FARTHEST_ANG else 0.0
            fine &= abs(f) < FARTHEST_ANG
            wraps[i, a], fractional[i, a] = np.int32(floor), f - floor
            if floor != 0.0:
                for b in range(3):
                    inside[i, b] -= floor * cell[a, b]
    return inside, wraps, fractional, fine


@njit(cache=True)
def image_bounds(fractional: Any, lattice: Any, reach: float) -> Any:
    """Fractional coordinates (2, 3) between which an image can have a neighbour among the atoms."""
    _, inverse, periodic = lattice
    bounds = np.empty((2, 3))
    for a in range(3):
        low, high = fractional[0, a], fractional[0, a]
        for i in range(len(fractional)):
            low, high = min(low, fractional[i, a]), max(high, fractional[i, a])
        per_ang = np.sqrt(inverse[0, a] ** 2 + inverse[1, a] ** 2 + inverse[2, a] ** 2)
        margin = reach * (1.0 + SLACK) * per_ang + SLACK
        bounds[0, a], bounds[1, a] = (low - margin, high + margin) if periodic[a] else (-np.inf, np.inf)
    return bounds


@njit(cache=True, inline="always")
def _translations(fractional: Any, bounds: Any, i: Any, axis: Any) -> Any:
    """First translation of atom i within the bounds, and the one after the last."""
    if bounds[1, axis] == np.inf:
        return 0, 1
    f = fractional[i, axis]
    return int(np.ceil(bounds[0, axis] - f)), int(np.floor(bounds[1, axis] - f)) + 1


@njit(cache=True)
def count_images(fractional: Any, bounds: Any) -> Any:
    """Images within the bounds; as a float, which does not overflow."""
    total = 0.0
    for i in range(len(fractional)):
        product = 1.0
        for axis in range(3):
            if bounds[1, axis] < np.inf:
                f = fractional[i, axis]
                product *= np.floor(bounds[1, axis] - f) - np.ceil(bounds[0, axis] - f) + 1.0
        total += product - 1.0
    return total


@njit(cache=True)
def too_many(n: Any, n_images: Any) -> Any:
    """Whether so many images of n atoms are refused."""
    return n_images > max(FREE_POINTS, MOST_IMAGES_PER_ATOM * n) or n + n_images > 2**31 - 64


@njit(cache=True)
def images(fractional: Any, bounds: Any, count: Any) -> Any:
    """Atom and lattice translation (count, 3) of each image."""
    owners, shifts = np.empty(count, dtype=np.int32), np.empty((count, 3), dtype=np.int32)
    g = 0
    for i in range(len(fractional)):
        x0, x1 = _translations(fractional, bounds, i, 0)
        y0, y1 = _translations(fractional, bounds, i, 1)
        z0, z1 = _translations(fractional, bounds, i, 2)
        if x1 - x0 == 1 and y1 - y0 == 1 and z1 - z0 == 1:
            continue
        for sx in range(x0, x1):
            for sy in range(y0, y1):
                for sz in range(z0, z1):
                    if sx != 0 or sy != 0 or sz != 0:
                        owners[g] = i
                        shifts[g, 0], shifts[g, 1], shifts[g, 2] = sx, sy, sz
                        g += 1
    return owners, shifts
