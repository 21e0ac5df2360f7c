"""The fit on 1, 2, 3 and 4 processes of mpiexec: one answer, each row made once, errors on all ranks."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from hpcmat.surrogates import rows
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.fitting import fit_potential

PROGRAM = Path(__file__).parent / "fit_program.py"
SETTINGS = AceSettings(("Si",), cutoff_ang=4.5)
TOLERANCE = 1e-10


@pytest.fixture(scope="module")
def launcher():
    # The package belongs to the test environment: without it these tests fail, they do not pass in silence.
    found = [file.locate() for file in metadata.files("mpich") or () if file.name == "mpiexec.hydra"]
    return str(found[0])


def fit_on(ranks, launcher, folder, labels):
    """Answers of all ranks."""
    asked = folder / "asked.pickle"
    asked.write_bytes(pickle.dumps((labels, SETTINGS)))
    program = [launcher, "-n", str(ranks), sys.executable, str(PROGRAM), str(asked), str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(ranks)]
    assert [answer["size"] for answer in answers] == [ranks] * ranks
    return answers


def relative(one, other):
    return np.linalg.norm(one - other) / np.linalg.norm(other)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_all_ranks_agree_with_one_process(ranks, launcher, tmp_path, train_labels):
    (alone,) = fit_on(1, launcher, tmp_path, train_labels)
    answers = fit_on(ranks, launcher, tmp_path, train_labels)
    for answer in answers:
        for name in ("coefficients", "factor", "noise", "scales"):
            assert relative(answer[name], alone[name]) < TOLERANCE, name
    shares = np.array([answer["designed"] for answer in answers])
    assert (shares.sum(axis=0) == 1).all()
    assert (shares.sum(axis=1) > 0).all()


def test_another_order_of_sums_shows(train_labels, monkeypatch):
    """The control: with sets that depend on the number of ranks the coefficients would differ by rounding."""
    fixed = fit_potential(train_labels, SETTINGS).potential.coefficients
    monkeypatch.setattr(rows, "LEAST_LEAVES", 5)
    moved = fit_potential(train_labels, SETTINGS).potential.coefficients
    assert 0 < relative(moved, fixed) < 1e-6
    few = fit_potential(train_labels[:-1], SETTINGS).potential.coefficients
    assert relative(few, fixed) > 1e-6 > TOLERANCE


def test_an_absurd_label_is_dropped_by_all_ranks(launcher, tmp_path, train_labels):
    forces = train_labels[-1].forces.copy()
    forces[0, 0] += 50.0
    spoilt = (*train_labels[:-1], replace(train_labels[-1], forces=forces))
    answers = fit_on(2, launcher, tmp_path, spoilt)
    alone = fit_potential(spoilt, SETTINGS)
    for answer in answers:
        assert answer["dropped"] == alone.dropped == (len(spoilt) - 1,)
        assert relative(answer["coefficients"], alone.potential.coefficients) < 1e-6


def test_an_error_of_one_rank_ends_all(launcher, tmp_path, train_labels):
    """Two atoms in one place: only the rank of the last label finds out."""
    last = train_labels[-1].structure
    broken = replace(last, positions=np.concatenate([last.positions[:1], last.positions[:1], last.positions[2:]]))
    answers = fit_on(2, launcher, tmp_path, (*train_labels[:-1], replace(train_labels[-1], structure=broken)))
    errors = [answer.get("error", "") for answer in answers]
    assert errors[0] == errors[1] != ""
