"""Vector code of the embedded-atom method: densities with the neighbours in reach, embedding, forces.

The first pass keeps the neighbours within the cutoff, so that the second sees none of those in the skin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numba.core import cgutils

from hpcmat_kernels.pair.blocks import (
    CHUNK,
    ROW,
    add_virial,
    below,
    eight_integers,
    gather,
    integer,
    keep,
    kernel,
    minus,
    own_row,
    rounded_down,
    rows,
    smaller,
    squared,
    store_totals,
    store_virial,
    whole,
)
from hpcmat_kernels.simd.emitter import LANES, Emitter, Pointer, Vector
from hpcmat_kernels.simd.lanes import INTEGERS, blocks, count, load_integers, pack, present, splat_integer

PAIR_ROW = 2 * ROW
"""Coefficients of the density of the neighbour, then of r φ."""
NUMBERS = 5
"""Squared cutoff, entries per Å, last interval, entries of a table, number of species."""


def _numbers(e: Emitter, numbers: Pointer) -> list[Vector]:
    return [e.load_splat(numbers + c) for c in range(NUMBERS)]


def _interval(e: Emitter, square: Vector, numbers: list[Vector]) -> tuple[Vector, Vector, Vector]:
    """Distance, number of its interval, and the place in it, 0 .. 1."""
    distance = e.square_root(square)
    place = distance * numbers[1]
    interval = smaller(e, rounded_down(e, place), numbers[2])
    return distance, interval, smaller(e, place - interval, e.constant(1.0))


def _table(e: Emitter, first: Vector, second: Vector, numbers: list[Vector]) -> Vector:
    """First row of the table of a pair of species."""
    return (first * numbers[4] + second) * numbers[3]


def _near(e: Emitter, arrays: list[Pointer], k: Any, limit: Vector, at_once: bool) -> Any:
    """Keep the neighbours of atom k within the cutoff and their squared distances; returns where they start and end."""
    points, offsets, neighbors, kept, ends, squares = arrays
    here, stop = own_row(e, points, k), integer(e, offsets, k, 1)
    # Eight places more per atom, since packing overwrites as many.
    start = e.builder.add(integer(e, offsets, k), e.times(k, LANES))
    end = cgutils.alloca_once_value(e.builder, start)
    with blocks(e, integer(e, offsets, k), stop) as (index, _):
        square = squared(minus(rows(e, points, eight_integers(e, neighbors, index)), here))
        mask = e.builder.and_(below(e, square, limit), present(e, index, stop))
        place = e.builder.load(end)
        pack(e, mask, load_integers(e, neighbors.value, index), e.builder.gep(kept.value, [place]), at_once)
        pack(e, mask, square.value, (squares + e.builder.sub(place, start)).value, at_once)
        e.builder.store(e.builder.add(place, count(e, mask)), end)
    place = e.builder.load(end)
    # The rest of the last block is the atom itself, so that its loads go nowhere else.
    address = e.builder.bitcast(e.builder.gep(kept.value, [place]), INTEGERS.as_pointer())
    e.builder.store(splat_integer(e, k), address, align=4)
    e.store(squares + e.builder.sub(place, start), limit)
    e.builder.store(place, e.builder.gep(ends.value, [k]))
    return start, place


def emit_density(e: Emitter, arrays: list[Pointer], atoms: list[Any], at_once: bool, many: bool) -> None:
    """Density at each atom; neighbours within the cutoff."""
    points, offsets, neighbors, table, numbers, kept, ends, squares, density = arrays
    constants = _numbers(e, numbers)
    with e.loop(atoms[1], atoms[0]) as k:
        (total,) = e.sums(1)
        start, stop = _near(e, [points, offsets, neighbors, kept, ends, squares], k, constants[0], at_once)
        with blocks(e, start, stop) as (index, _):
            square = e.load(squares + e.builder.sub(index, start))
            _, interval, p = _interval(e, square, constants)
            if many:
                second = gather(e, points + (ROW - 1), eight_integers(e, kept, index), ROW)
                # The density is that of the neighbour alone: any first species will do.
                interval = interval + _table(e, e.constant(0.0), second, constants)
            c = rows(e, table, whole(e, interval), PAIR_ROW)
            value = ((c[0] * p + c[1]) * p + c[2]) * p + c[3]
            total.add(keep(e, present(e, index, stop), value))
        e.builder.store(e.horizontal_sum(total.total), (density + k).value)


def _slope(c: list[Vector], p: Vector, per_ang: Vector) -> Vector:
    return ((c[0] * 3.0 * p + c[1] * 2.0) * p + c[2]) * per_ang


def emit_forces(e: Emitter, arrays: list[Pointer], atoms: list[Any], at_once: bool, many: bool) -> None:
    """Rows (force, pair energy of all pairs) and the virial of the chunk, from the slopes of the embedding."""
    points, offsets, species, table, numbers, kept, ends, results, virial = arrays
    constants, virials = _numbers(e, numbers), e.sums(6)
    with e.loop(atoms[1], atoms[0]) as k:
        here, sums = own_row(e, points, k), e.sums(ROW)
        start, stop = e.builder.add(integer(e, offsets, k), e.times(k, LANES)), integer(e, ends, k)
        with blocks(e, start, stop) as (index, _):
            seconds = eight_integers(e, kept, index)
            there = rows(e, points, seconds)
            apart = minus(there, here)
            distance, interval, p = _interval(e, squared(apart), constants)
            tables = interval
            if many:
                kinds = species + (ROW - 1)
                own, other = e.load_splat(kinds + e.times(k, ROW)), gather(e, kinds, seconds, ROW)
                tables = interval + _table(e, own, other, constants)
            first = whole(e, tables)
            given = _slope(rows(e, table, first, PAIR_ROW), p, constants[1])
            taken = given
            if many:
                reverse = whole(e, interval + _table(e, other, own, constants))
                taken = _slope(rows(e, table, reverse, PAIR_ROW), p, constants[1])
            c = rows(e, table + ROW, first, PAIR_ROW)
            inverse = e.constant(1.0) / distance
            energy = (((c[0] * p + c[1]) * p + c[2]) * p + c[3]) * inverse
            pair = (_slope(c, p, constants[1]) - energy) * inverse
            mask = present(e, index, stop)
            slope = keep(e, mask, (here[3] * given + there[3] * taken + pair) * inverse)
            force = [slope * a for a in apart]
            for total, term in zip(sums, (*force, keep(e, mask, energy)), strict=True):
                total.add(term)
            add_virial(virials, apart, force)
        store_totals(e, results + e.times(k, ROW), sums)
    store_virial(e, virial, atoms[0], virials)


_density_one, _density_many = kernel(emit_density, many=False), kernel(emit_density, many=True)
_forces_one, _forces_many = kernel(emit_forces, many=False), kernel(emit_forces, many=True)


@njit(cache=True, nogil=True)
def density_sites(rows: Any, density: Any, chunks: Any) -> None:
    """Densities and kept neighbours of the atoms of chunks chunks[0] <= c < chunks[1].

    `rows` = (points, offsets, neighbors, pairs, numbers, kept, ends).
    """
    points, offsets, neighbors, pairs, numbers, kept, ends = rows
    n, longest = len(ends), 0
    first, end = chunks[0] * CHUNK, min(n, chunks[1] * CHUNK)
    for k in range(first, end):
        longest = max(longest, offsets[k + 1] - offsets[k])
    arrays = (points, offsets, neighbors, pairs, numbers, kept, ends, np.empty(longest + 2 * LANES), density)
    if numbers[4] > 1.0:
        _density_many(arrays, first, end)
    else:
        _density_one(arrays, first, end)


@njit(cache=True, nogil=True)
def force_sites(rows: Any, sums: Any, chunks: Any) -> None:
    """Rows and virials of the atoms of chunks chunks[0] <= c < chunks[1].

    `rows` = (points with slopes, offsets, points, pairs, numbers, kept, ends), `sums` = (embedding energies, rows,
    virials).
    """
    energies, results, virials = sums
    n, many = len(energies), rows[4][4] > 1.0
    arrays = (*rows, results, virials)
    for chunk in range(chunks[0], chunks[1]):
        first, end = chunk * CHUNK, min(n, (chunk + 1) * CHUNK)
        if many:
            _forces_many(arrays, first, end)
        else:
            _forces_one(arrays, first, end)
        for k in range(first, end):
            # Twice, as pair energies are halved later.
            results[k, 3] += 2.0 * energies[k]


@njit(cache=True)
def embed(owners: Any, atoms: Any, functions: Any, charged: Any) -> Any:
    """Embedding energies; writes the points again with dF/dρ in the fourth column.

    `atoms` = (points, density), `functions` = (cubics (species, n, 4), step of the density).
    """
    points, density = atoms
    embedding, step = functions
    n, energies = len(density), np.empty(len(density))
    last = embedding.shape[1] - 2
    for k in range(n):
        place = density[k] / step
        interval = int(min(max(place, 0.0), float(last)))
        p = min(place - interval, 1.0)
        c = embedding[int(points[k, 3]), interval]
        slope = ((3.0 * c[0] * p + 2.0 * c[1]) * p + c[2]) / step
        energies[k] = ((c[0] * p + c[1]) * p + c[2]) * p + c[3] + slope * max(density[k] - (last + 1) * step, 0.0)
        charged[k, 0], charged[k, 1], charged[k, 2], charged[k, 3] = points[k, 0], points[k, 1], points[k, 2], slope
    for m in range(len(owners)):
        g = n + m
        charged[g, 0], charged[g, 1], charged[g, 2] = points[g, 0], points[g, 1], points[g, 2]
        charged[g, 3] = charged[owners[m], 3]
    return energies


@njit(cache=True, nogil=True)
def eam_rows(verlet: Any, points: Any, parameters: Any, sums: Any) -> None:
    """All atoms, for compiled loops: writes `sums` as `evaluation.PairStyle`; `parameters` as `EmbeddedAtom`."""
    pairs, numbers, functions = parameters
    n, chunks = len(verlet.order), (0, len(sums[1]))
    kept, ends = np.empty(len(verlet.neighbors) + LANES * n, dtype=np.int32), np.empty(n, dtype=np.int64)
    density, charged = np.empty(n), np.empty_like(points)
    density_sites((points, verlet.offsets, verlet.neighbors, pairs, numbers, kept, ends), density, chunks)
    energies = embed(verlet.owners, (points, density), functions, charged)
    force_sites((charged, verlet.offsets, points, pairs, numbers, kept, ends), (energies, *sums), chunks)
