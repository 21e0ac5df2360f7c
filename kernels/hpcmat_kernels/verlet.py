"""Neighbours within cutoff + skin, made once and used for many steps: what dynamics and pair styles run on.

Atoms are kept in the order of the bins, which is that of memory: *place* k holds the caller's atom `order[k]`. After
the n atoms come the ghosts, periodic images at places n .. n + g - 1. Functions but `verlet_list` are compiled and
may be called from other compiled code; nothing in them comes back to Python. One step of dynamics reads

    if needs_rebuild(verlet, positions, cell):
        status, verlet = build(positions, (cell, periodic), (cutoff, skin))   # stop unless status == FINE
        points = empty_points(verlet, species)
    extend(verlet, positions, cell, points)
    ...                                        # neighbours of place k: neighbors[offsets[k] : offsets[k + 1]]
    to_caller(verlet, forces_by_place, forces)

with positions (n, 3), species (n,) and forces (n, 3) in the caller's order, never wrapped by these functions, and
`points` (n + g, 4) by place: x, y, z in Å and the number of the species. Atom k stands at
`positions[order[k]] - wraps[order[k]] @ cell`, ghost n + m at `points[owners[m]] + shifts[m] @ cell`. The integers
belong to the list, the cell to the moment, so that `extend` stays right while a barostat changes the cell.

The list is full (k lists e and the owner of e lists an image of k), so a pair style sums the force of each atom alone.
Where a force needs what neighbours hand back, `real_seconds` gives the place of the atom behind every second one, and
`arriving` the pairs that end at each atom. `PADDING` elements that may be read follow the last row of `neighbors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hpcmat_kernels.neighbors.bins import FINE, PADDING
from hpcmat_kernels.neighbors.images import completed, inverse_of
from hpcmat_kernels.neighbors.lists import Periodicity, check_length, checked_structure, failure
from hpcmat_kernels.neighbors.search import all_neighbors
from hpcmat_kernels.simd.sites import arriving_pairs

__all__ = [
    "FINE", "PADDING", "SkinList", "VerletList", "arriving", "build", "empty_points", "extend", "needs_rebuild",
    "pair_vectors", "real_seconds", "to_caller", "verlet_list",
]  # fmt: skip

SAFETY_ANG = 1e-9
"""Taken off the skin, so that rounding errs towards a rebuild."""


class VerletList(NamedTuple):
    """Neighbours by place. A named tuple, since compiled code can make and keep one."""

    order: Any
    """(n,) int32, the caller's atom at each place."""
    wraps: Any
    """(n, 3) int32, lattice translation taken off each atom (caller's order) when the list was made."""
    owners: Any
    """(g,) int32, place of the atom that each ghost is an image of."""
    shifts: Any
    """(g, 3) int32, lattice translation from that place to the ghost."""
    offsets: Any
    """(n + 1,) int64"""
    neighbors: Any
    """(offsets[n] + PADDING,) int32, places below n + g."""
    start: Any
    """(n, 3) Å, positions when the list was made, caller's order."""
    start_cell: Any
    """(3, 3) Å"""
    periodic: Any
    """(3,) bool"""
    cutoff: Any
    """Å"""
    skin: Any
    """Å"""


@njit(cache=True)
def build(positions: Any, lattice: Any, lengths: Any) -> Any:
    """Status and `VerletList`; the list is of use only where the status is `FINE` (others: `neighbors.bins`).

    `lattice` = (cell (3, 3) Å, periodic axes (3,) bool), `lengths` = (cutoff, skin) in Å.
    """
    cell, periodic = lattice
    cutoff, skin = lengths
    status, sites, offsets, neighbors = all_neighbors(positions, (cell, periodic), cutoff + skin, False)
    return status, VerletList(
        sites.order, sites.wraps, sites.owners, sites.shifts, offsets, neighbors,
        positions.copy(), cell.copy(), periodic, cutoff, skin,
    )  # fmt: skip


@njit(cache=True)
def empty_points(verlet: Any, species: Any) -> Any:
    """Array (n + g, 4) for `extend`, with the species filled in."""
    n = len(verlet.order)
    points = np.zeros((n + len(verlet.owners), 4))
    for k in range(n):
        points[k, 3] = species[verlet.order[k]]
    for m in range(len(verlet.owners)):
        points[n + m, 3] = points[verlet.owners[m], 3]
    return points


@njit(cache=True)
def extend(verlet: Any, positions: Any, cell: Any, points: Any) -> None:
    """Write x, y, z of all places, from the positions and the cell of the moment."""
    n = len(verlet.order)
    for k in range(n):
        i = verlet.order[k]
        a, b, c = float(verlet.wraps[i, 0]), float(verlet.wraps[i, 1]), float(verlet.wraps[i, 2])
        for x in range(3):
            points[k, x] = positions[i, x] - (a * cell[0, x] + b * cell[1, x] + c * cell[2, x])
    for m in range(len(verlet.owners)):
        k = verlet.owners[m]
        a, b, c = float(verlet.shifts[m, 0]), float(verlet.shifts[m, 1]), float(verlet.shifts[m, 2])
        for x in range(3):
            points[n + m, x] = points[k, x] + (a * cell[0, x] + b * cell[1, x] + c * cell[2, x])


