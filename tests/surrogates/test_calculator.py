"""The biased calculator: exact forces of the potential less its uncertainty, and a strength that is kept."""

import numpy as np
import pytest

from hpcmat.surrogates.calculator import AceCalculator, BiasedCalculator, structure_of

TAU = 3.0


@pytest.fixture
def atoms(make):
    return make.silicon(11, displacement=0.3)


def test_biased_forces_are_the_derivative_of_the_biased_energy(potential, atoms):
    atoms.calc = BiasedCalculator(potential, TAU)
    forces, step = atoms.get_forces(), 1e-4
    plain = AceCalculator(potential).get_forces(atoms)
    numeric = np.zeros((3, 3))
    for atom, axis in np.ndindex(3, 3):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            moved.calc = BiasedCalculator(potential, TAU)
            ends.append(moved.get_potential_energy())
        numeric[atom, axis] = (ends[1] - ends[0]) / (2 * step)
    np.testing.assert_allclose(forces[:3], numeric, atol=1e-6)
    assert abs(plain[:3] - numeric).max() > 1e-3, "control: those of the potential itself are others"


def test_the_energy_is_lowered_by_its_deviations_and_the_potential_keeps_its_own(potential, atoms):
    atoms.calc = BiasedCalculator(potential, TAU)
    plain = AceCalculator(potential).get_potential_energy(atoms)
    spread, _ = potential.energy_spread(structure_of(atoms))
    assert atoms.get_potential_energy() == pytest.approx(plain - TAU * spread, abs=1e-9)
    assert spread > 1e-4
    assert atoms.calc.prediction.energy == plain


def test_the_strength_of_a_bias_is_a_fraction_of_the_forces(potential, atoms):
    atoms.calc = BiasedCalculator(potential)
    plain = atoms.get_forces()
    np.testing.assert_array_equal(plain, AceCalculator(potential).get_forces(atoms))
    atoms.calc.bias_by(0.2)
    atoms.positions += 1e-9
    biased = atoms.get_forces()
    assert np.sqrt(np.mean((biased - plain) ** 2) / np.mean(plain**2)) == pytest.approx(0.2, rel=1e-3)
