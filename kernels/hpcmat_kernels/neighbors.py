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

EXPECTED_NEIGHBOURS = 64
"""Pairs per atom for which room is made at first; more cost a second search."""


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
    sites = (r - grid.wraps @ h, grid.wraps, grid.bins)
    bins = (grid.n_bins, grid.reach, *grid.members)
    lattice = (h, periodic, float(cutoff))
    capacity = EXPECTED_NEIGHBOURS * len(r)
    second, shifts, vectors, offsets = _search(sites, lattice, bins, capacity)
    if offsets[-1] > capacity:
        second, shifts, vectors, offsets = _search(sites, lattice, bins, offsets[-1])
    n_pairs = offsets[-1]
    first = np.repeat(np.arange(len(r)), np.diff(offsets))
    pairs = NeighborList(first, second[:n_pairs], shifts[:n_pairs], vectors[:n_pairs], offsets)
    _check_distances(pairs)
    return pairs


def _check_distances(pairs: NeighborList) -> None:
    near = np.flatnonzero((np.abs(pairs.vectors) < COINCIDENT_ANG).all(axis=1))
    if len(near):
        i, j = pairs.first[near[0]], pairs.second[near[0]]
        raise ValueError(f"Atoms {i} and {j} (or its image) coincide: remove one of them from the structure.")


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
def _search(sites: Any, lattice: Any, grid: Any, capacity: Any) -> Any:  # noqa: C901 - loops over three axes of bins and their atoms
    """Second atoms, shifts, vectors and offsets of the pairs; those beyond `capacity` are counted but not kept.

    `sites` are positions wrapped into the cell, the translation taken off each, and its bin.
    """
    wrapped, wraps, bins = sites
    cell, periodic, cutoff = lattice
    n_bins, reach, starts, order = grid
    n, square, count = len(wrapped), cutoff * cutoff, 0
    second, shifts = np.empty(capacity, dtype=np.int64), np.empty((capacity, 3), dtype=np.int64)
    vectors, offsets = np.empty((capacity, 3)), np.zeros(n + 1, dtype=np.int64)
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
                    # From atom i to the origin of this image of the bin's cell.
                    ox = sx * cell[0, 0] + sy * cell[1, 0] + sz * cell[2, 0] - wrapped[i, 0]
                    oy = sx * cell[0, 1] + sy * cell[1, 1] + sz * cell[2, 1] - wrapped[i, 1]
                    oz = sx * cell[0, 2] + sy * cell[1, 2] + sz * cell[2, 2] - wrapped[i, 2]
                    for member in range(starts[flat], starts[flat + 1]):
                        j = order[member]
                        dx, dy, dz = wrapped[j, 0] + ox, wrapped[j, 1] + oy, wrapped[j, 2] + oz
                        distance2 = dx * dx + dy * dy + dz * dz
                        if distance2 >= square or (i == j and sx == 0 and sy == 0 and sz == 0):
                            continue
                        if count < capacity:
                            second[count] = j
                            vectors[count, 0], vectors[count, 1], vectors[count, 2] = dx, dy, dz
                            shifts[count, 0] = sx - wraps[j, 0] + wraps[i, 0]
                            shifts[count, 1] = sy - wraps[j, 1] + wraps[i, 1]
                            shifts[count, 2] = sz - wraps[j, 2] + wraps[i, 2]
                        count += 1
        offsets[i + 1] = count
    return second, shifts, vectors, offsets
