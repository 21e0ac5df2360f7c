"""Dynamics: random numbers against published values, input that cannot be right, code kept on disk."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from crystal_model import PERIODIC, fcc, fitted

import hpcmat_kernels
from hpcmat_kernels.md.driver import run
from hpcmat_kernels.md.potentials import Ace, Pair
from hpcmat_kernels.md.random import normal_numbers, philox
from hpcmat_kernels.md.settings import CellRescaling, Langevin, Settings, UncertaintyStop
from hpcmat_kernels.md.state import make_state, thermal_velocities
from hpcmat_kernels.md.units import BOLTZMANN_EV_PER_K
from hpcmat_kernels.pair import lennard_jones

LJ = Pair(lennard_jones(0.4, 2.28, 5.2))
STATE = make_state(*fcc(2), PERIODIC, 63.5)

# From the test vectors of Random123 (kat_vectors, "philox4x32 10").
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_random_numbers_equal_published_ones(counter, key, expected):
    values = philox(tuple(map(np.uint64, counter)), tuple(map(np.uint64, key)))
    assert tuple(map(int, values)) == expected
    other = philox(tuple(map(np.uint64, counter)), (np.uint64(1), np.uint64(0)))
    assert tuple(map(int, other)) != expected


def test_normal_numbers_have_the_moments_of_the_distribution():
    draws = np.array([normal_numbers(5, step, atom, 0) for step in range(200) for atom in range(200)])
    # Standard errors of 160,000 draws: 0.0025, 0.0035 and 0.025.
    assert abs(draws.mean()) < 0.01
    assert draws.var() == pytest.approx(1.0, abs=0.015)
    assert (draws**4).mean() == pytest.approx(3.0, abs=0.1)
    assert abs(np.corrcoef(draws.T) - np.eye(4)).max() < 0.02
    in_steps = draws.reshape(200, 200, 4)[:, :, 0]
    assert abs((in_steps[1:] * in_steps[:-1]).mean()) < 0.02
    shifted = [normal_numbers(6, 0, atom, 0)[0] for atom in range(200)]
    assert abs(np.corrcoef(in_steps[0], shifted)[0, 1]) < 0.3


def test_thermal_velocities_have_the_temperature():
    masses = np.tile([1.0, 100.0], 5000)
    velocities = thermal_velocities(masses, 500.0, 3)
    kinetic = 0.5 * masses * (velocities**2).sum(axis=1)
    for kind in (0, 1):
        assert kinetic[kind::2].mean() == pytest.approx(1.5 * BOLTZMANN_EV_PER_K * 500.0, rel=0.04)
    np.testing.assert_allclose((masses[:, None] * velocities).sum(axis=0), 0.0, atol=1e-8)


BATH = Langevin(300.0, 0.01, 0)
CELL = CellRescaling(0.0, 0.3, 200.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(0.0), "time step"),
        (Settings(float("nan")), "time step"),
        (Settings(1.0, skin_ang=-1.0), "skin"),
        (Settings(1.0, sample_every=0), "between frames"),
        (Settings(1.0, replace(BATH, temperature_k=-1.0)), "temperature"),
        (Settings(1.0, replace(BATH, friction_per_fs=0.0)), "friction"),
        (Settings(1.0, replace(BATH, seed=-1)), "seed"),
        (Settings(1.0, BATH, replace(CELL, compressibility=0.0)), "compressibility"),
        (Settings(1.0, BATH, replace(CELL, time_fs=-1.0)), "time of the barostat"),
        (Settings(1.0, BATH, replace(CELL, pressure=float("inf"))), "pressure"),
        (Settings(1.0, None, CELL), "add one"),
        (Settings(1.0, stop=UncertaintyStop(0, 1.0)), "between checks"),
        (Settings(1.0, stop=UncertaintyStop(10, 0.0)), "limit"),
        (Settings(1.0, stop=UncertaintyStop(10, 1.0, 0.0)), "limit of the energy"),
        (Settings(1.0, stop=UncertaintyStop(10, 1.0, float("nan"))), "limit of the energy"),
        (Settings(1.0, stop=UncertaintyStop(10, 1.0)), "committee"),
    ],
)
def test_refuses_settings_that_cannot_be_right(settings, message):
    with pytest.raises(ValueError, match=message):
        run(LJ, STATE, settings, 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": np.ones(32, dtype=int)}, "Species"),
        ({"velocities": np.zeros((3, 3))}, "one row per atom"),
        ({"velocities": np.full((32, 3), np.nan)}, "Velocities"),
        ({"masses": np.zeros(32)}, "Masses"),
        ({"positions": np.full((32, 3), np.nan)}, "not finite"),
        ({"positions": np.zeros((32, 3))}, "coincide"),
        ({"cell": np.ones((3, 3))}, "span no volume"),
    ],
)
def test_refuses_a_state_that_cannot_be_right(change, message):
    with pytest.raises(ValueError, match=message):
        run(LJ, replace(STATE, **change), Settings(1.0), 10)


def test_refuses_the_rest():
    with pytest.raises(ValueError, match="number of steps"):
        run(LJ, STATE, Settings(1.0), -1)
    with pytest.raises(ValueError, match="periodic"):
        run(LJ, replace(STATE, pbc=(True, True, False)), Settings(1.0, BATH, CELL), 1)
    with pytest.raises(ValueError, match="temperature"):
        thermal_velocities([1.0], -1.0, 0)
    model, coefficients, draws, _ = fitted()
    with pytest.raises(ValueError, match="committee"):
        run(Ace(model, coefficients, draws[:1]), STATE, Settings(1.0, stop=UncertaintyStop(1, 1.0)), 1)


def test_a_run_does_not_change_its_state():
    before = STATE.positions.copy(), STATE.velocities.copy(), STATE.cell.copy()
    moving = replace(STATE, velocities=STATE.velocities + 0.01)
    run(LJ, moving, Settings(1.0, BATH, CELL), 20)
    for array, copy in zip((STATE.positions, STATE.velocities, STATE.cell), before, strict=True):
        np.testing.assert_array_equal(array, copy)


PROGRAM = """
import json, sys
sys.path.insert(0, {folder!r})
import numpy as np
from hpcmat_kernels.ace import ace_model, split_coefficients
from hpcmat_kernels.md.driver import run
from hpcmat_kernels.md.loop import run_steps
from hpcmat_kernels.md.potentials import Ace
from hpcmat_kernels.md.settings import Settings
from hpcmat_kernels.md.state import make_state
model = ace_model(np.ones((1, 2, 2, {channels})), 4.0, 1.0, (1, 1))
state = make_state([[0.0, 0, 0], [1, 1, 2]], np.zeros((3, 3)), (False,) * 3, 10.0)
end = run(Ace(model, split_coefficients(model, np.full(model.n_features, 0.01))), state, Settings(1.0), 10)
stats = run_steps.stats
print(json.dumps([sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), end.state.positions.tolist()]))
"""


def run_program(folder: Path, channels: int):
    source = PROGRAM.format(folder=str(Path(hpcmat_kernels.__file__).parents[1]), channels=channels)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    done = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_second_process_finds_the_loop_on_disk(tmp_path):
    first, second, other_shape = (run_program(tmp_path, channels) for channels in (1, 1, 9))
    assert first[:2] == [0, 1]
    assert second[:2] == [1, 0]
    assert second[2] == first[2]
    assert other_shape[:2] == [0, 1]
