"""Forces and stress against differences of energies, on potentials whose derivatives are exact."""

from dataclasses import replace

import pytest
from ase.build import bulk

from hpcmat.engines import verification
from hpcmat.engines.settings import TeacherSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.engines.verification import verify

EMT = TeacherSettings(calculator="emt")


def test_forces_and_stress_of_a_crystal_agree(tmp_path):
    force, stress = verify(EMT, from_atoms(bulk("Cu", cubic=True)), tmp_path)
    assert (force.unit, stress.unit) == ("eV/Å", "GPa")
    assert force.agrees and stress.agrees
    assert abs(force.stated) > 0.01 and abs(stress.stated) > 0.1, "zeros would agree whatever the code says"


def test_an_atom_by_itself_has_a_stress_alone(tmp_path):
    (stress,) = verify(EMT, from_atoms(bulk("Cu")), tmp_path)
    assert stress.unit == "GPa" and stress.agrees and abs(stress.stated) > 0.1


@pytest.mark.parametrize("wrong", ["forces", "stress"])
def test_what_is_no_derivative_is_seen(tmp_path, monkeypatch, wrong):
    """Negative control: one of them twice as large."""
    original = verification._labels

    def scaled(settings, structures, folder):
        return [
            replace(label, **{wrong: 2.0 * getattr(label, wrong)}) for label in original(settings, structures, folder)
        ]

    monkeypatch.setattr(verification, "_labels", scaled)
    force, stress = verify(EMT, from_atoms(bulk("Cu", cubic=True)), tmp_path)
    assert (force.agrees, stress.agrees) == (wrong != "forces", wrong != "stress")
