"""Neighbor lists for any cell: triclinic, partly periodic, smaller than the cutoff, or no cell at all.

Memory: a list takes 20 bytes per pair and 8 per atom; at the peak, while it is made, 25 per pair and 40 per atom, but
no less than about 250 per atom. Ten million copper atoms within 3 Å (120 million pairs) need 3.4 GB besides their
positions, within 5 Å (435 million pairs) 11 GB. Vectors bring a list to 44 bytes per pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcmat_kernels.neighbors.append import COINCIDENT_ANG
from hpcmat_kernels.neighbors.bins import COINCIDENT, CROWDED, FINE, FLAT
from hpcmat_kernels.neighbors.expand import caller_offsets, write_pairs, write_vectors
from hpcmat_kernels.neighbors.images import FARTHEST_ANG, FREE_POINTS, MOST_IMAGES_PER_ATOM
from hpcmat_kernels.neighbors.search import all_neighbors

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Offsets = NDArray[np.int64]
Periodicity = tuple[bool, bool, bool]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs nearer than the cutoff, sorted by the first atom.

    The second atom stands at `positions[second] + shifts @ cell`; the pairs of atom i are
    `offsets[i] : offsets[i + 1]`.
    """

    first: Ints
    """(p,)"""
    second: Ints
    """(p,)"""
    shifts: Ints
    """(p, 3) lattice translations of the second atom."""
    offsets: Offsets
    """(n + 1,)"""

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True, slots=True, eq=False)
class NeighborList:
    """Pairs nearer than the cutoff, sorted by the first atom, with vectors.

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
    offsets: Offsets
    """(n + 1,)"""

    def __len__(self) -> int:
        return len(self.first)


def neighbor_list(
    positions: ArrayLike, cell: ArrayLike, pbc: Periodicity, cutoff: float, half: bool = False
) -> NeighborList:
    """Pairs with distance < `cutoff`, and their vectors.

    Parameters
    ----------
    positions : (n, 3) Å, in the cell or outside.
    cell : (3, 3) Å, lattice vectors as rows; rows of axes without periodicity may be zero.
    pbc : whether each axis is periodic.
    cutoff : Å; it may be longer than the cell.
    half : list each pair once, in one of its two directions, instead of in both.

    Raises
    ------
    ValueError
        Where a number is not finite, a shape is wrong, the periodic lattice vectors are degenerate, the cutoff is not
        positive or far beyond the cell, or two atoms coincide.
    """
    r, h, periodic = checked_structure(positions, cell, pbc)
    pairs = neighbor_pairs(r, h, pbc, cutoff, half)
    vectors = np.empty((len(pairs), 3))
    write_vectors(r, np.where(periodic[:, None], h, 0.0), (pairs.first, pairs.second, pairs.shifts), vectors)
    return NeighborList(pairs.first, pairs.second, pairs.shifts, vectors, pairs.offsets)


def neighbor_pairs(positions: ArrayLike, cell: ArrayLike, pbc: Periodicity, cutoff: float, half: bool = False) -> Pairs:
    """The pairs of `neighbor_list` without their vectors: same arguments, same errors, half the memory."""
    r, h, periodic = checked_structure(positions, cell, pbc)
    check_length("cutoff", cutoff)
    status, sites, offsets, neighbors = all_neighbors(r, (h, periodic), float(cutoff), bool(half))
    if status != FINE:
        raise ValueError(failure(status, r, (h, periodic), cutoff))
    n_pairs = int(offsets[-1])
    # NumPy asks for large pages, Numba does not.
    first, second, shifts = np.empty(n_pairs, np.int32), np.empty(n_pairs, np.int32), np.empty((n_pairs, 3), np.int32)
    starts = caller_offsets(sites.order, offsets)
    write_pairs(sites, (offsets, neighbors), starts, (first, second, shifts))
    return Pairs(first, second, shifts, starts)


def _coincidence(positions: Floats, lattice: tuple[Floats, NDArray[np.bool_]]) -> str:
    _, sites, offsets, neighbors = all_neighbors(positions, lattice, COINCIDENT_ANG, False)
    place = int(np.flatnonzero(np.diff(offsets))[0])
    other = int(neighbors[offsets[place]])
    n = len(sites.order)
    i, j = sites.order[place], sites.order[other if other < n else sites.owners[other - n]]
    return f"Atoms {i} and {j} (or its image) coincide: remove one of them from the structure."


def checked_structure(
    positions: ArrayLike, cell: ArrayLike, pbc: Periodicity
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Positions (n, 3), cell (3, 3) and periodic axes (3,) as contiguous arrays.

    Raises
    ------
    ValueError
        Where a shape is wrong or the cell is not finite.
    """
    r = np.ascontiguousarray(positions, dtype=np.float64)
    if r.ndim != 2 or r.shape[1:] != (3,) or len(r) == 0:
        raise ValueError(f"Positions must have shape (n, 3) with n >= 1, not {r.shape}: check the structure.")
    h = np.ascontiguousarray(cell, dtype=np.float64)
    if h.shape != (3, 3) or not np.isfinite(h).all():
        raise ValueError(f"The cell must be 3 x 3 finite numbers in Å, not {cell!r}: check the structure.")
    periodic = np.asarray(pbc)
    if periodic.shape != (3,):
        raise ValueError(f"Periodicity is given for three axes, not {pbc!r}: say True or False for each.")
    return r, h, periodic.astype(np.bool_)


def check_length(name: str, value: float) -> None:
    """ValueError unless the value is a positive length."""
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"The {name} must be a positive length in Å, not {value}: correct the settings.")


def failure(status: int, positions: Floats, lattice: tuple[Floats, NDArray[np.bool_]], cutoff: float) -> str:
    """Why a search failed, and what to do."""
    cell = lattice[0]
    if status == COINCIDENT:
        return _coincidence(positions, lattice)
    if status == FLAT:
        return f"The periodic lattice vectors of {cell.tolist()} span no volume: correct the cell or switch pbc off."
    if status == CROWDED:
        return (
            f"A cutoff of {cutoff} Å needs more than {FREE_POINTS} images and {MOST_IMAGES_PER_ATOM} of each atom in "
            f"the cell {cell.tolist()}: shorten the cutoff or check the units."
        )
    atom = int(np.abs(positions).max(axis=1).argmax())
    return (
        f"The position of atom {atom} is not finite or beyond {FARTHEST_ANG:.0e} Å: check the structure or shorten the "
        "time step."
    )
