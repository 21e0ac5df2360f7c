r"""Descriptors of a structure: density, coordination, bonds and order of the neighbours, averaged over the atoms.

Neighbours are weighed after Hoppe (Z. Kristallogr. 150 (1979) 23), with no cutoff to choose: with d_ij the distance
over the sum of the covalent radii,

    w_ij = exp(1 - (d_ij / l_i)⁶),    l_i = Σ_j w_ij d_ij / Σ_j w_ij,    coordination = Σ_j w_ij

Orientational order is that of Steinhardt, Nelson & Ronchetti (Phys. Rev. B 28 (1983) 784), q_l² = Σ_m q_lm² / (2l + 1)
with the same weights. Nothing depends on the choice of the cell, its repetition or its orientation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import atomic_masses, atomic_numbers

from hpcmat.errors import InputError
from hpcmat.records import Structure
from hpcmat.surrogates.properties.elements import Floats, Ints, element_table
from hpcmat_kernels.harmonics import spherical_harmonics
from hpcmat_kernels.neighbors import neighbor_list

BONDING_NAMES = (
    *("log volume", "log packing", "log density", "log cohesive density", "log valence density"),
    *("coordination", "coordination spread", "log least coordination", "log largest coordination"),
    *("bond", "bond spread", "least bond", "bond disorder", "bond length"),
    *("bond polarity", "like neighbours"),
    *("bond atomisation", "bond radius", "bond valence", "bond d", "bond p"),
    *("order 2", "order 4", "order 6"),
)
SHELLS = (0.8, 0.95, 1.1, 1.25, 1.4, 1.6, 1.8)
"""Distances at which neighbours are counted, in units of the cube root of the volume per atom."""
SHELL_NAMES = tuple(f"neighbours at {shell:g}" for shell in SHELLS)

_SHELL_WIDTH = 0.1
_REACH = 2.6
"""Cutoff in units of the cube root of the volume per atom: weights beyond it are nil in any solid."""
_ROUNDS = 3
"""Of the fixed point of l_i, which then moves by less than 1 %."""


@dataclass(frozen=True, slots=True, eq=False)
class _Bonds:
    """Weighted neighbours of all atoms."""

    elements: Ints
    """(n,) rows of the element table."""
    first: Ints
    second: Ints
    vectors: Floats
    """(p, 3) Å"""
    lengths: Floats
    """(p,) Å"""
    relative: Floats
    """(p,) over the sum of the covalent radii"""
    coordination: Floats
    """(n,)"""
    shares: Floats
    """(p,) weights that sum to 1 for each atom"""

    def mean(self, values: Floats) -> Floats:
        """(n,) mean of (p,) values over the bonds of each atom."""
        sums: Floats = np.bincount(self.first, self.shares * values, len(self.elements)).astype(np.float64)
        return sums

    def product_mean(self, name: str) -> float:
        """Geometric mean of a property of both ends, over all bonds."""
        values = element_table().column(name)[self.elements]
        return float(self.mean(np.sqrt(values[self.first] * values[self.second])).mean())


def bonding_descriptors(structure: Structure) -> Floats:
    """(len(BONDING_NAMES) + len(SHELL_NAMES),) descriptors of a periodic structure.

    Raises
    ------
    InputError
        The structure is no crystal, has an element beyond plutonium or an atom without neighbours.
    """
    volume = abs(float(np.linalg.det(structure.cell))) / max(len(structure), 1)
    if not all(structure.pbc) or not volume > 1e-3:
        raise InputError("descriptors of structures need a crystal, periodic along three vectors; give its cell")
    bonds = _bonds(structure, _REACH * volume ** (1 / 3))
    distances = bonds.lengths / volume ** (1 / 3)
    counts = [np.exp(-(((distances - s) / _SHELL_WIDTH) ** 2)).sum() / len(structure) for s in SHELLS]
    return np.concatenate(
        [_densities(structure, bonds, volume), _coordination(bonds), _chemistry(bonds), _order(bonds), np.log1p(counts)]
    )


def _bonds(structure: Structure, cutoff: float) -> _Bonds:
    table = element_table()
    elements = table.rows(structure.symbols)
    neighbors = neighbor_list(structure.positions, structure.cell, structure.pbc, cutoff)
    first, second = neighbors.first.astype(np.int64), neighbors.second.astype(np.int64)
    radii = table.column("radius_ang")[elements]
    lengths = np.linalg.norm(neighbors.vectors, axis=1)
    relative = lengths / (radii[first] + radii[second])
    weights = _weights(first, relative, len(elements))
    coordination: Floats = np.bincount(first, weights, len(elements)).astype(np.float64)
    shares = weights / coordination[first]
    return _Bonds(elements, first, second, neighbors.vectors, lengths, relative, coordination, shares)


def _weights(first: Ints, relative: Floats, n: int) -> Floats:
    """(p,) w of the bonds with these first atoms and relative lengths."""
    mean = np.full(n, np.inf)
    np.minimum.at(mean, first, relative)
    if not np.isfinite(mean).all():
        raise InputError("an atom has no neighbour, so that its bonds cannot be described; leave this candidate out")
    for _ in range(_ROUNDS):
        trial = np.exp(1.0 - (relative / mean[first]) ** 6)
        mean = np.bincount(first, trial * relative, n) / np.bincount(first, trial, n)
    weights: Floats = np.exp(1.0 - (relative / mean[first]) ** 6)
    return weights


def _densities(structure: Structure, bonds: _Bonds, volume: float) -> list[float]:
    table = element_table()
    spheres = 4 / 3 * np.pi * table.column("radius_ang")[bonds.elements] ** 3
    mass = np.mean([atomic_masses[atomic_numbers[symbol]] for symbol in structure.symbols])
    per_atom = [table.column(name)[bonds.elements].mean() for name in ("atomisation_kj_mol", "valence")]
    # Noble gases have no heat of atomisation.
    amounts = [1.0, 1.0 / spheres.mean(), 1.0 / mass, *(1.0 / max(amount, 1e-2) for amount in per_atom)]
    signs = (1.0, -1.0, -1.0, -1.0, -1.0)
    return [sign * float(np.log(volume * amount)) for sign, amount in zip(signs, amounts, strict=True)]


def _coordination(bonds: _Bonds) -> list[float]:
    coordination, bond = bonds.coordination, bonds.mean(bonds.relative)
    disorder = np.sqrt(np.maximum(bonds.mean(bonds.relative**2) - bond**2, 0.0))
    return [
        *(coordination.mean(), coordination.std(), np.log(coordination.min()), np.log(coordination.max())),
        *(bond.mean(), bond.std(), bond.min(), disorder.mean(), bonds.mean(bonds.lengths).mean()),
    ]


def _chemistry(bonds: _Bonds) -> list[float]:
    electronegativity = element_table().column("electronegativity")[bonds.elements]
    polarity = np.abs(electronegativity[bonds.first] - electronegativity[bonds.second])
    like = (bonds.elements[bonds.first] == bonds.elements[bonds.second]).astype(float)
    products = ("atomisation_kj_mol", "radius_ang", "valence", "d", "p")
    return [bonds.mean(polarity).mean(), bonds.mean(like).mean(), *(bonds.product_mean(name) for name in products)]


def _order(bonds: _Bonds) -> list[float]:
    harmonics = spherical_harmonics(bonds.vectors / bonds.lengths[:, None], 6)[0]
    orders = []
    for degree in (2, 4, 6):
        components = harmonics[:, degree**2 : (degree + 1) ** 2].T
        moments = np.array([bonds.mean(component) for component in components])
        orders.append(float(np.sqrt((moments**2).sum(axis=0) / (2 * degree + 1)).mean()))
    return orders
