"""SIESTA (García et al., J. Chem. Phys. 152, 204108 (2020)): input and execution.

Not run where this package is tested, since no package of it is to be had there: inputs and outputs are tested in their
documented formats.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ase.data import atomic_numbers

from hpcmat.engines.base import Job
from hpcmat.engines.external.calculation import SCRATCH_NAME, Calculation
from hpcmat.engines.external.code import Code, Sources
from hpcmat.engines.external.engine import ExternalEngine
from hpcmat.engines.external.run import Ending, Invocation
from hpcmat.engines.external.siesta_output import LABEL, OUTPUT_NAME, read_label
from hpcmat.engines.kpoints import grid_shift, kpoint_grid
from hpcmat.engines.settings.siesta import SiestaSettings
from hpcmat.errors import InputError
from hpcmat.records import Label, Structure

INPUT_NAME = f"{LABEL}.fdf"
SCF_STEPS, MORE_SCF_STEPS = 150, 600
MIXING, GENTLE_MIXING = 0.25, 0.05
NARROW_EV = 0.01
FOLDER_VARIABLE = "SIESTA_PP_PATH"

CODE = Code(
    title="SIESTA",
    executable="siesta",
    variable="HPCMAT_SIESTA",
    sources=Sources(
        spack="spack install siesta",
        fugaku="not among the installed packages; build it with a Spack of your own: spack install siesta",
    ),
    version_arguments=("--version",),
    version_pattern=r"[Vv]ersion\s*:\s*(?:[Ss]iesta\s*)?v?(\d+\.\S+)",
    tried=False,
)
_XC = {"PBE": ("GGA", "PBE"), "LDA": ("LDA", "CA"), "PBEsol": ("GGA", "PBEsol"), "RPBE": ("GGA", "RPBE")}


@dataclass(frozen=True, slots=True)
class SiestaEngine(ExternalEngine):
    """SIESTA with given settings; `scf_steps` limits the self-consistency cycle."""

    code: ClassVar[Code] = CODE
    discarded: ClassVar[tuple[str, ...]] = ("*.psml", "*.psf")

    settings: SiestaSettings
    scf_steps: int = SCF_STEPS

    def data_files(self, symbols: Iterable[str]) -> dict[str, Path]:
        """Pseudopotential file of each element."""
        folder = Path(self.settings.pseudopotentials or os.environ.get(FOLDER_VARIABLE, "")).expanduser()
        return {symbol: _pseudopotential(folder, symbol) for symbol in sorted(set(symbols))}

    def write(self, calculation: Calculation, job: Job) -> Invocation:
        """Write `siesta.fdf`; pseudopotentials are linked under the names it gives them."""
        structure = calculation.structure
        for symbol, path in self.data_files(structure.symbols).items():
            place = job.folder / f"{symbol}{path.suffix}"
            place.unlink(missing_ok=True)
            place.symlink_to(path.resolve())
        (job.folder / INPUT_NAME).write_text("\n".join(self.lines(structure, job.remedies)) + "\n")
        (job.folder / SCRATCH_NAME).mkdir(exist_ok=True)
        return Invocation((INPUT_NAME,), OUTPUT_NAME)

    def read(self, calculation: Calculation, folder: Path, ending: Ending) -> Label:
        """The label that `FORCE_STRESS` and the output agree on."""
        return read_label(calculation, folder, ending)

    def lines(self, structure: Structure, remedies: tuple[str, ...]) -> Iterator[str]:
        """The fdf file."""
        settings, kinds = self.settings, sorted(set(structure.symbols))
        functional, authors = _XC[settings.xc]
        yield f"SystemLabel {LABEL}"
        yield f"NumberOfAtoms {len(structure)}"
        yield f"NumberOfSpecies {len(kinds)}"
        yield f"XC.Functional {functional}"
        yield f"XC.Authors {authors}"
        yield f"MeshCutoff {settings.cutoff_ev!r} eV"
        yield f"PAO.BasisSize {settings.basis}"
        yield f"PAO.EnergyShift {settings.energy_shift_ev!r} eV"
        yield "OccupationFunction FD"
        yield f"ElectronicTemperature {settings.smearing_ev or NARROW_EV!r} eV"
        yield f"Spin {'polarized' if settings.spin_polarized else 'non-polarized'}"
        yield "SolutionMethod diagon"
        yield f"SCF.DM.Tolerance {settings.density_tolerance!r}"
        yield f"MaxSCFIterations {MORE_SCF_STEPS if 'more-steps' in remedies else self.scf_steps}"
        yield f"SCF.Mixer.Weight {GENTLE_MIXING if 'mixing' in remedies else MIXING}"
        yield "SCF.MustConverge true"
        yield "WriteForces true"
        if "eigensolver" in remedies:
            yield "Diag.Algorithm expert"
        for key, value in settings.extra.items():
            yield f"{key} {' '.join(map(str, value)) if isinstance(value, tuple) else str(value)}"
        yield from self._blocks(structure, kinds)

    def _blocks(self, structure: Structure, kinds: list[str]) -> Iterator[str]:
        grid = kpoint_grid(structure.cell, self.settings.kpoint_spacing_per_ang)
        shifts = grid_shift(grid, self.settings.kpoint_grid)
        rows = [[str(count if i == j else 0) for j in range(3)] for i, count in enumerate(grid)]
        yield from _block(
            "ChemicalSpeciesLabel", [f"{n} {atomic_numbers[symbol]} {symbol}" for n, symbol in enumerate(kinds, 1)]
        )
        yield "LatticeConstant 1.0 Ang"
        yield from _block("LatticeVectors", [" ".join(repr(float(x)) for x in vector) for vector in structure.cell])
        yield "AtomicCoordinatesFormat Ang"
        yield from _block(
            "AtomicCoordinatesAndAtomicSpecies",
            [
                f"{' '.join(repr(float(x)) for x in position)} {kinds.index(symbol) + 1}"
                for position, symbol in zip(structure.positions, structure.symbols, strict=True)
            ],
        )
        yield from _block(
            "kgrid_Monkhorst_Pack",
            [f"{' '.join(row)} {0.5 * shift}" for row, shift in zip(rows, shifts, strict=True)],
        )


def _block(name: str, lines: list[str]) -> Iterator[str]:
    yield f"%block {name}"
    yield from lines
    yield f"%endblock {name}"


def _pseudopotential(folder: Path, symbol: str) -> Path:
    for suffix in (".psml", ".psf"):
        if (folder / f"{symbol}{suffix}").is_file():
            return folder / f"{symbol}{suffix}"
    raise InputError(
        f"no {symbol}.psml or {symbol}.psf in '{folder}'; name a folder with them in engine.pseudopotentials or "
        f"{FOLDER_VARIABLE} (PseudoDojo offers psml files for most elements)"
    )
