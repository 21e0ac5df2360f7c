"""Vector code of the Lennard-Jones potential."""

from __future__ import annotations

from typing import Any

from numba import njit

from hpcmat_kernels.pair.blocks import (
    CHUNK,
    ROW,
    add_virial,
    below,
    eight_integers,
    integer,
    keep,
    kernel,
    minus,
    own_row,
    rows,
    squared,
    store_totals,
    store_virial,
    whole,
)
from hpcmat_kernels.simd.emitter import Emitter, Pointer, Vector
from hpcmat_kernels.simd.lanes import blocks, present


def _pair(e: Emitter, square: Vector, parameters: list[Vector]) -> tuple[Vector, Vector]:
    """Energy and its slope over r, at a squared distance."""
    twelfth, sixth, shift, _ = parameters
    inverse = e.constant(1.0) / square
    inverse6 = inverse * inverse * inverse
    energy = inverse6 * (twelfth * inverse6 - sixth) - shift
    return energy, inverse6 * (sixth * 6.0 - twelfth * inverse6 * 12.0) * inverse


def emit_lj(e: Emitter, arrays: list[Pointer], atoms: list[Any], at_once: bool, many: bool) -> None:
    """Rows (force, energy of all pairs) of the atoms, and the virial of the chunk that they are."""
    points, offsets, neighbors, table, n_species, results, virial = arrays
    virials = e.sums(6)
    common = [e.load_splat(table + c) for c in range(ROW)]
    with e.loop(atoms[1], atoms[0]) as k:
        here, sums, stop = own_row(e, points, k), e.sums(ROW), integer(e, offsets, k, 1)
        base = here[3] * e.load_splat(n_species) if many else None
        with blocks(e, integer(e, offsets, k), stop) as (index, _):
            there = rows(e, points, eight_integers(e, neighbors, index))
            apart = minus(there, here)
            parameters = rows(e, table, whole(e, base + there[3])) if base else common
            square = squared(apart)
            energy, slope = _pair(e, square, parameters)
            mask = e.builder.and_(below(e, square, parameters[3]), present(e, index, stop))
            slope = keep(e, mask, slope)
            force = [slope * a for a in apart]
            for total, term in zip(sums, (*force, keep(e, mask, energy)), strict=True):
                total.add(term)
            add_virial(virials, apart, force)
        store_totals(e, results + e.times(k, ROW), sums)
    store_virial(e, virial, atoms[0], virials)


_lj_one, _lj_many = kernel(emit_lj, many=False), kernel(emit_lj, many=True)


@njit(cache=True, nogil=True)
def lj_sites(arrays: Any, chunks: Any) -> None:
    """Chunks chunks[0] <= c < chunks[1] of atoms.

    `arrays` = (points, offsets, neighbors, table, number of species (1,), rows of results, virials of the chunks).
    """
    n, many = len(arrays[1]) - 1, arrays[4][0] > 1.0
    for chunk in range(chunks[0], chunks[1]):
        first, end = chunk * CHUNK, min(n, (chunk + 1) * CHUNK)
        if many:
            _lj_many(arrays, first, end)
        else:
            _lj_one(arrays, first, end)


@njit(cache=True, nogil=True)
def lj_rows(verlet: Any, points: Any, parameters: Any, sums: Any) -> None:
    """All atoms, for compiled loops: writes `sums` as `evaluation.PairStyle`; `parameters` as `LennardJones`."""
    lj_sites((points, verlet.offsets, verlet.neighbors, *parameters, *sums), (0, len(sums[1])))
