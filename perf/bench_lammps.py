"""The LAMMPS plugin of a model: time per atom and step against SNAP in the same LAMMPS, and against our own kernel.

Answers are checked against the kernel before anything is timed: 1e-10 eV per atom, 1e-9 eV/Å. Where the package
python-ace is installed, the .yace file of the same model goes through its ML-PACE evaluator, checked and timed too.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_ace import CUTOFF, STANDING, random_model, snap_seconds, step_seconds
from common import Crystal, best, crystal, start_clean
from lammps_peer import started
from rows import Row, parser, publish, row

from hpcmat_kernels.ace import AceModel, Coefficients, Evaluation, evaluate, split_coefficients
from hpcmat_kernels.lammps.build import build_plugin
from hpcmat_kernels.lammps.plugin import STYLE, plugin_source
from hpcmat_kernels.lammps.yace import yace_text

SIZE = "medium"


def kernel_answer(model: AceModel, coefficients: Coefficients, system: Crystal) -> Evaluation:
    """What the plugin is compared with."""
    return evaluate(model, coefficients, system.neighbors(CUTOFF), np.zeros(len(system.positions), dtype=int))


def plugin_seconds(library: Path, system: Crystal, expected: Evaluation) -> float:
    """Time per step and atom of the plugin, s; stops where its answer is wrong."""
    n = len(system.positions)
    style = f"plugin load {library}\npair_style {STYLE}\npair_coeff * * Si\n"
    with started(system.positions, system.cell, np.zeros(n, dtype=int), style + STANDING) as engine:
        engine.commands_string("compute e all pe/atom\ncompute sum all reduce sum c_e\nthermo_style custom pe c_sum")
        engine.command("run 0")
        forces = np.array(engine.gather_atoms("f", 1, 3)).reshape(n, 3)
        energies = np.array(engine.gather("c_e", 1, 1))
        mean = engine.get_thermo("pe") / n
        engine.commands_string("thermo_style one\nuncompute sum\nuncompute e")
        seconds = step_seconds(engine)
    errors = abs(energies - expected.site_energies).max(), abs(forces - expected.forces).max()
    print(f"{system.element}: plugin - kernel at most {errors[0]:.1e} eV per atom, {errors[1]:.1e} eV/Å")
    assert errors[0] < 1e-10
    assert errors[1] < 1e-9
    assert abs(mean - expected.site_energies.mean()) < 1e-10
    return seconds


def pace_seconds(model: AceModel, coefficients: Coefficients, folder: Path) -> float:
    """Time per atom of ML-PACE's recursive evaluator on the same model, s; stops where its answer is wrong."""
    from ase import Atoms
    from pyace.atomicenvironment import aseatoms_to_atomicenvironment
    from pyace.basis import ACECTildeBasisSet
    from pyace.calculator import ACECalculator
    from pyace.evaluator import ACERecursiveEvaluator

    system = crystal("Si", 3)
    expected = kernel_answer(model, coefficients, system)
    file = folder / "model.yace"
    file.write_text(yace_text(model, coefficients, ["Si"]))
    # All three are named, since none keeps the other alive.
    basis, evaluator, calculator = ACECTildeBasisSet(str(file)), ACERecursiveEvaluator(), ACECalculator()
    evaluator.set_basis(basis)
    calculator.set_evaluator(evaluator)
    atoms = Atoms(f"Si{len(system.positions)}", positions=system.positions, cell=system.cell, pbc=True)
    environment = aseatoms_to_atomicenvironment(atoms, CUTOFF, elements_mapper_dict={"Si": 0})
    calculator.compute(environment)
    energy = abs(np.array(calculator.energies) - expected.site_energies).max()
    force = abs(np.array(calculator.forces) - expected.forces).max()
    print(f"ML-PACE - kernel at most {energy:.1e} eV per atom, {force:.1e} eV/Å (its spline tables)")
    assert energy < 1e-9
    assert force < 1e-6
    return best(lambda: calculator.compute(environment)) / len(system.positions)


def measure(model: AceModel, coefficients: Coefficients, library: Path, system: Crystal) -> tuple[list[Row], float]:
    """Rows of one crystal, and the time per atom and step."""
    expected = kernel_answer(model, coefficients, system)
    seconds, snap = plugin_seconds(library, system, expected), snap_seconds(system)
    n, pairs = len(system.positions), system.neighbors(CUTOFF)
    species = np.zeros(n, dtype=int)
    kernel = best(lambda: evaluate(model, coefficients, pairs, species)) / n
    case = f"{system.element} {n} atoms, {len(pairs) / n:.1f} neighbours, {SIZE} ({model.n_features} features)"
    rows = [
        row(case, "LAMMPS plugin, speed", 1e-3 / seconds, "k atom-steps/s", ("LAMMPS SNAP 2J=8", 1e-3 / snap)),
        row(case, "LAMMPS plugin, speed", 1e-3 / seconds, "k atom-steps/s", ("kernel without list", 1e-3 / kernel)),
    ]
    return rows, seconds


def main() -> None:
    """Compile the plugin and measure both crystals."""
    start_clean()
    chosen = parser(__doc__.splitlines()[0]).parse_args()
    model, vector = random_model(SIZE)
    coefficients = split_coefficients(model, vector)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        library = build_plugin(plugin_source(model, coefficients, ["Si"]), folder)
        print(f"plugin written and compiled in {time.perf_counter() - start:.1f} s")
        for element, repeat in (("Si", 8), ("Cu", 10)):
            more, seconds = measure(model, coefficients, library, crystal(element, repeat))
            rows += more
            if element == "Si" and importlib.util.find_spec("pyace") is not None:
                other = pace_seconds(model, coefficients, folder)
                peer = ("ML-PACE, same potential", 1e-3 / other)
                rows.append(row(more[0].case, "LAMMPS plugin, speed", 1e-3 / seconds, "k atom-steps/s", peer))
    publish(rows, chosen.json)


if __name__ == "__main__":
    main()
