"""Full neighbour lists for any cell: triclinic, partly periodic, smaller than the cutoff, or no cell at all.

Atoms are sorted into bins of the (wrapped) fractional coordinates; each atom looks through the bins within the
cutoff, where a bin outside the cell is the periodic image of one inside. With one bin per axis this is the plain sum
over periodic images, so small cells need no case of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COINCIDENT_ANG = 1e-6
"""Atoms nearer than this are the same atom written twice; no force is defined between them."""

MAX_BINS_PER_AXIS = 64


@dataclass(frozen=True, slots=True, eq=False)
class NeighborList:
    """All ordered pairs nearer than the cutoff, sorted by the first atom.

    `vectors[p] = positions[second[p]] + shifts[p] @ cell - positions[first[p]]`; the pairs of atom i are
    `offsets[i] : offsets[i + 1]`.
    """

    first: Ints
    """(p,)"""
    second: Ints
    """(p,)"""
    shifts: Ints
    """(p, 3) lattice translations of the second atom."""
    vectors: Floats
    """(p, 3) Å, from the first atom to the second."""
    offsets: Ints
    """(n + 1,)"""

    def __len__(self) -> int:
        return len(self.first)


def neighbor_list(positions: ArrayLike, cell: ArrayLike, pbc: tuple[bool, bool, bool], cutoff: float) -> NeighborList:
    """Pairs with distance < `cutoff`.

    Parameters
    ----------
    positions : (n, 3) Å.
    cell : (3, 3) Å, lattice vectors as rows; rows of axes without periodicity may be zero.
    pbc : whether each axis is periodic.
    cutoff : Å.

    Raises
    ------
    ValueError
        Where a number is not finite, a shape is wrong, the periodic lattice vectors are degenerate, the cutoff is not
        positive, or two atoms coincide.
    """
    r = _checked_positions(positions)
    h = np.ascontiguousarray(cell, dtype=np.float64)
    if h.shape != (3, 3) or not np.isfinite(h).all():
        raise ValueError(f"The cell must be 3 x 3 finite numbers in Å, not {cell!r}: check the structure.")
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise ValueError(f"The cutoff must be a positive length in Å, not {cutoff}: correct the settings.")
    periodic = np.array(pbc, dtype=np.bool_)
    grid = _Grid.build(r, _complete_cell(h, periodic), periodic, cutoff)
    arrays = _search(r, h, float(cutoff), periodic, grid.wraps, grid.bins, grid.n_bins, grid.reach, *grid.members)
    first, second, shifts, vectors, offsets, coincident = arrays
    if coincident >= 0:
        i, j = first[coincident], second[coincident]
        raise ValueError(f"Atoms {i} and {j} (or its image) coincide: remove one of them from the structure.")
    return NeighborList(first, second, shifts, vectors, offsets)


def _checked_positions(positions: ArrayLike) -> Floats:
    r = np.ascontiguousarray(positions, dtype=np.float64)
    if r.ndim != 2 or r.shape[1:] != (3,) or len(r) == 0:
        raise ValueError(f"Positions must have shape (n, 3) with n >= 1, not {r.shape}: check the structure.")
    if not np.isfinite(r).all():
        atom = int(np.flatnonzero(~np.isfinite(r).all(axis=1))[0])
        raise ValueError(f"The position of atom {atom} is not finite: check the structure or shorten the time step.")
    return r


def _complete_cell(cell: Floats, periodic: NDArray[np.bool_]) -> Floats:
    """Periodic lattice vectors, completed to three dimensions by unit vectors orthogonal to them."""
    vectors = cell[periodic]
    rank = len(vectors)
    lengths = np.linalg.norm(vectors, axis=1)
    if rank and (lengths.min() < COINCIDENT_ANG or _relative_volume(vectors, lengths) < 1e-6):
        raise ValueError(
            f"The periodic lattice vectors {vectors.tolist()} span no volume: correct the cell or switch pbc off."
        )
    complete = np.empty((3, 3))
    complete[periodic] = vectors
    normals = np.linalg.svd(vectors.reshape(-1, 3))[2][rank:] if rank else np.eye(3)
    complete[~periodic] = normals
    return complete


def _relative_volume(vectors: Floats, lengths: Floats) -> float:
    unit = vectors / lengths[:, None]
    return float(np.sqrt(max(np.linalg.det(unit @ unit.T), 0.0)))


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Bins of the fractional coordinates."""

    wraps: Ints
    """(n, 3) lattice translation that was taken off each atom to bring it into the cell."""
    bins: Ints
    """(n, 3) bin of each atom."""
    n_bins: Ints
    reach: Ints
    """(3,) how many bins away a neighbour can be."""
    members: tuple[Ints, Ints]
    """Start of each bin in the second array, and atoms sorted by bin."""

    @classmethod
    def build(cls, positions: Floats, cell: Floats, periodic: NDArray[np.bool_], cutoff: float) -> _Grid:
        inverse = np.linalg.inv(cell)
        fractional = positions @ inverse
        floor = np.where(periodic, np.floor(fractional), 0.0)
        inside = fractional - floor
        low = np.where(periodic, 0.0, inside.min(axis=0))
        # An image exactly at 1.0 after rounding belongs to the last bin, hence the clip below.
        extent = np.where(periodic, 1.0, inside.max(axis=0) - low + 1e-9)
        widths = extent / np.linalg.norm(inverse, axis=0)
        limit = max(1, min(MAX_BINS_PER_AXIS, round(len(positions) ** (1 / 3)) * 2))
        n_bins = np.clip(np.floor(widths / cutoff), 1, limit).astype(np.int64)
        reach = np.floor(cutoff * n_bins / widths).astype(np.int64) + 1
        reach = np.where(periodic, reach, np.minimum(reach, n_bins))
        bins = np.clip(np.floor((inside - low) / extent * n_bins).astype(np.int64), 0, n_bins - 1)
        flat = (bins[:, 0] * n_bins[1] + bins[:, 1]) * n_bins[2] + bins[:, 2]
        starts = np.zeros(int(n_bins.prod()) + 1, dtype=np.int64)
        np.cumsum(np.bincount(flat, minlength=len(starts) - 1), out=starts[1:])
        order = np.argsort(flat, kind="stable")
        return cls(floor.astype(np.int64), bins, n_bins, reach, (starts, order))


