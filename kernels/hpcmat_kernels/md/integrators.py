r"""Pieces of a step: velocity Verlet, Langevin in the order BAOAB, stochastic rescaling of the cell.

    B   v += F dt / 2m                                       half a kick, at both ends of the step
    A   r += v dt / 2                                        half a drift, on both sides of O
    O   v = c v + sqrt((1 - c²) kT / m) ξ,  c = exp(-γ dt)   bath

Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34. Without O it is velocity Verlet. The cell is scaled before
the force is evaluated, with λ = sqrt(V) of Bernetti and Bussi, J. Chem. Phys. 153 (2020) 114107:

    dλ = -(β λ / 2τ) (P₀ - P - kT / 2V) dt + sqrt(kT β dt / 2τ) ξ,   P = (2 K - Σ_a dE/dε_aa) / 3V

Positions go with the length of the cell, velocities against it. The scaling takes P from the force of the step before,
an error of order dt / τ.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from hpcmat_kernels.md.random import normal_numbers


class System(NamedTuple):
    """What moves and what does not; arrays of the positions, velocities and cell are changed in place."""

    positions: Any
    velocities: Any
    cell: Any
    periodic: Any
    masses: Any
    species: Any


class Dynamics(NamedTuple):
    """Numbers of the integrator, in eV, Å, u and the unit of time that belongs to them."""

    timestep: float
    bath: float
    """kT, eV"""
    decay: float
    """c; 1 without bath"""
    pressure: float
    """P₀, eV/Å³"""
    mobility: float
    """β / τ; 0 for a constant cell"""
    seed: int


@njit(cache=True)
def kick(system: Any, forces: Any, time: Any) -> None:
    """Velocities v += F time / m."""
    velocities, masses = system.velocities, system.masses
    for i in range(len(masses)):
        factor = time / masses[i]
        for a in range(3):
            velocities[i, a] += factor * forces[i, a]


@njit(cache=True)
def drift(system: Any, time: Any) -> None:
    """Positions r += v time."""
    positions, velocities = system.positions, system.velocities
    for i in range(len(positions)):
        for a in range(3):
            positions[i, a] += velocities[i, a] * time


@njit(cache=True)
def meet_bath(system: Any, dynamics: Any, step: Any) -> None:
    """The step O."""
    velocities, masses, c = system.velocities, system.masses, dynamics.decay
    strength = np.sqrt((1.0 - c * c) * dynamics.bath)
    for i in range(len(masses)):
        width = strength / np.sqrt(masses[i])
        x, y, z, _ = normal_numbers(dynamics.seed, step, i, 0)
        velocities[i, 0] = c * velocities[i, 0] + width * x
        velocities[i, 1] = c * velocities[i, 1] + width * y
        velocities[i, 2] = c * velocities[i, 2] + width * z


@njit(cache=True)
def move(system: Any, forces: Any, dynamics: Any, step: Any) -> None:
    """All of a step that comes before the new forces, but for the cell."""
    dt = dynamics.timestep
    kick(system, forces, 0.5 * dt)
    if dynamics.decay == 1.0:
        drift(system, dt)
        return
    drift(system, 0.5 * dt)
    meet_bath(system, dynamics, step)
    drift(system, 0.5 * dt)


@njit(cache=True)
def kinetic_energy(system: Any) -> Any:
    """Σ m v² / 2, eV."""
    velocities, masses, total = system.velocities, system.masses, 0.0
    for i in range(len(masses)):
        x, y, z = velocities[i, 0], velocities[i, 1], velocities[i, 2]
        total += 0.5 * masses[i] * (x * x + y * y + z * z)
    return total


@njit(cache=True)
def volume(cell: Any) -> Any:
    """Volume of the cell, Å³."""
    a, b, c = cell[0], cell[1], cell[2]
    return abs(
        a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0])
    )


@njit(cache=True)
def rescale(system: Any, virial: Any, dynamics: Any, step: Any) -> None:
    """Scale cell, positions and velocities towards the pressure."""
    before = volume(system.cell)
    root, kt, rate = np.sqrt(before), dynamics.bath, 0.5 * dynamics.mobility * dynamics.timestep
    pressure = (2.0 * kinetic_energy(system) - virial[0] - virial[1] - virial[2]) / (3.0 * before)
    noise = normal_numbers(dynamics.seed, step, 0, 1)[0]
    root += np.sqrt(kt * rate) * noise - rate * root * (dynamics.pressure - pressure - 0.5 * kt / before)
    scale = (root * root / before) ** (1.0 / 3.0)
    for i in range(len(system.positions)):
        for a in range(3):
            system.positions[i, a] *= scale
            system.velocities[i, a] /= scale
    for a in range(3):
        for b in range(3):
            system.cell[a, b] *= scale
