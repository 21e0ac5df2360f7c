"""Molecular dynamics from Python: checks, one compiled call, results."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from hpcmat_kernels.md.integrators import Dynamics, System
from hpcmat_kernels.md.loop import FLOWN_APART, NO_LIST, UNCERTAIN, Log, Schedule, run_steps
from hpcmat_kernels.md.potentials import Potential
from hpcmat_kernels.md.settings import Settings, UncertaintyStop, check_settings
from hpcmat_kernels.md.state import State, Trajectory, check_state
from hpcmat_kernels.md.units import BOLTZMANN_EV_PER_K, FEMTOSECOND
from hpcmat_kernels.neighbors.lists import checked_structure, failure


class FlownApartError(ArithmeticError):
    """The atoms flew apart; `trajectory` holds the frames before."""

    def __init__(self, message: str, trajectory: Trajectory) -> None:
        super().__init__(message)
        self.trajectory = trajectory


def run(potential: Potential, state: State, settings: Settings, steps: int) -> Trajectory:
    """Move the atoms by so many steps, or until an uncertainty passes its limit.

    The first call for a kind of potential compiles (tens of seconds); the code is kept on disk for later processes. A
    run is one compiled call on one core and repeats bit for bit on the same machine. The state is not changed;
    memory is 48 n bytes for each of the steps / sample_every + 2 frames.

    Raises
    ------
    ValueError
        Where state, settings and potential do not fit together, or no neighbours can be found.
    FlownApartError
        Where a force or an energy is not finite, or the mean kinetic energy passes 100 eV per atom.
    """
    check_state(state)
    check_settings(settings, all(state.pbc))
    _check_potential(potential, state, settings)
    if steps < 0:
        raise ValueError(f"The number of steps must be 0 or more, not {steps}: correct the argument.")
    system, schedule = _system(state), _schedule(potential, settings, state.step, steps)
    log = _empty_log(len(state.positions), steps // settings.sample_every + 2)
    ending, done, frames, rebuilds, status = run_steps(potential.arrays(), system, _dynamics(settings), schedule, log)
    trajectory = _trajectory(state, system, log, (ending, done, frames, rebuilds))
    if ending == FLOWN_APART or (ending == NO_LIST and done > 0):
        raise FlownApartError(
            f"The atoms flew apart at step {done} of {steps}: shorten the time step of {settings.timestep_fs} fs, "
            "relax the structure first, or teach the potential what it met.",
            trajectory,
        )
    if ending == NO_LIST:
        lattice = system.cell, system.periodic
        raise ValueError(failure(status, system.positions, lattice, sum(schedule.lengths)))
    return trajectory


def _check_potential(potential: Potential, state: State, settings: Settings) -> None:
    lowest, highest = state.species.min(), state.species.max()
    if lowest < 0 or highest >= potential.n_species:
        raise ValueError(f"Species must be 0 .. {potential.n_species - 1}, not {lowest} .. {highest}: map them first.")
    if settings.stop is not None and not potential.knows_uncertainty:
        raise ValueError("The potential knows no uncertainty: give it a committee of at least two, or do not ask.")


def _system(state: State) -> System:
    """Copies of what moves."""
    r, h, periodic = checked_structure(state.positions, state.cell, state.pbc)
    velocities = np.array(state.velocities, dtype=np.float64, order="C")
    masses, species = np.array(state.masses, dtype=np.float64), np.array(state.species, dtype=np.int64)
    return System(r.copy(), velocities, h.copy(), periodic, masses, species)


def _schedule(potential: Potential, settings: Settings, before: int, steps: int) -> Schedule:
    lengths = float(potential.cutoff), float(settings.skin_ang)
    stop = settings.stop or UncertaintyStop(every=0, limit=math.inf)
    limits = float(stop.limit), float(stop.energy_limit)
    return Schedule(int(steps), int(before), lengths, int(stop.every), limits, int(settings.sample_every))


def _dynamics(settings: Settings) -> Dynamics:
    """Settings in the units of the integrator."""
    timestep, bath, barostat = settings.timestep_fs * FEMTOSECOND, settings.bath, settings.barostat
    kt = BOLTZMANN_EV_PER_K * bath.temperature_k if bath else 0.0
    decay = math.exp(-bath.friction_per_fs * settings.timestep_fs) if bath else 1.0
    pressure = barostat.pressure if barostat else 0.0
    mobility = barostat.compressibility / (barostat.time_fs * FEMTOSECOND) if barostat else 0.0
    return Dynamics(timestep, kt, decay, float(pressure), mobility, bath.seed if bath else 0)


def _empty_log(n: int, frames: int) -> Log:
    vectors = (frames, n, 3)
    return Log(
        np.zeros(frames, dtype=np.int64), np.zeros(vectors), np.zeros(vectors), np.zeros((frames, 3, 3)),
        np.zeros((frames, 2)), np.zeros((frames, 2)),
    )  # fmt: skip


def _trajectory(state: State, system: System, log: Log, outcome: tuple[Any, ...]) -> Trajectory:
    ending, done, frames, rebuilds = outcome
    last = replace(
        state, positions=system.positions, velocities=system.velocities, cell=system.cell, step=state.step + int(done)
    )
    energies, uncertainties = log.energies[:frames], log.uncertainties[:frames]
    return Trajectory(
        last, "uncertain" if ending == UNCERTAIN else "finished", log.steps[:frames], log.positions[:frames],
        log.velocities[:frames], log.cells[:frames], energies[:, 0], energies[:, 1], uncertainties[:, 0],
        uncertainties[:, 1], int(rebuilds),
    )  # fmt: skip
