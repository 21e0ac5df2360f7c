"""The cluster expansion in the compiled loop, with the spread of a committee as its uncertainty."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.extending import overload

from hpcmat_kernels.md.forces import add_forces, is_kind, prepare, species_by_place, spreads
from hpcmat_kernels.simd.emitter import LANES
from hpcmat_kernels.simd.sites import arriving_pairs, evaluate_sites, gather_forces
from hpcmat_kernels.verlet import pair_vectors, real_seconds


class AceArrays(NamedTuple):
    """A model with its coefficients, and a committee of M >= 0."""

    shape: Any
    """`KernelShape`"""
    places: Any
    """(start of the blocks in the scratch vector, size of a block, start of the virial)"""
    mean: Any
    """Radii, parameters (species, size) and energies of the lone atoms (1, species)."""
    committee: Any
    """The same of M members: (M species, size), (M, species)."""


class AceWork(NamedTuple):
    """Arrays for one list."""

    species: Any
    seconds: Any
    arriving: Any
    vectors: Any
    sites: Any
    """Work of `simd.sites.evaluate_sites`."""
    mean: Any
    """Site energies, virials, gradients and forces of the mean."""
    committee: Any
    """The same of the committee."""


@njit(cache=True)
def _room(members: Any, n: Any, n_pairs: Any) -> Any:
    return (
        np.empty((members, n)), np.empty((members, n, 6)), np.empty((members, n_pairs, 3)), np.empty((members, n, 3)),
    )  # fmt: skip


@njit(cache=True)
def _site_work(potential: Any, largest: Any) -> Any:
    """As `simd.evaluation.workspace`."""
    blocks, size, _ = potential.places
    n_species = potential.mean[2].shape[1]
    count = blocks + (largest // LANES + n_species) * size
    raw = np.zeros(count + LANES)
    start = (-(raw.ctypes.data // 8)) % LANES
    first, counts = np.zeros(n_species + 1, dtype=np.int64), np.zeros(n_species, dtype=np.int64)
    return raw[start : start + count], potential.places, first, counts, np.zeros(largest + 1, dtype=np.int64)


@njit(cache=True)
def _prepare(potential: Any, verlet: Any, species: Any) -> Any:
    n, n_pairs, largest = len(verlet.order), verlet.offsets[-1], 0
    for k in range(n):
        largest = max(largest, verlet.offsets[k + 1] - verlet.offsets[k])
    seconds = real_seconds(verlet)
    return AceWork(
        species_by_place(verlet, species), seconds, arriving_pairs(seconds, n), np.empty((n_pairs, 3)),
        _site_work(potential, largest), _room(1, n, n_pairs), _room(len(potential.committee[2]), n, n_pairs),
    )  # fmt: skip


@njit(cache=True)
def _evaluate(potential: Any, numbers: Any, work: Any, verlet: Any, room: Any) -> None:
    """Site energies, virials, gradients and forces of all members, from the vectors in `work`."""
    energies, virials, gradients, forces = room
    atoms = (0, len(verlet.order))
    pairs = (verlet.offsets, work.seconds, work.vectors)
    model = (potential.shape, numbers[0], numbers[1], numbers[2])
    evaluate_sites(pairs, work.species, model, work.sites, (energies, virials, gradients), atoms)
    gather_forces(verlet.offsets, work.arriving, gradients, forces, atoms)


@njit(cache=True)
def _add_forces(potential: Any, work: Any, verlet: Any, points: Any, results: Any) -> Any:
    pair_vectors(verlet, points, work.vectors)
    _evaluate(potential, potential.mean, work, verlet, work.mean)
    energies, virials, _, forces = work.mean
    by_place, virial = results
    total = 0.0
    for k in range(len(by_place)):
        total += energies[0, k]
        for a in range(3):
            by_place[k, a] += forces[0, k, a]
        for component in range(6):
            virial[component] += virials[0, k, component]
    return total


@njit(cache=True)
def _spreads(potential: Any, work: Any, verlet: Any, points: Any) -> Any:
    """As `forces.spreads`.

    Of a force it is the root of the variances summed over its components; see `hpcmat_kernels.uncertainty`.
    """
    pair_vectors(verlet, points, work.vectors)
    _evaluate(potential, potential.committee, work, verlet, work.committee)
    forces, largest = work.committee[3], 0.0
    n_members = len(forces)
    for k in range(forces.shape[1]):
        variance = 0.0
        for a in range(3):
            mean = 0.0
            for m in range(n_members):
                mean += forces[m, k, a] / n_members
            for m in range(n_members):
                variance += (forces[m, k, a] - mean) ** 2 / n_members
        largest = max(largest, variance)
    return np.sqrt(largest), _energy_spread(work.committee[0])


@njit(cache=True)
def _energy_spread(site_energies: Any) -> Any:
    """Standard deviation over the members (M, n) of the energy, over the number of atoms."""
    n_members, n = site_energies.shape
    totals = np.zeros(n_members)
    for m in range(n_members):
        for k in range(n):
            totals[m] += site_energies[m, k]
    return np.std(totals) / n


@overload(prepare, strict=False)
def _overload_prepare(potential: Any, verlet: Any, species: Any) -> Any:
    if is_kind(potential, AceArrays):
        return lambda potential, verlet, species: _prepare(potential, verlet, species)
    return None


@overload(add_forces, strict=False)
def _overload_add_forces(potential: Any, work: Any, verlet: Any, points: Any, results: Any) -> Any:
    if is_kind(potential, AceArrays):
        return lambda potential, work, verlet, points, results: _add_forces(potential, work, verlet, points, results)
    return None


@overload(spreads, strict=False)
def _overload_spreads(potential: Any, work: Any, verlet: Any, points: Any) -> Any:
    if is_kind(potential, AceArrays):
        return lambda potential, work, verlet, points: _spreads(potential, work, verlet, points)
    return None
