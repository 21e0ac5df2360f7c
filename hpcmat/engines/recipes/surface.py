r"""Energy of a surface, from a slab that has two of them.

    γ = (E_slab - E_crystal) / 2 A

E_crystal is that of as many atoms in the slab's own cell without vacuum, so that k-points in the plane of the surface
are the same. The slab is a whole number of repeat units: where its two sides differ, γ is their mean, and a polar
surface has none. The atoms are relaxed.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from ase.build import make_supercell
from ase.cell import Cell
from ase.lattice import identify_lattice
from numpy.typing import NDArray

from hpcmat.engines.recipes.relaxation import relaxation
from hpcmat.engines.recipes.spec import RecipeSpec, SlabSpec
from hpcmat.engines.recipes.steps import Floats, Properties, Work, label_of, together
from hpcmat.engines.structures import from_atoms, to_atoms
from hpcmat.records import Structure
from hpcmat.units import J_PER_M2_PER_EV_PER_ANG2


def surface_energy(crystal: Structure, spec: RecipeSpec) -> Work[Properties]:
    """The energy per area of the surface with the Miller indices of the recipe, J/m².

    Raises
    ------
    InputError
        The slab does not relax.
    """
    whole, slab = slab_of(crystal, spec)
    bulk, cut = yield from together([label_of(whole), relaxation(slab, spec)])
    area = float(np.linalg.norm(np.cross(slab.cell[0], slab.cell[1])))
    return (("surface_energy_j_m2", (cut.energy - bulk.energy) / (2 * area) * J_PER_M2_PER_EV_PER_ANG2),)


def slab_of(crystal: Structure, spec: SlabSpec) -> tuple[Structure, Structure]:
    """The crystal in the cell of the slab, and the slab with its vacuum along the third vector."""
    atoms = to_atoms(crystal)
    unit = make_supercell(atoms, oriented(crystal.cell, primitive_indices(crystal, spec.miller)))
    # The third reciprocal vector is normal to the surface, on the side of the third vector.
    normal = np.linalg.inv(unit.cell.array)[:, 2]
    layers = math.ceil(spec.slab_ang * float(np.linalg.norm(normal)) - 1e-6)
    whole = unit.repeat((1, 1, layers))
    # Planes of equal third fraction are parallel to the surface, so that they stay together.
    whole.wrap(eps=1e-6)
    slab = whole.copy()
    slab.cell[2] += spec.vacuum_ang * normal / np.linalg.norm(normal)
    return from_atoms(whole), from_atoms(slab)


def oriented(cell: Floats, plane: tuple[int, int, int]) -> NDArray[np.int64]:
    """Lattice vectors (3, 3), in terms of the cell's: a basis of which two lie in the plane, short ones."""
    reach = max(abs(index) for index in plane) + 1
    grid = np.array(list(product(range(-reach, reach + 1), repeat=3)))
    grid = grid[np.argsort(np.linalg.norm(grid @ cell, axis=1).round(9), kind="stable")]
    height = grid @ np.array(plane)
    inside, above = grid[(height == 0) & grid.any(axis=1)], grid[height == 1][0]
    # Their cross product is the plane's indices, and not a multiple, where no lattice point is left out.
    first, second = next((u, v) for u in inside for v in inside if (np.cross(u, v) == plane).all())
    return np.array([first, second, above])


def primitive_indices(crystal: Structure, miller: tuple[int, int, int]) -> tuple[int, int, int]:
    """Miller indices of the conventional cell, for the cell that the crystal has.

    Indices change as lattice vectors do: h' = P h where the rows of P are the vectors of the one cell in terms of the
    other (International Tables A, section 5.1).
    """
    lattice, operation = identify_lattice(Cell(crystal.cell))
    standard = lattice.tocell().array
    conventional = lattice.conventional().tocell().array
    # `operation` turns the vectors of the crystal into those of the standard form.
    turned = np.linalg.solve(operation, standard @ np.linalg.inv(conventional) @ np.array(miller, dtype=float))
    return _least_integers(turned)


def _least_integers(indices: Floats) -> tuple[int, int, int]:
    """Indices without common factor along (3,) ones that may be halves or thirds."""
    whole = np.rint(6 * indices).astype(int)
    h, k, l = (whole // np.gcd.reduce(whole)).tolist()  # noqa: E741 - so they are called
    return h, k, l
