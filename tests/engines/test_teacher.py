import os
import signal

import numpy as np
import pytest
from ase.build import bulk

from hpcmat.engines.labelling import LabelRequest, label_key, run_label
from hpcmat.engines.settings import DurationSettings, FaultSettings, TeacherSettings
from hpcmat.engines.stillinger_weber import StillingerWeber
from hpcmat.engines.structures import from_atoms, to_atoms
from hpcmat.engines.teacher import OUTPUT_NAME, drawn_fault, duration_s
from hpcmat.engines.teacher_output import Output, format_output, read_output
from hpcmat.records import Failure, FailureKind, Label, decode, encode


def silicon(seed=1):
    atoms = bulk("Si", "diamond", 5.431, cubic=True)
    atoms.rattle(0.05, seed=seed)
    return from_atoms(atoms)


def outcome(settings, folder, attempt=1, structure=None):
    text = run_label(encode(LabelRequest(structure or silicon(), settings)), folder, attempt)
    return decode(Label | Failure, text)


def label(settings, folder, **options):
    result = outcome(settings, folder, **options)
    assert isinstance(result, Label), result
    return result


def test_label_is_what_the_calculator_says(tmp_path):
    atoms = to_atoms(silicon())
    atoms.calc = StillingerWeber()
    result = label(TeacherSettings(), tmp_path)
    assert result.energy == atoms.get_potential_energy()
    np.testing.assert_array_equal(result.forces, atoms.get_forces())
    np.testing.assert_array_equal(result.stress, atoms.get_stress())
    assert result.method.code == "teacher"


def test_label_is_read_back_from_the_file(tmp_path):
    label(TeacherSettings(), tmp_path)
    parsed = read_output(tmp_path / OUTPUT_NAME, 8)
    assert parsed.energy == label(TeacherSettings(), tmp_path).energy


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("not_finite", FailureKind.NOT_FINITE),
        ("not_converged", FailureKind.NOT_CONVERGED),
        ("truncated", FailureKind.CORRUPT_OUTPUT),
    ],
)
def test_faults_give_typed_failures(tmp_path, fault, kind):
    result = outcome(TeacherSettings(faults=FaultSettings(**{fault: 1.0})), tmp_path)
    assert isinstance(result, Failure)
    assert result.failure is kind
    assert result.message
    if kind is not FailureKind.NOT_FINITE:
        assert "hpcmat teacher output" in result.log_tail


def in_child(settings, folder):
    pid = os.fork()
    if pid == 0:
        outcome(settings, folder)
        os._exit(0)
    return pid


def test_a_crash_is_the_death_of_the_process(tmp_path):
    pid = in_child(TeacherSettings(faults=FaultSettings(crash=1.0)), tmp_path)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGSEGV
    control = in_child(TeacherSettings(), tmp_path)
    assert os.waitstatus_to_exitcode(os.waitpid(control, 0)[1]) == 0


def test_a_hang_ends_only_by_being_killed(tmp_path):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        outcome(TeacherSettings(faults=FaultSettings(hang=1.0)), tmp_path)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGALRM


def test_no_truncation_yields_another_label(tmp_path):
    rng = np.random.default_rng(5)
    whole = Output(-34.5, rng.normal(size=(8, 3)), rng.normal(size=6), converged=True, scf_steps=12)
    text = format_output(whole)
    path = tmp_path / OUTPUT_NAME
    refused = 0
    for length in rng.integers(0, len(text) + 1, size=500):
        path.write_text(text[:length])
        try:
            parsed = read_output(path, 8)
        except ValueError:
            refused += 1
            continue
        assert parsed.energy == whole.energy
        np.testing.assert_array_equal(parsed.forces, whole.forces)
        np.testing.assert_array_equal(parsed.stress, whole.stress)
    assert refused > 450
    path.write_text(text)
    assert read_output(path, 8).energy == whole.energy


