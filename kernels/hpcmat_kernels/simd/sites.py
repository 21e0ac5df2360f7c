"""Loops over atoms: neighbours into blocks, the stages, gradients back to the pairs, forces."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from hpcmat_kernels.simd.stages import basis, density, mix, pair_gradients, products, unmix


@njit(cache=True, nogil=True)
def count_by_species(vectors: Any, second: Any, species: Any, square: Any, counts: Any) -> None:
    """Number of pairs nearer than the cutoff, by species of the second atom."""
    counts[:] = 0
    for p in range(len(vectors)):
        x, y, z = vectors[p, 0], vectors[p, 1], vectors[p, 2]
        if x * x + y * y + z * z < square:
            counts[species[second[p]]] += 1


@njit(cache=True, nogil=True)
def fill_blocks(vectors: Any, second: Any, species: Any, cutoff: Any, places: Any, blocks: Any) -> None:
    """Sort pair vectors by species into blocks of eight; the rest of a species' last block lies at the cutoff.

    `places` = (counts, first block of each species and their number, slot of each pair: -1 beyond the cutoff).
    """
    counts, first, slots = places
    for z in range(len(counts)):
        first[z + 1] = first[z] + (counts[z] + 7) // 8
        for slot in range(8 * first[z] + counts[z], 8 * first[z + 1]):
            blocks[slot >> 3, slot & 7] = cutoff
            blocks[slot >> 3, 8 + (slot & 7)] = 0.0
            blocks[slot >> 3, 16 + (slot & 7)] = 0.0
        counts[z] = 8 * first[z]
    for p in range(len(vectors)):
        x, y, z = vectors[p, 0], vectors[p, 1], vectors[p, 2]
        slots[p] = -1
        if x * x + y * y + z * z < cutoff * cutoff:
            kind = species[second[p]]
            slot = counts[kind]
            counts[kind] += 1
            slots[p] = slot
            block, lane = slot >> 3, slot & 7
            blocks[block, lane], blocks[block, 8 + lane], blocks[block, 16 + lane] = x, y, z
    for z in range(len(counts)):
        counts[z] -= 8 * first[z]


@njit(cache=True, nogil=True)
def write_gradients(slots: Any, blocks: Any, gradients: Any) -> None:
    """Gradients of the pairs of one atom, from the blocks."""
    for p in range(len(gradients)):
        slot = slots[p]
        if slot < 0:
            gradients[p, 0], gradients[p, 1], gradients[p, 2] = 0.0, 0.0, 0.0
        else:
            block, lane = slot >> 3, slot & 7
            gradients[p, 0], gradients[p, 1] = blocks[block, lane], blocks[block, 8 + lane]
            gradients[p, 2] = blocks[block, 16 + lane]


@njit(cache=True, nogil=True)
def write_virial(partial: Any, virial: Any) -> None:
    """Virial of one atom from its partial sums (6 * 8); clears them."""
    for component in range(6):
        virial[component] = 0.0
        for lane in range(8):
            virial[component] += partial[8 * component + lane]
            partial[8 * component + lane] = 0.0


@njit(cache=True, nogil=True)
def run_products(shape: Any, scratch: Any, parameters: Any, part: Any) -> Any:
    """Stage `products` as a function of its own."""
    return products(shape, scratch, parameters, part)


@njit(cache=True, nogil=True)
def run_gradients(shape: Any, scratch: Any, z: Any, block: Any) -> None:
    """Stage `pair_gradients` as a function of its own."""
    pair_gradients(shape, scratch, z, block)


@njit(cache=True, nogil=True)
def evaluate_sites(shape: Any, pairs: Any, species: Any, model: Any, work: Any, results: Any, atoms: Any) -> None:
    """Energies, virials and pair gradients of the atoms atoms[0] <= i < atoms[1].

    `model` = (cutoff, inner, vectors of channels, parameters, constants); `work` = (scratch, its virial, its blocks, counts, first, slots);
    `results` = (energies, virials, gradients).
    """
    offsets, second, vectors = pairs
    cutoff, inner, n_parts, parameters, constants = model
    scratch, partial_virial, blocks, counts, first, slots = work
    energies, virials, gradients = results
    for i in range(atoms[0], atoms[1]):
        begin, end = offsets[i], offsets[i + 1]
        near, kinds, table = vectors[begin:end], second[begin:end], parameters[species[i]]
        count_by_species(near, kinds, species, cutoff * cutoff, counts)
        fill_blocks(near, kinds, species, cutoff, (counts, first, slots), blocks)
        basis(shape, scratch, first[len(counts)], cutoff, inner)
        for z in range(len(counts)):
            density(shape, scratch, z, first[z], counts[z])
        mix(shape, scratch, table)
        energy = 0.0
        for part in range(n_parts):
            energy += run_products(shape, scratch, table, part)
        energies[i] = constants[species[i]] + energy + unmix(shape, scratch, table)
        for z in range(len(counts)):
            for block in range(first[z], first[z + 1]):
                run_gradients(shape, scratch, z, block)
        write_gradients(slots, blocks, gradients[begin:end])
        write_virial(partial_virial, virials[i])


@njit(cache=True)
def arriving_pairs(second: Any, n: Any) -> Any:
    """Pairs sorted by their second atom, in the order of the list: (starts (n + 1,), pairs)."""
    starts = np.zeros(n + 1, dtype=np.int64)
    for p in range(len(second)):
        starts[second[p] + 1] += 1
    for i in range(n):
        starts[i + 1] += starts[i]
    place, arriving = starts[:-1].copy(), np.empty(len(second), dtype=np.int64)
    for p in range(len(second)):
        j = second[p]
        arriving[place[j]] = p
        place[j] += 1
    return starts, arriving


@njit(cache=True, nogil=True)
def gather_forces(offsets: Any, arriving: Any, gradients: Any, forces: Any, atoms: Any) -> None:
    """Forces F_i = sum of gradients of the pairs that leave i, minus those that arrive, always in the same order."""
    starts, pairs = arriving
    for i in range(atoms[0], atoms[1]):
        x, y, z = 0.0, 0.0, 0.0
        for p in range(offsets[i], offsets[i + 1]):
            x, y, z = x + gradients[p, 0], y + gradients[p, 1], z + gradients[p, 2]
        for q in range(starts[i], starts[i + 1]):
            p = pairs[q]
            x, y, z = x - gradients[p, 0], y - gradients[p, 1], z - gradients[p, 2]
        forces[i, 0], forces[i, 1], forces[i, 2] = x, y, z
