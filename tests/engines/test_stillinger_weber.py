"""Silicon of Stillinger and Weber against what its paper states and against derivatives of its energy."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from hpcmat.engines.calculators import ELEMENTS, check_elements, make_calculator
from hpcmat.engines.stillinger_weber import EPSILON_EV, SIGMA_ANG, StillingerWeber
from hpcmat.errors import InputError


def disturbed(atoms):
    atoms.rattle(0.1, seed=3)
    strain = np.array([[0.02, 0.01, 0.0], [0.01, -0.01, 0.03], [0.0, 0.03, 0.01]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


CRYSTALS = {
    "lj": lambda: bulk("Ar", "fcc", 5.3, cubic=True),
    "emt": lambda: bulk("Al", "fcc", 4.0, cubic=True),
    "morse": lambda: bulk("Cu", "fcc", 3.6, cubic=True),
    "stillinger-weber": lambda: bulk("Si", "diamond", 5.431, cubic=True),
    "tersoff": lambda: bulk("Si", "diamond", 5.432, cubic=True),
}


@pytest.mark.parametrize("name", sorted(ELEMENTS))
def test_forces_and_stress_are_derivatives_of_the_energy(name):
    atoms = disturbed(CRYSTALS[name]())
    atoms.calc = make_calculator(name)
    forces, stress = atoms.get_forces(), atoms.get_stress()
    assert np.max(np.abs(forces)) > 0.01  # otherwise the comparison would say nothing
    np.testing.assert_allclose(forces, calculate_numerical_forces(atoms, eps=1e-5), atol=1e-6)
    np.testing.assert_allclose(stress, calculate_numerical_stress(atoms, eps=1e-5), atol=1e-7)


def test_diamond_is_in_equilibrium_at_its_published_constant_and_energy():
    atoms = bulk("Si", "diamond", 5.431)
    atoms.calc = StillingerWeber()
    assert atoms.get_potential_energy() / 2 == pytest.approx(-2.0 * EPSILON_EV, abs=2e-5)
    assert atoms.get_potential_energy() / 2 == pytest.approx(-4.3363, abs=2e-4)
    assert abs(atoms.get_stress()[0]) < 1e-4
    compressed = bulk("Si", "diamond", 5.40)
    compressed.calc = StillingerWeber()
    assert compressed.get_stress()[0] < -1e-3


def test_published_elastic_constants():
    # C11 = 151.4 GPa and C12 = 76.4 GPa: Balamane, Halicioglu and Tiller, Phys. Rev. B 46, 2250 (1992).
    from ase.units import GPa

    def stress(strain):
        atoms = bulk("Si", "diamond", 5.43095)
        atoms.set_cell(atoms.cell.array @ np.diag([1 + strain, 1, 1]), scale_atoms=True)
        atoms.calc = StillingerWeber()
        return atoms.get_stress()

    constants = (stress(1e-4) - stress(-1e-4)) / 2e-4 / GPa
    assert constants[0] == pytest.approx(151.4, rel=0.01)
    assert constants[1] == pytest.approx(76.4, rel=0.01)


def test_energy_does_not_depend_on_the_cell_that_describes_the_crystal():
    primitive, cubic = bulk("Si", "diamond", 5.5), bulk("Si", "diamond", 5.5, cubic=True)
    for atoms in (primitive, cubic):
        atoms.calc = StillingerWeber()
    assert primitive.get_potential_energy() / 2 == pytest.approx(cubic.get_potential_energy() / 8, abs=1e-12)


def test_trimer_by_hand():
    length, angle = 2.4, np.deg2rad(90.0)
    atoms = Atoms("Si3", [[0, 0, 0], [length, 0, 0], [length * np.cos(angle), length * np.sin(angle), 0]])
    atoms.calc = StillingerWeber()

    def pair(r):
        s = r / SIGMA_ANG
        return 7.049556277 * (0.6022245584 / s**4 - 1) * np.exp(1 / (s - 1.8)) if s < 1.8 else 0.0

    def g(r):
        return np.exp(1.2 / (r / SIGMA_ANG - 1.8))

    far = length * np.sqrt(2)
    triplets = g(length) ** 2 * (1 / 3) ** 2 + 2 * g(length) * g(far) * (np.cos(np.pi / 4) + 1 / 3) ** 2
    expected = EPSILON_EV * (2 * pair(length) + pair(far) + 21.0 * triplets)
    assert atoms.get_potential_energy() == pytest.approx(expected, rel=1e-12)
    assert "stress" not in atoms.calc.results


def test_atoms_beyond_the_cutoff_feel_nothing():
    atoms = Atoms("Si2", [[0, 0, 0], [4.0, 0, 0]])
    atoms.calc = StillingerWeber()
    assert atoms.get_potential_energy() == 0.0
    assert not atoms.get_forces().any()


def test_energies_of_the_sites_sum_to_the_energy():
    atoms = disturbed(bulk("Si", "diamond", 5.431, cubic=True))
    atoms.calc = StillingerWeber()
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy(), abs=1e-12)


def test_elements_without_parameters_are_refused():
    check_elements("emt", {"Al", "Cu"})
    with pytest.raises(InputError, match="Ge"):
        check_elements("stillinger-weber", {"Si", "Ge"})
