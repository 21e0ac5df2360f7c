"""Molecular dynamics on one core, whole steps: ours, LAMMPS' `fix nve`, and ASE's integrator calling our kernels.

Energy conservation over the timed steps is checked first; for Lennard-Jones and the embedded-atom method the first
forces are those of LAMMPS. Potentials of machine learning are different ones of similar size, hence of SNAP only the
speed is compared. The cluster expansion is a soft repulsion with all other coefficients random and tiny, since random
ones of full size let atoms fall into each other.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import ase
import ase.units
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.md.verlet import VelocityVerlet
from bench_ace import random_model
from common import PERIODIC, Crystal, best, crystal, print_machine, start_clean
from lammps_peer import energy_forces_virial, potential_file, started
from rows import Row, parser, publish, row

from hpcmat_kernels.ace import evaluate, split_coefficients
from hpcmat_kernels.md.driver import run
from hpcmat_kernels.md.potentials import Ace, Pair, Potential
from hpcmat_kernels.md.settings import Settings
from hpcmat_kernels.md.state import State, make_state, thermal_velocities
from hpcmat_kernels.neighbors import neighbor_list
from hpcmat_kernels.pair import embedded_atom, lennard_jones
from hpcmat_kernels.pair import evaluate as evaluate_pair

TIMESTEP_FS, TEMPERATURE_K, SKIN = 1.0, 300.0, 1.0
MASSES = {"Cu": 63.546, "Si": 28.0855}
SUFFIXES = ("", "opt", "omp")


@dataclass(frozen=True)
class Case:
    """One potential, ours and LAMMPS' commands."""

    name: str
    potential: Potential
    commands: str
    same: bool
    """Whether both are the same potential."""
    steps: int


def cases(element: str) -> list[Case]:
    """Potentials for one element."""
    model, vector = random_model("medium")
    snap = f"{element}_Zuo_JPCA2020"
    soft = 1e-9 * vector
    soft[1] = 5.0
    coefficients = split_coefficients(model, soft)
    ace = Case(
        f"ACE ({model.n_features} features)", Ace(model, coefficients),
        f"pair_style snap\npair_coeff * * {potential_file(snap + '.snapcoeff')} "
        f"{potential_file(snap + '.snapparam')} {element}", False, 20,
    )  # fmt: skip
    if element != "Cu":
        return [ace]
    file = potential_file("Cu_mishin1.eam.alloy")
    return [
        ace,
        Case(
            "LJ 5.0 Å", Pair(lennard_jones(0.4, 2.3, 5.0, shift=True)),
            "pair_style lj/cut 5.0\npair_coeff 1 1 0.4 2.3\npair_modify shift yes", True, 100,
        ),
        Case(
            "EAM Cu Mishin", Pair(embedded_atom(file, ["Cu"])), f"pair_style eam/alloy\npair_coeff * * {file} Cu",
            True, 100,
        ),
    ]  # fmt: skip


def start(system: Crystal) -> State:
    """Atoms at 300 K."""
    state = make_state(system.positions, system.cell, PERIODIC, MASSES[system.element])
    return replace(state, velocities=thermal_velocities(state.masses, TEMPERATURE_K, 1))


def check(case: Case, system: Crystal) -> None:
    """Stop where the energy is not conserved or not that of LAMMPS."""
    state, n = start(system), len(system.positions)
    trajectory = run(case.potential, state, Settings(TIMESTEP_FS, sample_every=10, skin_ang=SKIN), 200)
    energies = (trajectory.potential_energies + trajectory.kinetic_energies) / n
    assert np.ptp(energies) < 2e-3
    if case.same:
        with started(system.positions, system.cell, state.species, case.commands) as engine:
            expected = energy_forces_virial(engine)[0]
        assert np.isclose(trajectory.potential_energies[0], expected, rtol=1e-10)


def lammps_seconds(case: Case, system: Crystal, suffix: str) -> float:
    """CPU time of one step, s."""
    state = start(system)
    setup = f"{case.commands}\nneighbor {SKIN} bin\nthermo 100000\ntimestep 0.001\nfix 1 all nve"
    options = ("-sf", suffix) if suffix else ()
    steps = max(3, case.steps // 2) if not case.same else case.steps
    with started(state.positions, state.cell, state.species, setup, options) as engine:
        engine.command(f"mass * {MASSES[system.element]}")
        engine.command(f"velocity all create {TEMPERATURE_K} 1 mom yes dist gaussian")
        engine.command("run 0")
        return best(lambda: engine.command(f"run {steps} pre no post no"), time.process_time, 3) / steps


class PerStep(Calculator):
    """Our kernels as ASE would call them: a new list and a new call in every step."""

    implemented_properties = ("energy", "forces")

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = potential

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):  # noqa: D102
        super().calculate(atoms, properties, system_changes)
        species = np.zeros(len(atoms), dtype=int)
        if isinstance(self.potential, Ace):
            pairs = neighbor_list(atoms.positions, atoms.cell.array, PERIODIC, self.potential.cutoff)
            result = evaluate(self.potential.model, self.potential.coefficients, pairs, species)
        else:
            result = evaluate_pair(self.potential.style, atoms.positions, atoms.cell.array, PERIODIC, species)
        self.results = {"energy": result.site_energies.sum(), "forces": result.forces}


def ase_seconds(case: Case, system: Crystal) -> float:
    """CPU time of one step through ASE, s."""
    state = start(system)
    atoms = ase.Atoms(system.element * len(state.masses), state.positions, cell=state.cell, pbc=True)
    atoms.set_velocities(state.velocities)
    atoms.calc = PerStep(case.potential)
    dynamics = VelocityVerlet(atoms, TIMESTEP_FS * ase.units.fs)
    steps = max(5, case.steps // 5)
    return best(lambda: dynamics.run(steps), time.process_time, 3) / steps


def measure(case: Case, system: Crystal) -> list[Row]:
    """Rows of one potential and one crystal."""
    n, settings, state = len(system.positions), Settings(TIMESTEP_FS, sample_every=10**6, skin_ang=SKIN), start(system)
    # Beginning and end of a run (first list, first force) cost about two steps; they are in the figure.
    seconds = best(lambda: run(case.potential, state, settings, case.steps), time.process_time, 3) / case.steps
    suffixes = SUFFIXES if case.same else ("",)
    peers = {suffix: lammps_seconds(case, system, suffix) for suffix in suffixes}
    fastest = min(peers, key=peers.__getitem__)
    name = f"MD {case.name}, {system.element} {n} atoms"
    lammps = f"LAMMPS {fastest or 'plain'}" if case.same else "LAMMPS SNAP 2J=8"
    rate = 1e-3 * n / seconds
    return [
        row(name, "speed", rate, "k atom-steps/s", (lammps, 1e-3 * n / peers[fastest])),
        row(name, "speed", rate, "k atom-steps/s", ("ASE, our kernels", 1e-3 * n / ase_seconds(case, system))),
    ]


def main() -> None:
    """Measure all potentials, small and large crystals."""
    start_clean()
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--large", action="store_true", help="also crystals of 32,000 atoms for the pair styles")
    chosen = options.parse_args()
    print_machine()
    rows: list[Row] = []
    for element, repeat in (("Si", 8), ("Cu", 10)):
        for case in cases(element):
            check(case, crystal(element, 3))
            rows += measure(case, crystal(element, repeat))
            if chosen.large and case.same:
                rows += measure(case, crystal(element, 20))
    publish(rows, chosen.json)


if __name__ == "__main__":
    main()
