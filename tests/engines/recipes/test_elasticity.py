"""Elastic constants by recipe: against the library's own, with as few strains as symmetry allows."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from laboratory import METHOD, Laboratory, structure_of
from mechanics import by

from hpcmat.engines.recipes.elasticity import elastic_matrix, elasticity
from hpcmat.engines.recipes.equation_of_state import equation_of_state
from hpcmat.engines.recipes.spec import RecipeSpec
from hpcmat.engines.recipes.steps import Refusal, advance
from hpcmat.engines.recipes.symmetry import orbits, symmetries
from hpcmat.engines.stillinger_weber import StillingerWeber
from hpcmat.engines.structures import to_atoms
from hpcmat.records import Label, Structure
from hpcmat.surrogates.elastic import elastic_constants

SPEC = RecipeSpec(strain=0.004)


def turned(structure: Structure) -> Structure:
    atoms = to_atoms(structure)
    atoms.rotate(33.0, (1, 2, 3), rotate_cell=True)
    return structure_of(atoms)


@pytest.mark.parametrize("turn", [False, True])
def test_silicon_of_stillinger_and_weber_from_two_strains(turn):
    # Balamane, Halicioglu and Tiller, Phys. Rev. B 46 (1992) 2250, internal strain relaxed.
    laboratory = Laboratory(calculator=StillingerWeber)
    crystal = structure_of(bulk("Si", a=5.4310))
    found = dict(advance(elasticity(turned(crystal) if turn else crystal, SPEC), laboratory.label))
    constants = (found["c11_gpa"], found["c12_gpa"], found["c44_gpa"])
    np.testing.assert_allclose(constants, (151, 76, 56), atol=1.5)
    # Two strains of each sign; the shears are relaxed in several steps.
    cells = {label.structure.cell.tobytes() for label in laboratory.asked.values()}
    assert len(cells) == 4 < len(laboratory.asked)
    bulk_modulus = (found["c11_gpa"] + 2 * found["c12_gpa"]) / 3
    shear, poisson = found["shear_modulus_gpa"], found["poisson_ratio"]
    assert found["young_modulus_gpa"] == pytest.approx(2 * shear * (1 + poisson))
    assert found["young_modulus_gpa"] == pytest.approx(3 * bulk_modulus * (1 - 2 * poisson))
    # Hashin and Shtrikman's bounds lie within those of Voigt and Reuss, near whose mean they are.
    assert 56 * 75 * 5 / (4 * 56 + 3 * 75) < shear < (75 + 3 * 56) / 5


def test_a_tetragonal_crystal_takes_four_strains_and_gives_its_whole_matrix():
    atoms = bulk("Cu", cubic=True, a=3.8)
    atoms.set_chemical_symbols(["Cu", "Cu", "Pd", "Au"])
    expected = elastic_constants(by(EMT()), structure_of(atoms))
    assert len(symmetries(expected.structure)) == 16
    spec, laboratory = RecipeSpec(strain=0.004, max_force_ev_per_ang=0.002), Laboratory()
    found = advance(elastic_matrix(expected.structure, spec), laboratory.label)
    assert len({label.structure.cell.tobytes() for label in laboratory.asked.values()}) == 2 * 4
    assert np.ptp(np.diag(expected.matrix)[:3]) > 2.0, "negative control: its axes differ"
    np.testing.assert_allclose(found.matrix, expected.matrix, atol=0.02 * expected.matrix.max())


def test_a_hexagonal_crystal_agrees_with_strains_along_all_axes():
    crystal = elastic_constants(by(EMT()), structure_of(bulk("Cu", "hcp", a=2.55, c=4.16))).structure
    laboratory = Laboratory()
    spec = RecipeSpec(strain=0.004, max_force_ev_per_ang=0.002)
    found = advance(elastic_matrix(crystal, spec), laboratory.label)
    expected = elastic_constants(by(EMT()), crystal)
    np.testing.assert_allclose(found.matrix, expected.matrix, atol=0.02 * expected.matrix.max())
    # xx, zz and yz; xy follows from xx, for C66 = (C11 - C12) / 2.
    assert len({label.structure.cell.tobytes() for label in laboratory.asked.values()}) == 6
    assert found.matrix[5, 5] == pytest.approx((found.matrix[0, 0] - found.matrix[0, 1]) / 2, rel=1e-6)


def test_the_bulk_modulus_is_that_of_the_equation_of_state():
    laboratory = Laboratory()
    rest = advance(equation_of_state(structure_of(bulk("Cu", a=3.6)), RecipeSpec()), laboratory.label)
    constants = advance(elastic_matrix(rest.crystal, RecipeSpec()), laboratory.label)
    assert constants.bulk_modulus_gpa == pytest.approx(rest.state.bulk_modulus_gpa, rel=0.02)
    bulk_modulus, shear = constants.hill
    assert bulk_modulus == pytest.approx(constants.bulk_modulus_gpa), "the bounds of a cubic crystal coincide"
    assert shear < constants.shear_modulus_gpa, "Reuss's bound is below Voigt's"


@pytest.mark.parametrize(
    ("atoms", "count", "sites"),
    [
        (bulk("Cu"), 48, [0]),
        (bulk("Si"), 48, [0]),
        (bulk("GaAs", "zincblende", a=5.65), 24, [0, 1]),
        (bulk("Cu", cubic=True), 192, [0]),
        (bulk("Mg"), 24, [0]),
    ],
)
def test_symmetries_are_those_of_the_space_group(atoms, count, sites):
    """48 rotations of Oh, 24 of Td and D6h; four translations more in a cell of four primitive ones."""
    crystal = structure_of(atoms)
    found = symmetries(turned(crystal))
    assert len(found) == count
    assert orbits(crystal) == sites
    for symmetry in found:
        np.testing.assert_allclose(symmetry.rotation @ symmetry.rotation.T, np.eye(3), atol=1e-9)


def test_a_displaced_atom_takes_symmetry_away():
    atoms = bulk("Cu", cubic=True)
    atoms.positions[1] += (0.1, 0.05, 0.02)
    assert len(symmetries(structure_of(atoms))) < 8


def test_what_is_no_crystal_at_rest_has_no_elastic_constants():
    laboratory = Laboratory()
    squeezed = bulk("Cu", cubic=True, a=3.6)
    squeezed.set_cell(squeezed.cell.array * np.array([1.1, 0.95, 0.95])[:, None], scale_atoms=True)
    standing = advance(elasticity(structure_of(squeezed), SPEC), laboratory.label)
    assert isinstance(standing, Refusal) and "shape" in standing.reason
    # Copper on a simple cubic lattice shears away.
    standing = advance(elasticity(structure_of(bulk("Cu", "sc", a=2.4)), SPEC), laboratory.label)
    assert isinstance(standing, Refusal) and "no stable crystal" in standing.reason


def test_without_stress_there_are_no_elastic_constants():
    def silent(structure):
        return Label(structure, 0.0, np.zeros((1, 3)), np.zeros(0), METHOD)

    standing = advance(elasticity(structure_of(bulk("Cu")), SPEC), silent)
    assert isinstance(standing, Refusal) and "no stress" in standing.reason
