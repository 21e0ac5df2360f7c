"""How near atoms are to each other, measured in covalent radii."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from hpcmat.records import Structure
from hpcmat_kernels.neighbors import neighbor_list

TOO_CLOSE = 0.35
"""Distance over the sum of covalent radii below which no label is meaningful. Metals at twice their melting point come
down to 0.7; the repulsive end of a dimer's curve to about 0.5."""
SHELL = 1.4
"""Distance over the sum of covalent radii up to which an atom counts as a neighbour."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Of the atoms of one structure."""

    possible: bool
    """False where atoms coincide or the periodic lattice vectors are degenerate."""
    nearest: float
    """Shortest distance over the sum of covalent radii; `SHELL` where no atom has a neighbour."""
    coordination: float
    """Mean number of neighbours."""


def surroundings_of(structure: Structure) -> Surroundings:
    """Distances and neighbours; all atoms within `SHELL` count."""
    radii = covalent_radii[[atomic_numbers[symbol] for symbol in structure.symbols]]
    try:
        pairs = neighbor_list(structure.positions, structure.cell, structure.pbc, SHELL * 2 * float(radii.max()))
    except ValueError:
        return Surroundings(False, 0.0, 0.0)
    ratio = np.linalg.norm(pairs.vectors, axis=1) / (radii[pairs.first] + radii[pairs.second])
    ratio = ratio[ratio < SHELL]
    return Surroundings(True, float(ratio.min()) if len(ratio) else SHELL, len(ratio) / len(structure))
