"""Crystals among the frames of a data set: one at rest, and the same one at other volumes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcmat.records import Label, Structure
from hpcmat.surrogates.dataset import Dataset
from hpcmat.surrogates.elastic import MOST_ATOMS

Floats = NDArray[np.float64]

AT_REST_EV_PER_ANG = 0.05
"""Largest force in a frame that is taken for a crystal at rest."""
SAME_SHAPE = 1e-3
"""Scaled cells and fractional positions agree within this: relative, and in lattice vectors."""


def crystal_at_rest(data: Dataset) -> Structure | None:
    """The small periodic frame of lowest energy per atom among those without forces to speak of, or None."""
    resting = [
        (frame.label.energy / len(frame.label.structure), frame.index, frame.label.structure)
        for frame in data.frames
        if 1 < len(frame.label.structure) <= MOST_ATOMS
        and all(frame.label.structure.pbc)
        and len(frame.label.forces)
        and np.abs(frame.label.forces).max() < AT_REST_EV_PER_ANG
    ]
    return min(resting)[2] if resting else None


def scaled_copies(data: Dataset, crystal: Structure) -> tuple[Label, ...]:
    """Labels of the crystal at any volume, cell and positions scaled alike; itself too, by volume."""
    labels = [frame.label for frame in data.frames if _is_scaled(frame.label.structure, crystal)]
    return tuple(sorted(labels, key=lambda label: abs(np.linalg.det(label.structure.cell))))


def _is_scaled(structure: Structure, crystal: Structure) -> bool:
    if structure.symbols != crystal.symbols or not all(structure.pbc):
        return False
    scale = abs(np.linalg.det(structure.cell) / np.linalg.det(crystal.cell)) ** (1 / 3)
    if np.abs(structure.cell - scale * crystal.cell).max() > SAME_SHAPE * np.abs(structure.cell).max():
        return False
    moved = _fractional(structure) - _fractional(crystal)
    return bool(np.abs(moved - np.round(moved)).max() < SAME_SHAPE)


def _fractional(structure: Structure) -> Floats:
    """Positions in lattice vectors, from the first atom."""
    moved = np.linalg.solve(structure.cell.T, (structure.positions - structure.positions[0]).T)
    return np.asarray(moved.T, dtype=np.float64)
