"""`mpiexec -n N hpcmat potential fit`: one answer, one writer, one voice, and no error that leaves ranks waiting."""

import os
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from hpcmat.engines.stillinger_weber import StillingerWeber
from hpcmat.surrogates.ace import basis_for
from hpcmat.surrogates.mixing_training import FEWEST_STRUCTURES
from hpcmat.surrogates.potential import Potential

COMMAND = [sys.executable, "-c", "from hpcmat.cli.app import main; main()", "potential", "fit"]
OPTIONS = ["--size", "small", "--cutoff-ang", "4.5"]
TOLERANCE = 1e-10
LAUNCHERS = ("PMI_", "PMIX_", "OMPI_", "MV2_", "SLURM_")


def silicon(seed):
    rng = np.random.default_rng(seed)
    atoms = bulk("Si", cubic=True)
    strain = rng.uniform(-0.05, 0.05, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    atoms.positions += 0.2 * rng.normal(size=(8, 3))
    atoms.calc = StillingerWeber()
    labelled = atoms.copy()
    labelled.info = {"REF_energy": atoms.get_potential_energy(), "REF_stress": atoms.get_stress(voigt=False).ravel()}
    labelled.arrays["REF_forces"] = atoms.get_forces()
    return labelled


def environment(**more):
    """That of a process which no launcher started."""
    return {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)} | more


def launched(ranks, *command):
    """The command on some ranks; none of them may go on for ever."""
    # The package belongs to the test environment: without it these tests fail, they do not pass in silence.
    found = next(file.locate() for file in metadata.files("mpich") or () if file.name == "mpiexec.hydra")
    words = [str(found), "-n", str(ranks), *map(str, command)]
    return subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=300, check=False)


def model_of(path):
    potential = Potential.load(path)
    return {
        "mixing": potential.mixing,
        "coefficients": potential.coefficients,
        "factor": potential.covariance_factor,
        "noise": potential.noise,
        "errors": np.array([value for _, value in potential.metadata.train_errors]),
        "test errors": np.array([value for _, value in potential.metadata.validation_errors]),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sets of enough frames to train the mixing, and the potential of one process that no launcher started."""
    folder = tmp_path_factory.mktemp("ranks")
    frames = [silicon(seed) for seed in range(FEWEST_STRUCTURES + 5)]
    write(folder / "train.xyz", frames[:-4], format="extxyz", write_results=False)
    write(folder / "fewer.xyz", frames[:-5], format="extxyz", write_results=False)
    write(folder / "few.xyz", frames[:8], format="extxyz", write_results=False)
    write(folder / "test.xyz", frames[-4:], format="extxyz", write_results=False)
    return folder


def fit(folder, out, name="train.xyz"):
    return [*COMMAND, folder / name, "--test", folder / "test.xyz", "--out", out, *OPTIONS]


def alone(*command):
    words = list(map(str, command))
    return subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=300, check=True)


@pytest.fixture(scope="module")
def reference(folder):
    done = alone(*fit(folder, folder / "alone.npz"))
    assert "channel mixing, step 1" in done.stderr
    return model_of(folder / "alone.npz")


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_any_number_of_ranks_gives_the_same_potential(ranks, folder, reference, tmp_path):
    done = launched(ranks, *fit(folder, tmp_path / "si.npz"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("potential: ") == done.stderr.count("fitting ") == 1
    found = model_of(tmp_path / "si.npz")
    assert abs(found["mixing"] - basis_for(Potential.load(tmp_path / "si.npz").settings).model.mixing).max() > 1e-3
    for name, array in reference.items():
        assert np.linalg.norm(found[name] - array) <= TOLERANCE * np.linalg.norm(array), name


def test_root_chooses_the_cutoff_while_the_others_wait(folder, tmp_path):
    command = [*COMMAND, folder / "few.xyz", "--size", "small", "--out", tmp_path / "si.npz"]
    done = launched(2, *command)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cutoff ") == 1


def test_another_set_gives_another_potential(folder, reference, tmp_path):
    """The control: one frame in forty changes the coefficients by far more than what is asserted above."""
    done = launched(2, *fit(folder, tmp_path / "si.npz", "fewer.xyz"))
    assert done.returncode == 0, done.stderr
    found, coefficients = model_of(tmp_path / "si.npz")["coefficients"], reference["coefficients"]
    assert np.linalg.norm(found - coefficients) > 1e-6 * np.linalg.norm(coefficients)


def test_processes_that_do_not_know_of_each_other_would_be_heard(folder, tmp_path):
    """The control: without what the launcher tells, each does all the work and says so."""
    done = launched(2, "env", "-u", "PMI_RANK", "-u", "PMI_SIZE", *fit(folder, tmp_path / "si.npz", "few.xyz"))
    assert done.stdout.count("potential: ") == done.stderr.count("fitting ") == 2


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["absent.xyz", "--out", "si.npz"], 2, "absent.xyz: no such file"),
        (["TRAIN", "--out", "si.npz", "--cutoff-ang", "0.1"], 2, "cutoff_ang"),
        (["TRAIN", "--test", "BAD", "--out", "si.npz", *OPTIONS], 2, "si.npz is written, but not tested"),
    ],
)
def test_what_the_root_finds_wrong_ends_all_ranks_with_one_message(
    folder, tmp_path, monkeypatch, arguments, exit_code, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.xyz").write_text("1\n\nSi 0 0 0\n")
    places = {"TRAIN": folder / "few.xyz", "BAD": tmp_path / "bad.xyz"}
    done = launched(2, *COMMAND, *(places.get(word, word) for word in arguments))
    assert done.returncode == exit_code
    assert done.stderr.count("error: ") == 1 and message in done.stderr


LONE = """
from hpcmat.dispatch import mpi
from hpcmat.errors import InputError
mpi.PATIENCE_S = 0.5
ranks = mpi.MpiCommunicator()
def work():
    if ranks.rank == 1:
        raise {error}
    ranks.receive(1)
ranks.run(work)
"""


@pytest.mark.parametrize(
    ("error", "exit_code", "message"),
    [('InputError("atoms coincide")', 2, "error: rank 1: atoms coincide"), ('OSError("gone")', 1, "OSError: gone")],
)
def test_an_error_of_one_rank_ends_those_that_wait_for_it(error, exit_code, message):
    done = launched(3, sys.executable, "-c", LONE.format(error=error))
    assert done.returncode == exit_code
    assert done.stderr.count(message) == 1


def test_ranks_that_mpi_does_not_know_are_refused(folder, tmp_path):
    """An mpiexec of another library, or srun without its plugin, starts worlds of one process each."""
    words = list(map(str, fit(folder, tmp_path / "si.npz")))
    told = environment(OMPI_COMM_WORLD_RANK="0", OMPI_COMM_WORLD_SIZE="4")
    done = subprocess.run(words, env=told, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 4
    assert "started 4 processes and MPI knows of 1" in done.stderr
    assert not (tmp_path / "si.npz").exists()
