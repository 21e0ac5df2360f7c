"""`hpcmat potential` as a user calls it: a fit, its test set unopened until then, errors, exports, refusals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write

from hpcmat.cli.app import run
from hpcmat.engines.stillinger_weber import StillingerWeber
from hpcmat.surrogates.calculator import structure_of
from hpcmat.surrogates.potential import Potential


def silicon(seed, group):
    rng = np.random.default_rng(seed)
    atoms = bulk("Si", cubic=True)
    strain = rng.uniform(-0.03, 0.03, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    atoms.positions += 0.1 * rng.normal(size=(8, 3))
    atoms.calc = StillingerWeber()
    labelled = atoms.copy()
    labelled.info = {
        "config_type": group,
        "REF_energy": atoms.get_potential_energy(),
        "REF_stress": atoms.get_stress(voigt=False).ravel(),
    }
    labelled.arrays["REF_forces"] = atoms.get_forces()
    return labelled


def make_set(path, seeds):
    frames = [silicon(seed, ("a", "b")[seed % 2]) for seed in seeds]
    write(path, frames, format="extxyz", write_results=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A training set, a test set, and a potential."""
    folder = tmp_path_factory.mktemp("potential")
    make_set(folder / "train.xyz", range(24))
    make_set(folder / "test.xyz", range(100, 108))
    arguments = ["--size", "small", "--cutoff-ang", 4.5, "--out", folder / "si.npz"]
    words = ("potential", "fit", folder / "train.xyz", "--test", folder / "test.xyz", *arguments)
    assert run([str(word) for word in words]) == 0
    return folder


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    """An empty folder with the sets and the potential beside it."""
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_fit_is_accurate_and_remembers_its_files(folder):
    metadata = Potential.load(folder / "si.npz").metadata
    assert (metadata.train_file.file, metadata.train_file.n_used) == ("train.xyz", 24)
    assert (metadata.test_file.file, metadata.test_file.n_used) == ("test.xyz", 8)
    frames = read(folder / "test.xyz", index=":")
    spread = np.sqrt(np.mean([np.mean(atoms.arrays["REF_forces"] ** 2) for atoms in frames]))
    assert 0 < dict(metadata.validation_errors)["forces_rmse_ev_per_ang"] < 0.1 * spread


def test_fit_as_json(here, hpcmat):
    test = here / "test.xyz"
    arguments = ["--size", "small", "--cutoff-ang", 4.5, "--out", "si.npz"]
    told = hpcmat.answer("potential", "fit", here / "train.xyz", "--test", test, *arguments)
    assert told["model"] == "si.npz"
    assert told["train"]["n_used"] == 24 and told["train"]["problems"] == []
    assert told["train"]["keys"] == {"energy": "REF_energy", "forces": "REF_forces", "stress": "REF_stress"}
    assert set(told["test"]["groups"]) == {"a", "b"}
    stored = dict(Potential.load(Path("si.npz")).metadata.validation_errors)
    assert told["test"]["errors"]["forces_rmse_ev_per_ang"] == pytest.approx(stored["forces_rmse_ev_per_ang"])


def test_the_test_set_changes_nothing_but_its_own_figures(here, hpcmat):
    arguments = ["--size", "small", "--cutoff-ang", "4.5", "--out", "alone.npz"]
    assert hpcmat("potential", "fit", here / "train.xyz", *arguments) == 0
    alone, tested = Potential.load(Path("alone.npz")), Potential.load(here / "si.npz")
    assert (alone.coefficients == tested.coefficients).all()
    assert alone.metadata.test_file is None and alone.metadata.validation_errors == ()


WATCHED = """
import os, sys
test, model = sys.argv[1:3]
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str | os.PathLike):
        if os.path.realpath(arguments[0]) == os.path.realpath(test):
            print("OPENED", "after" if os.path.exists(model) else "before", "the model was there")
sys.addaudithook(watch)
from hpcmat.cli.app import run
{peek}
sys.exit(run(["potential", "fit", *sys.argv[3:]]))
"""


