"""Energies, forces and virial of a pair style, from plain arrays or from a list with skin."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hpcmat_kernels.ace import Evaluation
from hpcmat_kernels.neighbors.lists import Periodicity
from hpcmat_kernels.pair.blocks import CHUNK, ROW, VIRIAL
from hpcmat_kernels.simd.emitter import LANES
from hpcmat_kernels.threads import in_parallel
from hpcmat_kernels.verlet import SkinList, VerletList, verlet_list

Floats = NDArray[np.float64]
Parallel = Callable[[Callable[[tuple[int, int]], None]], None]
"""Calls a function for ranges of chunks that together are all of them."""

__all__ = ["Evaluation", "PairStyle", "evaluate", "evaluate_list"]


class PairStyle(Protocol):
    """What `evaluate` needs to know of a potential."""

    @property
    def cutoff(self) -> float:
        """Å."""

    @property
    def n_species(self) -> int:
        """Number of species."""

    def rows(self, verlet: VerletList, points: Floats, sums: tuple[Floats, Floats], parallel: Parallel) -> None:
        """Write `sums` = (rows (n, 4), virials (chunks, 6, 8)).

        A row is the force on the atom at a place and twice its energy; the lanes of all virials sum to twice dE/dε.
        """


def evaluate(
    style: PairStyle, positions: ArrayLike, cell: ArrayLike, pbc: Periodicity, species: ArrayLike, threads: int = 1
) -> Evaluation:
    """Site energies (n,), forces (n, 3) and virial (6,) of atoms at `positions` (n, 3) Å.

    Parameters
    ----------
    cell : (3, 3) Å, lattice vectors as rows; rows of axes without periodicity may be zero.
    species : (n,) index of the species of each atom, 0 <= index < `style.n_species`.
    threads : share the atoms among so many threads; the result is the same to the last bit.

    Raises
    ------
    ValueError
        As `neighbors.neighbor_list`, and where a species is out of range or threads < 1.
    """
    return evaluate_list(style, verlet_list(positions, cell, pbc, style.cutoff, 0.0), positions, cell, species, threads)


def evaluate_list(
    style: PairStyle, prepared: SkinList, positions: ArrayLike, cell: ArrayLike, species: ArrayLike, threads: int = 1
) -> Evaluation:
    """The same from a list made before, at positions and in a cell that may have changed since.

    Raises
    ------
    ValueError
        Also where the list is too short for the potential, or the atoms have moved more than its skin allows.
    """
    verlet = prepared.arrays
    if verlet.cutoff < style.cutoff:
        raise ValueError(f"The list reaches {verlet.cutoff} Å, the potential {style.cutoff} Å: make a longer list.")
    if threads < 1:
        raise ValueError(f"At least one thread is needed, not {threads}: correct the argument.")
    z = np.asarray(species)
    points = prepared.points(positions, cell, z)
    if z.min() < 0 or z.max() >= style.n_species:
        raise ValueError(f"Species must be 0 .. {style.n_species - 1}, not {z.min()} .. {z.max()}: map them first.")
    if prepared.needs_rebuild(positions, cell):
        raise ValueError("The atoms have moved by more than half the skin: make the list again.")
    sums = empty_sums(len(z))
    style.rows(verlet, points, sums, partial(in_parallel, n=len(sums[1]), threads=threads))
    return Evaluation(*_finished(verlet.order, *sums))


def empty_sums(n: int) -> tuple[Floats, Floats]:
    """Room for the rows and virials of n atoms."""
    return np.empty((n, ROW)), np.empty(((n + CHUNK - 1) // CHUNK, len(VIRIAL), LANES))


@njit(cache=True)
def _finished(order: Any, rows: Any, virials: Any) -> Any:
    """Site energies and forces in the caller's order, and virial."""
    n = len(order)
    energies, forces, virial = np.empty(n), np.empty((n, 3)), np.zeros(6)
    for k in range(n):
        i = order[k]
        energies[i] = 0.5 * rows[k, 3]
        forces[i, 0], forces[i, 1], forces[i, 2] = rows[k, 0], rows[k, 1], rows[k, 2]
    for chunk in range(len(virials)):
        for component in range(6):
            for lane in range(virials.shape[2]):
                virial[component] += 0.5 * virials[chunk, component, lane]
    return energies, forces, virial
