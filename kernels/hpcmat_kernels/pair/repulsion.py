"""Screened nuclear repulsion of Ziegler, Biersack and Littmark, switched off smoothly between two radii.

φ(r) = k z_i z_j Σ_m c_m exp(-d_m r / a) / r + S(r), a = 0.4685 Å / (z_i^0.23 + z_j^0.23); "The stopping and range of
ions in matter" (1985). S is the switch of LAMMPS' `pair zbl`: constant below the inner radius, then a polynomial that
takes φ, φ' and φ'' to zero at the outer one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hpcmat_kernels.neighbors import NeighborList
from hpcmat_kernels.pair.blocks import CHUNK
from hpcmat_kernels.pair.evaluation import Parallel
from hpcmat_kernels.verlet import VerletList

Floats = NDArray[np.float64]
COULOMB_EV_ANG = 14.399645
"""e²/(4πε0), as LAMMPS' metal units have it."""
AMPLITUDES = np.array([0.18175, 0.50986, 0.28022, 0.02817])
DECAYS = np.array([3.19980, 0.94229, 0.40290, 0.20162])
SCREENING_ANG, EXPONENT = 0.46850, 0.23


@dataclass(frozen=True, slots=True, eq=False)
class ZBL:
    """Parameters as the compiled loops take them."""

    table: Floats
    """(species, species, 10): k z z, four decays per Å, coefficients of the switch (t³, t⁴, constant), both radii."""
    cutoff: float
    """Å, the largest outer radius."""

    @property
    def n_species(self) -> int:
        """Number of species."""
        return len(self.table)

    @property
    def parameters(self) -> tuple[Floats, float]:
        """What `zbl_rows` takes."""
        return self.table, self.cutoff

    def between(self, neighbors: NeighborList, species: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Site energies (n,) eV, forces (n, 3) eV/Å and virial (6,) eV from a list that is at hand.

        Pairs must reach to the cutoff; the order of the virial is xx yy zz yz xz xy.
        """
        n, z = len(neighbors.offsets) - 1, np.asarray(species)
        near = np.flatnonzero(np.einsum("pa,pa->p", neighbors.vectors, neighbors.vectors) < self.cutoff**2)
        first, vectors = neighbors.first[near], neighbors.vectors[near]
        energies, forces = np.zeros(n), np.zeros((n, 3))
        energy, slopes = _of_pairs(vectors, z[first], z[neighbors.second[near]], self.table)
        np.add.at(energies, first, 0.5 * energy)
        np.add.at(forces, first, slopes)
        virial = 0.5 * np.einsum("pa,pb->ab", vectors, slopes)
        return energies, forces, virial[(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)]

    def rows(self, verlet: VerletList, points: Floats, sums: tuple[Floats, Floats], parallel: Parallel) -> None:
        """As `evaluation.PairStyle`."""
        arrays = (points, verlet.offsets, verlet.neighbors, self.table, *sums)
        parallel(partial(_zbl_sites, arrays, self.cutoff))


def zbl(atomic_numbers: ArrayLike, inner: ArrayLike, outer: ArrayLike) -> ZBL:
    """Repulsion between species with these atomic numbers (species,), switched off from `inner` to `outer` Å.

    The radii are those of all pairs of species, or (species, species) and symmetric.

    Raises
    ------
    ValueError
        Where an atomic number is below 1, the radii are not 0 < inner < outer, or they depend on the order of a pair.
    """
    z = np.atleast_1d(np.asarray(atomic_numbers, dtype=np.float64))
    if z.ndim != 1 or not len(z) or not (np.isfinite(z).all() and z.min() >= 1):
        raise ValueError(f"Atomic numbers must be 1 or more, one per species, not {z.tolist()}: correct them.")
    near, far = (np.broadcast_to(np.asarray(radii, dtype=np.float64), (len(z), len(z))) for radii in (inner, outer))
    if not (np.isfinite(far).all() and (near > 0).all() and (near < far).all()):
        given = f"{near.tolist()} and {far.tolist()}"
        raise ValueError(f"The radii must be 0 < inner < outer in Å, not {given}: correct the settings.")
    if not (np.array_equal(near, near.T) and np.array_equal(far, far.T)):
        raise ValueError("The radii of two species must be the same either way round: make the tables symmetric.")
    table = np.empty((len(z), len(z), 10))
    table[:, :, 0] = COULOMB_EV_ANG * z[:, None] * z
    table[:, :, 1:5] = DECAYS * ((z[:, None] ** EXPONENT + z**EXPONENT) / SCREENING_ANG)[:, :, None]
    table[:, :, 5:8] = _switch(table, far, far - near)
    table[:, :, 8], table[:, :, 9] = near, far
    table.setflags(write=False)
    return ZBL(table, float(far.max()))


def _switch(table: Floats, outer: Floats, width: Floats) -> Floats:
    """Coefficients with which value, slope and curvature vanish at the outer radius."""
    strength, decays = table[:, :, 0], table[:, :, 1:5]
    terms = AMPLITUDES * np.exp(-decays * outer[:, :, None])
    f, f1, f2 = terms.sum(axis=2), (-decays * terms).sum(axis=2), (decays**2 * terms).sum(axis=2)
    value = strength * f / outer
    slope = strength * (f1 - f / outer) / outer
    curvature = strength * (f2 - 2.0 * f1 / outer + 2.0 * f / outer**2) / outer
    cubic = (width * curvature - 3.0 * slope) / (3.0 * width**2)
    quartic = (2.0 * slope - width * curvature) / (4.0 * width**3)
    constant = -value + width * slope / 2.0 - width**2 * curvature / 12.0
    return np.stack([cubic, quartic, constant], axis=-1)


@njit(cache=True, nogil=True)
def _pair(r: Any, parameters: Any) -> Any:
    """Energy and its slope at distance r."""
    energy, slope = 0.0, 0.0
    for m in range(4):
        term = AMPLITUDES[m] * np.exp(-parameters[1 + m] * r)
        energy += term
        slope -= parameters[1 + m] * term
    scale, t = parameters[0] / r, max(r - parameters[8], 0.0)
    slope = scale * (slope - energy / r) + t * t * (3.0 * parameters[5] + 4.0 * parameters[6] * t)
    return scale * energy + parameters[7] + t * t * t * (parameters[5] + parameters[6] * t), slope


@njit(cache=True)
def _of_pairs(vectors: Any, first: Any, second: Any, table: Any) -> Any:
    """Energy (p,) and its slope along each vector (p, 3)."""
    energies, slopes = np.zeros(len(vectors)), np.zeros((len(vectors), 3))
    for p in range(len(vectors)):
        r = np.sqrt(vectors[p, 0] ** 2 + vectors[p, 1] ** 2 + vectors[p, 2] ** 2)
        parameters = table[first[p], second[p]]
        if r < parameters[9]:
            energies[p], slope = _pair(r, parameters)
            for a in range(3):
                slopes[p, a] = slope * vectors[p, a] / r
    return energies, slopes


@njit(cache=True, nogil=True)
def _zbl_sites(arrays: Any, cutoff: Any, chunks: Any) -> None:
    """Rows and virials of the atoms of chunks chunks[0] <= c < chunks[1]: few pairs are this close, hence a branch."""
    points, offsets, neighbors, table, results, virials = arrays
    for k in range(chunks[0] * CHUNK, min(len(results), chunks[1] * CHUNK)):
        virial = virials[k // CHUNK]
        if k % CHUNK == 0:
            virial[:] = 0.0
        results[k] = 0.0
        for q in range(offsets[k], offsets[k + 1]):
            e = neighbors[q]
            x, y, z = points[e, 0] - points[k, 0], points[e, 1] - points[k, 1], points[e, 2] - points[k, 2]
            square = x * x + y * y + z * z
            if square < cutoff * cutoff:
                r, parameters = np.sqrt(square), table[int(points[k, 3]), int(points[e, 3])]
                if r >= parameters[9]:
                    continue
                energy, slope = _pair(r, parameters)
                fx, fy, fz = slope * x / r, slope * y / r, slope * z / r
                results[k, 0] += fx
                results[k, 1] += fy
                results[k, 2] += fz
                results[k, 3] += energy
                virial[0, 0] += x * fx
                virial[1, 0] += y * fy
                virial[2, 0] += z * fz
                virial[3, 0] += y * fz
                virial[4, 0] += x * fz
                virial[5, 0] += x * fy


@njit(cache=True, nogil=True)
def zbl_rows(verlet: Any, points: Any, parameters: Any, sums: Any) -> None:
    """All atoms, for compiled loops: writes `sums` as `evaluation.PairStyle`; `parameters` as `ZBL`."""
    arrays = (points, verlet.offsets, verlet.neighbors, parameters[0], *sums)
    _zbl_sites(arrays, parameters[1], (0, len(sums[1])))