@njit(cache=True)
def needs_rebuild(verlet: Any, positions: Any, cell: Any) -> Any:
    """Whether a pair nearer than the cutoff may be missing.

    With the deformation F = h0⁻¹ h and the largest displacement u beside it, a pair that was at least cutoff + skin
    apart is still σ (cutoff + skin) - 2 u apart, where the smallest singular value σ >= 1 - |F - 1|. With a constant
    cell that is the rule 2 u > skin. True where a position is not finite.
    """
    deformation, strain = np.eye(3), 0.0
    if not (cell == verlet.start_cell).all():
        before, now = completed(verlet.start_cell, verlet.periodic), completed(cell, verlet.periodic)
        deformation = _product(inverse_of(before), now)
        strain = np.sqrt(((deformation - np.eye(3)) ** 2).sum())
    largest = _largest_square(verlet.start, positions, deformation)
    if strain == 0.0 and largest == 0.0:
        return False
    room = (1.0 - strain) * (verlet.cutoff + verlet.skin) - verlet.cutoff - SAFETY_ANG
    return not (room > 0.0 and 4.0 * largest < room * room)


@njit(cache=True)
def _product(left: Any, right: Any) -> Any:
    result = np.zeros((3, 3))
    for a in range(3):
        for b in range(3):
            for c in range(3):
                result[a, c] += left[a, b] * right[b, c]
    return result


@njit(cache=True)
def _largest_square(start: Any, positions: Any, deformation: Any) -> Any:
    """Largest squared displacement beside the deformation; not a number where a position is none."""
    f, largest = deformation, 0.0
    for i in range(len(start)):
        square = 0.0
        for x in range(3):
            moved = positions[i, x] - (start[i, 0] * f[0, x] + start[i, 1] * f[1, x] + start[i, 2] * f[2, x])
            square += moved * moved
        if not square <= largest:
            largest = square
            if square != square:
                break
    return largest


@njit(cache=True)
def to_caller(verlet: Any, values: Any, result: Any) -> None:
    """Rows by place, into the caller's order."""
    for k in range(len(verlet.order)):
        result[verlet.order[k]] = values[k]


@njit(cache=True)
def pair_vectors(verlet: Any, points: Any, vectors: Any) -> None:
    """Vectors (p, 3) in Å from each atom to its neighbours, in the order of `neighbors`; p = offsets[n]."""
    for k in range(len(verlet.order)):
        for p in range(verlet.offsets[k], verlet.offsets[k + 1]):
            e = verlet.neighbors[p]
            for x in range(3):
                vectors[p, x] = points[e, x] - points[k, x]


@njit(cache=True)
def real_seconds(verlet: Any) -> Any:
    """Place (p,) below n of the atom behind the second point of each pair."""
    n, n_pairs = len(verlet.order), verlet.offsets[-1]
    seconds = np.empty(n_pairs, dtype=np.int32)
    for p in range(n_pairs):
        e = verlet.neighbors[p]
        seconds[p] = e if e < n else verlet.owners[e - n]
    return seconds


@njit(cache=True)
def arriving(verlet: Any) -> Any:
    """Pairs sorted by the place of the atom that they end at: (starts (n + 1,), pairs (p,)), as `simd.sites` takes."""
    return arriving_pairs(real_seconds(verlet), len(verlet.order))


@dataclass(frozen=True, slots=True, eq=False)
class SkinList:
    """A list with skin, for use from Python."""

    arrays: VerletList

    def points(self, positions: ArrayLike, cell: ArrayLike, species: ArrayLike | None = None) -> NDArray[np.float64]:
        """Atoms and ghosts (n + g, 4) by place at the positions (n, 3) and in the cell of now; see the module.

        Raises
        ------
        ValueError
            Where the number of atoms differs from that of the list, or something is not finite.
        """
        r, h, _ = checked_structure(positions, cell, self.arrays.periodic)
        z = np.zeros(len(r), dtype=np.int64) if species is None else np.ascontiguousarray(species, dtype=np.int64)
        n = len(self.arrays.order)
        if len(r) != n or z.shape != (n,) or not np.isfinite(r).all():
            raise ValueError(f"The list is for {n} atoms at finite positions: give as many, or make another list.")
        points: NDArray[np.float64] = empty_points(self.arrays, z)
        extend(self.arrays, r, h, points)
        return points

    def needs_rebuild(self, positions: ArrayLike, cell: ArrayLike) -> bool:
        """Whether a pair nearer than the cutoff may be missing by now."""
        r, h, _ = checked_structure(positions, cell, self.arrays.periodic)
        return len(r) != len(self.arrays.order) or bool(needs_rebuild(self.arrays, r, h))


def verlet_list(positions: ArrayLike, cell: ArrayLike, pbc: Periodicity, cutoff: float, skin: float) -> SkinList:
    """Neighbours within cutoff + skin (Å) of atoms at positions (n, 3) Å in a cell (3, 3) Å.

    Raises
    ------
    ValueError
        As `neighbors.neighbor_list`, and where the skin is negative.
    """
    r, h, periodic = checked_structure(positions, cell, pbc)
    check_length("cutoff", cutoff)
    if not (np.isfinite(skin) and skin >= 0):
        raise ValueError(f"The skin must be a length in Å, zero or more, not {skin}: correct the settings.")
    status, arrays = build(r, (h, periodic), (float(cutoff), float(skin)))
    if status != FINE:
        raise ValueError(failure(status, r, (h, periodic), cutoff + skin))
    return SkinList(arrays)
