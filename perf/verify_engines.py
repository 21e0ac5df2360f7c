"""Engines on real matter: four crystals and a molecule through four codes, held against published numbers.

For each code and system: forces and stress against finite differences of the code's own energies (`hpcmat engines
verify`), and the lattice constant from the equation of state of `hpcmat engines compare`, through the acceptance and
the failure ladder of a campaign. Leaves with exit code 1 where a derivative is wrong, a lattice constant is more than
1 % from the published one of its functional, or a calculation failed. Prints the table of docs/engines.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk, molecule
from common import start_clean

from hpcmat.cli.common import print_columns
from hpcmat.engines.base import EngineFailure
from hpcmat.engines.kpoints import kpoint_grid
from hpcmat.engines.settings import AbinitSettings, Cp2kSettings, EngineSettings, EspressoSettings, GpawSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.engines.study.comparison import Studied, compare
from hpcmat.engines.verification import Comparison, verify
from hpcmat.errors import InputError
from hpcmat.records import Structure

LARGEST_ERROR = 0.01
"""Of a lattice constant, relative."""
LENGTHS = np.linspace(0.98, 1.02, 5)
"""Lattice constants of the equation of state over the published one."""
SOURCE = "Haas, Tran and Blaha, Phys. Rev. B 79, 085104 (2009), all electrons (WIEN2k)"


@dataclass(frozen=True)
class Crystal:
    """A cubic crystal, and its lattice constants as published in `SOURCE`, Å, by functional."""

    lattice: str
    published: dict[str, float]
    repeats: tuple[int, int, int] = (1, 1, 1)
    cubic: bool = False
    """Cells in which derivatives are compared: of two atoms, so that a force need not vanish."""


CRYSTALS = {
    "Si": Crystal("diamond", {"LDA": 5.407, "PBE": 5.475}),
    "Al": Crystal("fcc", {"LDA": 3.983, "PBE": 4.041}, (1, 1, 2)),
    "MgO": Crystal("rocksalt", {"LDA": 4.169, "PBE": 4.261}),
    "Fe": Crystal("bcc", {"LDA": 2.754, "PBE": 2.833}, cubic=True),
}


@dataclass(frozen=True)
class Case:
    """One system through one code."""

    system: str
    settings: EngineSettings
    coarse: dict[str, Any] | None = field(default_factory=dict)
    """What differs where derivatives are compared, which need no converged k-points but many calculations; None where
    they are not compared."""
    files: tuple[str, ...] = ()
    """Pseudopotentials that make a family, where the code's folder has several of an element."""

    @property
    def name(self) -> str:
        """Such as `espresso/Si`."""
        return f"{self.settings.name}/{self.system}"


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    case: Case
    derivatives: tuple[Comparison, ...]
    studied: Studied | None
    """Of a crystal."""
    failure: str = ""

    @property
    def lattice_constant(self) -> float | None:
        """Å."""
        if self.studied is None or self.studied.state is None:
            return None
        return lattice_constant(self.case.system, self.studied.state.volume)

    @property
    def error(self) -> float | None:
        """Relative, against the published lattice constant."""
        found = self.lattice_constant
        return None if found is None else found / published(self.case) - 1.0

    @property
    def right(self) -> bool:
        """Whether forces and stress are derivatives, and the lattice constant of a crystal is the published one."""
        if self.failure or not all(comparison.agrees for comparison in self.derivatives):
            return False
        return self.case.system not in CRYSTALS or (self.error is not None and abs(self.error) <= LARGEST_ERROR)


def gpaw(cutoff: float, spacing: float, **more: Any) -> GpawSettings:
    """Tolerances such that energies can be subtracted."""
    settings = {"kpoint_grid": "gamma", "energy_tolerance_ev": 1e-7, "density_tolerance": 1e-6} | more
    return GpawSettings(cutoff_ev=cutoff, kpoint_spacing_per_ang=spacing, **settings)


def plane_waves(
    model: type[EspressoSettings | AbinitSettings], cutoff: float, spacing: float, **more: Any
) -> EngineSettings:
    """pw.x or ABINIT."""
    settings = {"kpoint_grid": "gamma", "energy_tolerance_ev": 1e-8} | more
    return model(cutoff_ev=cutoff, kpoint_spacing_per_ang=spacing, **settings)


def cp2k(cutoff: float, spacing: float, **more: Any) -> Cp2kSettings:
    """GTH pseudopotentials."""
    settings = {"density_tolerance": 1e-8} | more
    return Cp2kSettings(cutoff_ev=cutoff, kpoint_spacing_per_ang=spacing, **settings)


