"""Dynamics with potentials fitted by default settings: crystals stay crystals, and runs end where they should.

Silicon and copper, 100 ps at 300 K and at 0.9 of the melting point, at constant pressure and at constant volume, then
at constant energy. A crystal that is heated far beyond its melting point, one that is compressed and one with an atom
pushed onto its neighbour must end by themselves, at the limits that the potential itself states.
"""

from __future__ import annotations

import time
from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.data import atomic_masses, atomic_numbers
from common import start_clean
from data_sets import data_folder
from rows import Row, parser, publish, row

from hpcmat.surrogates.calculator import structure_of
from hpcmat.surrogates.dataset import read_dataset
from hpcmat.surrogates.equation_of_state import fit_equation_of_state
from hpcmat.surrogates.molecular_dynamics import kernel_potential, stop_at_limits
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.trainer import FitOptions, fit_dataset
from hpcmat_kernels.md.driver import run
from hpcmat_kernels.md.potentials import Ace
from hpcmat_kernels.md.settings import CellRescaling, Langevin, Settings
from hpcmat_kernels.md.state import State, Trajectory, make_state, thermal_velocities

TIMESTEP_FS = 2.0
SAMPLE_EVERY = 500
CHECK_EVERY = 20
BATH = 0.005
"""Friction, 1/fs."""
SOFTNESS = 1.5
"""Å³/eV (about 1 / 107 GPa): sets the speed of the barostat, not the ensemble."""
DENSITY_ERROR = 0.04
"""Of the functional: PBE crystals are 1 to 3 % too large."""
FLUCTUATION = 0.05
"""Of the density about its mean. One standard deviation sqrt(kT / B V) of these cells is 0.7 % at most; melting takes
copper down by 4 % and silicon up by 12 %."""
MOLTEN = 0.25
"""Root mean square displacement over the distance of neighbours: hot crystals come to 0.15, and liquids pass 1 within
some ps."""
DRIFT_MEV = 1.0
"""Per atom: a hundredth of kT at 1200 K."""
U_PER_ANG3 = 1.66053907
"""g/cm³"""


@dataclass(frozen=True, slots=True)
class Substance:
    """Measured properties of an element."""

    melting_k: float
    """CRC Handbook of Chemistry and Physics."""
    solid: tuple[float, float]
    """g/cm³ at 293 K and at the melting point. Silicon: CRC; Ohsaka, Chung, Rhim and Holzer, Appl. Phys. Lett. 70
    (1997) 726. Copper: Copper Development Association, Innovations, August 2001, table 5."""
    repeat: int
    """Cubic cells along each edge."""

    def density(self, kelvin: float) -> float:
        """Of the solid, g/cm³, on a straight line between both."""
        share = (kelvin - 293.0) / (self.melting_k - 293.0)
        return self.solid[0] + share * (self.solid[1] - self.solid[0])


SUBSTANCES = {"Si": Substance(1687.0, (2.329, 2.311), 3), "Cu": Substance(1357.8, (8.92, 8.32), 4)}


@dataclass(frozen=True, slots=True)
class Case:
    """What one element is measured with."""

    element: str
    substance: Substance
    potential: Potential
    kernel: Ace
    rest: State
    """Perfect crystal at the volume of least energy."""
    ps: float

    @property
    def steps(self) -> int:
        """Of a run."""
        return round(1000 * self.ps / TIMESTEP_FS)


def crystal_at_rest(element: str, potential: Potential, repeat: int) -> State:
    """Perfect crystal at the volume of least energy of the potential."""
    cell = bulk(element, cubic=True)
    scales = np.linspace(0.97, 1.03, 13)
    scaled = [cell.copy() for _ in scales]
    for atoms, scale in zip(scaled, scales, strict=True):
        atoms.set_cell(cell.cell * scale, scale_atoms=True)
    energies = [potential.predict(structure_of(atoms)).energy / len(cell) for atoms in scaled]
    volume = fit_equation_of_state(np.array([a.get_volume() / len(a) for a in scaled]), energies).volume
    cell.set_cell(cell.cell * (volume * len(cell) / cell.get_volume()) ** (1 / 3), scale_atoms=True)
    atoms = cell.repeat(repeat)
    return make_state(atoms.positions, atoms.cell.array, (True, True, True), atomic_masses[atomic_numbers[element]])