def opened(here, peek=""):
    """What happened to the test set while a potential was fitted."""
    arguments = [here / "test.xyz", "new.npz", here / "train.xyz", "--test", here / "test.xyz"]
    arguments += ["--size", "small", "--cutoff-ang", "4.5", "--out", "new.npz"]
    command = [sys.executable, "-c", WATCHED.format(peek=peek), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {line for line in done.stdout.splitlines() if line.startswith("OPENED")}


def test_the_test_set_is_opened_only_after_the_model_is_written(here):
    assert opened(here) == {"OPENED after the model was there"}


@pytest.mark.parametrize(
    "peek", ["open(test)", "os.close(os.open(test, os.O_RDONLY))", "import ase.io; ase.io.read(test)"]
)
def test_a_look_into_the_test_set_would_be_seen(here, peek):
    assert "OPENED before the model was there" in opened(here, peek)


def test_evaluate(here, capsys, hpcmat):
    arguments = [here / "si.npz", here / "test.xyz", "--without-group", "b"]
    told = hpcmat.answer("potential", "evaluate", *arguments)
    assert told["errors"]["n_frames"] == 8 and told["groups"]["a"]["n_frames"] == 4
    assert told["without"] == {"groups": ["b"], "errors": told["groups"]["a"]}
    stored = dict(Potential.load(here / "si.npz").metadata.validation_errors)
    assert told["errors"]["energy_rmse_mev_per_atom"] == pytest.approx(1e3 * stored["energy_rmse_ev_per_atom"])
    assert hpcmat("potential", "evaluate", *arguments) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert {"all", "without", "a", "b"} <= set(rows)
    assert f"{told['errors']['forces_rmse_ev_per_ang']:.3g}" in rows["all"]
    assert "meV/atom" in rows["meV/atom"] and "GPa" in rows["meV/atom"]


def test_info(here, capsys, hpcmat):
    told = hpcmat.answer("potential", "info", here / "si.npz")
    assert told["settings"]["cutoff_ang"] == 4.5 and told["settings"]["elements"] == ["Si"]
    assert told["files"]["train"]["n_used"] == 24 and len(told["files"]["test"]["sha256"]) == 64
    assert hpcmat("potential", "info", here / "si.npz") == 0
    shown = capsys.readouterr().out
    assert told["files"]["train"]["sha256"] in shown
    assert f"{told['test_errors']['forces_rmse_ev_per_ang']:.4g}" in shown


def crystal(a_ang):
    atoms = bulk("Si", a=a_ang, cubic=True)
    atoms.calc = StillingerWeber()
    energy, stress = atoms.get_potential_energy(), atoms.get_stress(voigt=False).ravel()
    labelled = atoms.copy()
    labelled.info = {"config_type": "volumes", "REF_energy": energy, "REF_stress": stress}
    labelled.arrays["REF_forces"] = np.zeros((8, 3))
    return labelled


def test_card_shows_the_crystal_where_frames_hold_it_at_rest(here, hpcmat):
    """Constants of one frame; with it at several volumes also its equation of state, beside that of the labels."""
    frames = read(here / "train.xyz", ":")
    for name, lengths in (("none", []), ("one", [5.431]), ("many", np.linspace(5.3, 5.55, 6))):
        write(f"{name}.xyz", [*frames, *map(crystal, lengths)], format="extxyz", write_results=False)
        arguments = ["--train", f"{name}.xyz", "--test", here / "test.xyz", "--out", f"{name}.html"]
        assert hpcmat("potential", "card", here / "si.npz", *arguments) == 0
    shown = {name: Path(f"{name}.html").read_text() for name in ("none", "one", "many")}
    assert ["C11, GPa" in shown[name] for name in shown] == [False, True, True]
    assert ["equilibrium volume, Å³/atom" in shown[name] for name in shown] == [False, False, True]
    assert "20.02" in shown["many"] and "labels at 6 volumes" in shown["many"]


def test_an_isolated_atom_is_held_and_shown(here, capsys, hpcmat):
    atom = bulk("Si")[:1]
    atom.pbc, atom.cell, atom.info = False, np.zeros((3, 3)), {"REF_energy": 0.25}
    frames = read(here / "train.xyz", ":")
    write("with.xyz", [*frames, atom], format="extxyz", write_results=False)
    assert hpcmat("potential", "fit", "with.xyz", "--size", "small", "--cutoff-ang", 4.5, "--out", "si.npz") == 0
    assert hpcmat("potential", "card", "si.npz", "--train", "with.xyz", "--out", "si.html") == 0
    assert hpcmat.answer("potential", "info", "si.npz")["atom_energies_ev"] == {"Si": 0.25}
    assert hpcmat("potential", "info", "si.npz") == 0
    assert "0.25 eV, held" in capsys.readouterr().out
    assert "Si 0.25 eV: as labelled" in Path("si.html").read_text()
    assert Potential.load(Path("si.npz")).predict(structure_of(atom)).energy == pytest.approx(0.25, abs=1e-6)


def test_export_to_ase_gives_the_same_forces(here, hpcmat):
    assert hpcmat("potential", "export", here / "si.npz", "--to", "ase", "--out", "calc.py") == 0
    names = {}
    text = Path("calc.py").read_text()
    exec(text, names)
    assert len(text.splitlines()) == 3
    atoms = silicon(5, "a")
    atoms.calc = names["calculator"]
    np.testing.assert_allclose(atoms.get_forces(), silicon(5, "a").arrays["REF_forces"], atol=0.3)
    prediction = Potential.load(here / "si.npz").predict(structure_of(atoms))
    assert (atoms.get_forces() == prediction.forces).all()


def test_export_of_sources(here, hpcmat):
    for to, out, word in (("yace", "si.yace", "elements: [Si]"), ("lammps-plugin", "si.cpp", "ace/hpcmat")):
        assert hpcmat.answer("potential", "export", here / "si.npz", "--to", to, "--out", out)["file"] == out
        assert word in Path(out).read_text()
    # The format has no nuclear repulsion; LAMMPS adds it.
    inner, outer = Potential.load(here / "si.npz").core[0, 0]
    head = Path("si.yace").read_text().splitlines()[:4]
    assert head[1:] == [
        f"# pair_style hybrid/overlay pace zbl {inner:.16g} {outer:.16g}",
        "# pair_coeff * * pace si.yace Si",
        "# pair_coeff 1 1 zbl 14 14",
    ]


def test_export_of_a_plugin_compiles_it(here, hpcmat):
    pytest.importorskip("lammps")
    library = hpcmat.answer("potential", "export", here / "si.npz", "--to", "lammps-plugin", "--out", "plugin")["file"]
    assert Path(library).read_bytes()[:4] == b"\x7fELF"


def damaged(path):
    """The training set with one energy missing and one force not finite."""
    frames = read(path, index=":")
    del frames[4].info["REF_energy"]
    frames[6].arrays["REF_forces"][0, 0] = np.nan
    write("damaged.xyz", frames, format="extxyz", write_results=False)


def test_problems_are_told_by_frame_and_kept_in_the_model(here, capsys, hpcmat):
    damaged(here / "train.xyz")
    assert hpcmat("potential", "fit", "damaged.xyz", "--size", "small", "--cutoff-ang", 4.5, "--out", "si.npz") == 0
    told = capsys.readouterr().err
    assert "missing energy: frame 4: " in told and "forces not finite: frame 6: " in told
    assert "22 of 24 frames" in told
    assert Potential.load(Path("si.npz")).metadata.train_file.left_out == (4, 6)


BAD = [
    (["fit", "absent.xyz", "--out", "si.npz"], "absent.xyz: no such file"),
    (["fit", "TRAIN", "--out", "TRAIN"], "is a data file"),
    (["fit", "TRAIN", "--test", "TEST", "--out", "TEST"], "is a data file"),
    (["fit", "TRAIN", "--test", "absent.xyz", "--out", "si.npz"], "--test: absent.xyz: no such file"),
    (["fit", "TRAIN", "--out", "no/si.npz"], "no such folder"),
    (["fit", "TRAIN", "--out", "."], "is a folder"),
    (["fit", "TRAIN"], "Missing option"),
    (["fit", "TRAIN", "--energy-key", "E", "--out", "si.npz"], "no frame has 'E'"),
    (["fit", "TRAIN", "--cutoff-ang", "0.1", "--out", "si.npz"], "cutoff_ang"),
    (["fit", "TRAIN", "--size", "huge", "--out", "si.npz"], "'huge' is not one of"),
    (["evaluate", "MODEL", "TEST", "--without-group", "c"], "no frame is of group c"),
    (["evaluate", "MODEL", "absent.xyz"], "absent.xyz: no such file"),
    (["export", "MODEL", "--to", "yace", "--out", "no/si.yace"], "--out"),
    (["export", "MODEL", "--to", "yace", "--out", "MODEL"], "is the potential itself"),
    (["export", "MODEL", "--to", "gulp", "--out", "x"], "'gulp' is not one of"),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD)
def test_bad_input_is_exit_code_2_and_nothing_is_written(here, capsys, arguments, expected, hpcmat):
    places = {"TRAIN": "train.xyz", "TEST": "test.xyz", "MODEL": "si.npz"}
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    given = [str(here / places[word]) if word in places else word for word in arguments]
    assert hpcmat("potential", *given, "--json") == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["exit_code"] == 2
    assert expected in captured.err.splitlines()[-1]
    assert captured.err.splitlines()[-1].startswith("error: ")
    assert os.listdir() == []
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before


def test_a_damaged_model_is_a_storage_error(here, capsys, hpcmat):
    Path("bad.npz").write_bytes((here / "si.npz").read_bytes()[:100])
    assert hpcmat("potential", "info", "bad.npz") == 3
    assert "fit it again" in capsys.readouterr().err


def test_a_test_set_that_cannot_be_used_leaves_the_model(here, capsys, hpcmat):
    Path("test.xyz").write_text("1\n\nSi 0 0 0\n")
    arguments = ["--size", "small", "--cutoff-ang", 4.5, "--out", "si.npz"]
    assert hpcmat("potential", "fit", here / "train.xyz", "--test", "test.xyz", *arguments) == 2
    assert "si.npz is written, but not tested: test.xyz: no energies" in capsys.readouterr().err
    assert Potential.load(Path("si.npz")).metadata.train_file.n_used == 24


def test_no_command_is_bad_input(capsys, hpcmat):
    assert hpcmat("potential") == 2
    assert "Missing command" in capsys.readouterr().err


def test_help_names_the_commands(capsys, hpcmat):
    assert hpcmat("potential", "--help") == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in ("fit", "evaluate", "info", "export"))
