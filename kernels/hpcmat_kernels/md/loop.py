"""The compiled loop over the steps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from hpcmat_kernels.md.forces import evaluate, prepare, spreads
from hpcmat_kernels.md.integrators import kick, kinetic_energy, move, rescale
from hpcmat_kernels.verlet import FINE, build, empty_points, needs_rebuild

FINISHED, UNCERTAIN, FLOWN_APART, NO_LIST = range(4)
"""Why a run ended."""
LARGEST_KINETIC_ENERGY = 100.0
"""Mean over the atoms in eV, 770,000 K: no solid, liquid or plasma that an interatomic potential describes."""


class Schedule(NamedTuple):
    """How long, how often, how far."""

    steps: int
    before: int
    """Steps done in earlier runs: random numbers go on from there."""
    lengths: tuple[float, float]
    """Cutoff and skin, Å."""
    check_every: int
    """0 for never"""
    limits: tuple[float, float]
    """Of a force, eV/Å, and of the energy, eV/atom."""
    sample_every: int


class Log(NamedTuple):
    """Room for the frames, one per row."""

    steps: Any
    positions: Any
    velocities: Any
    cells: Any
    energies: Any
    """(f, 2) potential and kinetic"""
    uncertainties: Any
    """(f, 2) as `forces.spreads`"""


@njit(cache=True)
def _write(log: Any, frame: Any, step: Any, system: Any, numbers: Any) -> Any:
    """Fill one row; returns the number of frames."""
    log.steps[frame] = step
    log.positions[frame] = system.positions
    log.velocities[frame] = system.velocities
    log.cells[frame] = system.cell
    log.energies[frame, 0], log.energies[frame, 1] = numbers[0], numbers[1]
    log.uncertainties[frame, 0], log.uncertainties[frame, 1] = numbers[2], numbers[3]
    return frame + 1


@njit(cache=True)
def _new_list(potential: Any, system: Any, lengths: Any) -> Any:
    """Status and (list, points, work arrays, forces by place)."""
    status, verlet = build(system.positions, (system.cell, system.periodic), lengths)
    points, work = empty_points(verlet, system.species), prepare(potential, verlet, system.species)
    return status, (verlet, points, work, np.empty((len(system.positions), 3)))


@njit(cache=True)
def _ending(schedule: Any, numbers: Any, step: Any, n: Any) -> Any:
    """Why the run ends here, or -1; `numbers` = (potential energy, kinetic energy, both uncertainties)."""
    energy, kinetic, force_spread, energy_spread = numbers
    if not (kinetic < LARGEST_KINETIC_ENERGY * n and np.isfinite(energy)):
        return FLOWN_APART
    if force_spread > schedule.limits[0] or energy_spread > schedule.limits[1]:
        return UNCERTAIN
    return FINISHED if step == schedule.steps else -1


@njit(cache=True)
def _advance(potential: Any, system: Any, moving: Any, neighbors: Any, results: Any) -> Any:
    """One step up to the new positions; returns the neighbours, the status of the list, and 1 where it is new.

    `moving` = (dynamics, lengths of the list, number of the step).
    """
    dynamics, lengths, step = moving
    move(system, results[0], dynamics, step)
    if dynamics.mobility > 0.0:
        rescale(system, results[1], dynamics, step)
    if not needs_rebuild(neighbors[0], system.positions, system.cell):
        return neighbors, FINE, 0
    status, neighbors = _new_list(potential, system, lengths)
    return neighbors, status, 1


@njit(cache=True)
def run_steps(potential: Any, system: Any, dynamics: Any, schedule: Any, log: Any) -> Any:
    """Move the system; returns (why it ended, steps done, frames written, rebuilds, status of the last list).

    Frames are written at step 0, at every `sample_every`-th, and where the uncertainty ends the run.
    """
    n, frames, rebuilds, ending, step = len(system.positions), 0, 0, -1, 0
    results = (np.empty((n, 3)), np.empty(6))
    status, neighbors = _new_list(potential, system, schedule.lengths)
    while True:
        if status != FINE:
            return NO_LIST, step, frames, rebuilds, status
        energy, uncertainties = evaluate(potential, neighbors, system, results), (np.nan, np.nan)
        if step > 0:
            kick(system, results[0], 0.5 * dynamics.timestep)
        if schedule.check_every > 0 and step % schedule.check_every == 0:
            uncertainties = spreads(potential, neighbors[2], neighbors[0], neighbors[1])
        numbers = (energy, kinetic_energy(system), uncertainties[0], uncertainties[1])
        ending = _ending(schedule, numbers, step, n)
        if ending == UNCERTAIN or (ending != FLOWN_APART and step % schedule.sample_every == 0):
            frames = _write(log, frames, step, system, numbers)
        if ending >= 0:
            return ending, step, frames, rebuilds, status
        step += 1
        moving = (dynamics, schedule.lengths, schedule.before + step)
        neighbors, status, renewed = _advance(potential, system, moving, neighbors, results)
        rebuilds += renewed
