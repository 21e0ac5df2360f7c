"""What the compiled loop asks of a potential, resolved by Numba from the type of its arrays.

A potential is a named tuple of arrays of a class of its own. Its module overloads the three functions below for that
class. A function handed to the loop would do the same, but Numba keeps no code on disk for functions as arguments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from hpcmat_kernels.verlet import extend, to_caller


def is_kind(potential: Any, kind: type) -> bool:
    """Whether Numba's type `potential` is that of the named tuple `kind`."""
    return isinstance(potential, types.BaseNamedTuple) and potential.instance_class is kind


def prepare(potential: Any, verlet: Any, species: Any) -> Any:
    """Work arrays of a potential for as long as the list lasts; species (n,) in the caller's order."""
    raise NotImplementedError


def add_forces(potential: Any, work: Any, verlet: Any, points: Any, results: Any) -> Any:
    """Add to the forces (n, 3) by place and the virial (6,) in `results`; return the energy."""
    raise NotImplementedError


def spreads(potential: Any, work: Any, verlet: Any, points: Any) -> Any:
    """Largest uncertainty of a force, eV/Å, and that of the energy, eV/atom; 0 where the potential knows none."""
    raise NotImplementedError


@njit(cache=True)
def evaluate(potential: Any, neighbors: Any, system: Any, results: Any) -> Any:
    """Energy; writes the forces (n, 3) in the caller's order and the virial (6,).

    `neighbors` = (list, points, work arrays, forces by place).
    """
    verlet, points, work, by_place = neighbors
    forces, virial = results
    extend(verlet, system.positions, system.cell, points)
    by_place[:] = 0.0
    virial[:] = 0.0
    energy = add_forces(potential, work, verlet, points, (by_place, virial))
    to_caller(verlet, by_place, forces)
    return energy


@njit(cache=True)
def species_by_place(verlet: Any, species: Any) -> Any:
    """Species of the atoms in the order of the list."""
    n = len(verlet.order)
    sorted_species = np.empty(n, dtype=np.int64)
    for k in range(n):
        sorted_species[k] = species[verlet.order[k]]
    return sorted_species
