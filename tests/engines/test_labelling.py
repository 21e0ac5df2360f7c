import errno
import json

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st

from hpcmat.engines.base import machine_failure, physics_of
from hpcmat.engines.gpaw import GpawEngine
from hpcmat.engines.labelling import LabelRequest, label_key, run_label, warm_up
from hpcmat.engines.registry import check_engine, engine_for
from hpcmat.engines.settings import DurationSettings, FaultSettings, GpawSettings, TeacherSettings
from hpcmat.engines.structures import from_atoms, to_atoms
from hpcmat.engines.teacher import TeacherEngine
from hpcmat.errors import InputError
from hpcmat.records import Failure, FailureKind, Label, Structure, decode, encode

SILICON = from_atoms(bulk("Si", "diamond", 5.431, cubic=True))


def moved(distance):
    positions = np.array(SILICON.positions)
    positions[0, 0] += distance
    return Structure(SILICON.symbols, positions, SILICON.cell)


CROWDED = Structure(("Si", "Si"), np.array([[0.0, 0.0, 0.0], [0.4, 0.0, 0.0]]), 6.0 * np.eye(3))


def failure_of(request, folder):
    return decode(Failure, run_label(request, folder, 1))


@pytest.mark.parametrize(
    "other",
    [
        TeacherSettings(duration=DurationSettings(median_s=3.0, sigma=1.0)),
        TeacherSettings(faults=FaultSettings(crash=0.5)),
        TeacherSettings(ledger="ledger.txt"),
    ],
)
def test_what_is_not_physics_does_not_change_the_key(other):
    assert label_key(SILICON, other) == label_key(SILICON, TeacherSettings())


@pytest.mark.parametrize(
    "other",
    [
        TeacherSettings(calculator="tersoff"),
        TeacherSettings(noise_ev_per_ang=0.01),
        TeacherSettings(seed=1),
        GpawSettings(),
        GpawSettings(cutoff_ev=301.0),
        GpawSettings(xc="LDA"),
        GpawSettings(kpoint_spacing_per_ang=0.5),
        GpawSettings(kpoint_grid="gamma"),
        GpawSettings(smearing_ev=0.1),
    ],
)
def test_physics_changes_the_key(other):
    keys = {label_key(SILICON, settings) for settings in (TeacherSettings(), GpawSettings(cutoff_ev=299.0), other)}
    assert len(keys) == 3


def test_positions_enter_the_key_to_their_tenth_digit():
    key = label_key(SILICON, TeacherSettings())
    assert label_key(moved(1e-12), TeacherSettings()) == key
    assert label_key(moved(1e-6), TeacherSettings()) != key


def test_remedies_are_not_part_of_what_is_asked():
    requests = [LabelRequest(SILICON, GpawSettings(), remedies) for remedies in ((), ("mixing",))]
    assert len({label_key(request.structure, request.engine) for request in requests}) == 1


def test_the_key_names_version_and_data_sets(monkeypatch):
    from hpcmat.engines import gpaw, labelling

    before = label_key(SILICON, GpawSettings())
    monkeypatch.setattr(gpaw, "version", lambda package: "0.0")
    labelling._method.cache_clear()
    assert label_key(SILICON, GpawSettings()) != before
    monkeypatch.undo()
    labelling._method.cache_clear()
    assert label_key(SILICON, GpawSettings()) == before


def test_stored_settings_name_no_path():
    assert "ledger" not in json.loads(physics_of(TeacherSettings(ledger="somewhere/ledger")))


@pytest.mark.parametrize(
    ("request_text", "kind"),
    [
        ("{}", FailureKind.BAD_SETTINGS),
        ("not json", FailureKind.BAD_SETTINGS),
        (encode(LabelRequest(SILICON, TeacherSettings(), ("prayer",))), FailureKind.BAD_SETTINGS),
        (encode(LabelRequest(CROWDED, TeacherSettings())), FailureKind.UNPHYSICAL),
    ],
)
def test_expected_failures_are_data(tmp_path, request_text, kind):
    assert failure_of(request_text, tmp_path).failure is kind


def test_a_machine_with_other_code_than_the_key_names_labels_nothing(tmp_path, monkeypatch):
    """A label would stand under the name of another physics, for every campaign to find."""
    import ase

    key = label_key(SILICON, TeacherSettings())
    request = encode(LabelRequest(SILICON, TeacherSettings(), key=key))
    assert decode(Label, run_label(request, tmp_path, 1)).energy < 0.0
    monkeypatch.setattr(ase, "__version__", "0.1")
    failure = failure_of(request, tmp_path)
    assert failure.failure is FailureKind.BAD_SETTINGS
    assert "not that of teacher ase 0.1" in failure.message


def test_a_full_disk_is_the_fault_of_the_machine(tmp_path, monkeypatch):
    def full(self, structure, job):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TeacherEngine, "calculate", full)
    assert failure_of(encode(LabelRequest(SILICON, TeacherSettings())), tmp_path).failure is FailureKind.DISK_FULL


def test_exhausted_memory_is_typed(tmp_path, monkeypatch):
    def exhausted(self, structure, job):
        raise MemoryError

    monkeypatch.setattr(TeacherEngine, "calculate", exhausted)
    failure = failure_of(encode(LabelRequest(SILICON, TeacherSettings())), tmp_path)
    assert failure.failure is FailureKind.OUT_OF_MEMORY


def test_unexpected_errors_are_not_hidden(tmp_path, monkeypatch):
    def broken(self, structure, job):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(TeacherEngine, "calculate", broken)
    with pytest.raises(PermissionError):
        run_label(encode(LabelRequest(SILICON, TeacherSettings())), tmp_path, 1)
    assert machine_failure(OSError(errno.EACCES, "Permission denied")) is None


def test_settings_lead_to_their_engine():
    assert isinstance(engine_for(GpawSettings()), GpawEngine)
    assert isinstance(engine_for(TeacherSettings()), TeacherEngine)
    with pytest.raises(InputError, match="Ge"):
        check_engine(TeacherSettings(), {"Ge"})


def test_request_survives_its_encoding():
    request = LabelRequest(SILICON, GpawSettings(cutoff_ev=250), ("mixing",))
    decoded = decode(LabelRequest, encode(request))
    assert decoded.engine == request.engine
    assert decoded.remedies == request.remedies
    np.testing.assert_array_equal(decoded.structure.positions, SILICON.positions)


def test_warm_up_accepts_a_request():
    warm_up(encode(LabelRequest(SILICON, TeacherSettings())))


@given(st.lists(st.floats(-20, 20), min_size=6, max_size=6))
def test_structures_survive_the_way_through_ase(numbers):
    structure = Structure(("Si", "Ge"), np.reshape(numbers, (2, 3)), np.eye(3) * 7, (True, False, True))
    back = from_atoms(to_atoms(structure))
    assert back.symbols == structure.symbols
    assert back.pbc == structure.pbc
    np.testing.assert_array_equal(back.positions, structure.positions)
    np.testing.assert_array_equal(back.cell, structure.cell)
