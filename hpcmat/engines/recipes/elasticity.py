r"""Elastic constants of a crystal at rest, from the stresses of as few strained cells as its symmetry allows.

    C e_j = (σ(+δ e_j) - σ(-δ e_j)) / 2 δ,    C D_R e_j = S_R (C e_j)    for every rotation R of the crystal

with Voigt order xx yy zz yz xz xy and engineering shear strains; D_R and S_R rotate strains and stresses. Two strains
are enough for a cubic crystal, six for a triclinic one. Constant parts of the stress that a small basis adds cancel in
the difference. Ions are relaxed in each cell.
"""

from __future__ import annotations

import numpy as np
from ase.cell import Cell
from ase.lattice import identify_lattice

from hpcmat.engines.recipes.relaxation import relaxation
from hpcmat.engines.recipes.spec import RecipeSpec
from hpcmat.engines.recipes.steps import Floats, Properties, Property, Work, together
from hpcmat.engines.recipes.symmetry import nearest_rotation, symmetries
from hpcmat.errors import InputError
from hpcmat.records import Label, Structure
from hpcmat.surrogates.elastic import VOIGT, ElasticConstants, deform
from hpcmat.units import GPA_PER_EV_PER_ANG3

ELASTIC: frozenset[Property] = frozenset(
    ("shear_modulus_gpa", "young_modulus_gpa", "poisson_ratio", "c11_gpa", "c12_gpa", "c44_gpa")
)

_FORCE_SHARE = 0.05
"""Forces that strain brings about are small, and what is left of them enters over the strain."""
_SHEAR_LEFT = 0.05
"""Stress that is no pressure, left in the crystal at rest, over its stiffness: constants are uncertain by as much."""


def elasticity(crystal: Structure, spec: RecipeSpec) -> Work[Properties]:
    """Moduli (Voigt-Reuss-Hill) and cubic averages of the elastic constants of a crystal at zero pressure."""
    constants = yield from elastic_matrix(upright(crystal), spec)
    c11, c12, c44 = constants.cubic
    bulk, shear = constants.hill
    return (
        ("shear_modulus_gpa", shear),
        ("young_modulus_gpa", 9 * bulk * shear / (3 * bulk + shear)),
        ("poisson_ratio", (3 * bulk - 2 * shear) / (6 * bulk + 2 * shear)),
        ("c11_gpa", c11),
        ("c12_gpa", c12),
        ("c44_gpa", c44),
    )


def elastic_matrix(crystal: Structure, spec: RecipeSpec) -> Work[ElasticConstants]:
    """Elastic constants of a crystal at zero pressure.

    Raises
    ------
    InputError
        The engine gives no stress, the shape of the cell is not at rest, or some strain costs no energy.
    """
    turns = _turns(crystal)
    chosen = _independent(turns)
    strained = [deform(crystal, sign * spec.strain * np.eye(6)[j]) for j in chosen for sign in (1, -1)]
    labels = yield from together([relaxation(structure, spec, _FORCE_SHARE) for structure in strained])
    stresses = np.array([_stress(label) for label in labels]).reshape(len(chosen), 2, 6)
    responses = (stresses[:, 0] - stresses[:, 1]) / (2 * spec.strain)
    strains = np.vstack([turn[0] @ np.eye(6)[j] for j in chosen for turn in turns])
    images = np.vstack([turn[1] @ response for response in responses for turn in turns])
    matrix = np.linalg.lstsq(strains, images, rcond=None)[0].T
    found = ElasticConstants((matrix + matrix.T) / 2, float(np.abs(matrix - matrix.T).max()), crystal)
    _require_rest(stresses.mean(axis=(0, 1)), found)
    return found


def upright(crystal: Structure) -> Structure:
    """The crystal turned so that the axes of its conventional cell are x, y, z: C11 is along an edge of a cube."""
    lattice, operation = identify_lattice(Cell(crystal.cell))
    turn = nearest_rotation(np.linalg.solve(operation @ crystal.cell, lattice.tocell().array))
    return Structure(crystal.symbols, crystal.positions @ turn, crystal.cell @ turn, crystal.pbc)


def _turns(crystal: Structure) -> list[tuple[Floats, Floats]]:
    """D_R and S_R (6, 6) of the rotations of the crystal."""
    found = {symmetry.rotation.round(6).tobytes(): symmetry.rotation for symmetry in symmetries(crystal)}
    return [(_turn(rotation, 0.5), _turn(rotation, 1.0)) for rotation in found.values()]


def _turn(rotation: Floats, shear: float) -> Floats:
    """(6, 6) rotation of symmetric tensors whose Voigt shears, times `shear`, are their components."""
    columns = []
    for unit in np.eye(6):
        tensor = np.empty((3, 3))
        for (a, b), value in zip(VOIGT, unit, strict=True):
            tensor[a, b] = tensor[b, a] = value if a == b else shear * value
        turned = rotation @ tensor @ rotation.T
        columns.append([turned[a, b] if a == b else turned[a, b] / shear for a, b in VOIGT])
    return np.array(columns).T


def _independent(turns: list[tuple[Floats, Floats]]) -> list[int]:
    """Voigt strains whose images under all rotations span all strains."""
    chosen: list[int] = []
    images = np.empty((0, 6))
    for j in range(6):
        more = np.vstack([images, *(turn[0][:, j][None] for turn in turns)])
        if np.linalg.matrix_rank(more, tol=1e-6) > np.linalg.matrix_rank(images, tol=1e-6):
            chosen.append(j)
            images = more
    return chosen


def _stress(label: Label) -> Floats:
    if label.stress.shape != (6,):
        raise InputError("the engine gives no stress, of which elastic constants are made; choose another engine")
    return label.stress * GPA_PER_EV_PER_ANG3


def _require_rest(stress: Floats, constants: ElasticConstants) -> None:
    """Refuse a crystal under shear, or one that some strain relaxes further."""
    left = np.abs(stress - np.r_[3 * [stress[:3].mean()], 0, 0, 0]).max()
    stiffness = abs(constants.matrix[:3, :3].mean())
    if left > _SHEAR_LEFT * stiffness:
        raise InputError(
            f"{left:.2g} GPa of stress are left that volume cannot relax, {100 * left / stiffness:.0f} % of its "
            "bulk modulus; relax the shape of its cell first"
        )
    if not constants.stable:
        raise InputError("a strain lowers the energy, so that this is no stable crystal; give the one it turns into")
