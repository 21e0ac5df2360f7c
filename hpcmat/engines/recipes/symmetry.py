"""Symmetry of a crystal, found by trial: which rotations leave it as it is, and which atoms they exchange."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from hpcmat.engines.recipes.steps import Floats
from hpcmat.records import Structure

TOLERANCE_ANG = 0.02
"""What relaxation leaves of a displacement is less, what distinguishes two crystals is more."""

_ROWS = np.array(list(product((-1, 0, 1), repeat=3)))
"""Images of the vectors of a reduced cell have no other components."""


@dataclass(frozen=True, slots=True, eq=False)
class Symmetry:
    """A rotation that, with some translation, carries the crystal into itself."""

    rotation: Floats
    """R (3, 3) orthogonal, of determinant 1 or -1: r → R r."""
    images: NDArray[np.int64]
    """(n,) where each atom goes, up to lattice vectors."""


def symmetries(crystal: Structure) -> tuple[Symmetry, ...]:
    """All of them, one for each pair of rotation and permutation of the atoms; the identity is among them.

    Parameters
    ----------
    crystal : periodic along three vectors; of thousands of atoms it would take minutes.
    """
    cell = np.asarray(minkowski_reduce(crystal.cell)[0])
    return tuple(found for trial in _metric(cell) for found in _carried(crystal, cell, trial))


def orbits(crystal: Structure) -> list[int]:
    """The first atom of each set that symmetry makes equal."""
    least = np.min([symmetry.images for symmetry in symmetries(crystal)], axis=0)
    return sorted(set(least.tolist()))


def _metric(cell: Floats) -> NDArray[np.int64]:
    """Trials that keep all lengths and angles of the cell."""
    metric, lengths = cell @ cell.T, np.linalg.norm(cell, axis=1)
    reached = np.linalg.norm(_ROWS @ cell, axis=1)
    images = [_ROWS[np.abs(reached - length) <= TOLERANCE_ANG] for length in lengths]
    trials = np.array(list(product(*images)))
    gaps = np.abs(trials @ metric @ trials.transpose(0, 2, 1) - metric)
    kept = (gaps <= TOLERANCE_ANG * lengths.max()).all(axis=(1, 2))
    found: NDArray[np.int64] = trials[kept & (np.abs(np.linalg.det(trials)).round() == 1)]
    return found


def _carried(crystal: Structure, cell: Floats, trial: NDArray[np.int64]) -> Iterator[Symmetry]:
    rotation = np.linalg.solve(cell, trial @ cell).T
    symbols = np.array(crystal.symbols)
    turned = crystal.positions @ rotation.T
    rarest = min(set(crystal.symbols), key=lambda symbol: (crystal.symbols.count(symbol), symbol))
    first = crystal.symbols.index(rarest)
    seen = set[tuple[int, ...]]()
    for other in np.flatnonzero(symbols == rarest):
        moved = turned + (crystal.positions[other] - turned[first])
        fractions = np.linalg.solve(cell.T, (moved[:, None] - crystal.positions).reshape(-1, 3).T).T
        gaps = np.linalg.norm((fractions - fractions.round()) @ cell, axis=1).reshape(len(symbols), -1)
        images = gaps.argmin(axis=1)
        fits = gaps.min(axis=1).max() <= TOLERANCE_ANG and (symbols[images] == symbols).all()
        if fits and len(set(images.tolist())) == len(images) and (place := tuple(images.tolist())) not in seen:
            seen.add(place)
            yield Symmetry(nearest_rotation(rotation), images)


def nearest_rotation(matrix: NDArray[np.floating[Any]]) -> Floats:
    """The orthogonal matrix (3, 3) nearest to this one."""
    left, _, right = np.linalg.svd(matrix)
    exact: Floats = left @ right
    return exact