METAL = {"smearing_ev": 0.2}
SPINS = METAL | {"spin_polarized": True}
# The cycle of iron comes to a standstill at the tolerances of the others.
LOOSE = {"energy_tolerance_ev": 1e-6}
QE = "/usr/share/espresso/pseudo"
DOJO = "/usr/share/abinit/psp/Pseudodojo_nc_sr_04_pw_standard_psp8"
# Spacings give 6, 8, 4 and 8 k-points along each axis of the primitive cells at all volumes; CP2K, which uses all of
# them where the others use symmetry, has 6 instead of 8, and 5 for iron.
SI, AL, MGO, FE = 0.35, 0.35, 0.68, 0.42
COARSE_SI, COARSE_AL, COARSE_MGO, COARSE_FE = ({"kpoint_spacing_per_ang": s} for s in (1.15, 0.95, 1.5, 0.95))
MOLECULE = 2.0
# Forces sum to zero where the grid holds the square of the hardest Gaussian, of exponent 31 on magnesium; more grids,
# so that the coarsest is no finer than before (docs/engines-cp2k.md).
HARD_DENSITY = {"cutoff_ev": 33000.0, "extra": {"FORCE_EVAL/DFT/MGRID": {"NGRIDS": 6}}}
# For time: one more grid for diffuse Gaussians, whose tails are cut earlier.
CHEAP_GRIDS = {"FORCE_EVAL/DFT/MGRID": {"NGRIDS": 5}, "FORCE_EVAL/DFT/QS": {"EPS_DEFAULT": 1e-10}}

CASES = (
    Case("Si", gpaw(400.0, SI), COARSE_SI),
    Case("Al", gpaw(400.0, AL, **METAL), COARSE_AL),
    Case("MgO", gpaw(800.0, MGO), COARSE_MGO),
    Case("Fe", gpaw(600.0, FE, **SPINS, **LOOSE), COARSE_FE),
    Case("H2O", gpaw(1000.0, MOLECULE)),
    Case("Si", plane_waves(EspressoSettings, 400.0, SI), COARSE_SI),
    Case("Al", plane_waves(EspressoSettings, 300.0, AL, xc="LDA", **METAL), COARSE_AL),
    Case(
        "MgO",
        plane_waves(EspressoSettings, 600.0, MGO, xc="LDA"),
        COARSE_MGO,
        (f"{QE}/Mg.pz-n-vbc.UPF", f"{QE}/O.pz-rrkjus.UPF"),
    ),
    Case(
        "Fe",
        plane_waves(EspressoSettings, 900.0, FE, **SPINS, **LOOSE),
        COARSE_FE,
        (f"{QE}/Fe.pbe-spn-rrkjus_psl.0.2.1.UPF",),
    ),
    Case(
        "H2O",
        plane_waves(EspressoSettings, 500.0, MOLECULE, stress=False),
        files=(f"{QE}/H.pbe-kjpaw.UPF", f"{QE}/O.pbe-kjpaw.UPF"),
    ),
    Case("Si", plane_waves(AbinitSettings, 500.0, SI), COARSE_SI),
    Case("Al", plane_waves(AbinitSettings, 500.0, AL, **METAL), COARSE_AL),
    Case(
        "MgO",
        plane_waves(AbinitSettings, 1000.0, MGO, xc="LDA"),
        COARSE_MGO | {"cutoff_ev": 1600.0},
        (f"{DOJO}/Mg.psp8", f"{DOJO}/O.psp8"),
    ),
    Case("Fe", plane_waves(AbinitSettings, 1200.0, FE, xc="LDA", **SPINS, **LOOSE), {"kpoint_spacing_per_ang": 1.3}),
    Case("H2O", plane_waves(AbinitSettings, 800.0, MOLECULE, stress=False)),
    Case("Si", cp2k(4000.0, SI), COARSE_SI),
    Case("Al", cp2k(4000.0, 0.48, **METAL), COARSE_AL),
    Case("Fe", cp2k(5500.0, 0.75, density_tolerance=1e-4, extra=CHEAP_GRIDS, **SPINS), None),
    Case("MgO", cp2k(8000.0, MGO), COARSE_MGO | HARD_DENSITY),
    Case("H2O", cp2k(14000.0, MOLECULE, relative_cutoff_ev=1600.0, stress=False)),
)


def primitive(system: str, length: float) -> Any:
    """ASE atoms of the primitive cell with this lattice constant, Å."""
    return bulk(system, CRYSTALS[system].lattice, a=length)


def published(case: Case) -> float:
    """Lattice constant, Å, of the functional of this case."""
    return CRYSTALS[case.system].published[case.settings.xc]  # type: ignore[union-attr]


def lattice_constant(system: str, volume: float) -> float:
    """Å, of the crystal with this volume per atom, Å³."""
    unit = primitive(system, 1.0)
    return float((volume * len(unit) / unit.cell.volume) ** (1.0 / 3.0))


