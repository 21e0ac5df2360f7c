"""Pair styles on one core: force, energy and virial of one step, against the best style of LAMMPS in the same run.

Ours is the whole of `evaluate_list`: ghosts, check of the list, sums, forces in the caller's order. LAMMPS' figure is
its "Pair" time alone, force without energy, in a short run of dynamics that begins at the same positions; the best of
the plain, opt and omp styles counts. Energies and forces are compared before anything is timed.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import PERIODIC, Crystal, best, crystal, print_machine, start_clean
from lammps_peer import energy_forces_virial, pair_seconds, potential_file, started
from rows import Row, parser, publish, row

from hpcmat_kernels.pair import PairStyle, embedded_atom, evaluate_list, lennard_jones
from hpcmat_kernels.verlet import verlet_list

RATTLE = 0.07
SKIN = 1.0
SUFFIXES = ("", "opt", "omp")
REPEATS = 5


@dataclass(frozen=True)
class Case:
    """One potential, ours and as LAMMPS commands."""

    name: str
    style: PairStyle
    commands: str


def cases() -> list[Case]:
    """Lennard-Jones within 5 Å and the copper potential of Mishin."""
    file = potential_file("Cu_mishin1.eam.alloy")
    return [
        Case("LJ 5.0 Å", lennard_jones(0.4, 2.3, 5.0), "pair_style lj/cut 5.0\npair_coeff 1 1 0.4 2.3"),
        Case("EAM Cu Mishin", embedded_atom(file, ["Cu"]), f"pair_style eam/alloy\npair_coeff * * {file} Cu"),
    ]


def check(case: Case, system: Crystal) -> None:
    """Stop where the answer is not that of LAMMPS."""
    species = np.zeros(len(system.positions), dtype=int)
    prepared = verlet_list(system.positions, system.cell, PERIODIC, case.style.cutoff, SKIN)
    result = evaluate_list(case.style, prepared, system.positions, system.cell, species)
    with started(system.positions, system.cell, species, case.commands) as engine:
        energy, forces, virial = energy_forces_virial(engine)
    assert np.isclose(result.site_energies.sum(), energy, rtol=1e-10)
    assert np.allclose(result.forces, forces, atol=1e-10 * abs(forces).max())
    assert np.allclose(result.virial, virial, atol=1e-10 * abs(virial).max())


def lammps_seconds(case: Case, system: Crystal, suffix: str) -> float:
    """Pair time of one step, the shortest of several runs, s."""
    n = len(system.positions)
    steps = max(10, 400_000 // n)
    setup = f"{case.commands}\nneighbor {SKIN} bin\nthermo 100000\ntimer full\nfix 1 all nve\nrun 0"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        options = ("-log", str(log), *(("-sf", suffix) if suffix else ()))
        spent = []
        with started(system.positions, system.cell, np.zeros(n, dtype=int), setup, options) as engine:
            for _ in range(REPEATS):
                engine.command(f"run {steps} pre no")
                engine.command("log " + str(log) + " append")
                spent.append(pair_seconds(log))
    return min(spent) / steps


def measure(case: Case, system: Crystal) -> list[Row]:
    """Rows of one potential and one crystal."""
    n, species = len(system.positions), np.zeros(len(system.positions), dtype=int)
    prepared = verlet_list(system.positions, system.cell, PERIODIC, case.style.cutoff, SKIN)
    seconds = best(lambda: evaluate_list(case.style, prepared, system.positions, system.cell, species))
    peers = {suffix: lammps_seconds(case, system, suffix) for suffix in SUFFIXES}
    fastest = min(peers, key=peers.__getitem__)
    listed = len(prepared.arrays.neighbors) / n
    name = f"{case.name}, Cu {n} atoms, {listed:.0f} in the list"
    peer = f"LAMMPS {fastest or 'plain'}, Pair"
    return [row(name, "energy and forces", 1e-6 * n / seconds, "M atom-steps/s", (peer, 1e-6 * n / peers[fastest]))]


def main() -> None:
    """Measure both potentials, small and large."""
    start_clean()
    chosen = parser(__doc__.splitlines()[0]).parse_args()
    print_machine()
    rows: list[Row] = []
    for case in cases():
        check(case, crystal("Cu", 5, RATTLE))
        for repeat in (10, 20):
            rows += measure(case, crystal("Cu", repeat, RATTLE))
    publish(rows, chosen.json)


if __name__ == "__main__":
    main()
