"""A fitted potential in the compiled dynamics: the same forces, and an end where it no longer knows."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.data import atomic_masses

from hpcmat.errors import InputError
from hpcmat.surrogates.calculator import structure_of
from hpcmat.surrogates.extrapolation import posterior_scores
from hpcmat.surrogates.molecular_dynamics import MARGIN, kernel_potential, stop_at_limits
from hpcmat_kernels.md.driver import run
from hpcmat_kernels.md.settings import Langevin, Settings, UncertaintyStop
from hpcmat_kernels.md.state import make_state, thermal_velocities

EVERY, STEPS = 20, 500


def crystal(scale=1.0, rattle=0.0):
    atoms = bulk("Si", cubic=True) * (2, 2, 2)
    atoms.set_cell(scale * atoms.cell, scale_atoms=True)
    atoms.positions += rattle * np.random.default_rng(4).normal(size=atoms.positions.shape)
    return atoms


def state_of(atoms):
    state = make_state(atoms.positions, atoms.cell.array, (True, True, True), atomic_masses[14])
    return replace(state, velocities=thermal_velocities(state.masses, 600.0, 1))


@pytest.fixture(scope="module")
def watched(potential):
    return Settings(1.0, Langevin(300.0, 0.02, 3), stop=stop_at_limits(potential, EVERY), sample_every=EVERY)


def test_dynamics_knows_what_the_potential_knows(potential):
    atoms = crystal(1.03, rattle=0.2)
    watch = UncertaintyStop(1, limit=1e9)
    found = run(kernel_potential(potential), state_of(atoms), Settings(1.0, stop=watch), 0)
    structure = structure_of(atoms)
    assert found.potential_energies[0] == pytest.approx(potential.predict(structure).energy, rel=1e-10)
    exact = posterior_scores(potential, potential.design(structure))
    # Eight members: a standard deviation is known within a quarter.
    assert found.uncertainties[0] == pytest.approx(np.sqrt(3) * exact.force_max, rel=0.5)
    assert found.energy_uncertainties[0] == pytest.approx(exact.energy, rel=0.75)


def test_a_crystal_at_room_temperature_goes_on(potential, watched):
    found = run(kernel_potential(potential), state_of(crystal()), watched, STEPS)
    assert found.reason == "finished"
    assert found.temperatures.max() > 200.0
    assert np.isfinite(found.uncertainties).all()


def test_a_compressed_crystal_ends_at_once(potential, watched):
    kernel, state = kernel_potential(potential), state_of(crystal(0.9))
    found = run(kernel, state, watched, STEPS)
    assert (found.reason, found.state.step) == ("uncertain", 0)
    # By the energy: the forces of a perfect crystal vanish in every member.
    assert found.uncertainties[0] < 1e-6 < found.energy_uncertainties[0]
    forces_alone = replace(watched, stop=replace(watched.stop, energy_limit=np.inf))
    assert run(kernel, state, forces_alone, 0).reason == "finished"


def test_an_atom_pushed_onto_its_neighbour_ends_the_run_at_once(potential, watched):
    atoms = crystal()
    vector = atoms.get_distance(0, 1, mic=True, vector=True)
    atoms.positions[0] += vector * (1 - 1.5 / np.linalg.norm(vector))
    found = run(kernel_potential(potential), state_of(atoms), watched, STEPS)
    assert (found.reason, found.state.step) == ("uncertain", 0)
    assert found.uncertainties[0] > watched.stop.limit


def test_a_crystal_that_is_heated_ends_in_time(potential, watched):
    hot = replace(watched, bath=Langevin(6000.0, 0.02, 3))
    found = run(kernel_potential(potential), state_of(crystal()), hot, 20 * STEPS)
    assert found.reason == "uncertain"
    assert 0 < found.state.step < 20 * STEPS


def test_limits_are_those_of_the_metadata(potential):
    limits = dict(potential.metadata.extrapolation_limits)
    watch = stop_at_limits(potential, EVERY)
    assert watch.limit == pytest.approx(MARGIN * np.sqrt(3) * limits["force_sigma_ev_per_ang"])
    assert watch.energy_limit == pytest.approx(MARGIN * limits["energy_sigma_ev_per_atom"])
    silent = replace(potential, metadata=replace(potential.metadata, extrapolation_limits=()))
    with pytest.raises(InputError, match="fit it again"):
        stop_at_limits(silent, EVERY)
