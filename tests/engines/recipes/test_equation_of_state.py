"""Recipes: values against ASE's own fit, labels asked for once, and crystals that have no such property."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.eos import EquationOfState
from ase.units import GPa
from laboratory import METHOD, Laboratory, structure_of

from hpcmat.engines.recipes.equation_of_state import equation_of_state
from hpcmat.engines.recipes.relaxation import relaxation
from hpcmat.engines.recipes.spec import RecipeSpec
from hpcmat.engines.recipes.steps import Need, Refusal, advance
from hpcmat.engines.sampling import scaled
from hpcmat.records import Label, Structure


@pytest.mark.parametrize("guess", [0.93, 1.0, 1.1])
def test_the_equation_of_state_of_copper_is_that_of_ase_from_any_first_guess(guess):
    atoms = bulk("Cu", a=3.59)
    volumes, energies = [], []
    for factor in np.linspace(0.97, 1.03, 7):
        copy = atoms.copy()
        copy.set_cell(atoms.cell * factor, scale_atoms=True)
        copy.calc = EMT()
        volumes.append(copy.get_volume())
        energies.append(copy.get_potential_energy())
    volume, energy, bulk_modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    start = structure_of(bulk("Cu", a=3.59 * guess))
    found = dict(advance(equation_of_state(start, RecipeSpec()), Laboratory().label).properties)
    assert found["volume_ang3"] == pytest.approx(volume, rel=2e-3)
    assert found["lattice_constant_ang"] == pytest.approx((4 * volume) ** (1 / 3), rel=1e-3)
    assert found["bulk_modulus_gpa"] == pytest.approx(bulk_modulus / GPa, rel=0.02)
    assert found["energy_ev"] == pytest.approx(energy, abs=2e-4)
    assert found["density_g_cm3"] == pytest.approx(63.546 * 1.66053907 / volume, rel=2e-3)


def test_atoms_too_far_apart_to_interact_are_refused():
    """All energies are equal to the last bit then."""
    found = advance(equation_of_state(structure_of(bulk("Cu", a=14.0)), RecipeSpec()), Laboratory().label)
    assert isinstance(found, Refusal) and "does not depend on the volume" in found.reason


def test_a_recipe_taken_up_again_asks_for_nothing_twice():
    start, spec = structure_of(bulk("Ag", a=4.2)), RecipeSpec()
    whole = Laboratory()
    whole_run = advance(equation_of_state(start, spec), whole.label)
    bit_by_bit = Laboratory(patience=0)
    rounds = 0
    while isinstance(standing := advance(equation_of_state(start, spec), bit_by_bit.label), Need):
        assert all(bit_by_bit.label(structure) is None for structure in standing.structures)
        bit_by_bit.patience += 1
        rounds += 1
    assert standing.properties == whole_run.properties
    assert rounds == len(whole.asked) == len(bit_by_bit.asked)


def test_displaced_atoms_are_brought_to_rest_and_their_cell_is_kept():
    atoms = bulk("Cu", cubic=True, a=3.6)
    atoms.rattle(0.1, seed=1)
    steps = relaxation(structure_of(atoms), RecipeSpec(max_force_ev_per_ang=0.005))
    laboratory = Laboratory()
    relaxed = advance(steps, laboratory.label).structure
    forces = laboratory.label(relaxed).forces
    assert np.linalg.norm(forces, axis=1).max() <= 0.005
    np.testing.assert_array_equal(relaxed.cell, atoms.cell.array)
    assert 2 < len(laboratory.asked) < 40
    impatient = advance(relaxation(structure_of(atoms), RecipeSpec(max_relaxation_steps=2)), Laboratory().label)
    assert isinstance(impatient, Refusal) and "rest" in impatient.reason


def test_a_crystal_without_a_minimum_is_refused():
    def repelling(structure: Structure) -> Label:
        volume = abs(np.linalg.det(structure.cell))
        return Label(structure, 10.0 / volume, np.zeros((1, 3)), np.zeros(6), METHOD)

    standing = advance(equation_of_state(structure_of(bulk("Cu")), RecipeSpec()), repelling)
    assert isinstance(standing, Refusal) and "no minimum" in standing.reason


def test_atoms_that_do_not_feel_each_other_have_no_minimum():
    def apart(structure: Structure) -> Label:
        return Label(structure, 0.0, np.zeros((1, 3)), np.zeros(6), METHOD)

    standing = advance(equation_of_state(structure_of(bulk("Cu")), RecipeSpec()), apart)
    assert isinstance(standing, Refusal) and "does not depend on the volume" in standing.reason


def test_a_scaled_crystal_keeps_its_fractional_coordinates():
    start = structure_of(bulk("NaCl", "rocksalt", a=5.6))
    larger = scaled(start, 1.331)
    assert np.linalg.det(larger.cell) == pytest.approx(1.331 * np.linalg.det(start.cell))
    fractions = [np.linalg.solve(s.cell.T, s.positions.T) for s in (start, larger)]
    np.testing.assert_allclose(*fractions, atol=1e-12)


def test_energies_that_scatter_give_no_bulk_modulus():
    laboratory, rng = Laboratory(), np.random.default_rng(0)

    def noisy(structure: Structure) -> Label:
        label = laboratory.label(structure)
        energy = label.energy + 0.005 * rng.standard_normal()
        return Label(structure, energy, label.forces, label.stress, METHOD)

    start = structure_of(bulk("Cu", a=3.59))
    standing = advance(equation_of_state(start, RecipeSpec()), noisy)
    assert isinstance(standing, Refusal) and "scatter" in standing.reason
    assert not isinstance(advance(equation_of_state(start, RecipeSpec()), laboratory.label), Refusal)