@njit(cache=True, inline="always")
def _bin_image(index: int, n_bins: int, periodic: bool) -> Any:
    """Bin inside the cell and lattice translation of bin `index`; translation 0 and bin -1 where there is none."""
    if 0 <= index < n_bins:
        return index, 0
    if not periodic:
        return -1, 0
    shift = index // n_bins
    return index - shift * n_bins, shift


@njit(cache=True)
def _grown(array: Any, size: int) -> Any:
    larger = np.empty((size, *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger


@njit(cache=True)
def _search(  # noqa: C901, PLR0913 - five nested loops over bins and atoms; splitting them would hide the order
    positions: Any, cell: Any, cutoff: Any, periodic: Any, wraps: Any, bins: Any, n_bins: Any, reach: Any,
    starts: Any, order: Any,
) -> Any:  # fmt: skip
    n = len(positions)
    capacity = 64 * n
    second = np.empty(capacity, dtype=np.int64)
    shifts = np.empty((capacity, 3), dtype=np.int64)
    vectors = np.empty((capacity, 3))
    offsets = np.zeros(n + 1, dtype=np.int64)
    count = 0
    coincident = -1
    for i in range(n):
        for bx in range(bins[i, 0] - reach[0], bins[i, 0] + reach[0] + 1):
            x, sx = _bin_image(bx, n_bins[0], periodic[0])
            if x < 0:
                continue
            for by in range(bins[i, 1] - reach[1], bins[i, 1] + reach[1] + 1):
                y, sy = _bin_image(by, n_bins[1], periodic[1])
                if y < 0:
                    continue
                for bz in range(bins[i, 2] - reach[2], bins[i, 2] + reach[2] + 1):
                    z, sz = _bin_image(bz, n_bins[2], periodic[2])
                    if z < 0:
                        continue
                    flat = (x * n_bins[1] + y) * n_bins[2] + z
                    for member in range(starts[flat], starts[flat + 1]):
                        j = order[member]
                        s0 = sx - wraps[j, 0] + wraps[i, 0]
                        s1 = sy - wraps[j, 1] + wraps[i, 1]
                        s2 = sz - wraps[j, 2] + wraps[i, 2]
                        if i == j and s0 == 0 and s1 == 0 and s2 == 0:
                            continue
                        dx = positions[j, 0] - positions[i, 0] + s0 * cell[0, 0] + s1 * cell[1, 0] + s2 * cell[2, 0]
                        dy = positions[j, 1] - positions[i, 1] + s0 * cell[0, 1] + s1 * cell[1, 1] + s2 * cell[2, 1]
                        dz = positions[j, 2] - positions[i, 2] + s0 * cell[0, 2] + s1 * cell[1, 2] + s2 * cell[2, 2]
                        square = dx * dx + dy * dy + dz * dz
                        if square >= cutoff * cutoff:
                            continue
                        if count == capacity:
                            capacity *= 2
                            second, shifts = _grown(second, capacity), _grown(shifts, capacity)
                            vectors = _grown(vectors, capacity)
                        if square < COINCIDENT_ANG * COINCIDENT_ANG and coincident < 0:
                            coincident = count
                        second[count] = j
                        shifts[count, 0], shifts[count, 1], shifts[count, 2] = s0, s1, s2
                        vectors[count, 0], vectors[count, 1], vectors[count, 2] = dx, dy, dz
                        count += 1
        offsets[i + 1] = count
    first = np.empty(count, dtype=np.int64)
    for i in range(n):
        first[offsets[i] : offsets[i + 1]] = i
    return first, second[:count].copy(), shifts[:count].copy(), vectors[:count].copy(), offsets, coincident
