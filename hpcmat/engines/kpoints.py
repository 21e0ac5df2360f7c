"""Grids of k-points by their spacing."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

GridKind = Literal["monkhorst-pack", "gamma"]


def kpoint_grid(cell: NDArray[np.float64], spacing_per_ang: float) -> tuple[int, int, int]:
    """Number of k-points along each reciprocal vector b_i (|b_i| with the factor 2π): ceil(|b_i| / spacing).

    Parameters
    ----------
    cell : (3, 3) array
        Lattice vectors as rows, Å.
    spacing_per_ang : float
        Largest distance between neighbouring points, 1/Å.
    """
    lengths = _reciprocal_lengths(cell)
    # A length that is a whole number of spacings up to rounding must not gain a point.
    counts = np.maximum(1, np.ceil(lengths / spacing_per_ang - 1e-9).astype(int))
    return int(counts[0]), int(counts[1]), int(counts[2])


def spacing_for(cell: NDArray[np.float64], grid: tuple[int, int, int], spacing_per_ang: float) -> float | None:
    """A spacing that gives a cell this grid: the one proposed if it does, else the largest; None if there is none."""
    closest = float((_reciprocal_lengths(cell) / grid).max())
    return next((s for s in (spacing_per_ang, closest) if kpoint_grid(cell, s) == grid), None)


def _reciprocal_lengths(cell: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = 2.0 * np.pi * np.linalg.norm(np.linalg.inv(cell).T, axis=1)
    return lengths


def grid_shift(grid: tuple[int, int, int], kind: GridKind) -> tuple[int, int, int]:
    """Shift of a grid along each axis in half steps: 1 where a Monkhorst-Pack grid is even, else 0.

    Points are at (i + shift / 2) / N; of a Monkhorst-Pack grid (2 r - N - 1) / 2 N, r = 1..N, which are the same.
    """
    first, second, third = ((count + 1) % 2 if kind == "monkhorst-pack" else 0 for count in grid)
    return first, second, third


def grid_has_lattice_symmetry(
    cell: NDArray[np.float64], grid: tuple[int, int, int], shift: tuple[int, int, int]
) -> bool:
    """Whether the rotations of the lattice map a grid onto itself.

    Codes that reduce a grid by symmetry assume it; where it fails (a shifted grid of a face-centred primitive cell),
    some refuse, and some average over the rotated grids, which is another calculation. A rotation of the lattice takes
    the rows of the cell to W times them (integer, with W G Wᵀ = G for the metric G), and reduced k-points κ to W κ.
    With N = diag(grid), the points κ = N⁻¹ (i + s / 2), i integer, stay points of the grid if M = N W N⁻¹ is integer
    and M s - s is even.
    """
    from ase.geometry.minkowski_reduction import minkowski_reduce

    # In a reduced cell no entry of W is beyond 1.
    reduced, change = minkowski_reduce(np.asarray(cell))
    metric = reduced @ reduced.T
    entries = np.indices((3,) * 9, dtype=float).reshape(9, -1).T.reshape(-1, 3, 3) - 1.0
    turned = np.einsum("nai,ij,nbj->nab", entries, metric, entries, optimize=True)
    # Loose, so that what a code may take for a symmetry counts as one.
    rotations = entries[np.abs(turned - metric).max(axis=(1, 2)) < 1e-3 * np.abs(metric).max()]
    counts = np.array(grid, dtype=float)
    mapped = (np.linalg.inv(change) @ rotations @ change) * counts[:, None] / counts
    moved = (mapped @ np.array(shift) - np.array(shift)) / 2.0
    return bool(np.allclose(mapped, np.rint(mapped)) and np.allclose(moved, np.rint(moved)))
