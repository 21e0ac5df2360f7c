"""Where a potential hands over to nuclear repulsion: below the distances at which its labels hold any two atoms.

Polynomials fitted to labels say nothing far below the shortest of their distances: there they fall to -1e5 eV as easily
as they rise. From r₁, somewhat below the nearest distance of two species in the training set, down to r₀ the expansion
is switched off, and the repulsion of Ziegler, Biersack and Littmark, itself zero from r₁ on, is switched on
(`hpcmat_kernels.radial`, `hpcmat_kernels.pair.repulsion`; both twice differentiable). No training structure sees
either, so that the fit and its errors are those without.

On the way to r₀ two atoms lose what they had of each other in the expansion, be it cohesion or repulsion, and gain the
nuclear one: both radii must be such that the sum keeps on rising. They are the first, of a few, with which two lone
atoms and the nearest two of the training set, brought together where they are, repel each other all the way; or those
that come closest to that. Fits to a few small structures may turn so steeply below r₁ that a dip of some eV remains;
with the full training sets of Si, Cu and Li none does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, product

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from hpcmat.records import Structure
from hpcmat.surrogates.ace import AceBasis
from hpcmat_kernels.ace import Coefficients, evaluate
from hpcmat_kernels.pair.repulsion import ZBL, zbl

Floats = NDArray[np.float64]

OUTER = (0.9, 0.8)
"""r₁ over the nearest distance, the usual one first: of new structures like the training structures some have atoms
nearer by a few hundredths, and there the expansion is still the better guide."""
INNER = (0.6, 0.7, 0.5, 0.8)
"""r₀ over r₁, likewise."""
REACH = 0.35
"""Shortest distance, over the nearest, at which forces are compared: below, they are of nuclei alone."""
STEPS = 24
ENOUGH = 1.0
"""eV/Å: two atoms that repel each other by so much do."""


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The nearest two atoms of two species in a training set."""

    distance: float
    """Å"""
    structure: Structure
    atoms: tuple[int, int]
    direction: Floats
    """(3,) from the first to the second, of unit length"""

    def brought_to(self, distance: float) -> Structure:
        """The structure with both atoms moved towards each other along the line between them."""
        positions = self.structure.positions.copy()
        step = 0.5 * (self.distance - distance) * self.direction
        positions[self.atoms[0]] += step
        positions[self.atoms[1]] -= step
        return replace(self.structure, positions=positions)


def nearest_atoms(structures: Iterable[Structure], basis: AceBasis) -> dict[tuple[int, int], Nearest]:
    """The nearest atoms of each two species i <= j that meet in the structures."""
    found: dict[tuple[int, int], Nearest] = {}
    for structure in structures:
        species, pairs = basis.species(structure.symbols), basis.neighbors(structure)
        distances = np.linalg.norm(pairs.vectors, axis=1)
        first, second = species[pairs.first], species[pairs.second]
        for i, j in combinations_with_replacement(range(basis.model.n_species), 2):
            mine = np.flatnonzero((first == i) & (second == j))
            if not len(mine):
                continue
            p = mine[np.argmin(distances[mine])]
            if (i, j) not in found or distances[p] < found[i, j].distance:
                atoms = int(pairs.first[p]), int(pairs.second[p])
                found[i, j] = Nearest(float(distances[p]), structure, atoms, pairs.vectors[p] / distances[p])
    return found


def core_of(structures: Iterable[Structure], basis: AceBasis, coefficients: Coefficients) -> Floats:
    """(r₀, r₁) for each pair of species (species, species, 2) Å.

    For two species that never meet the nearest distance is taken to be the sum of their covalent radii.
    """
    nearest = nearest_atoms(structures, basis)
    bond = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in basis.settings.elements])
    distances = np.minimum(bond[:, None] + bond, basis.settings.cutoff_ang)
    for (i, j), pair in nearest.items():
        distances[i, j] = distances[j, i] = pair.distance
    cores = [np.stack([inner * outer * distances, outer * distances], axis=2) for outer, inner in product(OUTER, INNER)]
    goodness = np.array([_goodness(basis, coefficients, core, (distances, nearest)) for core in cores])
    best = np.argmax(np.round(goodness, 6), axis=0)
    chosen: Floats = np.take_along_axis(np.array(cores), best[None, :, :, None], axis=0)[0]
    return chosen


def repulsion_of(elements: tuple[str, ...], core: Floats) -> ZBL:
    """The nuclear repulsion that goes with a core (species, species, 2) Å."""
    return zbl([atomic_numbers[symbol] for symbol in elements], core[:, :, 0], core[:, :, 1])


def _goodness(
    basis: AceBasis,
    coefficients: Coefficients,
    core: Floats,
    ground: tuple[Floats, dict[tuple[int, int], Nearest]],
) -> Floats:
    """Least repulsive forces (species, species) eV/Å, of lone atoms and in matter, each counted up to `ENOUGH`."""
    model, repulsion = replace(basis.model, core=core), repulsion_of(basis.settings.elements, core)
    distances, nearest = ground

    def force(structure: Structure, atoms: tuple[int, int], direction: Floats) -> float:
        pairs, species = basis.neighbors(structure), basis.species(structure.symbols)
        forces = evaluate(model, coefficients, pairs, species).forces + repulsion.between(pairs, species)[1]
        return float(0.5 * (forces[atoms[1]] - forces[atoms[0]]) @ direction)

    goodness, symbols = np.empty(distances.shape), basis.settings.elements
    for i, j in combinations_with_replacement(range(len(core)), 2):
        steps = distances[i, j] * np.linspace(REACH, OUTER[0], STEPS)
        paths = [_alone((symbols[i], symbols[j]), distances[i, j]), nearest.get((i, j))]
        leasts = [
            min(ENOUGH, *(force(path.brought_to(r), path.atoms, path.direction) for r in steps))
            for path in paths
            if path and path.atoms[0] != path.atoms[1]
        ]
        goodness[i, j] = goodness[j, i] = sum(leasts)
    return goodness


def _alone(symbols: tuple[str, str], distance: float) -> Nearest:
    direction = np.array([1.0, 0.0, 0.0])
    structure = Structure(
        symbols, np.array([[0.0, 0.0, 0.0], distance * direction]), np.zeros((3, 3)), (False, False, False)
    )
    return Nearest(distance, structure, (0, 1), direction)
