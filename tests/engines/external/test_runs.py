"""Real calculations with pw.x and ABINIT: units, signs, agreement of the codes, stresses that are not to be trusted."""

import json
import os
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from hpcmat.engines.base import EngineFailure, Job
from hpcmat.engines.external import espresso_output
from hpcmat.engines.external.parsing import parse
from hpcmat.engines.labelling import LabelRequest, label_key, run_label
from hpcmat.engines.registry import engine_for
from hpcmat.engines.settings import AbinitSettings, EspressoSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.engines.verification import verify
from hpcmat.records import Label, decode, encode

SILICON = bulk("Si", "diamond", 5.47)
ALUMINIUM = bulk("Al", "fcc", 4.04)
SETTINGS = {"espresso": EspressoSettings, "abinit": AbinitSettings}
CASES = {
    "Si": (SILICON, {"cutoff_ev": 250.0, "kpoint_spacing_per_ang": 1.1}),
    "Si shifted grid": (SILICON, {"cutoff_ev": 250.0, "kpoint_spacing_per_ang": 1.3, "kpoint_grid": "monkhorst-pack"}),
    "Al": (ALUMINIUM, {"cutoff_ev": 200.0, "kpoint_spacing_per_ang": 0.7, "smearing_ev": 0.3}),
    "Al Gaussian": (
        ALUMINIUM,
        {"cutoff_ev": 200.0, "kpoint_spacing_per_ang": 0.9, "smearing_ev": 0.3, "smearing": "gaussian"},
    ),
}


def structure_of(case):
    # Two atoms, so that forces do not vanish by symmetry.
    atoms = CASES[case][0].repeat((1, 1, 2)) if len(CASES[case][0]) == 1 else CASES[case][0].copy()
    atoms.rattle(0.05, seed=1)
    return from_atoms(atoms)


@pytest.fixture(scope="module")
def computed(gth, tmp_path_factory):
    """Labels by code and case, each computed once."""

    @cache
    def label(name, case):
        settings = SETTINGS[name](pseudopotentials=str(gth), energy_tolerance_ev=1e-9, **CASES[case][1])
        folder = tmp_path_factory.mktemp(name)
        return engine_for(settings).calculate(structure_of(case), Job(folder)), folder

    return label


@pytest.mark.parametrize("case", CASES)
def test_codes_agree_on_one_pseudopotential_file(pw, abinit, computed, case):
    ours, theirs = computed("espresso", case)[0], computed("abinit", case)[0]
    assert abs(ours.energy - theirs.energy) / len(ours.structure) < 1e-4
    assert np.abs(ours.forces - theirs.forces).max() < 1e-3
    assert np.abs(ours.forces).max() > 0.1


@pytest.mark.parametrize(
    ("name", "pseudopotentials", "smearing"),
    [("espresso", "", 0.0), ("abinit", "gth", 0.0), ("abinit", "gth", 0.3)],
)
def test_forces_and_stress_are_derivatives_of_the_energy(pw, abinit, gth, tmp_path, name, pseudopotentials, smearing):
    cell = structure_of("Al") if smearing else structure_of("Si")
    settings = SETTINGS[name](
        pseudopotentials=str(gth) if pseudopotentials else "",
        cutoff_ev=450.0,
        kpoint_spacing_per_ang=1.15,
        smearing_ev=smearing,
        energy_tolerance_ev=1e-9,
    )
    comparisons = verify(settings, cell, tmp_path)
    assert [c.unit for c in comparisons] == ["eV/Å", "GPa"]
    assert all(c.agrees for c in comparisons), comparisons


def test_the_wrong_shear_stress_of_pw_is_seen_and_left_out(pw, gth, tmp_path, monkeypatch):
    settings = EspressoSettings(pseudopotentials=str(gth), cutoff_ev=600.0, kpoint_spacing_per_ang=1.1)
    label = engine_for(settings).calculate(structure_of("Si"), Job(tmp_path))
    monkeypatch.setattr(espresso_output, "distrust", lambda method: "")
    force, stress = verify(settings, structure_of("Si"), tmp_path / "raw")
    assert force.agrees
    wrong = not stress.agrees
    assert (label.stress.size == 0) == wrong, f"pw.x {label.method.version}"
    assert any("stress left out" in note for note in label.notes) == wrong


