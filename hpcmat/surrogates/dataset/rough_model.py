"""A rough pair potential of a data set, to see in which unit and with which sign its labels are.

E = ½ Σ_{i≠j} φ(r_ij),  F_i = Σ_j φ'(r_ij) u_ij,  V σ = ½ Σ_{i≠j} φ'(r_ij) r_ij u_ij ⊗ u_ij

φ, one for each pair of elements, is a sum of Chebyshev polynomials with a smooth cutoff, fitted to forces so that the
sum over frames of the root mean square error is least: frames whose forces are wrong, as long as they are fewer than
half, do not bend it. It explains forces to about a third, which is enough to tell a factor of ten or a sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from hpcmat.records import Structure
from hpcmat.surrogates.ace import cell_volume
from hpcmat.surrogates.dataset.data import Frame
from hpcmat_kernels.neighbors import neighbor_list
from hpcmat_kernels.radial import radial_functions

Floats = NDArray[np.float64]

N_RADIAL = 8
INNER_ANG = 0.5
REACH = 4.0
"""Cutoff over the largest covalent radius, at most `MAX_CUTOFF_ANG`."""
MAX_CUTOFF_ANG = 6.0
MOST_FRAMES = 200
"""Frames that the potential is fitted to, spread evenly over the set."""
ITERATIONS = 30
RIDGE = 1e-8
"""Relative to the mean square of the rows."""
ROWS, COLUMNS = [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]
"""Of the components xx yy zz yz xz xy."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """What a rough potential says of one structure."""

    energy: float
    """eV/atom"""
    forces: Floats
    """(3n,) eV/Å"""
    stress: Floats
    """(6,) eV/Å³ under tension; (0,) without a volume."""


@dataclass(frozen=True, slots=True, eq=False)
class RoughModel:
    """A fitted pair potential."""

    elements: tuple[str, ...]
    cutoff_ang: float
    coefficients: Floats
    """(T, K) eV"""

    def estimate(self, structure: Structure) -> Estimate:
        """Energy, forces and stress."""
        pairs = _Pairs.of(structure, self.elements, self.cutoff_ang)
        n, volume = len(structure), cell_volume(structure)
        weights = self.coefficients[pairs.kind]
        energy = 0.5 * float(np.sum(pairs.values * weights))
        pull = np.sum(pairs.slopes * weights, axis=1)[:, None] * pairs.unit
        columns = [np.bincount(pairs.first, pull[:, axis], n).astype(np.float64) for axis in range(3)]
        forces = np.stack(columns, axis=1).ravel()
        virial = np.asarray(0.5 * np.sum(pairs.vectors[:, ROWS] * pull[:, COLUMNS], axis=0), dtype=np.float64)
        return Estimate(energy / n, forces, virial / volume if volume else np.empty(0))


def fit_rough_model(frames: tuple[Frame, ...]) -> RoughModel | None:
    """The potential of frames with forces, or None where there is nothing to fit: no forces, or too few."""
    used = [frame for frame in frames if len(frame.label.forces) and np.any(frame.label.forces)]
    used = used[:: -(-len(used) // MOST_FRAMES)] if used else []
    elements = tuple(sorted({symbol for frame in frames for symbol in frame.label.structure.symbols}))
    n_columns = _n_types(elements) * N_RADIAL
    if not used or sum(frame.label.forces.size for frame in used) < 4 * n_columns:
        return None
    largest = max(covalent_radii[atomic_numbers[symbol]] for symbol in elements)
    cutoff = min(REACH * float(largest), MAX_CUTOFF_ANG)
    grams, targets, squares = [], [], []
    for frame in used:
        rows, forces = _force_rows(frame.label.structure, elements, cutoff), np.ravel(frame.label.forces)
        grams.append(rows.T @ rows / len(forces))
        targets.append(rows.T @ forces / len(forces))
        squares.append(forces @ forces / len(forces))
    coefficients = _least_deviations(np.array(grams), np.array(targets), np.array(squares))
    return RoughModel(elements, cutoff, coefficients.reshape(-1, N_RADIAL))


def _least_deviations(grams: Floats, targets: Floats, squares: Floats) -> Floats:
    """Minimise Σ_i |F_i - R_i c| / √n_i over c, from RᵀR, RᵀF and FᵀF of each frame over its n."""
    ridge = RIDGE * float(np.trace(grams.mean(axis=0))) * np.eye(grams.shape[1])
    weights: Floats = 1.0 / np.maximum(np.sqrt(squares), 1e-3)
    c: Floats = np.zeros(grams.shape[1])
    for _ in range(ITERATIONS):
        weights /= weights.sum()
        c = np.asarray(np.linalg.solve(np.tensordot(weights, grams, 1) + ridge, weights @ targets), dtype=np.float64)
        error = squares - 2 * targets @ c + np.einsum("fij,i,j->f", grams, c, c)
        weights = np.asarray(1.0 / np.sqrt(np.maximum(error, 1e-6)), dtype=np.float64)
    return c


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Directed pairs (p,) of a structure with the radial functions (p, K) of their distances."""

    first: NDArray[np.int32]
    kind: NDArray[np.int64]
    """Place of the pair of elements among the T."""
    vectors: Floats
    unit: Floats
    values: Floats
    slopes: Floats

    @classmethod
    def of(cls, structure: Structure, elements: tuple[str, ...], cutoff: float) -> _Pairs:
        pairs = neighbor_list(structure.positions, structure.cell, structure.pbc, cutoff)
        species = np.array([elements.index(symbol) for symbol in structure.symbols])
        low, high = np.sort(species[np.stack([pairs.first, pairs.second])], axis=0)
        r = np.linalg.norm(pairs.vectors, axis=1)
        values, slopes = radial_functions(r, N_RADIAL, cutoff, INNER_ANG)
        kind = low + high * (high + 1) // 2
        return cls(pairs.first, kind, pairs.vectors, pairs.vectors / r[:, None], values, slopes)


def _force_rows(structure: Structure, elements: tuple[str, ...], cutoff: float) -> Floats:
    """Rows (3n, T K) that turn coefficients into forces."""
    pairs = _Pairs.of(structure, elements, cutoff)
    n, n_types = len(structure), _n_types(elements)
    rows = np.zeros((n * n_types, 3, N_RADIAL))
    np.add.at(rows, pairs.first * n_types + pairs.kind, pairs.unit[:, :, None] * pairs.slopes[:, None, :])
    return rows.reshape(n, n_types, 3, N_RADIAL).transpose(0, 2, 1, 3).reshape(3 * n, -1)


def _n_types(elements: tuple[str, ...]) -> int:
    return len(elements) * (len(elements) + 1) // 2
