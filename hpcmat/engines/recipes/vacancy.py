r"""Formation energy of a vacancy in a supercell of constant volume.

    E_v = E(N - 1) - E(N) + μ

with the atoms around it relaxed and both energies from the same cell, hence from the same k-points. μ is the energy of
the missing atom in the crystal itself if that has one element, else in its reference crystal. The vacancy repels its
periodic images through strain, so that E_v of a small supercell errs towards too large.
"""

from __future__ import annotations

import numpy as np

from hpcmat.engines.recipes.formation import Potentials
from hpcmat.engines.recipes.relaxation import relaxation
from hpcmat.engines.recipes.spec import RecipeSpec
from hpcmat.engines.recipes.steps import Properties, Work, label_of, together
from hpcmat.engines.recipes.symmetry import orbits
from hpcmat.engines.structures import from_atoms, to_atoms
from hpcmat.records import Structure


def vacancy_energy(crystal: Structure, potentials: Potentials, spec: RecipeSpec) -> Work[Properties]:
    """The least formation energy of a vacancy, over all sites that symmetry tells apart.

    Parameters
    ----------
    crystal : at zero pressure.
    potentials : of all elements; of none for a crystal of one.
    """
    perfect = supercell(crystal, spec.vacancy_distance_ang)
    sites = orbits(crystal)
    works = [label_of(perfect), *(relaxation(without(perfect, site), spec) for site in sites)]
    whole, *defects = yield from together(works)
    own = whole.energy / len(perfect)
    energies = [
        defect.energy - whole.energy + (potentials[crystal.symbols[site]] if potentials else own)
        for site, defect in zip(sites, defects, strict=True)
    ]
    return (("vacancy_energy_ev", min(energies)),)


def supercell(crystal: Structure, distance_ang: float) -> Structure:
    """The least repetition whose opposite faces are so far apart; the atoms of the crystal come first."""
    heights = 1.0 / np.linalg.norm(np.linalg.inv(crystal.cell), axis=0)
    # A crystal that is off by rounding needs no further layer.
    counts = np.ceil(distance_ang / heights - 1e-6).astype(int)
    return from_atoms(to_atoms(crystal).repeat(np.maximum(counts, 1).tolist()))


def without(structure: Structure, atom: int) -> Structure:
    """The structure with one atom left out."""
    symbols = structure.symbols[:atom] + structure.symbols[atom + 1 :]
    return Structure(symbols, np.delete(structure.positions, atom, axis=0), structure.cell, structure.pbc)
