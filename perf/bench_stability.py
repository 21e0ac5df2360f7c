"""Dynamics with potentials fitted by default settings: whether crystals stay crystals for 100 ps, and what they cost.

Constant pressure, at 300 K and at 0.9 of the melting point. Then a crystal is heated far beyond it, watched by a
committee from the posterior, and must stop by itself at twice what 95 % of structures like the training structures do
not exceed.
"""

from __future__ import annotations

import os
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.data import atomic_masses, atomic_numbers
from common import start_clean
from rows import Row, parser, publish, row

from hpcmat.surrogates.dataset import read_dataset
from hpcmat.surrogates.potential import COMMITTEE_SIZE, Potential
from hpcmat.surrogates.trainer import FitOptions, fit_dataset
from hpcmat_kernels.ace import split_coefficients
from hpcmat_kernels.md.driver import run
from hpcmat_kernels.md.potentials import Ace
from hpcmat_kernels.md.settings import CellRescaling, Langevin, Settings, UncertaintyStop
from hpcmat_kernels.md.state import State, make_state, thermal_velocities

MELTING_K = {"Si": 1687.0, "Cu": 1357.8}
"""CRC Handbook of Chemistry and Physics."""
REPEAT = {"Si": 3, "Cu": 4}
TIMESTEP_FS = 2.0
SOFTNESS = 1.5
"""Å³/eV (about 1 / 107 GPa): sets the speed of the barostat, not the ensemble."""
DENSITY_RANGE = (0.9, 1.05)
"""Over that of the crystal at rest: solids expand by a few per cent up to the melting point."""


def kernel_potential(potential: Potential, members: int) -> Ace:
    """The potential for the compiled loop, with a committee drawn from its posterior."""
    rng = np.random.default_rng(0)
    factor = potential.covariance_factor
    draws = potential.coefficients + rng.normal(size=(members, factor.shape[1])) @ factor.T
    model = potential.basis.model
    return Ace(model, split_coefficients(model, potential.coefficients), [split_coefficients(model, d) for d in draws])


def crystal_at(element: str, kelvin: float) -> State:
    """Perfect crystal with thermal velocities."""
    atoms = bulk(element, cubic=True).repeat(REPEAT[element])
    masses = np.full(len(atoms), atomic_masses[atomic_numbers[element]])
    state = make_state(atoms.positions, atoms.cell.array, (True, True, True), masses)
    return replace(state, velocities=thermal_velocities(masses, 2.0 * kelvin, 1))


def measure(potential: Potential, element: str, kelvin: float, ps: float) -> list[Row]:
    """One run; stops where the density leaves its range or atoms fly apart."""
    steps = round(1000 * ps / TIMESTEP_FS)
    settings = Settings(TIMESTEP_FS, Langevin(kelvin, 0.005, 2), CellRescaling(0.0, SOFTNESS, 500.0), sample_every=500)
    state = crystal_at(element, kelvin)
    start = time.process_time()
    found = run(kernel_potential(potential, 0), state, settings, steps)
    seconds = time.process_time() - start
    density = abs(np.linalg.det(state.cell)) / abs(np.linalg.det(found.cells[len(found.cells) // 5 :]))
    assert found.reason == "finished" and DENSITY_RANGE[0] < density.min() <= density.max() < DENSITY_RANGE[1]
    temperature = float(found.temperatures[len(found.cells) // 5 :].mean())
    assert abs(temperature / kelvin - 1) < 0.1
    case = f"{element} {len(state.positions)} atoms, {kelvin:.0f} K, {ps:g} ps"
    return [
        row(case, "mean density", float(density.mean()), "of the start", ("crystal at rest", 1.0)),
        row(case, "least density", float(density.min()), "of the start", ("lower bound", DENSITY_RANGE[0])),
        row(case, "mean temperature", temperature, "K", ("asked", kelvin)),
        row(case, "CPU time", seconds, "s", ("simulated ps", ps)),
    ]


def stops_by_itself(potential: Potential, element: str) -> list[Row]:
    """Heated to four times its melting point, the run must end where the potential is no longer sure."""
    limit = dict(potential.metadata.extrapolation_limits)["force_sigma_ev_per_ang"]
    watch = UncertaintyStop(every=20, limit=2.0 * limit)
    settings = Settings(TIMESTEP_FS, Langevin(4 * MELTING_K[element], 0.02, 3), stop=watch, sample_every=20)
    state = crystal_at(element, 300.0)
    hot = run(kernel_potential(potential, COMMITTEE_SIZE), state, settings, 20_000)
    cold = run(
        kernel_potential(potential, COMMITTEE_SIZE), state, replace(settings, bath=Langevin(300.0, 0.02, 3)), 2_000
    )
    assert hot.reason == "uncertain" and cold.reason == "finished"
    case = f"{element}, heated to {4 * MELTING_K[element]:.0f} K"
    return [row(case, "step at which it stops by itself", float(hot.steps[-1]), "steps", ("300 K, none in", 2000.0))]


def main() -> None:
    """Fit both elements and run them."""
    start_clean()
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, help="folder with zuo2020/; HPCMAT_DATA or ../shared/data if not given")
    options.add_argument("--size", choices=["medium", "large"], default="medium")
    options.add_argument("--ps", type=float, default=100.0)
    given: Namespace = options.parse_args()
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = (given.data or Path(os.environ.get("HPCMAT_DATA", beside))) / "zuo2020"
    if not folder.is_dir():
        raise SystemExit(f"{folder} is not there: give the folder of the data with --data or HPCMAT_DATA")
    rows: list[Row] = []
    for element, melting in MELTING_K.items():
        potential = fit_dataset(read_dataset(folder / f"{element}_train.xyz.gz"), FitOptions(given.size))
        for kelvin in (300.0, 0.9 * melting):
            rows += measure(potential, element, kelvin, given.ps)
        rows += stops_by_itself(potential, element)
    publish(rows, given.json)


if __name__ == "__main__":
    main()
