"""One LAMMPS in this process: atoms in, steps, frames out, in the units of `hpcmat_kernels.md`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcmat.engines.md.lammps_box import Box, box_of
from hpcmat_kernels.lammps.library import import_lammps
from hpcmat_kernels.md.settings import Langevin, Settings
from hpcmat_kernels.md.state import State, Trajectory
from hpcmat_kernels.md.units import BOLTZMANN_EV_PER_K, FEMTOSECOND

Floats = NDArray[np.float64]

PS = 1000.0 * FEMTOSECOND
"""LAMMPS' unit of time in that of the kernels."""
LARGEST_SEED = 900_000_000


class LammpsError(Exception):
    """What LAMMPS said before it gave up."""


@dataclass(frozen=True, slots=True)
class PairStyle:
    """Commands that load and choose a pair style, and how many types of atoms it knows."""

    commands: str
    n_types: int


class Session:
    """A running LAMMPS; leave the `with` block to end it."""

    def __init__(self, style: PairStyle, state: State, settings: Settings, log: Path) -> None:
        self.masses = state.masses
        self._state, self._settings, self._log = state, settings, log
        self._box: Box = box_of(state)
        self._frames: list[tuple[int, Floats, Floats, tuple[float, float]]] = []
        self._engine: Any = import_lammps().lammps(cmdargs=["-screen", "none", "-log", str(log)])
        try:
            self._set_up(style)
        except LammpsError:
            self._engine.close()
            raise

    def __enter__(self) -> Session:
        """The session itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End LAMMPS."""
        self._engine.close()

    def advance(self, steps: int) -> None:
        """Run so many steps from where the last ones ended."""
        self._command(f"run {steps} pre no post yes")

    def energies(self) -> tuple[float, float]:
        """Potential and kinetic energy, eV."""
        velocities = self._velocities()
        return float(self._engine.get_thermo("pe")), float(0.5 * self.masses @ np.sum(velocities**2, axis=1))

    def keep(self, step: int) -> None:
        """Write down a frame."""
        self._frames.append((step, self._positions(), self._velocities(), self.energies()))

    def trajectory(self, done: int) -> Trajectory:
        """What was kept, and the state after the last step."""
        steps, positions, velocities, energies = zip(*self._frames, strict=True)
        last = replace(
            self._state, positions=self._positions(), velocities=self._velocities(), step=self._state.step + done
        )
        unknown = np.full(len(steps), np.nan)
        cells = np.repeat(self._state.cell[None], len(steps), axis=0)
        potential, kinetic = np.array(energies).T
        return Trajectory(
            last, "finished", np.array(steps), np.array(positions), np.array(velocities), cells, potential, kinetic,
            unknown, unknown, self._rebuilds(),
        )  # fmt: skip

    def _set_up(self, style: PairStyle) -> None:
        state, settings = self._state, self._settings
        self._command("units metal\natom_modify map array sort 0 0.0\n" + self._box.commands(style.n_types))
        self._command("mass * 1.0")
        # LAMMPS has 1/2 m v² mvv2e in eV with v in Å/ps; here it is 1/2 m v² / PS² of the same v.
        scale = 1.0 / (PS**2 * float(self._engine.extract_global("mvv2e")))
        for species in np.unique(state.species):
            mass = float(state.masses[state.species == species][0])
            self._command(f"mass {species + 1} {mass * scale!r}")
        self._create_atoms()
        self._command(f"{style.commands}\nneighbor {settings.skin_ang!r} bin\nneigh_modify every 1 delay 0 check yes")
        self._command(f"timestep {settings.timestep_fs / 1000.0!r}\nfix move all nve")
        if settings.bath is not None:
            self._command(self._bath(settings.bath))
        self._command("thermo_style custom step pe\nthermo_modify lost error norm no flush no\nrun 0")

    def _bath(self, bath: Langevin) -> str:
        kelvin = bath.temperature_k * BOLTZMANN_EV_PER_K / float(self._engine.extract_global("boltz"))
        damping_ps = 1.0 / (1000.0 * bath.friction_per_fs)
        seed = 1 + (bath.seed + self._state.step) % LARGEST_SEED
        return f"fix bath all langevin {kelvin!r} {kelvin!r} {damping_ps!r} {seed}"

    def _create_atoms(self) -> None:
        state, n = self._state, len(self._state.positions)
        positions, cells = self._box.into(state.positions)
        images = [self._engine.encode_image_flags(*map(int, row)) for row in cells]
        velocities = (state.velocities @ self._box.turn) * PS
        numbers, types = list(range(1, n + 1)), (state.species + 1).tolist()
        made = self._engine.create_atoms(
            n, numbers, types, positions.ravel().tolist(), velocities.ravel().tolist(), images, True
        )
        if made != n:
            raise LammpsError(f"{made} of {n} atoms could be placed in the box")

    def _positions(self) -> Floats:
        cells = np.array(self._engine.gather_atoms("image", 0, 3), dtype=np.int64).reshape(-1, 3)
        return self._box.out_of(self._gathered("x"), cells)

    def _velocities(self) -> Floats:
        velocities: Floats = self._gathered("v") @ self._box.turn.T / PS
        return velocities

    def _gathered(self, name: str) -> Floats:
        return np.array(self._engine.gather_atoms(name, 1, 3)).reshape(-1, 3)

    def _rebuilds(self) -> int:
        counts = re.findall(r"Neighbor list builds = (\d+)", self._log.read_text(errors="replace"))
        return sum(map(int, counts))

    def _command(self, text: str) -> None:
        # LAMMPS raises nothing more special, MPI errors of its library included.
        try:
            self._engine.commands_string(text)
        except Exception as error:
            raise LammpsError(str(error)) from error
