"""Quantum ESPRESSO's pw.x (Giannozzi et al., J. Phys.: Condens. Matter 29, 465901 (2017)): input and execution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hpcmat.engines.base import Job
from hpcmat.engines.external.calculation import SCRATCH_NAME, Calculation
from hpcmat.engines.external.code import Code, Sources
from hpcmat.engines.external.engine import TIME_FRACTION, bands
from hpcmat.engines.external.espresso_failures import OUTPUT_NAME
from hpcmat.engines.external.espresso_output import XML_NAME, read_label
from hpcmat.engines.external.plane_waves import PlaneWaveEngine, Triple
from hpcmat.engines.external.pseudopotentials import Pseudopotential, Search, valence_electrons
from hpcmat.engines.external.run import Ending, Invocation
from hpcmat.engines.settings.espresso import EspressoSettings
from hpcmat.engines.structures import to_atoms
from hpcmat.records import Label, Structure
from hpcmat.units import EV_PER

INPUT_NAME = "pw.in"
SCF_STEPS, MORE_SCF_STEPS = 100, 400
GENTLE_BETA = 0.2
INITIAL_MOMENT_BOHR = 1.0

CODE = Code(
    title="Quantum ESPRESSO",
    executable="pw.x",
    variable="HPCMAT_ESPRESSO",
    sources=Sources(
        debian="apt-get install quantum-espresso quantum-espresso-data openmpi-bin libopenblas0-pthread",
        spack="spack install quantum-espresso",
        fugaku=". /vol0004/apps/oss/spack/share/spack/setup-env.sh && spack load quantum-espresso",
    ),
    # It stops at the missing namelist, after its header.
    version_pattern=r"Program PWSCF\s+v\.(\S+)",
)
SEARCH = Search(
    formats=("upf", "gth"),
    variables=("ESPRESSO_PSEUDO",),
    folders=(Path("/usr/share/espresso/pseudo"),),
    get="apt-get install quantum-espresso-data brings some, libraries such as PseudoDojo all elements",
)


@dataclass(frozen=True, slots=True)
class EspressoEngine(PlaneWaveEngine):
    """pw.x with given settings; `scf_steps` limits the self-consistency cycle."""

    code: ClassVar[Code] = CODE
    search: ClassVar[Search] = SEARCH
    collected: ClassVar[tuple[str, ...]] = (XML_NAME,)

    settings: EspressoSettings
    scf_steps: int = SCF_STEPS

    def write(self, calculation: Calculation, job: Job) -> Invocation:
        """Write `pw.in`; wave functions and density go to the scratch folder."""
        from ase.io.espresso import write_espresso_in

        structure = calculation.structure
        files = self.linked_files(structure, job)
        grid, shift = self.grid(structure)
        atoms = to_atoms(structure)
        if self.settings.spin_polarized:
            atoms.set_initial_magnetic_moments([_polarization(files[symbol]) for symbol in structure.symbols])
        with (job.folder / INPUT_NAME).open("w") as stream:
            write_espresso_in(
                stream,
                atoms,
                input_data=self.namelists(structure, files, job),
                pseudopotentials={symbol: file.path.name for symbol, file in files.items()},
                kpts=grid,
                koffset=shift,
            )
        return Invocation(("-in", INPUT_NAME, *_pool_words(calculation, job, grid)), OUTPUT_NAME)

    def read(self, calculation: Calculation, folder: Path, ending: Ending) -> Label:
        """The label that `pw.out` and `pw.xml` agree on."""
        return read_label(calculation, folder, ending)

    def namelists(self, structure: Structure, files: dict[str, Pseudopotential], job: Job) -> dict[str, dict[str, Any]]:
        """Namelists of the input, in the units of pw.x, which averages over the rotations of grids without symmetry."""
        namelists: dict[str, dict[str, Any]] = {
            "control": self._control(job),
            "system": self._system(structure, files)
            | ({} if self.reduces(structure, job.remedies) else {"nosym": True}),
            "electrons": self._electrons(len(structure), job.remedies),
        }
        if not self.reduces(structure, job.remedies):
            namelists["system"]["nosym"] = True
        for table, keys in self.settings.extra.items():
            namelists[table] |= {key: list(v) if isinstance(v, tuple) else v for key, v in keys.items()}
        if "more-bands" in job.remedies:
            namelists["system"]["nbnd"] = bands(valence_electrons(structure.symbols, files), many=True)
        return namelists

    def _control(self, job: Job) -> dict[str, Any]:
        control: dict[str, Any] = {
            "calculation": "scf",
            "prefix": "pw",
            "outdir": SCRATCH_NAME,
            "pseudo_dir": SCRATCH_NAME,
            "tprnfor": True,
            "tstress": self.settings.stress,
            "disk_io": "low",
        }
        if (job.folder / SCRATCH_NAME / "pw.save").is_dir():
            control["restart_mode"] = "restart"
        if job.walltime_s is not None:
            control["max_seconds"] = TIME_FRACTION * job.walltime_s
        return control

    def _system(self, structure: Structure, files: dict[str, Pseudopotential]) -> dict[str, Any]:
        settings = self.settings
        soft = all(file.construction == "norm-conserving" for file in files.values())
        factor = settings.density_cutoff_factor or (4.0 if soft else 8.0)
        cutoff_ry = settings.cutoff_ev / EV_PER["ry"]
        system: dict[str, Any] = {
            "ecutwfc": cutoff_ry,
            "ecutrho": factor * cutoff_ry,
            "nspin": 2 if settings.spin_polarized else 1,
            "occupations": "smearing" if settings.smearing_ev else "fixed",
        }
        if settings.smearing_ev:
            system |= {"smearing": settings.smearing, "degauss": settings.smearing_ev / EV_PER["ry"]}
        if settings.spin_polarized:
            system["nbnd"] = bands(valence_electrons(structure.symbols, files), many=False, spins=True)
        return system

    def _electrons(self, n_atoms: int, remedies: tuple[str, ...]) -> dict[str, Any]:
        return {
            "conv_thr": self.settings.energy_tolerance_ev * n_atoms / EV_PER["ry"],
            "electron_maxstep": MORE_SCF_STEPS if "more-steps" in remedies else self.scf_steps,
            "mixing_beta": GENTLE_BETA if "mixing" in remedies else 0.7,
            "diagonalization": "cg" if "eigensolver" in remedies else "david",
        }


def pools(ranks: int, kpoints: int) -> int:
    """Groups of ranks that share out the k-points: as many as there are k-points for, all of the same size.

    Groups need not wait for each other in a step of the cycle; the ranks of one share out plane waves, and do.
    """
    return max(count for count in range(1, ranks + 1) if ranks % count == 0 and count <= max(kpoints, 1))


def _pool_words(calculation: Calculation, job: Job, grid: Triple) -> tuple[str, ...]:
    """Words for pw.x; none where whoever named the executable has decided."""
    # Time reversal leaves half of the grid. Of a symmetric crystal fewer are left, and some groups may idle.
    count = pools(job.parallel.ranks, (math.prod(grid) + 1) // 2)
    decided = any(word in {"-nk", "-npool", "-npools"} for word in calculation.command)
    return () if decided or count == 1 else ("-nk", str(count))


def _polarization(file: Pseudopotential) -> float:
    """`starting_magnetization`: the part of the valence electrons that is unpaired."""
    return min(INITIAL_MOMENT_BOHR / file.valence, 1.0)
