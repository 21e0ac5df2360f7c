"""Elastic constants against the literature, against energies, and against the equation of state."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.optimize import BFGS
from mechanics import by
from numpy.testing import assert_allclose

from hpcmat.engines.stillinger_weber import StillingerWeber
from hpcmat.engines.structures import to_atoms
from hpcmat.errors import InputError
from hpcmat.surrogates.calculator import AceCalculator, structure_of
from hpcmat.surrogates.elastic import deform, elastic_constants, mechanics_of
from hpcmat.surrogates.equation_of_state import fit_equation_of_state
from hpcmat.units import GPA_PER_EV_PER_ANG3


def energy_of(structure, calculator):
    atoms = to_atoms(structure)
    atoms.calc = calculator
    return atoms.get_potential_energy() / len(atoms)


def birch_murnaghan(structure, calculator):
    """Bulk modulus from energies alone, GPa."""
    volume = abs(np.linalg.det(structure.cell)) / len(structure)
    scales = np.linspace(0.985, 1.015, 9)
    energies = [energy_of(deform(structure, np.r_[3 * [s - 1.0], 0, 0, 0]), calculator) for s in scales]
    return fit_equation_of_state(volume * scales**3, energies).bulk_modulus_gpa


@pytest.fixture(scope="module")
def silicon():
    return elastic_constants(by(StillingerWeber()), structure_of(bulk("Si", a=5.5, cubic=True)))


def test_silicon_of_stillinger_and_weber(silicon):
    # Balamane, Halicioglu and Tiller, Phys. Rev. B 46 (1992) 2250: 1.51, 0.76, 0.56 Mbar, internal strain relaxed.
    assert_allclose(silicon.cubic, (151, 76, 56), atol=1.0)
    assert silicon.structure.cell[0, 0] == pytest.approx(5.4310, abs=2e-4)
    assert silicon.stable and silicon.asymmetry_gpa < 0.05
    # Negative control: without relaxed ions C44 would be twice as large.
    mechanics = by(StillingerWeber())
    e = np.array([0, 0, 0, 0.004, 0, 0])
    clamped = np.subtract(*(mechanics(deform(silicon.structure, s * e))[1][3] for s in (1, -1))) / 0.008
    assert clamped * GPA_PER_EV_PER_ANG3 > 1.8 * silicon.cubic[2]


def test_bulk_modulus_is_that_of_the_equation_of_state(silicon):
    expected = birch_murnaghan(silicon.structure, StillingerWeber())
    assert silicon.bulk_modulus_gpa == pytest.approx(expected, rel=5e-3)


def test_copper_of_effective_medium_theory_by_second_derivatives_of_the_energy():
    calculator = EMT()
    found = elastic_constants(by(calculator), structure_of(bulk("Cu", a=3.7)))
    volume, h = abs(np.linalg.det(found.structure.cell)), 0.004

    def curvature(direction):
        strain = np.array(direction, dtype=float)
        low, middle, high = (energy_of(deform(found.structure, s * strain), calculator) for s in (-h, 0, h))
        return (low + high - 2 * middle) / h**2 / volume * GPA_PER_EV_PER_ANG3

    c11, c12, c44 = found.cubic
    # r → (1 + ε) r: away from zero stress or for finite ε the energy has other second derivatives; here both vanish.
    assert c11 == pytest.approx(curvature([1, 0, 0, 0, 0, 0]), rel=3e-3)
    assert 2 * (c11 - c12) == pytest.approx(curvature([1, -1, 0, 0, 0, 0]), rel=1e-2)
    assert c44 == pytest.approx(curvature([0, 0, 0, 1, 0, 0]), rel=1e-2)
    assert found.bulk_modulus_gpa == pytest.approx((c11 + 2 * c12) / 3)


def test_a_turned_crystal_has_turned_constants(silicon):
    angle = np.pi / 4
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    crystal = silicon.structure
    turned = replace(crystal, cell=crystal.cell @ turn.T, positions=crystal.positions @ turn.T)
    found = elastic_constants(by(StillingerWeber()), turned).matrix
    c11, c12, c44 = silicon.cubic
    # About z by 45°: C11' = (C11 + C12 + 2 C44) / 2, C66' = (C11 - C12) / 2.
    assert_allclose(
        [found[0, 0], found[5, 5], found[3, 3]], [(c11 + c12 + 2 * c44) / 2, (c11 - c12) / 2, c44], atol=0.5
    )


def test_a_fitted_potential_agrees_with_an_independent_relaxation(potential):
    found = elastic_constants(mechanics_of(potential), structure_of(bulk("Si", cubic=True)))
    assert found.cubic == pytest.approx((151, 76, 56), abs=15)
    # One column again with ASE's optimiser.
    stresses = []
    for sign in (1, -1):
        atoms = to_atoms(deform(found.structure, np.array([0, 0, 0, sign * 0.004, 0, 0])))
        atoms.calc = AceCalculator(potential)
        BFGS(atoms, logfile=None).run(fmax=1e-5, steps=200)
        stresses.append(atoms.get_stress()[3])
    c44 = (stresses[0] - stresses[1]) / 0.008 * GPA_PER_EV_PER_ANG3
    assert found.matrix[3, 3] == pytest.approx(c44, abs=0.5)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: replace(s, pbc=(True, True, False)), "periodic"),
        (lambda s: structure_of(bulk("Si", cubic=True) * (3, 3, 1)), "more than"),
    ],
)
def test_what_is_no_small_crystal_is_refused(change, match):
    with pytest.raises(InputError, match=match):
        elastic_constants(by(StillingerWeber()), change(structure_of(bulk("Si"))))


def test_forces_that_never_vanish_are_reported():
    def broken(structure):
        return np.array([[0.1, 0, 0], [-0.1, 0, 0]]), np.zeros(6)

    with pytest.raises(InputError, match="come to rest"):
        elastic_constants(broken, structure_of(bulk("Si")))
    with pytest.raises(InputError, match="strain"):
        elastic_constants(broken, structure_of(bulk("Si")), strain=0.5)
