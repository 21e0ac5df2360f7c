"""From arrays of a model and a neighbour list to energies, forces and virial: memory, threads, the two loops."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcmat_kernels.simd.emitter import LANES
from hpcmat_kernels.simd.layout import Floats, KernelShape, aligned
from hpcmat_kernels.simd.sites import PIECE, evaluate_shared, write_features
from hpcmat_kernels.threads import in_parallel, with_helpers
from hpcmat_kernels.tickets import TICKET_ROW

Ints = NDArray[np.int64]
Pairs = tuple[Ints, NDArray[np.int32], Floats]
"""Offsets, second atoms and vectors of a neighbour list."""
Radii = tuple[float, float, Floats]
"""Cutoff, inner radius, cores (species, species, 2)."""
Constants = tuple[Radii, Floats, Floats]
"""Radii, parameter vectors (M, species, size), energies of the lone atoms (M, species)."""
_of_thread = threading.local()


def evaluate_arrays(
    shape: KernelShape, pairs: Pairs, species: Ints, constants: Constants, threads: int
) -> tuple[Floats, Floats, Floats]:
    """Site energies (M, n), forces (M, n, 3) and virials (M, 6) of the M members of a committee.

    Each atom is computed by one thread and each force summed by one, in the order of the list: the bits do not
    depend on the number of threads.
    """
    radii, parameters, lone = constants
    n, m, n_pairs = len(species), len(lone), len(pairs[1])
    energies, forces, totals = np.empty((m, n)), np.empty((m, n, 3)), np.empty((m, -(-n // PIECE), 6))
    arriving = np.zeros(n + 1, dtype=np.int64), np.empty(n_pairs, dtype=np.int64)
    results = energies, totals, np.empty((m, n, 6)), np.empty((m, n_pairs, 3)), forces, arriving
    # One row per member and species, so that the loop needs no slice of this array.
    model = radii, parameters.reshape(-1, parameters.shape[2]), lone
    largest = int(np.diff(pairs[0]).max())
    numbers = iter(range(threads))
    tickets = np.zeros((2 * threads + 3, TICKET_ROW), dtype=np.int64)

    def share() -> None:
        sharing = tickets, next(numbers), threads
        evaluate_shared(shape, (pairs, species), model, _own_workspace(shape, largest), results, sharing)

    with_helpers(share, threads)
    return energies, forces, totals.sum(axis=1)


def features_of_sites(shape: KernelShape, pairs: Pairs, species: Ints, constants: Constants, threads: int) -> Floats:
    """Features (n, F / species) of each atom, of the block of its own species; needs no coefficients."""
    radii, parameters, _ = constants
    n_features = 1 + shape.n_density + (shape.l_max + 1) * (shape.n_density * (shape.n_density + 1) // 2)
    features = np.empty((len(species), n_features + len(shape.paths) * shape.n_channels))
    largest = int(np.diff(pairs[0]).max())

    def sites(atoms: tuple[int, int]) -> None:
        products = aligned((max(len(shape.paths), 1), shape.channel_row))
        work = (*workspace(shape, largest), products)
        write_features(pairs, species, (shape, radii, parameters[0], numbers), work, features, atoms)

    numbers = (shape.n_radial, shape.radial_row, shape.l_max, shape.n_channels, len(shape.paths))
    in_parallel(sites, len(species), threads)
    return features


def _own_workspace(shape: KernelShape, largest: int) -> tuple[Any, ...]:
    """The workspace of this thread, made anew where the one of its last call does not fit."""
    kept: tuple[KernelShape, int, tuple[Any, ...]] | None = getattr(_of_thread, "kept", None)
    if kept is None or kept[0] is not shape or kept[1] < largest:
        kept = _of_thread.kept = shape, largest, workspace(shape, largest)
    return kept[2]


def workspace(shape: KernelShape, largest: int) -> tuple[Any, ...]:
    """Memory of one thread for atoms with up to `largest` neighbours.

    Scratch vector, (start of its blocks, size of a block, start of the virial), first block and number of neighbours
    of each species, pairs in the order of the blocks.
    """
    places, size = shape.scratch, shape.block.size
    scratch = aligned((places.blocks + (largest // LANES + shape.n_species) * size,))
    # A line of the cache is free on both sides: two threads that write to one line hold each other up.
    integers = aligned((2 * shape.n_species + largest + 2 + 2 * LANES,)).view(np.int64)
    first, counts, kept = np.split(integers[LANES:-LANES], np.cumsum([shape.n_species + 1, shape.n_species]))
    return scratch, (places.blocks, size, places.virial), first, counts, kept
