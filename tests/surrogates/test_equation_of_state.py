"""Birch-Murnaghan fit against its closed form."""

import numpy as np
import pytest
from ase.eos import birchmurnaghan

from hpcmat.errors import InputError
from hpcmat.surrogates.equation_of_state import fit_equation_of_state
from hpcmat.units import GPA_PER_EV_PER_ANG3

VOLUMES = np.linspace(18, 22, 9)


def test_recovers_the_parameters():
    energies = birchmurnaghan(VOLUMES, -4.5, 0.6, 4.2, 20.1)
    state = fit_equation_of_state(VOLUMES, energies)
    assert state.volume == pytest.approx(20.1, rel=1e-9)
    assert state.bulk_modulus_gpa == pytest.approx(0.6 * GPA_PER_EV_PER_ANG3, rel=1e-8)
    assert state.energy == pytest.approx(-4.5, abs=1e-10)


def test_large_offset_costs_little():
    state = fit_equation_of_state(VOLUMES, birchmurnaghan(VOLUMES, -15000.0, 0.6, 4.2, 20.1))
    assert state.bulk_modulus_gpa == pytest.approx(0.6 * GPA_PER_EV_PER_ANG3, rel=1e-6)
    assert state.energy == pytest.approx(-15000.0, abs=1e-8)


@pytest.mark.parametrize(
    ("volumes", "energies", "message"),
    [
        (VOLUMES, birchmurnaghan(VOLUMES, -4.5, 0.6, 4.2, 24.0), "no minimum"),
        (VOLUMES, -birchmurnaghan(VOLUMES, -4.5, 0.6, 4.2, 20.0), "no minimum"),
        (VOLUMES[:3], np.zeros(3), "at least four"),
        ([20.0, 20.0, 20.0, 20.0], np.zeros(4), "at least four"),
        (VOLUMES, np.full(9, np.nan), "finite"),
        (VOLUMES - 20, np.zeros(9), "positive"),
    ],
)
def test_refuses_what_cannot_be_right(volumes, energies, message):
    with pytest.raises(InputError, match=message):
        fit_equation_of_state(volumes, energies)
