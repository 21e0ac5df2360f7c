"""Defects of a crystal, by the seed of the campaign: what a perfect cell at any temperature would hardly visit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import Voronoi, cKDTree

from hpcmat.campaign.spec import CrystalSeed
from hpcmat.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

_ROUNDING = 1e-6


def with_defects(atoms: Atoms, seed: CrystalSeed, rng: np.random.Generator, where: str) -> Atoms:
    """The structure with the defects that its seed asks for: antisites, then vacancies, then interstitials.

    Raises
    ------
    InputError
        More atoms are to be removed than there are, or atoms to be exchanged that are all alike.
    """
    atoms = atoms.copy()
    _exchange(atoms, seed.antisites, rng, where)
    if seed.vacancies >= len(atoms):
        raise InputError(f"{where}.vacancies: {seed.vacancies} of {len(atoms)} atoms leave none; use a larger `repeat`")
    species = list(dict.fromkeys(atoms.get_chemical_symbols()))
    del atoms[rng.choice(len(atoms), seed.vacancies, replace=False)]
    for number in range(seed.interstitials):
        _fill_largest_hole(atoms, species[number % len(species)])
    return atoms


def _exchange(atoms: Atoms, pairs: int, rng: np.random.Generator, where: str) -> None:
    symbols = np.array(atoms.get_chemical_symbols())
    if pairs and len(set(symbols)) < 2:
        raise InputError(f"{where}.antisites: all atoms are of one element; remove antisites")
    for _ in range(pairs):
        first = rng.integers(len(symbols))
        second = rng.choice(np.flatnonzero(symbols != symbols[first]))
        symbols[[first, second]] = symbols[[second, first]]
    atoms.set_chemical_symbols(list(symbols))


def _fill_largest_hole(atoms: Atoms, symbol: str) -> None:
    """Put an atom at the point that is the farthest from any atom: a vertex of the Voronoi cells."""
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    images = (atoms.positions[None] + shifts @ atoms.cell.array).reshape(-1, 3)
    vertices = Voronoi(images).vertices
    fractions = vertices @ np.linalg.inv(atoms.cell.array)
    inside = vertices[np.all((fractions > -_ROUNDING) & (fractions < 1.0 - _ROUNDING), axis=1)]
    radii = np.asarray(cKDTree(images).query(inside)[0])
    # The lowest of several that are alike, whatever the last bits of their radii and the order of the vertices say.
    best = min(np.round(inside[radii > radii.max() - _ROUNDING], 6).tolist())
    atoms.append(symbol)
    atoms.positions[-1] = best