@pytest.mark.parametrize(
    "damage", ["missing line", "number of atoms", "word", "short force", "extra line", "text after the end", "binary"]
)
def test_damaged_files_are_refused(tmp_path, damage):
    text = format_output(Output(-1.0, np.ones((2, 3)), np.zeros(6), converged=True, scf_steps=3))
    path = tmp_path / OUTPUT_NAME
    damaged = {
        "missing line": text.replace("force 1.0 1.0 1.0\n", "", 1),
        "number of atoms": text.replace("atoms 2", "atoms 3"),
        "word": text.replace("energy -1.0", "energy ****"),
        "short force": text.replace("force 1.0 1.0 1.0\n", "force 1.0 1.0\n", 1),
        "extra line": text.replace("end of", "stress 1 1 1 1 1 1\nend of"),
        "text after the end": f"{text}core dumped\n",
        "binary": "",
    }[damage]
    path.write_bytes(damaged.encode() if damaged else b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"teacher\.out|line|number|float"):
        read_output(path, 2)


def test_ledger_has_a_line_at_the_start_and_at_the_end(tmp_path):
    ledger = tmp_path / "ledger"
    settings = TeacherSettings(ledger=str(ledger))
    outcome(settings, tmp_path, attempt=2)
    key = label_key(silicon(), settings)
    assert ledger.read_text() == f"start {key} 2 {os.getpid()}\nend {key} 2 {os.getpid()}\n"


def test_ledger_of_a_crash_has_no_end(tmp_path):
    ledger = tmp_path / "ledger"
    pid = in_child(TeacherSettings(ledger=str(ledger), faults=FaultSettings(crash=1.0)), tmp_path)
    os.waitpid(pid, 0)
    assert [line.split()[0] for line in ledger.read_text().splitlines()] == ["start"]


def test_a_failed_execution_that_ended_is_in_the_ledger(tmp_path):
    ledger = tmp_path / "ledger"
    outcome(TeacherSettings(ledger=str(ledger), faults=FaultSettings(truncated=1.0)), tmp_path)
    assert [line.split()[0] for line in ledger.read_text().splitlines()] == ["start", "end"]


def test_faults_are_drawn_from_key_attempt_and_seed():
    faults = FaultSettings(crash=0.1, not_converged=0.1)
    settings = TeacherSettings(faults=faults)
    draws = [drawn_fault(settings, f"key{number}", 1) for number in range(2000)]
    assert draws == [drawn_fault(settings, f"key{number}", 1) for number in range(2000)]
    assert draws != [drawn_fault(settings, f"key{number}", 2) for number in range(2000)]
    other_seed = TeacherSettings(faults=faults, seed=1)
    assert draws != [drawn_fault(other_seed, f"key{number}", 1) for number in range(2000)]
    assert draws.count("crash") / 2000 == pytest.approx(0.1, abs=0.025)
    assert draws.count("not_converged") / 2000 == pytest.approx(0.09, abs=0.025)
    assert set(draws) == {None, "crash", "not_converged"}


def test_durations_are_log_normal_and_repeatable():
    settings = TeacherSettings(duration=DurationSettings(median_s=2.0, sigma=0.5))
    drawn = np.array([duration_s(settings, f"key{number}") for number in range(2000)])
    assert np.median(drawn) == pytest.approx(2.0, rel=0.06)
    assert np.std(np.log(drawn)) == pytest.approx(0.5, rel=0.06)
    assert duration_s(settings, "key0") == drawn[0]
    assert duration_s(TeacherSettings(), "key0") == 0.0


def test_noise_is_part_of_the_answer(tmp_path):
    plain = label(TeacherSettings(), tmp_path)
    noisy = label(TeacherSettings(noise_ev_per_ang=0.1), tmp_path)
    difference = noisy.forces - plain.forces
    assert np.std(difference) == pytest.approx(0.1, rel=0.4)
    assert np.abs(difference.sum(axis=0)).max() < 1e-12
    np.testing.assert_array_equal(label(TeacherSettings(noise_ev_per_ang=0.1), tmp_path).forces, noisy.forces)
    other = label(TeacherSettings(noise_ev_per_ang=0.1, seed=1), tmp_path)
    assert not np.array_equal(other.forces, noisy.forces)


def test_a_cluster_has_no_stress(tmp_path):
    atoms = bulk("Si", "diamond", 5.431, cubic=True)
    atoms.set_pbc(False)
    assert label(TeacherSettings(), tmp_path, structure=from_atoms(atoms)).stress.shape == (0,)


def test_an_element_without_parameters_is_a_matter_of_settings(tmp_path):
    result = outcome(TeacherSettings(), tmp_path, structure=from_atoms(bulk("Ge", "diamond", 5.66)))
    assert result.failure is FailureKind.BAD_SETTINGS
