"""Pair styles, and sums of potentials, in the compiled loop."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.extending import overload

from hpcmat_kernels.md.forces import add_forces, is_kind, largest_spread, prepare
from hpcmat_kernels.pair.blocks import CHUNK, ROW
from hpcmat_kernels.pair.eam_kernel import density_sites, embed, force_sites
from hpcmat_kernels.pair.lj_kernel import lj_sites
from hpcmat_kernels.pair.repulsion import zbl_sites
from hpcmat_kernels.simd.emitter import LANES


class LennardJonesArrays(NamedTuple):
    """Of `pair.lj.LennardJones`."""

    table: Any
    size: Any


class EmbeddedAtomArrays(NamedTuple):
    """Of `pair.eam.EmbeddedAtom`."""

    pairs: Any
    numbers: Any
    embedding: Any
    """Cubics and step of the density."""


class ZBLArrays(NamedTuple):
    """Of `pair.repulsion.ZBL`."""

    table: Any
    radii: Any


class SumArrays(NamedTuple):
    """Two potentials on one list; the uncertainty is that of the first."""

    first: Any
    second: Any


class EmbeddedAtomWork(NamedTuple):
    """Rows and virials, and what the densities leave behind for the forces."""

    rows: Any
    virials: Any
    kept: Any
    ends: Any
    density: Any
    charged: Any


@njit(cache=True)
def _prepare_rows(potential: Any, verlet: Any, species: Any) -> Any:
    n = len(verlet.order)
    return np.empty((n, ROW)), np.zeros(((n + CHUNK - 1) // CHUNK, 6, LANES))


@njit(cache=True)
def _prepare_embedded(potential: Any, verlet: Any, species: Any) -> Any:
    n = len(verlet.order)
    rows, virials = _prepare_rows(potential, verlet, species)
    kept = np.empty(len(verlet.neighbors) + LANES * n, dtype=np.int32)
    charged = np.empty((n + len(verlet.owners), ROW))
    return EmbeddedAtomWork(rows, virials, kept, np.empty(n, dtype=np.int64), np.empty(n), charged)


@njit(cache=True)
def _collect(rows: Any, virials: Any, results: Any) -> Any:
    """Add rows and virials, which hold twice the energy and its derivative by strain; return the energy."""
    by_place, virial = results
    total = 0.0
    for k in range(len(rows)):
        total += rows[k, 3]
        for a in range(3):
            by_place[k, a] += rows[k, a]
    for chunk in range(len(virials)):
        for component in range(6):
            for lane in range(LANES):
                virial[component] += 0.5 * virials[chunk, component, lane]
    return 0.5 * total


@njit(cache=True)
def _add_lennard_jones(potential: Any, work: Any, verlet: Any, points: Any, results: Any) -> Any:
    rows, virials = work
    arrays = (points, verlet.offsets, verlet.neighbors, potential.table, potential.size, rows, virials)
    lj_sites(arrays, (0, len(virials)))
    return _collect(rows, virials, results)


@njit(cache=True)
def _add_zbl(potential: Any, work: Any, verlet: Any, points: Any, results: Any) -> Any:
    rows, virials = work
    arrays = (points, verlet.offsets, verlet.neighbors, potential.table, rows, virials)
    zbl_sites(arrays, potential.radii, (0, len(virials)))
    return _collect(rows, virials, results)


@njit(cache=True)
def _add_embedded(potential: Any, work: Any, verlet: Any, points: Any, results: Any) -> Any:
    chunks = (0, len(work.virials))
    kept, ends = work.kept, work.ends
    arrays = (points, verlet.offsets, verlet.neighbors, potential.pairs, potential.numbers, kept, ends)
    density_sites(arrays, work.density, chunks)
    energies = embed(verlet.owners, (points, work.density), potential.embedding, work.charged)
    charged = (work.charged, verlet.offsets, points, potential.pairs, potential.numbers, kept, ends)
    force_sites(charged, (energies, work.rows, work.virials), chunks)
    return _collect(work.rows, work.virials, results)


@njit(cache=True)
def _no_spread(potential: Any, work: Any, verlet: Any, points: Any) -> Any:
    return 0.0


SINGLE = {
    LennardJonesArrays: (_prepare_rows, _add_lennard_jones),
    ZBLArrays: (_prepare_rows, _add_zbl),
    EmbeddedAtomArrays: (_prepare_embedded, _add_embedded),
}
"""Functions of each kind: work arrays, forces."""


def _functions_of(potential: Any) -> Any:
    """Entry of `SINGLE` for a type, or None."""
    return next((functions for kind, functions in SINGLE.items() if is_kind(potential, kind)), None)


@overload(prepare, strict=False)
def _overload_prepare(potential: Any, verlet: Any, species: Any) -> Any:
    if is_kind(potential, SumArrays):
        return lambda potential, verlet, species: (
            prepare(potential.first, verlet, species), prepare(potential.second, verlet, species),
        )  # fmt: skip
    functions = _functions_of(potential)
    return functions and functions[0].py_func


@overload(add_forces, strict=False)
def _overload_add_forces(potential: Any, work: Any, verlet: Any, points: Any, results: Any) -> Any:
    if is_kind(potential, SumArrays):
        return lambda potential, work, verlet, points, results: (
            add_forces(potential.first, work[0], verlet, points, results)
            + add_forces(potential.second, work[1], verlet, points, results)
        )
    functions = _functions_of(potential)
    return functions and functions[1].py_func


@overload(largest_spread, strict=False)
def _overload_largest_spread(potential: Any, work: Any, verlet: Any, points: Any) -> Any:
    if is_kind(potential, SumArrays):
        return lambda potential, work, verlet, points: largest_spread(potential.first, work[0], verlet, points)
    return _no_spread.py_func if _functions_of(potential) else None
