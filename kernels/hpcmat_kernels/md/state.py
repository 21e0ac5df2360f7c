"""What goes into a run and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcmat_kernels.md.units import BOLTZMANN_EV_PER_K
from hpcmat_kernels.neighbors.lists import Periodicity, checked_structure

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Reason = Literal["finished", "uncertain"]


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Atoms at one moment; make it with `make_state`."""

    positions: Floats
    """(n, 3) Å, not wrapped into the cell."""
    velocities: Floats
    """(n, 3) Å sqrt(eV / u) / Å, as `ase.Atoms.get_velocities()` gives them."""
    cell: Floats
    """(3, 3) Å, lattice vectors as rows."""
    pbc: tuple[bool, bool, bool]
    masses: Floats
    """(n,) u"""
    species: Ints
    """(n,) index of the species in the potential."""
    step: int = 0
    """Steps done so far; random numbers go on from there."""


def make_state(
    positions: ArrayLike, cell: ArrayLike, pbc: Periodicity, masses: ArrayLike, species: ArrayLike | None = None
) -> State:
    """Atoms at rest; `dataclasses.replace` gives them velocities, as from `thermal_velocities`.

    Parameters
    ----------
    masses : (n,) u, or one number for all.
    species : (n,) indices, all 0 where left out.

    Raises
    ------
    ValueError
        Where shapes do not fit, a number is not finite or a mass is not positive.
    """
    r, h, periodic = checked_structure(positions, cell, pbc)
    n = len(r)
    m = np.array(np.broadcast_to(np.asarray(masses, dtype=np.float64), (n,)))
    z = np.zeros(n, dtype=np.int64) if species is None else np.ascontiguousarray(species, dtype=np.int64)
    axes = (bool(periodic[0]), bool(periodic[1]), bool(periodic[2]))
    state = State(r, np.zeros((n, 3)), h, axes, m, z)
    check_state(state)
    return state


def check_state(state: State) -> None:
    """Refuse a state that cannot be right."""
    n = len(state.positions)
    shapes = (state.velocities.shape, state.masses.shape, state.species.shape)
    if shapes != ((n, 3), (n,), (n,)):
        raise ValueError(f"{n} atoms, but velocities, masses, species of shapes {shapes}: give one row per atom.")
    if not (np.isfinite(state.masses).all() and (state.masses > 0).all()):
        raise ValueError("Masses must be positive and finite, in u: correct those of the structure.")
    if not np.isfinite(state.velocities).all():
        raise ValueError("Velocities must be finite: begin with those of thermal_velocities, or at rest.")


def thermal_velocities(masses: ArrayLike, temperature_k: float, seed: int) -> Floats:
    """Velocities (n, 3) of Maxwell and Boltzmann without total momentum, in the units of `State`.

    Raises
    ------
    ValueError
        Where the temperature is negative or not finite.
    """
    if not (np.isfinite(temperature_k) and temperature_k >= 0):
        raise ValueError(f"The temperature must be 0 K or more, not {temperature_k}: correct the settings.")
    m = np.asarray(masses, dtype=np.float64)[:, None]
    draws = np.random.default_rng(seed).normal(size=(len(m), 3))
    velocities: Floats = draws * np.sqrt(BOLTZMANN_EV_PER_K * temperature_k / m)
    return velocities - (m * velocities).sum(axis=0) / m.sum()


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """Frames of a run and its end."""

    state: State
    """After the last step."""
    reason: Reason
    """"uncertain" where a limit was passed: the last frame is that of the step where it was."""
    steps: Ints
    """(f,) steps of the frames, counted from the beginning of this run; the first is 0."""
    positions: Floats
    """(f, n, 3) Å, not wrapped."""
    velocities: Floats
    """(f, n, 3), units of `State`."""
    cells: Floats
    """(f, 3, 3) Å"""
    potential_energies: Floats
    """(f,) eV"""
    kinetic_energies: Floats
    """(f,) eV"""
    uncertainties: Floats
    """(f,) eV/Å, the largest of an atom; not a number where it was not checked at that very step."""
    energy_uncertainties: Floats
    """(f,) eV/atom; not a number where it was not checked at that very step."""
    rebuilds: int
    """How often the neighbours were searched again."""

    @property
    def temperatures(self) -> Floats:
        """2 K / (3 n k_B) in K, as ASE defines it: no degree of freedom is taken off."""
        temperatures: Floats = 2.0 * self.kinetic_energies / (3.0 * self.positions.shape[1] * BOLTZMANN_EV_PER_K)
        return temperatures
