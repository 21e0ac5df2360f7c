"""Atoms and their images, sorted into rectangular bins: whatever the cell, the search knows no periodicity.

Bins stand in columns along z. An atom searches each column within reach over just the heights where a neighbour can
be, which is one run of consecutive points.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from hpcmat_kernels.neighbors.images import completed, count_images, image_bounds, images, inverse_of, too_many, wrap

FINE, FAR, CROWDED, FLAT, COINCIDENT = range(5)
"""What came of a search: it went well; a position is not finite or beyond any reach; too many images; the periodic
lattice vectors span no volume; two atoms coincide."""

PADDING = 8
"""Elements beyond the last that vector code may read or write."""
COLUMN = 1.25
"""Width of a column, in units of the reach."""
HEIGHT = 0.0625
"""Height of a bin in a column, in units of the reach."""
BINS_PER_POINT = 4.0
SMALLEST_VOLUME = 1e-6
"""Volume over the product of the lengths of the lattice vectors below which the cell is flat."""


class Sites(NamedTuple):
    """Atoms in the order of the bins, and their images (ghosts) after them, likewise."""

    order: Any
    """(n,) atom, in the caller's order, at each place."""
    wraps: Any
    """(n, 3) lattice translation taken off each atom, in the caller's order, to bring it into the cell."""
    owners: Any
    """(g,) place of the atom that each ghost is an image of."""
    shifts: Any
    """(g, 3) lattice translation from that wrapped atom to the ghost."""


class Bins(NamedTuple):
    """Atoms and ghosts in one order, column by column and bin by bin, each column along z."""

    x: Any
    y: Any
    z: Any
    ids: Any
    """Place of the atom; n + place of the ghost."""
    slots: Any
    """(n,) where each atom stands in x, y, z."""
    starts: Any
    """First point of each bin, and the end."""
    origin: Any
    edges: Any
    counts: Any


@njit(cache=True)
def volume_fraction(cell: Any) -> Any:
    """Volume over the product of the lengths of the vectors; 0 where one is zero."""
    product = 1.0
    for a in range(3):
        product *= np.sqrt(cell[a, 0] ** 2 + cell[a, 1] ** 2 + cell[a, 2] ** 2)
    x = cell[1, 1] * cell[2, 2] - cell[1, 2] * cell[2, 1]
    y = cell[1, 2] * cell[2, 0] - cell[1, 0] * cell[2, 2]
    z = cell[1, 0] * cell[2, 1] - cell[1, 1] * cell[2, 0]
    volume = abs(cell[0, 0] * x + cell[0, 1] * y + cell[0, 2] * z)
    return volume / product if product > 0.0 else 0.0


@njit(cache=True)
def sort_into_bins(positions: Any, cell: Any, periodic: Any, reach: Any) -> Any:
    """Status, `Sites` and `Bins` for searches up to `reach`; nothing is of use unless the status is `FINE`."""
    status, owners, shifts = FINE, np.empty(0, dtype=np.int32), np.empty((0, 3), dtype=np.int32)
    complete = completed(cell, periodic)
    if not volume_fraction(complete) > SMALLEST_VOLUME:
        status, complete = FLAT, np.eye(3)
    lattice = (complete, inverse_of(complete), periodic)
    inside, wraps, fractional, fine = wrap(positions, lattice)
    if not fine:
        status = FAR
    if status == FINE:
        bounds = image_bounds(fractional, lattice, reach)
        count = count_images(fractional, bounds)
        if too_many(len(positions), count):
            status = CROWDED
        else:
            owners, shifts = images(fractional, bounds, int(count))
    points = _points(inside, complete, owners, shifts)
    return _sorted(status, points, (wraps, owners, shifts), reach)


@njit(cache=True)
def _points(inside: Any, cell: Any, owners: Any, shifts: Any) -> Any:
    """Positions of atoms and ghosts."""
    n, total = len(inside), len(inside) + len(owners)
    points = np.empty((total, 3))
    for i in range(n):
        points[i, 0], points[i, 1], points[i, 2] = inside[i, 0], inside[i, 1], inside[i, 2]
    for g in range(len(owners)):
        i, x, y, z = owners[g], shifts[g, 0], shifts[g, 1], shifts[g, 2]
        for b in range(3):
            points[n + g, b] = inside[i, b] + (x * cell[0, b] + y * cell[1, b] + z * cell[2, b])
    return points