def thermal(rest: State, kelvin: float) -> State:
    """Crystal with velocities of twice the temperature, half of which goes into the bonds."""
    return replace(rest, velocities=thermal_velocities(rest.masses, 2.0 * kelvin, 1))


def densities(found: Trajectory, masses: np.ndarray) -> np.ndarray:
    """Of each frame but for the first fifth, g/cm³."""
    cells = found.cells[len(found.cells) // 5 :]
    return U_PER_ANG3 * masses.sum() / np.abs(np.linalg.det(cells))


def disorder(found: Trajectory, rest: State) -> float:
    """Largest root mean square displacement of a frame from the crystal over the distance of neighbours there."""
    moved = found.positions @ np.linalg.inv(found.cells) - rest.positions @ np.linalg.inv(rest.cell)
    moved -= moved.mean(axis=1, keepdims=True)
    spread = np.sqrt(((moved @ found.cells) ** 2).sum(axis=2).mean(axis=1))
    distances = np.linalg.norm(rest.positions[1:] - rest.positions[0], axis=1)
    return float(spread.max() / distances.min())


def measure(case: Case, kelvin: float, barostat: CellRescaling | None) -> list[Row]:
    """One run with a bath."""
    settings = Settings(TIMESTEP_FS, Langevin(kelvin, BATH, 2), barostat, sample_every=SAMPLE_EVERY)
    start = time.process_time()
    found = run(case.kernel, thermal(case.rest, kelvin), settings, case.steps)
    seconds = time.process_time() - start
    density, melted = densities(found, case.rest.masses), disorder(found, case.rest)
    temperature, expected = float(found.temperatures[len(found.cells) // 5 :].mean()), case.substance.density(kelvin)
    held = "volume" if barostat is None else "pressure"
    name = f"{case.element} {len(case.rest.masses)} atoms, {kelvin:.0f} K, {case.ps:g} ps, constant {held}"
    assert found.reason == "finished" and melted < MOLTEN, (name, melted)
    assert abs(temperature / kelvin - 1) < 0.05, (name, temperature)
    assert barostat is None or abs(density.mean() / expected - 1) < DENSITY_ERROR, (name, density.mean())
    assert np.abs(density / density.mean() - 1).max() < FLUCTUATION, (name, density.min(), density.max())
    figures = {"mean": density.mean(), "least": density.min(), "greatest": density.max()} if barostat else {}
    return [
        *(
            row(name, f"{which} density", float(value), "g/cm³", ("measured, solid", expected))
            for which, value in figures.items()
        ),
        row(name, "mean temperature", temperature, "K", ("asked", kelvin)),
        row(name, "displacement over the distance of neighbours", melted, "", ("molten", MOLTEN)),
        row(name, "CPU time", seconds, "s", ("simulated ps", case.ps)),
    ]


def conserves(case: Case, kelvin: float) -> list[Row]:
    """One run without a bath."""
    found = run(case.kernel, thermal(case.rest, kelvin), Settings(TIMESTEP_FS, sample_every=50), case.steps)
    energies = 1000 * (found.potential_energies + found.kinetic_energies) / len(case.rest.masses)
    tenth = len(energies) // 10
    drift = float(abs(energies[-tenth:].mean() - energies[1 : 1 + tenth].mean()))
    name = f"{case.element}, about {kelvin:.0f} K, {case.ps:g} ps, constant energy"
    assert drift < DRIFT_MEV and energies[1:].std() < DRIFT_MEV, (name, drift, energies[1:].std())
    bound = "bound", DRIFT_MEV
    return [
        row(name, "drift of the energy", drift, "meV/atom", bound),
        row(name, "standard deviation of the energy", float(energies[1:].std()), "meV/atom", bound),
    ]


def pushed(rest: State, distance: float) -> State:
    """The crystal with its first atom at this distance from a neighbour, Å."""
    apart = rest.positions[1:] - rest.positions[0]
    vector = apart[np.argmin(np.linalg.norm(apart, axis=1))]
    positions = rest.positions.copy()
    positions[0] += vector * (1 - distance / np.linalg.norm(vector))
    return replace(rest, positions=positions)


def stops_by_itself(case: Case) -> list[Row]:
    """Runs that must end where the potential is no longer sure, and one that must not."""
    watch = stop_at_limits(case.potential, CHECK_EVERY)
    settings = Settings(TIMESTEP_FS, Langevin(300.0, 0.02, 3), stop=watch, sample_every=CHECK_EVERY)
    hot = replace(settings, bath=Langevin(4 * case.substance.melting_k, 0.02, 3))
    crystal = thermal(case.rest, 300.0)
    dense = replace(crystal, positions=0.92 * crystal.positions, cell=0.92 * crystal.cell)
    heated, cold = run(case.kernel, crystal, hot, 20_000), run(case.kernel, crystal, settings, 5_000)
    at_once = [run(case.kernel, state, settings, 5_000) for state in (dense, pushed(crystal, 1.6))]
    assert heated.reason == "uncertain" and cold.reason == "finished", (heated.reason, cold.reason)
    assert all(found.reason == "uncertain" and found.steps[-1] == 0 for found in at_once)
    name = f"{case.element}, heated to {4 * case.substance.melting_k:.0f} K"
    force = "limit", watch.limit
    return [
        row(name, "time until it ends", heated.steps[-1] * TIMESTEP_FS, "fs", ("300 K, no end within", 10_000.0)),
        row(name, "temperature at its end", float(heated.temperatures[-1]), "K", ("melts", case.substance.melting_k)),
        row(f"{case.element}, 300 K", "largest uncertainty of a force", cold.uncertainties.max(), "eV/Å", force),
        row(f"{case.element}, compressed by 8 %", "uncertainty of the energy", at_once[0].energy_uncertainties[0],
            "eV/atom", ("limit", watch.energy_limit)),
        row(f"{case.element}, atoms 1.6 Å apart", "largest uncertainty of a force", at_once[1].uncertainties[0],
            "eV/Å", force),
    ]  # fmt: skip


def potential_of(element: str, given: Namespace) -> Potential:
    """Fitted with default settings, or from the folder where an earlier run left it."""
    kept = given.models and given.models / f"{element}_{given.size}.npz"
    if kept and kept.is_file():
        return Potential.load(kept)
    folder = data_folder(given.data, "zuo2020")
    potential = fit_dataset(read_dataset(folder / f"{element}_train.xyz.gz"), FitOptions(given.size))
    if kept:
        potential.save(kept)
    return potential


def element_rows(element: str, given: Namespace) -> list[Row]:
    """All runs of one element."""
    potential, substance = potential_of(element, given), SUBSTANCES[element]
    rest = crystal_at_rest(element, potential, substance.repeat)
    case, rows = Case(element, substance, potential, kernel_potential(potential), rest, given.ps), []
    for kelvin in (300.0, 0.9 * substance.melting_k):
        for barostat in (CellRescaling(0.0, SOFTNESS, 500.0), None):
            rows += measure(case, kelvin, barostat)
        rows += conserves(case, kelvin)
    return [*stops_by_itself(case), *rows]


def main() -> None:
    """Measure the elements asked for."""
    start_clean()
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, help="folder with zuo2020/; HPCMAT_DATA or ../shared/data if not given")
    options.add_argument("--models", type=Path, help="folder in which potentials are kept from run to run")
    options.add_argument("--elements", nargs="+", choices=SUBSTANCES, default=list(SUBSTANCES))
    options.add_argument("--size", choices=["medium", "large"], default="medium")
    options.add_argument("--ps", type=float, default=100.0)
    given: Namespace = options.parse_args()
    publish([item for element in given.elements for item in element_rows(element, given)], given.json)


if __name__ == "__main__":
    main()
