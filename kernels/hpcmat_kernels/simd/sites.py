"""Loops over atoms: neighbours into blocks, the stages, gradients back to the pairs, forces."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from hpcmat_kernels.simd.stages import basis, density, mix, pair_gradients, product_features, products, unmix
from hpcmat_kernels.tickets import draw, next_piece, wait_for

PIECE = 32
"""Atoms of one piece of work: some 0.05 ms, so that threads end together and tickets cost nothing."""


@njit(cache=True, nogil=True)
def select(pairs: Any, ends: Any, species: Any, kind: Any, cutoff: Any, kept: Any) -> Any:
    """Append pairs ends[0] <= p < ends[1] with an atom of one species, nearer than the cutoff, to `kept`.

    `kept` = (list of pairs, how many it holds); returns how many it holds afterwards.
    """
    _, second, vectors = pairs
    chosen, total = kept
    for p in range(ends[0], ends[1]):
        x, y, z = vectors[p, 0], vectors[p, 1], vectors[p, 2]
        # Written always, kept where counted: no branch to mispredict.
        chosen[total] = p
        total += (x * x + y * y + z * z < cutoff * cutoff) & (species[second[p]] == kind)
    return total


@njit(cache=True, nogil=True)
def place(slot: Any, start: Any, size: Any) -> Any:
    """Place of x of neighbour `slot` where blocks begin at `start`; y and z follow 8 and 16 later."""
    return start + (slot >> 3) * size + (slot & 7)


@njit(cache=True, nogil=True)
def fill_blocks(pairs: Any, ends: Any, species: Any, cutoff: Any, work: Any) -> None:
    """Vectors of the pairs of one atom by species into blocks of eight; the last of a species is filled at the cutoff.

    Writes the first block and the number of neighbours of each species, and the pairs in the order of the blocks.
    """
    vectors = pairs[2]
    scratch, (start, size, _), first, counts, chosen = work
    total = 0
    for kind in range(len(counts)):
        before, total = total, select(pairs, ends, species, kind, cutoff, (chosen, total))
        count = total - before
        begin, n_blocks = start + first[kind] * size, (count + 7) >> 3
        for slot in range(count):
            p, to = chosen[before + slot], place(slot, begin, size)
            scratch[to], scratch[to + 8], scratch[to + 16] = vectors[p, 0], vectors[p, 1], vectors[p, 2]
        for slot in range(count, 8 * n_blocks):
            to = place(slot, begin, size)
            scratch[to], scratch[to + 8], scratch[to + 16] = cutoff, 0.0, 0.0
        counts[kind], first[kind + 1] = count, first[kind] + n_blocks


@njit(cache=True, nogil=True)
def write_gradients(ends: Any, work: Any, gradients: Any, member: Any) -> None:
    """Gradients of the pairs of one atom, from the blocks; zero beyond the cutoff."""
    scratch, (start, size, _), first, counts, chosen = work
    for p in range(ends[0], ends[1]):
        gradients[member, p, 0], gradients[member, p, 1], gradients[member, p, 2] = 0.0, 0.0, 0.0
    total = 0
    for kind in range(len(counts)):
        # Gradients follow the three rows of the vectors.
        begin = start + first[kind] * size + 24
        for slot in range(counts[kind]):
            p, source = chosen[total + slot], place(slot, begin, size)
            gradients[member, p, 0], gradients[member, p, 1] = scratch[source], scratch[source + 8]
            gradients[member, p, 2] = scratch[source + 16]
        total += counts[kind]


@njit(cache=True, nogil=True)
def write_virial(scratch: Any, start: Any, virials: Any, member: Any, i: Any) -> None:
    """Virial of atom i from its six partial sums over eight lanes; clears them."""
    for component in range(6):
        total = 0.0
        for lane in range(start + 8 * component, start + 8 * component + 8):
            total += scratch[lane]
            scratch[lane] = 0.0
        virials[member, i, component] = total


@njit(cache=True, nogil=True)
def evaluate_sites(pairs: Any, species: Any, model: Any, work: Any, results: Any, atoms: Any) -> None:
    """Energies, virials and pair gradients of the atoms atoms[0] <= i < atoms[1], for each member of a committee.

    `model` = (shape, (cutoff, inner, cores), parameters (members * species, size), constants (members,
    species)); `work` as in `evaluation.workspace`; `results` = (energies, virials, gradients), members first. Arrays
    are passed whole, since Numba counts references to slices atom by atom.
    """
    offsets = pairs[0]
    shape, radii, parameters, constants = model
    scratch, (_, _, virial), first, counts, _ = work
    energies, virials, gradients = results
    for i in range(atoms[0], atoms[1]):
        ends, centre = (offsets[i], offsets[i + 1]), species[i]
        fill_blocks(pairs, ends, species, radii[0], work)
        for kind in range(len(counts)):
            pair = centre * len(counts) + kind
            basis(shape, scratch, first[kind], first[kind + 1], (radii[0], radii[1]), radii[2], pair)
            density(shape, scratch, kind, first[kind], counts[kind])
        mix(shape, scratch, parameters, centre)
        for member in range(len(constants)):
            row = member * len(counts) + centre
            energy = products(shape, scratch, parameters, row) + unmix(shape, scratch, parameters, row)
            energies[member, i] = constants[member, centre] + energy
            for kind in range(len(counts)):
                pair_gradients(shape, scratch, kind, first[kind], first[kind + 1])
            write_gradients(ends, work, gradients, member)
            write_virial(scratch, virial, virials, member, i)


@njit(cache=True, nogil=True)
def evaluate_shared(shape: Any, system: Any, numbers: Any, work: Any, results: Any, sharing: Any) -> None:
    """One thread's part of all energies, virials and forces; returns when every part is done, whoever did it.

    `system` = (pairs, species) and (shape, *`numbers`) = model as in `evaluate_sites`: Numba finds the type of a shape
    faster outside a tuple. `results` = (energies, virials of the pieces (M, pieces, 6), virials of the sites,
    gradients, forces, (starts, pairs) of `arrive_into`); `sharing` = (tickets (2 threads + 3, TICKET_ROW) common to
    the threads, number of this thread, of all threads).
    """
    pairs, species = system
    model = (shape, numbers[0], numbers[1], numbers[2])
    energies, totals, virials, gradients, forces, arriving = results
    tickets, own, threads = sharing
    n, n_pieces = len(species), totals.shape[1]
    sorting, sites_done, forces_done = range(2 * threads, 2 * threads + 3)
    if draw(tickets, sorting) == 0:
        arrive_into(pairs[1], arriving[0], arriving[1])
        draw(tickets, sites_done)
    piece = next_piece(tickets, (0, own, threads), n_pieces)
    while piece >= 0:
        atoms = (piece * PIECE, min((piece + 1) * PIECE, n))
        evaluate_sites(pairs, species, model, work, (energies, virials, gradients), atoms)
        add_virials(virials, atoms, totals, piece)
        draw(tickets, sites_done)
        piece = next_piece(tickets, (0, own, threads), n_pieces)
    wait_for(tickets, sites_done, n_pieces + 1)
    piece = next_piece(tickets, (threads, own, threads), n_pieces)
    while piece >= 0:
        gather_forces(pairs[0], arriving, gradients, forces, (piece * PIECE, min((piece + 1) * PIECE, n)))
        draw(tickets, forces_done)
        piece = next_piece(tickets, (threads, own, threads), n_pieces)
    wait_for(tickets, forces_done, n_pieces)


@njit(cache=True, nogil=True)
def add_virials(virials: Any, atoms: Any, totals: Any, piece: Any) -> None:
    """totals[member, piece] = sum of the virials of some atoms."""
    for member in range(len(virials)):
        for component in range(6):
            total = 0.0
            for i in range(atoms[0], atoms[1]):
                total += virials[member, i, component]
            totals[member, piece, component] = total


@njit(cache=True, nogil=True)
def write_features(pairs: Any, species: Any, model: Any, work: Any, features: Any, atoms: Any) -> None:
    """Features of the atoms atoms[0] <= i < atoms[1], in the order of `ace.split_coefficients`.

    `model` = (shape, radii, parameters (species, size), (K, K', largest degree, C, P)); `work` as in
    `evaluation.workspace`, followed by room for the products (P, C').
    """
    shape, radii, parameters, (n_radial, row, l_max, n_channels, n_paths) = model
    scratch, places, first, counts, chosen, products_of_site = work
    for i in range(atoms[0], atoms[1]):
        ends = (pairs[0][i], pairs[0][i + 1])
        fill_blocks(pairs, ends, species, radii[0], (scratch, places, first, counts, chosen))
        for kind in range(len(counts)):
            pair = species[i] * len(counts) + kind
            basis(shape, scratch, first[kind], first[kind + 1], (radii[0], radii[1]), radii[2], pair)
            density(shape, scratch, kind, first[kind], counts[kind])
        mix(shape, scratch, parameters, species[i])
        product_features(shape, scratch, parameters, products_of_site)
        features[i, 0] = 1.0
        f = 1
        for q in range(len(counts) * n_radial):
            features[i, f] = scratch[q // n_radial * row + q % n_radial]
            f += 1
        f = write_pair_features(scratch, (len(counts), n_radial, row, l_max), features, i, f)
        for p in range(n_paths):
            for c in range(n_channels):
                features[i, f] = products_of_site[p, c]
                f += 1


@njit(cache=True, nogil=True)
def write_pair_features(scratch: Any, sizes: Any, features: Any, i: Any, f: Any) -> Any:
    """Sums over m of A_q A_q', q <= q', off-diagonal ones twice, from column f on; returns the column after them."""
    n_species, n_radial, row, l_max = sizes
    n_q = n_species * n_radial
    for degree in range(l_max + 1):
        for q in range(n_q):
            left = q // n_radial * row + q % n_radial
            for other in range(q, n_q):
                right = other // n_radial * row + other % n_radial
                total = 0.0
                for lm in range(degree * degree, (degree + 1) * (degree + 1)):
                    total += scratch[lm * n_species * row + left] * scratch[lm * n_species * row + right]
                features[i, f] = total if other == q else 2.0 * total
                f += 1
    return f


@njit(cache=True, nogil=True)
def arrive_into(second: Any, starts: Any, arriving: Any) -> None:
    """Pairs sorted by their second atom, in the order of the list, into `arriving`; `starts` (n + 1,) are zero."""
    n = len(starts) - 1
    for p in range(len(second)):
        starts[second[p] + 1] += 1
    for i in range(n):
        starts[i + 1] += starts[i]
    place = starts[:-1].copy()
    for p in range(len(second)):
        j = second[p]
        arriving[place[j]] = p
        place[j] += 1


@njit(cache=True)
def arriving_pairs(second: Any, n: Any) -> Any:
    """`arrive_into` new arrays: (starts (n + 1,), pairs)."""
    starts, arriving = np.zeros(n + 1, dtype=np.int64), np.empty(len(second), dtype=np.int64)
    arrive_into(second, starts, arriving)
    return starts, arriving


@njit(cache=True, nogil=True)
def gather_forces(offsets: Any, arriving: Any, gradients: Any, forces: Any, atoms: Any) -> None:
    """Forces F_i = sum of gradients of the pairs that leave i, minus those that arrive, always in the same order."""
    starts, pairs = arriving
    for member in range(len(gradients)):
        for i in range(atoms[0], atoms[1]):
            x, y, z = 0.0, 0.0, 0.0
            for p in range(offsets[i], offsets[i + 1]):
                x, y, z = x + gradients[member, p, 0], y + gradients[member, p, 1], z + gradients[member, p, 2]
            for q in range(starts[i], starts[i + 1]):
                p = pairs[q]
                x, y, z = x - gradients[member, p, 0], y - gradients[member, p, 1], z - gradients[member, p, 2]
            forces[member, i, 0], forces[member, i, 1], forces[member, i, 2] = x, y, z
