"""The study of convergence on labels whose errors are known."""

import math
from itertools import pairwise

import numpy as np
import pytest
from ase.build import bulk

from hpcmat.engines.kpoints import kpoint_grid
from hpcmat.engines.sampling import cold_start
from hpcmat.engines.settings import EspressoSettings, TeacherSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.engines.study import convergence
from hpcmat.engines.study.calculations import Calculated
from hpcmat.engines.study.convergence import Tolerances, converge, grid_of
from hpcmat.errors import InputError
from hpcmat.records import Failure, FailureKind, Label, Method

SILICON = from_atoms(bulk("Si", "diamond", 5.43))
FRAMES = cold_start(SILICON, 0.02, 0.05, 2, seed=1)
SETTINGS = EspressoSettings(cutoff_ev=300.0, kpoint_spacing_per_ang=0.4)
METHOD = Method("espresso", "0", "{}", "")


def force_error(cutoff):
    """meV/Å, from 1000 at 50 eV by a factor of ten every 100 eV."""
    return 1000.0 * 10.0 ** (-(cutoff - 50.0) / 100.0)


def engine(force=force_error, fails=()):
    """In the place of the real calculations: forces with an error of the cutoff and of the spacing."""

    def calculate(settings, structures, folder):
        error = 1e-3 * (force(settings.cutoff_ev) + 10.0 * settings.kpoint_spacing_per_ang**2)
        labels = [
            Label(s, 2.0 * n * error, np.array([[error, 0, 0], [-error, 0, 0]]), np.zeros(0), METHOD)
            for n, s in enumerate(structures)
        ]
        failed = Failure(FailureKind.NOT_CONVERGED, "not converged")
        return Calculated(tuple(failed if settings.cutoff_ev in fails else label for label in labels), 1.0)

    return calculate


def study(monkeypatch, tmp_path, calculate, tolerances=None):
    monkeypatch.setattr(convergence, "calculate", calculate)
    grid = grid_of(SETTINGS, FRAMES)
    return converge(SETTINGS, FRAMES, grid, tolerances or Tolerances(10.0, 2.0), tmp_path)


def test_spacings_that_give_the_same_points_are_tried_once():
    grid = grid_of(EspressoSettings(cutoff_ev=300.0, kpoint_spacing_per_ang=1.2), FRAMES)
    seen = [tuple(kpoint_grid(f.cell, s) for f in FRAMES) for s in (*grid.spacings_per_ang, grid.tight[1])]
    assert len(set(seen)) == len(seen)
    assert grid.tight == (600.0, 0.6)
    assert all(a < b for a, b in pairwise(grid.cutoffs_ev))
    assert max(grid.cutoffs_ev) <= 0.8 * 600.0
    with pytest.raises(InputError, match="no cutoff"):
        grid_of(TeacherSettings(), FRAMES)


def test_the_cheapest_pair_is_within_tolerance_and_the_next_cheaper_ones_are_not(monkeypatch, tmp_path):
    found = study(monkeypatch, tmp_path, engine()).found
    # 350 eV are within 1 meV/Å of 600 eV; 300 eV are not within 2.
    assert found.cutoff_ev == 350.0
    assert found.series == "both"
    assert found.worst <= 1.0
    assert found.errors.force_max_mev_per_ang == pytest.approx(
        force_error(350.0) - force_error(600.0) + 10.0 * (found.spacing_per_ang**2 - 0.2**2), rel=1e-6
    )


def test_a_cutoff_that_is_right_by_accident_is_passed_over(monkeypatch, tmp_path):
    outcome = study(monkeypatch, tmp_path, engine(lambda cutoff: 0.0 if cutoff == 200.0 else force_error(cutoff)))
    accident = next(t for t in outcome.trials if t.series == "cutoff" and t.cutoff_ev == 200.0)
    assert accident.worst < 1.0
    assert outcome.found.cutoff_ev == 350.0


def test_slow_convergence_finds_nothing(monkeypatch, tmp_path):
    assert study(monkeypatch, tmp_path, engine(lambda cutoff: 1e4 / cutoff)).found is None


def test_failures_are_never_within_tolerance(monkeypatch, tmp_path):
    outcome = study(monkeypatch, tmp_path, engine(fails={350.0}))
    assert outcome.found.cutoff_ev == 400.0
    failed = next(trial for trial in outcome.trials if trial.cutoff_ev == 350.0)
    assert math.isinf(failed.worst)
    with pytest.raises(InputError, match=r"structure 0 has no label at 600 eV .*not converged"):
        study(monkeypatch, tmp_path, engine(fails={600.0}))


def test_a_stress_that_is_not_there_cannot_be_converged(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="no stress"):
        study(monkeypatch, tmp_path, engine(), Tolerances(10.0, 2.0, 0.1))
