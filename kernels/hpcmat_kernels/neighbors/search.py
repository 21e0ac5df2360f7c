"""From binned points to the neighbours of each atom, in compressed rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from hpcmat_kernels.neighbors.append import append_near, append_once
from hpcmat_kernels.neighbors.bins import COINCIDENT, FINE, PADDING, Bins, sort_into_bins
from hpcmat_kernels.neighbors.images import SLACK

SAMPLE = 64
"""Atoms whose neighbours are counted first, to guess the room that all need."""
LEAST_ROOM = 4096
SPARE = 1.06
"""Room over the guess. Memory that is never touched is never taken."""


@njit(cache=True, inline="always")
def _bin_range(centre: Any, reach: Any, axis: Any, bins: Any) -> Any:
    """First and last bin along an axis that a sphere touches; empty where it touches none."""
    start = centre - reach - bins.origin[axis]
    stop = centre + reach - bins.origin[axis]
    last = bins.counts[axis] - 1
    return int(max(start / bins.edges[axis], 0.0)), int(min(stop / bins.edges[axis], float(last)))


@njit(cache=True, inline="always")
def _gap(centre: Any, index: Any, axis: Any, bins: Any) -> Any:
    """Distance along an axis from a point to a bin; 0 inside."""
    low = bins.origin[axis] + index * bins.edges[axis]
    return max(low - centre, centre - low - bins.edges[axis], 0.0)


@njit(cache=True, nogil=True)
def _runs(bins: Any, slot: Any, reach: Any, runs: Any) -> Any:
    """Write the runs of points that can hold neighbours of the atom at `slot`; their number, and that of the points."""
    x, y, z = bins.x[slot], bins.y[slot], bins.z[slot]
    first_y, last_y = _bin_range(y, reach, 1, bins)
    first_x, last_x = _bin_range(x, reach, 0, bins)
    top, per_ang = float(bins.counts[2] - 1), 1.0 / bins.edges[2]
    height = z - bins.origin[2]
    n_runs, n_points = 0, 0
    for bx in range(first_x, last_x + 1):
        gap = _gap(x, bx, 0, bins)
        square = reach * reach - gap * gap
        for by in range(first_y, last_y + 1):
            gap = _gap(y, by, 1, bins)
            span = np.sqrt(max(square - gap * gap, 0.0))
            column = (bx * bins.counts[1] + by) * bins.counts[2]
            low, high = int(max((height - span) * per_ang, 0.0)), int(min((height + span) * per_ang, top))
            start, stop = bins.starts[column + low], bins.starts[column + high + 1]
            runs[n_runs, 0], runs[n_runs, 1] = start, stop
            n_runs += (stop > start) & (square - gap * gap >= 0.0)
            n_points += stop - start
    return n_runs, n_points


@njit(cache=True, nogil=True)
def search(bins: Any, keys: Any, reach: Any, rows: Any, begin: Any) -> Any:
    """Append the neighbours of atoms to `rows`, as far as there is room.

    `reach` = (cutoff, half list or not); `rows` = (neighbours, offsets), complete up to the atom `begin`. Returns the
    first atom without a complete row and the number of coincident points.
    """
    neighbors, offsets = rows
    cutoff, half = reach
    wide, square = _widened(bins, cutoff), cutoff * cutoff
    runs = np.empty(((int(2.0 * wide / bins.edges[0]) + 3) * (int(2.0 * wide / bins.edges[1]) + 3), 2), dtype=np.int64)
    arrays = (bins.x, bins.y, bins.z, keys, bins.ids, neighbors)
    total, coincident = offsets[begin], 0
    for i in range(begin, len(bins.slots)):
        slot = bins.slots[i]
        n_runs, n_points = _runs(bins, slot, wide, runs)
        if total + n_points + PADDING > len(neighbors):
            return i, coincident
        centre = (bins.x[slot], bins.y[slot], bins.z[slot], square, i)
        for r in range(n_runs):
            window = (runs[r, 0], runs[r, 1], total)
            if half:
                total, same = append_once(arrays, window, centre)
            else:
                total, same = append_near(arrays, window, centre)
            coincident += same
        offsets[i + 1] = total
    return len(bins.slots), coincident


@njit(cache=True)
def _widened(bins: Any, cutoff: Any) -> Any:
    """The cutoff with room for rounding of the bins' borders."""
    farthest = 0.0
    for a in range(3):
        farthest = max(farthest, abs(bins.origin[a]), bins.edges[a] * bins.counts[a])
    return cutoff * (1.0 + SLACK) + 1e-13 * farthest


@njit(cache=True)
def _keys(sites: Any, bins: Any) -> Any:
    """Keys for `append_once`.

    Of two atoms the later counts; of an atom and a ghost, the ghost whose translation is positive, first component
    first, since the reverse of the pair has the opposite translation.
    """
    n, keys = len(sites.order), bins.ids.copy()
    for s in range(len(keys)):
        g = keys[s] - n
        if g >= 0:
            x, y, z = sites.shifts[g, 0], sites.shifts[g, 1], sites.shifts[g, 2]
            positive = x > 0 or (x == 0 and (y > 0 or (y == 0 and z > 0)))
            keys[s] = 2**31 - 1 if positive else -1
    return keys


@njit(cache=True)
def _pairs_per_atom(bins: Any, cutoff: Any) -> Any:
    """Neighbours of an atom in the full list, from a sample spread over all."""
    slots = bins.slots[:: max(1, len(bins.slots) // SAMPLE)].copy()
    sample = Bins(bins.x, bins.y, bins.z, bins.ids, slots, bins.starts, bins.origin, bins.edges, bins.counts)
    room, done, offsets = LEAST_ROOM, 0, np.zeros(len(slots) + 1, dtype=np.int64)
    while done < len(slots):
        room *= 2
        done, _ = search(sample, bins.ids, (cutoff, False), (np.empty(room, dtype=np.int32), offsets), 0)
    return offsets[-1] / len(slots)


@njit(cache=True)
def _enlarged(neighbors: Any, used: Any, wanted: Any) -> Any:
    larger = np.empty(max(int(wanted), len(neighbors) + len(neighbors) // 4) + LEAST_ROOM, dtype=np.int32)
    for p in range(used):
        larger[p] = neighbors[p]
    return larger


@njit(cache=True)
def all_neighbors(positions: Any, lattice: Any, cutoff: Any, half: Any) -> Any:
    """Status, `Sites`, offsets (n + 1,) and neighbours: place of the atom, or n + place of the ghost.

    `lattice` = (cell, periodic axes). Rows follow the order of the places; `PADDING` elements follow the last row.
    """
    status, sites, bins = sort_into_bins(positions, lattice[0], lattice[1], cutoff)
    n, done, coincident = len(sites.order), 0, 0
    offsets, neighbors = np.zeros(n + 1, dtype=np.int64), np.empty(0, dtype=np.int32)
    if status != FINE:
        return status, sites, offsets, neighbors
    keys = _keys(sites, bins) if half else bins.ids
    per_atom = _pairs_per_atom(bins, cutoff) * (0.5 if half else 1.0)
    while done < n and not coincident:
        neighbors = _enlarged(neighbors, offsets[done], per_atom * n * SPARE)
        done, coincident = search(bins, keys, (cutoff, half), (neighbors, offsets), done)
    neighbors = neighbors[: offsets[done] + PADDING]
    neighbors[offsets[done] :] = 0
    return (COINCIDENT if coincident else FINE), sites, offsets, neighbors