def test_pressure_has_its_sign(pw, abinit, gth, tmp_path):
    """A compressed crystal pushes outwards: negative where tension is positive."""
    small = from_atoms(bulk("Si", "diamond", 5.2))
    for name, family in (("espresso", ""), ("abinit", str(gth))):
        (tmp_path / name).mkdir()
        engine = engine_for(SETTINGS[name](pseudopotentials=family, cutoff_ev=250.0, kpoint_spacing_per_ang=0.8))
        assert (engine.calculate(small, Job(tmp_path / name)).stress[:3] < -0.05).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_old_outputs_are_read_again_without_the_code(pw, abinit, computed, name, monkeypatch, hpcmat):
    label, folder = computed(name, "Si")
    monkeypatch.setenv("PATH", "/nowhere")
    again = parse(folder)
    assert isinstance(again, Label)
    assert encode(again) == encode(label)
    assert hpcmat("engines", "parse", folder) == 0


@pytest.mark.parametrize("name", SETTINGS)
def test_the_output_of_another_structure_or_version_is_no_label(pw, abinit, computed, name, tmp_path):
    label, folder = computed(name, "Si")
    other = shutil.copytree(folder, tmp_path / "copy")
    asked = json.loads((other / "calculation.json").read_text())
    asked["structure"]["positions"][0][0] += 0.001
    (other / "calculation.json").write_text(json.dumps(asked))
    assert "another structure" in parse(other).message
    asked["structure"]["positions"][0][0] -= 0.001
    asked["method"]["version"] = "5.0"
    (other / "calculation.json").write_text(json.dumps(asked))
    assert f"of version {label.method.version}" in parse(other).message


@pytest.mark.parametrize(
    ("name", "policy"),
    [("espresso", "all"), ("espresso", "failures"), ("espresso", "none"), ("abinit", "failures")],
)
def test_files_stay_by_policy_and_scratch_never(pw, abinit, gth, tmp_path, name, policy):
    settings = SETTINGS[name](pseudopotentials=str(gth), cutoff_ev=150.0, kpoint_spacing_per_ang=2.0, keep_files=policy)
    kept = {}
    for steps in (100, 2):
        folder = tmp_path / str(steps)
        folder.mkdir()
        engine = type(engine_for(settings))(settings, steps)
        try:
            engine.calculate(structure_of("Si"), Job(folder))
        except EngineFailure as failure:
            assert "2 steps" in failure.message
        kept[steps] = (folder / {"espresso": "pw.out", "abinit": "run.abo"}[name]).exists()
        assert not (folder / "scratch").exists()
        assert (folder / "calculation.json").exists()
    assert kept == {100: policy == "all", 2: policy != "none"}


def test_the_runner_labels_through_the_driver_s_door(pw, gth, tmp_path):
    settings = EspressoSettings(pseudopotentials=str(gth), cutoff_ev=150.0, kpoint_spacing_per_ang=2.0)
    structure = structure_of("Si")
    label = decode(Label, run_label(encode(LabelRequest(structure, settings)), tmp_path, 1))
    assert label.method.version.startswith(tuple("123456789"))
    assert label.method.inputs[0].startswith("Si.gth ")
    keys = {label_key(structure, s) for s in (settings, settings.model_copy(update={"keep_files": "none"}))}
    assert len(keys) == 1
    assert label_key(structure, settings.model_copy(update={"extra": {"system": {"nbnd": 9}}})) not in keys


def test_ranks_of_another_mpi_do_not_confuse_the_code(pw, gth, tmp_path, monkeypatch):
    """A worker that is itself an MPI rank starts the code outside of its world."""
    for name, value in (("PMI_RANK", "3"), ("PMI_SIZE", "8"), ("PMIX_RANK", "3"), ("OMPI_COMM_WORLD_RANK", "3")):
        monkeypatch.setenv(name, value)
    settings = EspressoSettings(pseudopotentials=str(gth), cutoff_ev=150.0, kpoint_spacing_per_ang=2.0)
    assert engine_for(settings).calculate(structure_of("Si"), Job(tmp_path)).energy < -190.0
    assert os.environ["PMI_RANK"] == "3"


def test_verify_command_judges_a_campaign(pw, tmp_path, capsys, hpcmat):
    text = Path("jobs/campaigns/si-quickstart.toml").read_text()
    text = text.replace('name = "gpaw"', 'name = "espresso"').replace("cutoff_ev = 250.0", "cutoff_ev = 60.0")
    text = text.replace("kpoint_spacing_per_ang = 0.65", "kpoint_spacing_per_ang = 2.5")
    (tmp_path / "c.toml").write_text(text)
    code = hpcmat("engines", "verify", tmp_path / "c.toml", "--json")
    answer = json.loads(capsys.readouterr().out)
    assert code == (0 if answer["agrees"] else 4)
    assert len(answer["comparisons"]) == 2
    assert answer["comparisons"][0]["agrees"]
