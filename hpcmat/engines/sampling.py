"""Other volumes, strains and displacements of a structure: what is computed before there is a model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcmat.engines.acceptance import check_structure
from hpcmat.engines.base import EngineFailure
from hpcmat.engines.structures import from_atoms, to_atoms
from hpcmat.errors import InputError
from hpcmat.records import FailureKind, Structure

_DRAWS_PER_FRAME = 20


def repeated(structure: Structure, repeat: tuple[int, int, int]) -> Structure:
    """Supercell of `repeat` cells along each lattice vector."""
    return from_atoms(to_atoms(structure).repeat(repeat))


def scaled(structure: Structure, volume_fraction: float) -> Structure:
    """Structure with its volume multiplied by `volume_fraction`, fractional coordinates kept."""
    stretch = volume_fraction ** (1.0 / 3.0)
    return _moved(structure, structure.positions * stretch, structure.cell * stretch)


def strained(structure: Structure, largest: float, rng: np.random.Generator) -> Structure:
    """Structure under a random homogeneous strain: six independent components, uniform within ± `largest`.

    The deformation 1 + ε is symmetric (no rotation); fractional coordinates are kept. Directions that are not
    periodic are deformed as well.
    """
    strain = np.zeros((3, 3))
    strain[np.triu_indices(3)] = rng.uniform(-largest, largest, 6)
    deformation = np.eye(3) + np.triu(strain) + np.triu(strain, 1).T
    return _moved(structure, structure.positions @ deformation, structure.cell @ deformation)


def rattled(structure: Structure, deviation_ang: float, rng: np.random.Generator) -> Structure:
    """Structure with normal displacements of the given standard deviation (Å) on each coordinate."""
    displacement = rng.normal(scale=deviation_ang, size=structure.positions.shape)
    return _moved(structure, structure.positions + displacement, structure.cell)


def cold_start(
    structure: Structure, strain: float, rattle_ang: float, n_frames: int, seed: int
) -> tuple[Structure, ...]:
    """Strained and rattled copies of a structure; the same seed gives the same copies.

    Raises
    ------
    EngineFailure
        `BAD_SETTINGS`: the displacements are so large that almost every draw makes atoms overlap.
    """
    rng = np.random.default_rng(seed)
    frames: list[Structure] = []
    for _ in range(_DRAWS_PER_FRAME * n_frames):
        if len(frames) == n_frames:
            break
        frame = rattled(strained(structure, strain, rng), rattle_ang, rng)
        if _is_sound(frame):
            frames.append(frame)
    if len(frames) < n_frames:
        message = f"displacements of {rattle_ang} Å make atoms overlap; use a smaller rattle_ang or strain"
        raise EngineFailure(FailureKind.BAD_SETTINGS, message)
    return tuple(frames)


def _moved(structure: Structure, positions: NDArray[np.float64], cell: NDArray[np.float64]) -> Structure:
    return Structure(structure.symbols, positions, cell, structure.pbc)


def _is_sound(structure: Structure) -> bool:
    try:
        check_structure(structure)
    except InputError:
        return False
    return True
