"""Pair styles, and sums of potentials, in the compiled loop."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.extending import overload

from hpcmat_kernels.md.forces import add_forces, is_kind, prepare, spreads
from hpcmat_kernels.pair.blocks import CHUNK, ROW, VIRIAL
from hpcmat_kernels.pair.eam_kernel import eam_rows
from hpcmat_kernels.pair.lj_kernel import lj_rows
from hpcmat_kernels.pair.repulsion import zbl_rows
from hpcmat_kernels.simd.emitter import LANES


class LennardJonesArrays(NamedTuple):
    """Of `pair.lj.LennardJones`."""

    parameters: Any


class EmbeddedAtomArrays(NamedTuple):
    """Of `pair.eam.EmbeddedAtom`."""

    parameters: Any


class ZBLArrays(NamedTuple):
    """Of `pair.repulsion.ZBL`."""

    parameters: Any


class SumArrays(NamedTuple):
    """Two potentials on one list; the uncertainty is that of the first."""

    first: Any
    second: Any


@njit(cache=True)
def _prepare_rows(potential: Any, verlet: Any, species: Any) -> Any:
    n = len(verlet.order)
    return np.empty((n, ROW)), np.zeros(((n + CHUNK - 1) // CHUNK, len(VIRIAL), LANES))


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
    lj_rows(verlet, points, potential.parameters, work)
    return _collect(work[0], work[1], results)


@njit(cache=True)
def _add_zbl(potential: Any, work: Any, verlet: Any, points: Any, results: Any) -> Any:
    zbl_rows(verlet, points, potential.parameters, work)
    return _collect(work[0], work[1], results)


@njit(cache=True)
def _add_embedded(potential: Any, work: Any, verlet: Any, points: Any, results: Any) -> Any:
    eam_rows(verlet, points, potential.parameters, work)
    return _collect(work[0], work[1], results)


@njit(cache=True)
def _no_spreads(potential: Any, work: Any, verlet: Any, points: Any) -> Any:
    return 0.0, 0.0


FORCES = {LennardJonesArrays: _add_lennard_jones, ZBLArrays: _add_zbl, EmbeddedAtomArrays: _add_embedded}


def _forces_of(potential: Any) -> Any:
    """Entry of `FORCES` for a type, or None."""
    return next((forces for kind, forces in FORCES.items() if is_kind(potential, kind)), None)


@overload(prepare, strict=False)
def _overload_prepare(potential: Any, verlet: Any, species: Any) -> Any:
    if is_kind(potential, SumArrays):
        return lambda potential, verlet, species: (
            prepare(potential.first, verlet, species), prepare(potential.second, verlet, species),
        )  # fmt: skip
    return _prepare_rows.py_func if _forces_of(potential) else None


@overload(add_forces, strict=False)
def _overload_add_forces(potential: Any, work: Any, verlet: Any, points: Any, results: Any) -> Any:
    if is_kind(potential, SumArrays):
        return lambda potential, work, verlet, points, results: (
            add_forces(potential.first, work[0], verlet, points, results)
            + add_forces(potential.second, work[1], verlet, points, results)
        )
    forces = _forces_of(potential)
    return forces and forces.py_func


@overload(spreads, strict=False)
def _overload_spreads(potential: Any, work: Any, verlet: Any, points: Any) -> Any:
    if is_kind(potential, SumArrays):
        return lambda potential, work, verlet, points: spreads(potential.first, work[0], verlet, points)
    return _no_spreads.py_func if _forces_of(potential) else None