@njit(cache=True)
def _grid(points: Any, reach: Any) -> Any:
    """Origin, edges and numbers of the bins; never many more bins than points."""
    origin, edges = np.empty(3), np.array([COLUMN, COLUMN, HEIGHT]) * reach
    lengths, counts = np.empty(3), np.empty(3, dtype=np.int64)
    for a in range(3):
        low, high = points[0, a], points[0, a]
        for p in range(len(points)):
            low, high = min(low, points[p, a]), max(high, points[p, a])
        origin[a], lengths[a] = low, high - low
    limit = BINS_PER_POINT * len(points) + 64.0
    while True:
        product = 1.0
        for a in range(3):
            product *= np.floor(lengths[a] / edges[a]) + 1.0
        if product <= limit:
            break
        edges *= 1.2
    for a in range(3):
        counts[a] = int(np.floor(lengths[a] / edges[a])) + 1
    return origin, edges, counts


@njit(cache=True)
def _bin_numbers(points: Any, origin: Any, edges: Any, counts: Any) -> Any:
    """Bin of each point."""
    numbers, per_ang = np.empty(len(points), dtype=np.int32), 1.0 / edges
    last = counts - 1
    for p in range(len(points)):
        x = min(int((points[p, 0] - origin[0]) * per_ang[0]), last[0])
        y = min(int((points[p, 1] - origin[1]) * per_ang[1]), last[1])
        z = min(int((points[p, 2] - origin[2]) * per_ang[2]), last[2])
        numbers[p] = (x * counts[1] + y) * counts[2] + z
    return numbers


@njit(cache=True)
def _counting_sort(numbers: Any, n_bins: Any) -> Any:
    """Points by bin, and the first of each bin."""
    starts = np.zeros(n_bins + 1, dtype=np.int32)
    for p in range(len(numbers)):
        starts[numbers[p] + 1] += 1
    for b in range(n_bins):
        starts[b + 1] += starts[b]
    sorted_points, place = np.empty(len(numbers), dtype=np.int32), starts[:-1].copy()
    for p in range(len(numbers)):
        b = numbers[p]
        sorted_points[place[b]] = p
        place[b] += 1
    return sorted_points, starts


@njit(cache=True)
def _sorted(status: Any, points: Any, images: Any, reach: Any) -> Any:
    wraps, owners, shifts = images
    n, total = len(wraps), len(points)
    origin, edges, counts = _grid(points, reach)
    by_bin, starts = _counting_sort(_bin_numbers(points, origin, edges, counts), counts.prod())
    x, y, z = np.empty(total + PADDING), np.empty(total + PADDING), np.empty(total + PADDING)
    ids, slots = np.empty(total + PADDING, dtype=np.int32), np.empty(n, dtype=np.int32)
    order, places = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32)
    ghosts = np.empty(total - n, dtype=np.int32)
    atoms, others = 0, 0
    for s in range(total):
        p = by_bin[s]
        x[s], y[s], z[s] = points[p, 0], points[p, 1], points[p, 2]
        if p < n:
            ids[s], slots[atoms], order[atoms], places[p] = atoms, s, p, atoms
            atoms += 1
        else:
            ids[s], ghosts[others] = n + others, p - n
            others += 1
    for s in range(total, total + PADDING):
        x[s], y[s], z[s], ids[s] = np.inf, np.inf, np.inf, -1
    owner_places, sorted_shifts = np.empty(total - n, dtype=np.int32), np.empty((total - n, 3), dtype=np.int32)
    for g in range(total - n):
        owner_places[g] = places[owners[ghosts[g]]]
        for a in range(3):
            sorted_shifts[g, a] = shifts[ghosts[g], a]
    sites = Sites(order, wraps, owner_places, sorted_shifts)
    return status, sites, Bins(x, y, z, ids, slots, starts, origin, edges, counts)
