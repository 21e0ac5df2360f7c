"""Where a potential hands over to nuclear repulsion: below the distances at which its labels hold any two atoms.

Polynomials fitted to labels say nothing below the shortest of their distances: there they fall to -1e5 eV as easily as
they rise. From the nearest distance r₁ of two species in the training set down to r₀ the expansion is switched off, and
the repulsion of Ziegler, Biersack and Littmark, itself zero from r₁ on, is switched on (`hpcmat_kernels.radial`,
`hpcmat_kernels.pair.repulsion`; both twice differentiable). No training structure sees either, so that the fit and its
errors are those without.

Towards r₀ an atom loses what its neighbour gave it in the expansion, be it cohesion or repulsion, while the nuclear one
is still small: the blend has to be wide enough that the sum keeps on rising. r₀ / r₁ is the one, of a few, with which
the least repulsive force of two lone atoms on the way is the largest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from hpcmat.records import Structure
from hpcmat.surrogates.ace import AceBasis
from hpcmat_kernels.ace import Coefficients, evaluate
from hpcmat_kernels.neighbors import neighbor_list
from hpcmat_kernels.pair.repulsion import ZBL, zbl

Floats = NDArray[np.float64]

SHARES = (0.6, 0.7, 0.5, 0.8)
"""r₀ over r₁, the usual one first."""
REACH = 0.4
"""Shortest distance over r₁ at which forces are compared: below, all are of nuclei alone."""
DIMERS = 40


def nearest_distances(structures: Iterable[Structure], basis: AceBasis) -> Floats:
    """Shortest distance (species, species) Å of two atoms in the structures; infinite where two never meet."""
    nearest = np.full((basis.model.n_species, basis.model.n_species), np.inf)
    for structure in structures:
        species, pairs = basis.species(structure.symbols), basis.neighbors(structure)
        distances = np.linalg.norm(pairs.vectors, axis=1)
        np.minimum.at(nearest, (species[pairs.first], species[pairs.second]), distances)
    both: Floats = np.minimum(nearest, nearest.T)
    return both


def core_of(structures: Iterable[Structure], basis: AceBasis, coefficients: Coefficients) -> Floats:
    """(r₀, r₁) for each pair of species (species, species, 2) Å.

    Two species that never meet have the sum of their covalent radii for r₁.
    """
    bond = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in basis.settings.elements])
    nearest = nearest_distances(structures, basis)
    outer = np.where(np.isfinite(nearest), nearest, np.minimum(bond[:, None] + bond, 0.9 * basis.settings.cutoff_ang))
    least = np.array([_least_force(basis, coefficients, np.stack([s * outer, outer], axis=2)) for s in SHARES])
    share = np.array(SHARES)[np.argmax(least, axis=0)]
    return np.stack([share * outer, outer], axis=2)


def repulsion_of(elements: tuple[str, ...], core: Floats) -> ZBL:
    """The nuclear repulsion that goes with a core (species, species, 2) Å."""
    return zbl([atomic_numbers[symbol] for symbol in elements], core[:, :, 0], core[:, :, 1])


def _least_force(basis: AceBasis, coefficients: Coefficients, core: Floats) -> Floats:
    """Least repulsive force (species, species) eV/Å between two lone atoms anywhere below r₁."""
    n, repulsion = len(core), repulsion_of(basis.settings.elements, core)
    model = replace(basis.model, core=core)
    least = np.empty((n, n))
    for i, j in np.ndindex(n, n):
        distances = np.linspace(REACH, 1.0, DIMERS) * core[i, j, 1]
        # Dimers far from each other, in one list.
        first = np.column_stack(
            [np.zeros(DIMERS), 3.0 * basis.settings.cutoff_ang * np.arange(DIMERS), np.zeros(DIMERS)]
        )
        second = first + distances[:, None] * np.array([1.0, 0.0, 0.0])
        species = np.repeat([i, j], DIMERS)
        pairs = neighbor_list(
            np.concatenate([first, second]), np.zeros((3, 3)), (False,) * 3, basis.settings.cutoff_ang
        )
        forces = evaluate(model, coefficients, pairs, species).forces + repulsion.between(pairs, species)[1]
        least[i, j] = forces[DIMERS:, 0].min()
    return np.minimum(least, least.T)
