"""GPAW through the label runner: forces and stress against differences of its energies, and its failures."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from hpcmat.engines import labelling
from hpcmat.engines.gpaw import LOG_NAME, GpawEngine
from hpcmat.engines.labelling import LabelRequest, run_label
from hpcmat.engines.settings import GpawSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.records import Failure, FailureKind, Label, Structure, decode, encode

pytestmark = pytest.mark.dft

TIGHT = GpawSettings(cutoff_ev=300.0, kpoint_spacing_per_ang=1.2, energy_tolerance_ev=1e-7, density_tolerance=1e-7)


def silicon():
    atoms = bulk("Si", "diamond", 5.40)
    atoms.positions[1] += [0.06, 0.09, -0.05]
    return from_atoms(atoms)


def label(structure, folder, settings=TIGHT, remedies=()):
    return decode(Label, run_label(encode(LabelRequest(structure, settings, remedies)), folder, 1))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return label(silicon(), tmp_path_factory.mktemp("reference"))


def test_label_is_complete(reference):
    assert reference.forces.shape == (2, 3)
    assert reference.stress.shape == (6,)
    assert reference.scf_steps > 3
    assert reference.energy_kind == "free"
    assert reference.method.inputs[0].startswith("Si.PBE")


def test_forces_are_minus_the_gradient_of_the_energy(reference, tmp_path):
    step = 0.01
    energies = []
    for sign in (1, -1):
        positions = np.array(reference.structure.positions)
        positions[1, 1] += sign * step
        structure = replace(reference.structure, positions=positions)
        energies.append(label(structure, tmp_path).energy)
    force = -(energies[0] - energies[1]) / (2 * step)
    assert abs(force) > 0.3
    assert reference.forces[1, 1] == pytest.approx(force, abs=3e-3)


def test_stress_is_positive_under_tension_and_follows_the_energy(reference, tmp_path):
    step = 0.004
    energies = []
    for sign in (1, -1):
        deformation = np.diag([1.0 + sign * step, 1.0, 1.0])
        structure = Structure(
            reference.structure.symbols,
            reference.structure.positions @ deformation,
            reference.structure.cell @ deformation,
        )
        energies.append(label(structure, tmp_path).energy)
    volume = abs(np.linalg.det(reference.structure.cell))
    stress = (energies[0] - energies[1]) / (2 * step * volume)
    assert stress < -0.005  # compressed: it pushes outwards
    assert reference.stress[0] == pytest.approx(stress, abs=2e-3)


def test_every_remedy_leads_to_the_same_answer(reference, tmp_path):
    other = label(silicon(), tmp_path, remedies=("mixing", "more-steps", "eigensolver"))
    assert other.energy == pytest.approx(reference.energy, abs=1e-5)
    np.testing.assert_allclose(other.forces, reference.forces, atol=1e-3)
    assert other.scf_steps != reference.scf_steps
    assert other.method == reference.method


def test_an_unconverged_cycle_is_a_failure_and_never_a_label(tmp_path, monkeypatch):
    impossible = TIGHT.model_copy(update={"energy_tolerance_ev": 1e-13})
    monkeypatch.setattr(labelling, "engine_for", lambda settings: GpawEngine(settings, scf_steps=6))
    text = run_label(encode(LabelRequest(silicon(), impossible)), tmp_path, 1)
    failure = decode(Failure, text)
    assert failure.failure is FailureKind.NOT_CONVERGED
    assert "iter" in failure.log_tail
    assert "energy" not in json.loads(text)


def test_log_lies_in_the_work_folder(reference, tmp_path):
    label(silicon(), tmp_path, GpawSettings(cutoff_ev=150.0, kpoint_spacing_per_ang=2.0))
    assert "Converged in" in (tmp_path / LOG_NAME).read_text()


def test_cells_that_are_not_periodic_are_refused(tmp_path):
    slab = replace(silicon(), pbc=(True, True, False))
    failure = decode(Failure, run_label(encode(LabelRequest(slab, TIGHT)), tmp_path, 1))
    assert failure.failure is FailureKind.BAD_SETTINGS


def test_spin_polarised_calculation_of_a_metal(tmp_path):
    iron = from_atoms(bulk("Fe", "bcc", 2.83))
    settings = GpawSettings(cutoff_ev=300.0, kpoint_spacing_per_ang=1.6, smearing_ev=0.2, spin_polarized=True)
    polarised = label(iron, tmp_path, settings)
    plain = label(iron, tmp_path, settings.model_copy(update={"spin_polarized": False}))
    assert polarised.energy < plain.energy - 0.1
