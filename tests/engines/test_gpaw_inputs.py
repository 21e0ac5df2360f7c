"""What the GPAW engine decides before anything runs."""

import hashlib
import importlib.util

import numpy as np
import pytest
from ase.build import bulk

from hpcmat.engines.base import Job
from hpcmat.engines.gpaw import GpawEngine, data_sets, kpoint_grid
from hpcmat.engines.labelling import label_key
from hpcmat.engines.settings import GpawSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.errors import InputError

CUBIC = 5.43 * np.eye(3)


@pytest.mark.parametrize(
    ("cell", "spacing", "expected"),
    [
        (CUBIC, 0.6, (2, 2, 2)),
        (CUBIC, 0.3, (4, 4, 4)),
        (CUBIC, 100.0, (1, 1, 1)),
        (np.diag([5.43, 10.86, 21.72]), 0.3, (4, 2, 1)),
        # |b| of the face-centred primitive cell is 2π sqrt(3) / a.
        (bulk("Si", "diamond", 5.43).cell.array, 0.6, (4, 4, 4)),
        # Hexagonal: |b1| = 4π / (sqrt(3) a), larger than 2π / a.
        (bulk("Mg", "hcp", 3.2, 5.2).cell.array, 2.0, (2, 2, 1)),
        # A whole number of spacings gains no point by rounding: here 2π / L / 0.7 is 5.000000000000001.
        (np.diag([2 * np.pi / 0.7 / 5] * 3), 0.7, (5, 5, 5)),
    ],
)
def test_kpoint_grid(cell, spacing, expected):
    assert kpoint_grid(cell, spacing) == expected


def test_kpoint_grid_does_not_depend_on_handedness_or_rotation():
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    cell = bulk("Mg", "hcp", 3.2, 5.2).cell.array
    assert kpoint_grid(cell @ turn, 0.37) == kpoint_grid(cell, 0.37)


def test_data_sets_are_named_and_hashed():
    path = data_sets({"Si"}, "PBE")["Si"]
    method = GpawEngine(GpawSettings()).method({"Si"})
    assert method.inputs == (f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}",)
    assert method.code == "gpaw"
    assert GpawEngine(GpawSettings(xc="LDA")).method({"Si"}).inputs != method.inputs


def test_data_sets_are_those_that_gpaw_reads():
    from gpaw.setup_data import search_for_file

    assert search_for_file("Si.PBE")[0] == str(data_sets({"Si"}, "PBE")["Si"])


def test_an_own_data_set_takes_precedence_and_changes_the_key(tmp_path, monkeypatch):
    import gpaw

    from hpcmat.engines import labelling

    structure = from_atoms(bulk("Si", "diamond", 5.43))
    before = label_key(structure, GpawSettings())
    (tmp_path / "Si.PBE").write_text("another data set")
    monkeypatch.setattr(gpaw, "setup_paths", [tmp_path, *gpaw.setup_paths])
    labelling._method.cache_clear()
    assert data_sets({"Si"}, "PBE")["Si"] == tmp_path / "Si.PBE"
    assert label_key(structure, GpawSettings()) != before
    labelling._method.cache_clear()


@pytest.mark.parametrize(("symbols", "xc"), [({"Si", "U"}, "PBE"), ({"Si"}, "PBEsol")])
def test_missing_data_set_is_an_input_error(symbols, xc):
    with pytest.raises(InputError, match="data set"):
        GpawEngine(GpawSettings(xc=xc)).check(symbols)


def test_known_elements_pass():
    GpawEngine(GpawSettings()).check({"Si", "O", "Mg"})


def test_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'CC=g\+\+ pip install "hpcmat\[gpaw\]"'):
        GpawEngine(GpawSettings()).check({"Si"})


def test_remedies_change_the_road_and_never_the_physics(tmp_path, monkeypatch):
    import gpaw

    asked = []
    monkeypatch.setattr(gpaw, "GPAW", lambda **options: asked.append(options))
    engine = GpawEngine(GpawSettings())
    structure = from_atoms(bulk("Si", "diamond", 5.43))
    for remedies in ((), ("mixing",), ("mixing", "more-steps", "eigensolver")):
        engine._calculator(structure, Job(tmp_path, 1, remedies))
    road = {"mixer", "maxiter", "eigensolver"}
    physics = [{name: value for name, value in options.items() if name not in road} for options in asked]
    assert physics == [physics[0]] * 3
    assert [set(options) & road for options in asked] == [{"maxiter"}, {"maxiter", "mixer"}, road]
    assert asked[0]["maxiter"] < asked[2]["maxiter"]


@pytest.mark.parametrize(("grid", "kpts"), [("gamma", {"gamma": True}), ("monkhorst-pack", {})])
def test_settings_reach_the_calculator(tmp_path, monkeypatch, grid, kpts):
    import gpaw

    asked = {}
    monkeypatch.setattr(gpaw, "GPAW", lambda **options: asked.update(options))
    settings = GpawSettings(
        xc="LDA", cutoff_ev=277.0, kpoint_grid=grid, smearing_ev=0.07, spin_polarized=True, energy_tolerance_ev=1e-3
    )
    GpawEngine(settings)._calculator(from_atoms(bulk("Si", "diamond", 5.43)), Job(tmp_path))
    assert asked["mode"] == {"name": "pw", "ecut": 277.0}
    assert asked["xc"] == "LDA"
    assert asked["kpts"] == {"size": (4, 4, 4)} | kpts
    assert asked["occupations"] == {"name": "fermi-dirac", "width": 0.07}
    assert asked["spinpol"] is True
    assert asked["convergence"] == {"energy": 1e-3, "density": 1e-5}