def cell_for_derivatives(case: Case) -> Structure:
    """Two atoms of a crystal; a molecule in a periodic box."""
    if case.system in CRYSTALS:
        crystal = CRYSTALS[case.system]
        atoms = bulk(case.system, crystal.lattice, a=published(case), cubic=crystal.cubic)
        return from_atoms(atoms.repeat(crystal.repeats))
    atoms = molecule(case.system)
    atoms.center(vacuum=2.0)
    atoms.pbc = True
    return from_atoms(atoms)


def crystal_volumes(case: Case) -> list[Structure]:
    """Primitive cells at several volumes around the published one, all with one grid of k-points."""
    if case.system not in CRYSTALS:
        return []
    cells = [from_atoms(primitive(case.system, published(case) * length)) for length in LENGTHS]
    grids = {kpoint_grid(cell.cell, case.settings.kpoint_spacing_per_ang) for cell in cells}  # type: ignore[union-attr]
    if len(grids) > 1:
        raise InputError(f"{case.name}: the grid of k-points changes with the volume: {grids}")
    return cells


def run(case: Case, folder: Path) -> Outcome:
    """All calculations of one case."""
    try:
        settings, volumes = with_family(case, folder / "family"), crystal_volumes(case)
        derivatives = derivatives_of(case, settings, folder / "derivatives")
        studied = compare([settings], [], volumes, folder / "volumes")[0] if volumes else None
    except (EngineFailure, InputError) as error:
        return Outcome(case, (), None, str(error))
    return Outcome(case, derivatives, studied, _failure(studied))


def derivatives_of(case: Case, settings: EngineSettings, folder: Path) -> tuple[Comparison, ...]:
    """Forces and stress against finite differences; none where they are not compared."""
    if case.coarse is None:
        return ()
    return verify(settings.model_copy(update=case.coarse), cell_for_derivatives(case), folder)


def _failure(studied: Studied | None) -> str:
    if studied is None or studied.complete:
        return ""
    messages = [f"volume {n}: {failure.message}" for n, failure in studied.volumes.failures]
    return "; ".join(messages) or studied.state_missing


def with_family(case: Case, folder: Path) -> EngineSettings:
    """The settings, with a folder of links to the pseudopotentials where these are named."""
    if not case.files:
        return case.settings
    folder.mkdir(parents=True, exist_ok=True)
    for name in case.files:
        if not Path(name).is_file():
            raise InputError(f"{case.name}: no {name}; install the data of the code")
        (folder / Path(name).name).symlink_to(name)
    return case.settings.model_copy(update={"pseudopotentials": str(folder)})


def cells(outcome: Outcome) -> tuple[str, ...]:
    """One row of the table."""
    case, found, error = outcome.case, outcome.lattice_constant, outcome.error
    force, stress = (_derivative(outcome.derivatives, unit) for unit in ("eV/Å", "GPa"))
    length = "-" if found is None else f"{found:.3f}"
    apart = "-" if error is None else f"{100.0 * error:+.2f} %"
    reference = f"{published(case):.3f}" if case.system in CRYSTALS else "-"
    functional = case.settings.xc  # type: ignore[union-attr]
    verdict = "right" if outcome.right else f"**wrong** {outcome.failure}"
    return (case.system, case.settings.name, functional, length, reference, apart, force, stress, verdict)


HEAD = ("system", "code", "functional", "a (Å)", "published", "apart", "force (eV/Å)", "stress (GPa)", "verdict")


def _derivative(comparisons: Iterable[Comparison], unit: str) -> str:
    shown = [f"{c.stated:.4f}, {c.differences:.4f}" for c in comparisons if c.unit == unit]
    return shown[0] if shown else "-"


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Lines of Markdown."""
    rows = [HEAD, ("---",) * len(HEAD), *map(cells, outcomes)]
    return ["| " + " | ".join(row) + " |" for row in rows]


def main() -> int:
    """Run the cases that are asked for."""
    start_clean()
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "cases", nargs="*", metavar="CASE", help="code or code/system, such as espresso/Si; all if none"
    )
    options.add_argument("--out", type=Path, metavar="FOLDER", help="keep the calculations in this folder")
    chosen = options.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="hpcmat-verify-engines-") as temporary:
        for case in CASES:
            if chosen.cases and not {case.name, case.settings.name} & set(chosen.cases):
                continue
            outcomes.append(run(case, (chosen.out or Path(temporary)) / case.name))
            print_columns([cells(outcomes[-1])], 0)
            sys.stdout.flush()
    print(f"\npublished: {SOURCE}; force and stress: stated, finite differences\n")
    print("\n".join(table(outcomes)))
    return 0 if all(outcome.right for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
