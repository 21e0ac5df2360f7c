"""Differences of labels and of equations of state, against closed forms."""

import numpy as np
import pytest
from ase.build import bulk
from ase.eos import birchmurnaghan

from hpcmat.engines.structures import from_atoms
from hpcmat.engines.study.differences import delta_mev_per_atom, differences
from hpcmat.records import Label, Method
from hpcmat.surrogates.equation_of_state import fit_equation_of_state
from hpcmat.units import GPA_PER_EV_PER_ANG3

SILICON = from_atoms(bulk("Si"))
CARBIDE = from_atoms(bulk("SiC", "zincblende", 4.36))
METHOD = Method("code", "1", "{}", "")


def label(energy, structure=SILICON, force=0.0, stress=0.0):
    return Label(structure, energy, np.array([[force, 0, 0], [-force, 0, 0]]), np.full(6, stress), METHOD)


def test_energies_count_from_the_first_structure_of_their_composition():
    ours = [label(-10.0), label(-9.0), label(-15.0, CARBIDE), label(-14.0, CARBIDE)]
    theirs = [label(-200.0), label(-199.002), label(-315.0, CARBIDE), label(-314.0, CARBIDE)]
    found = differences(ours, theirs)
    assert found.structures == 4
    assert found.energy_max_mev_per_atom == pytest.approx(1.0)
    assert found.energy_rms_mev_per_atom == pytest.approx(np.sqrt(0.5))
    assert found.force_max_mev_per_ang == found.stress_max_gpa == 0.0


def test_forces_and_stress_by_their_largest_and_what_has_none():
    ours, theirs = [label(0.0, force=0.1, stress=0.01), label(0.0)], [label(0.0, force=0.07), label(0.0)]
    found = differences(ours, theirs)
    assert found.force_max_mev_per_ang == pytest.approx(30.0)
    assert found.force_rms_mev_per_ang == pytest.approx(30.0 / np.sqrt(6.0))
    assert found.stress_max_gpa == pytest.approx(0.01 * GPA_PER_EV_PER_ANG3)
    without = Label(SILICON, 0.0, np.zeros((2, 3)), np.zeros(0), METHOD)
    assert differences([without], [ours[0]]).stress_max_gpa is None
    assert differences([without], [ours[0]]).energy_max_mev_per_atom is None


def test_structures_without_a_label_are_left_out():
    found = differences([None, label(1.0)], [label(0.0), None])
    assert (found.structures, found.force_max_mev_per_ang) == (0, None)


def test_delta_of_equal_curves_is_zero_and_else_the_integral():
    volumes = np.linspace(18.5, 21.8, 9)
    states = [
        fit_equation_of_state(volumes, birchmurnaghan(volumes, offset, bulk_modulus, 4.2, 20.1))
        for offset, bulk_modulus in ((-5.0, 0.6), (-300.0, 0.6), (-5.0, 0.66))
    ]
    assert states[0].bulk_modulus_derivative == pytest.approx(4.2, rel=1e-6)
    assert delta_mev_per_atom(states[0], states[1]) == pytest.approx(0.0, abs=1e-4)
    grid = np.linspace(0.94 * 20.1, 1.06 * 20.1, 20001)
    gap = birchmurnaghan(grid, 0.0, 0.66, 4.2, 20.1) - birchmurnaghan(grid, 0.0, 0.6, 4.2, 20.1)
    assert delta_mev_per_atom(states[0], states[2]) == pytest.approx(1000.0 * np.sqrt(np.mean(gap**2)), rel=1e-3)
    assert delta_mev_per_atom(states[0], None) is None
