"""From arrays of a model and a neighbour list to energies, forces and virial: memory, threads, the two loops."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcmat_kernels.simd.emitter import LANES
from hpcmat_kernels.simd.layout import Floats, KernelShape, aligned
from hpcmat_kernels.simd.sites import arrive_into, evaluate_sites, gather_forces, write_features
from hpcmat_kernels.threads import in_parallel

Ints = NDArray[np.int64]
Pairs = tuple[Ints, NDArray[np.int32], Floats]
"""Offsets, second atoms and vectors of a neighbour list."""
Constants = tuple[tuple[float, float, float, float], Floats, Floats]
"""Radii (cutoff, inner, core), parameter vectors (M, species, size), energies of the lone atoms (M, species)."""


def evaluate_arrays(
    shape: KernelShape, pairs: Pairs, species: Ints, constants: Constants, threads: int
) -> tuple[Floats, Floats, Floats]:
    """Site energies (M, n), forces (M, n, 3) and virials (M, 6) of the M members of a committee.

    Each atom is computed by one thread and each force summed by one, in the order of the list: the bits do not
    depend on the number of threads. The threads live as long as the call, which a later fork survives.
    """
    offsets, second, _ = pairs
    radii, parameters, lone = constants
    n, m = len(species), len(lone)
    energies, virials, forces = np.empty((m, n)), np.empty((m, n, 6)), np.empty((m, n, 3))
    gradients = np.empty((m, len(second), 3))
    # One row per member and species, so that the loop needs no slice of this array.
    model = (shape, radii, parameters.reshape(-1, parameters.shape[2]), lone)
    largest = int(np.diff(offsets).max())

    def sites(atoms: tuple[int, int]) -> None:
        work = free.pop()
        evaluate_sites(pairs, species, model, work, (energies, virials, gradients), atoms)
        free.append(work)

    def arrivals() -> None:
        arrive_into(second, *arriving)

    def gather(atoms: tuple[int, int]) -> None:
        gather_forces(offsets, arriving, gradients, forces, atoms)

    # Made here, since memory that a young thread asks for is new to the machine.
    free = [workspace(shape, largest) for _ in range(threads)]
    arriving = np.zeros(n + 1, dtype=np.int64), np.empty(len(second), dtype=np.int64)
    in_parallel(sites, n, threads, arrivals)
    in_parallel(gather, n, threads)
    return energies, forces, virials.sum(axis=1)


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


def workspace(shape: KernelShape, largest: int) -> tuple[Any, ...]:
    """Memory of one thread for atoms with up to `largest` neighbours.

    Scratch vector, (start of its blocks, size of a block, start of the virial), first block and number of neighbours
    of each species, pairs in the order of the blocks.
    """
    places, size = shape.scratch, shape.block.size
    scratch = aligned((places.blocks + (largest // LANES + shape.n_species) * size,))
    first, counts = np.zeros(shape.n_species + 1, dtype=np.int64), np.zeros(shape.n_species, dtype=np.int64)
    return scratch, (places.blocks, size, places.virial), first, counts, np.zeros(largest + 1, dtype=np.int64)
