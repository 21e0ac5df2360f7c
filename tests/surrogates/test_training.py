"""The fit as a task, through the result store."""

import errno
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from hpcmat.errors import StorageError
from hpcmat.records import Failure, FailureKind, decode, encode
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.training import FitRequest, FitResult, fit_key, run_fit, warm_up

SETTINGS = AceSettings(("Si",), cutoff_ang=4.5)
LATTICES = np.linspace(5.2, 5.7, 7)


@pytest.fixture(scope="module")
def request_with_labels(tmp_path_factory, train_labels, test_labels, make):
    root = tmp_path_factory.mktemp("store")
    groups = {
        "train": dict(zip((f"aa{k:03d}" for k in range(12)), train_labels, strict=False)),
        "validation": dict(zip((f"bb{k:03d}" for k in range(4)), test_labels, strict=False)),
        "reference": {f"cc{k:03d}": make.label(bulk("Si", a=a, cubic=True)) for k, a in enumerate(LATTICES)},
    }
    for labels in groups.values():
        for key, label in labels.items():
            make.stored(root, key, label)
    return FitRequest(str(root), SETTINGS, **{name: tuple(labels) for name, labels in groups.items()})


def outcome(request, folder, kind=FitResult):
    folder.mkdir(exist_ok=True)
    return decode(kind, run_fit(encode(request), folder, 1))


def test_fit_gives_figures_and_files(request_with_labels, tmp_path):
    warm_up(encode(request_with_labels))
    result = outcome(request_with_labels, tmp_path)
    assert (result.n_train, result.n_features, len(result.validation)) == (12, 227, 4)
    assert 10 < result.effective_parameters < 227
    assert 0 < result.train.forces_rmse < result.noise_forces * 3
    assert result.prequential == ()
    potential = Potential.load(tmp_path / result.model_file)
    assert potential.metadata.train == request_with_labels.train
    assert dict(potential.metadata.calibration)["forces_coverage_95"] > 0.5
    check_parity(tmp_path / "parity.npz", result)


def check_parity(path, result):
    with np.load(path) as parity:
        assert parity["forces_label_train"].shape == (12 * 24,)
        error = parity["energy_predicted_validation"] - parity["energy_label_validation"]
        np.testing.assert_allclose(error, [score.energy_error for score in result.validation])
        squares = (parity["forces_predicted_validation"] - parity["forces_label_validation"]) ** 2
        np.testing.assert_allclose(squares.mean(), np.mean([score.forces_mse for score in result.validation]))
        sigma = parity["forces_sigma_validation"]
        np.testing.assert_allclose((sigma**2).mean(), np.mean([s.forces_variance for s in result.validation]))


def test_reference_crystal_agrees_with_the_labels(request_with_labels, tmp_path):
    check = outcome(request_with_labels, tmp_path).reference
    assert check.label.lattice_constant_ang == pytest.approx(5.43, abs=0.03)
    assert check.potential.lattice_constant_ang == pytest.approx(check.label.lattice_constant_ang, rel=0.01)
    assert check.potential.bulk_modulus_gpa == pytest.approx(check.label.bulk_modulus_gpa, rel=0.25)
    assert check.label.volume_ang3_per_atom * 8 == pytest.approx(check.label.lattice_constant_ang**3)


def test_reference_without_a_minimum_is_none(request_with_labels, tmp_path):
    stretched = replace(request_with_labels, reference=request_with_labels.reference[-3:])
    assert outcome(stretched, tmp_path).reference is None


def test_previous_fit_scores_new_labels_only(request_with_labels, tmp_path, make):
    first = replace(request_with_labels, train=request_with_labels.train[:8])
    folder = make.stored(request_with_labels.store, "dd000", Failure(FailureKind.CRASH, "placeholder"))
    outcome(first, folder)
    result = outcome(replace(request_with_labels, previous="dd000"), tmp_path)
    assert [score.key for score in result.prequential] == list(request_with_labels.train[8:])
    again = {score.key: score for score in outcome(request_with_labels, tmp_path).validation}
    assert set(again) == set(request_with_labels.validation)


def test_a_fit_repeats_exactly(request_with_labels, tmp_path):
    texts = [run_fit(encode(request_with_labels), tmp_path, attempt) for attempt in (1, 2)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"train": ()}, FailureKind.BAD_SETTINGS, "no training labels"),
        ({"train": ("ff999",)}, FailureKind.CORRUPT_OUTPUT, "missing or damaged"),
        ({"validation": ("ff999",)}, FailureKind.CORRUPT_OUTPUT, "missing or damaged"),
        ({"previous": "ff999"}, FailureKind.CORRUPT_OUTPUT, "previous fit"),
        ({"settings": replace(SETTINGS, elements=("Ge",))}, FailureKind.BAD_SETTINGS, "not Si"),
    ],
)
def test_what_cannot_be_fitted_is_a_failure(request_with_labels, tmp_path, change, kind, message):
    failure = outcome(replace(request_with_labels, **change), tmp_path, Failure)
    assert failure.failure is kind
    assert message in failure.message
    assert not list(tmp_path.iterdir())


def test_request_that_cannot_be_read_is_a_failure(request_with_labels, tmp_path):
    text = encode(request_with_labels).replace('"small"', '"huge"')
    failure = decode(Failure, run_fit(text, tmp_path, 1))
    assert failure.failure is FailureKind.BAD_SETTINGS


@pytest.mark.parametrize(("code", "free"), [(errno.ENOSPC, True), (errno.EIO, False)])
def test_full_disk_is_the_machines_fault(request_with_labels, tmp_path, monkeypatch, code, free):
    def refuse(descriptor):
        raise OSError(code, "no")

    monkeypatch.setattr("os.fsync", refuse)
    if free:
        assert outcome(request_with_labels, tmp_path, Failure).failure is FailureKind.DISK_FULL
    else:
        with pytest.raises(StorageError):
            outcome(request_with_labels, tmp_path, Failure)


def test_damaged_label_is_a_failure(request_with_labels, tmp_path, train_labels, make):
    folder = make.stored(request_with_labels.store, "ee000", train_labels[0])
    record = folder / "record.json"
    record.write_text(record.read_text().replace("1", "2", 3))
    failure = outcome(replace(request_with_labels, train=("ee000",)), tmp_path, Failure)
    assert failure.failure is FailureKind.CORRUPT_OUTPUT


def test_result_that_is_not_a_label_is_a_failure(request_with_labels, tmp_path, make):
    make.stored(request_with_labels.store, "ee001", Failure(FailureKind.CRASH, "not a label"))
    failure = outcome(replace(request_with_labels, train=("ee001",)), tmp_path, Failure)
    assert failure.failure is FailureKind.CORRUPT_OUTPUT
    assert "not a label" in failure.message


def test_key_depends_on_physics_and_not_on_the_place(request_with_labels):
    base = fit_key(request_with_labels)
    assert fit_key(replace(request_with_labels, store="/elsewhere")) == base
    changes = [
        {"train": request_with_labels.train[1:]},
        {"validation": ()},
        {"previous": "dd000"},
        {"reference": ()},
        {"settings": replace(SETTINGS, size="medium")},
        {"settings": replace(SETTINGS, seed=1)},
    ]
    assert len({base, *(fit_key(replace(request_with_labels, **change)) for change in changes)}) == 7
