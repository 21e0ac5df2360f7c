"""From rows of places to pairs in the caller's order, with lattice translations and vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True)
def caller_offsets(order: Any, offsets: Any) -> Any:
    """Start of each atom's pairs in the caller's order."""
    result = np.zeros(len(offsets), dtype=np.int64)
    for k in range(len(order)):
        result[order[k] + 1] = offsets[k + 1] - offsets[k]
    for i in range(len(order)):
        result[i + 1] += result[i]
    return result


@njit(cache=True)
def _second_atoms(sites: Any) -> Any:
    """Of each atom and ghost: lattice translation as seen from an unwrapped atom, and the atom itself, (n + g, 4).

    Four integers are one load.
    """
    n, count = len(sites.order), len(sites.order) + len(sites.owners)
    table = np.empty((count, 4), dtype=np.int32)
    for e in range(count):
        atom = sites.order[e if e < n else sites.owners[e - n]]
        for a in range(3):
            table[e, a] = (sites.shifts[e - n, a] if e >= n else 0) - sites.wraps[atom, a]
        table[e, 3] = atom
    return table


@njit(cache=True, nogil=True)
def write_pairs(sites: Any, rows: Any, starts: Any, pairs: Any) -> None:
    """First and second atoms and translations of all pairs.

    `rows` = (offsets, neighbours) by place; `starts` are the offsets in the caller's order.
    """
    offsets, neighbors = rows
    first, second, shifts = pairs
    table = _second_atoms(sites)
    for k in range(len(sites.order)):
        i = sites.order[k]
        x, y, z = sites.wraps[i, 0], sites.wraps[i, 1], sites.wraps[i, 2]
        p = starts[i]
        for q in range(offsets[k], offsets[k + 1]):
            e = neighbors[q]
            sx, sy, sz, j = table[e, 0], table[e, 1], table[e, 2], table[e, 3]
            first[p], second[p] = i, j
            shifts[p, 0], shifts[p, 1], shifts[p, 2] = sx + x, sy + y, sz + z
            p += 1


@njit(cache=True, nogil=True)
def write_vectors(positions: Any, cell: Any, pairs: Any, vectors: Any) -> None:
    """Vectors of all pairs, from the unwrapped positions."""
    first, second, shifts = pairs
    for p in range(len(first)):
        i, j = first[p], second[p]
        x, y, z = shifts[p, 0], shifts[p, 1], shifts[p, 2]
        for b in range(3):
            translation = x * cell[0, b] + y * cell[1, b] + z * cell[2, b]
            vectors[p, b] = positions[j, b] + translation - positions[i, b]
