"""CP2K itself: units and signs by finite differences, and failures provoked for real."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from hpcmat.engines.acceptance import accept
from hpcmat.engines.base import EngineFailure, Job
from hpcmat.engines.external.calculation import read_asked, read_ending
from hpcmat.engines.external.cp2k import Cp2kEngine
from hpcmat.engines.external.cp2k_output import read_label
from hpcmat.engines.external.run import Ending
from hpcmat.engines.settings import Cp2kSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.records import FailureKind
from hpcmat.units import GPA_PER_EV_PER_ANG3

pytestmark = pytest.mark.usefixtures("cp2k")

SMALL = Cp2kSettings(basis="SZV-MOLOPT-SR-GTH", cutoff_ev=1500.0, relative_cutoff_ev=400.0, kpoint_spacing_per_ang=1.3)
"""Two k-points along each axis, 4 s of a core."""
GAMMA = SMALL.model_copy(update={"kpoint_spacing_per_ang": 3.0})
"""One k-point, where CP2K computes with real numbers."""


def silicon(x=0.06):
    atoms = bulk("Si", "diamond", 5.43)
    atoms.positions[1] += [x, -0.04, 0.05]
    return from_atoms(atoms)


def compute(structure, folder, settings=SMALL, job=None, **options):
    folder.mkdir(parents=True, exist_ok=True)
    return Cp2kEngine(settings, **options).calculate(structure, replace(job or Job(folder), folder=folder))


def failure_of(*arguments, **options):
    with pytest.raises(EngineFailure) as caught:
        compute(*arguments, **options)
    return caught.value


@pytest.fixture(scope="module")
def run(cp2k, tmp_path_factory):
    """Folder and label of one run."""
    folder = tmp_path_factory.mktemp("cp2k") / "attempt-1"
    return folder, accept(compute(silicon(), folder))


@pytest.fixture(scope="module")
def gamma(cp2k, tmp_path_factory):
    """Label at one k-point."""
    return accept(compute(silicon(), tmp_path_factory.mktemp("gamma"), GAMMA))


def test_the_force_is_the_derivative_of_the_energy(run, gamma, tmp_path):
    """One component, at one k-point; all of them, and the stress, are what `hpcmat engines verify` compares."""
    up, down = (compute(silicon(0.06 + h), tmp_path / str(h), GAMMA).energy for h in (0.01, -0.01))
    assert gamma.forces[1, 0] == pytest.approx(-(up - down) / 0.02, abs=2e-3)
    assert abs(gamma.forces[1, 0]) > 0.5
    # One k-point is another physics.
    assert abs(gamma.energy - run[1].energy) > 1.0


def test_the_label_is_that_of_the_documented_run(run):
    """Numbers of CP2K 2023.1, compared with finite differences of its energies in docs/engines-cp2k.md."""
    _, label = run
    assert label.energy == pytest.approx(-212.68601, abs=1e-3)
    np.testing.assert_allclose(label.forces[0], [1.38370, -0.79878, 1.20822], rtol=0, atol=1e-3)
    stress_gpa = [-6.2285, -6.8769, -6.3867, 10.1058, 3.1948, 9.5169]
    np.testing.assert_allclose(label.stress * GPA_PER_EV_PER_ANG3, stress_gpa, rtol=0, atol=0.01)
    assert abs(label.forces.sum(axis=0)).max() < 1e-4
    assert label.notes[0].startswith(f"CP2K {label.method.version}")


def test_two_spins_of_an_insulator_are_the_calculation_without(gamma, tmp_path):
    """From the moment of the free atom, 2 μB, on each; the smearing that leaves it free is narrow beside the gap."""
    settings = GAMMA.model_copy(update={"spin_polarized": True, "smearing_ev": 0.01})
    label = accept(compute(silicon(), tmp_path, settings))
    assert label.energy == pytest.approx(gamma.energy, abs=1e-5)
    np.testing.assert_allclose(label.forces, gamma.forces, rtol=0, atol=1e-3)
    assert " Spin 2" in (tmp_path / "cp2k.out").read_text()


def test_odd_electrons_without_smearing_are_refused(tmp_path):
    failure = failure_of(from_atoms(bulk("Al", "fcc", 4.04)), tmp_path, GAMMA)
    assert failure.kind is FailureKind.BAD_SETTINGS
    assert "odd number of electrons" in failure.message


def test_an_unconverged_run_ends_well_and_is_no_label(tmp_path):
    """Exit code 0, and energy, forces and stress are printed all the same."""
    failure = failure_of(silicon(), tmp_path, GAMMA, scf_steps=3)
    assert failure.kind is FailureKind.NOT_CONVERGED
    assert read_ending(tmp_path).code == 0
    assert "STRESS| Eigenvalues" in (tmp_path / "cp2k.out").read_text()


def test_stopping_before_the_walltime_and_going_on(run, tmp_path):
    assert failure_of(silicon(), tmp_path / "attempt-1", job=Job(tmp_path, walltime_s=1.2)).kind is FailureKind.WALLTIME
    label = compute(silicon(), tmp_path / "attempt-2", job=Job(tmp_path, attempt=2))
    assert "SCF_GUESS RESTART" in (tmp_path / "attempt-2" / "cp2k.inp").read_text()
    assert label.energy == pytest.approx(run[1].energy, abs=1e-5)


def test_an_unknown_keyword_is_a_matter_of_settings(tmp_path):
    settings = GAMMA.model_copy(update={"extra": {"FORCE_EVAL/DFT/SCF": {"SILLY_KEY": 3}}})
    failure = failure_of(silicon(), tmp_path, settings)
    assert failure.kind is FailureKind.BAD_SETTINGS
    assert "found an unknown keyword SILLY_KEY in section SCF" in failure.message


@pytest.mark.parametrize(("signal", "kind"), [("KILL", FailureKind.OUT_OF_MEMORY), ("SEGV", FailureKind.CRASH)])
def test_a_killed_run_is_no_label(tmp_path, monkeypatch, signal, kind):
    program = Cp2kEngine.code.command()[0]
    settings = SMALL.model_copy(update={"code_version": Cp2kEngine.code.version(), "data_folder": "/usr/share/cp2k"})
    monkeypatch.setenv("HPCMAT_CP2K", f"timeout --signal={signal} 0.5 {program}")
    assert failure_of(silicon(), tmp_path, settings).kind is kind


def test_old_outputs_are_read_again(run):
    folder, label = run
    again = Cp2kEngine(SMALL).read(read_asked(folder), folder, read_ending(folder))
    np.testing.assert_array_equal(again.forces, label.forces)
    np.testing.assert_array_equal(again.stress, label.stress)
    moved = replace(read_asked(folder), structure=silicon(0.061))
    with pytest.raises(EngineFailure, match="another structure"):
        read_label(moved, folder, Ending(0))
