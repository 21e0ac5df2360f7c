"""ABINIT (Gonze et al., Comput. Phys. Commun. 248, 107042 (2020)): input and execution."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hpcmat.engines.base import Job
from hpcmat.engines.external.abinit_output import read_label
from hpcmat.engines.external.calculation import SCRATCH_NAME, Calculation
from hpcmat.engines.external.code import Code, Sources
from hpcmat.engines.external.engine import TIME_FRACTION, bands
from hpcmat.engines.external.plane_waves import PlaneWaveEngine
from hpcmat.engines.external.pseudopotentials import Pseudopotential, Search, valence_electrons
from hpcmat.engines.external.run import Ending, Invocation
from hpcmat.engines.settings.abinit import AbinitSettings
from hpcmat.engines.structures import to_atoms
from hpcmat.records import Label, Structure
from hpcmat.units import EV_PER

INPUT_NAME, LOG_NAME = "run.abi", "log.txt"
SCF_STEPS, MORE_SCF_STEPS = 80, 300
INITIAL_MOMENT_BOHR = 1.0

CODE = Code(
    title="ABINIT",
    executable="abinit",
    variable="HPCMAT_ABINIT",
    sources=Sources(
        debian="apt-get install abinit abinit-data openmpi-bin libopenblas0-pthread",
        spack="spack install abinit",
        fugaku="not among the installed packages; build it with a Spack of your own: spack install abinit",
    ),
    version_arguments=("--version",),
)
SEARCH = Search(
    formats=("psp8", "gth"),
    variables=("ABI_PSPDIR",),
    folders=(Path("/usr/share/abinit/psp"),),
    get="apt-get install abinit-data brings some, libraries such as PseudoDojo all elements",
    default_families={
        "PBE": "Pseudodojo_nc_sr_04_pbe_standard_psp8",
        "LDA": "Pseudodojo_nc_sr_04_pw_standard_psp8",
    },
)
_IXC = {"PBE": 11, "LDA": 7, "PBEsol": -116133, "RPBE": 15}
_OCCOPT = {"fermi-dirac": 3, "methfessel-paxton": 6, "gaussian": 7}


@dataclass(frozen=True, slots=True)
class AbinitEngine(PlaneWaveEngine):
    """ABINIT with given settings; `scf_steps` limits the self-consistency cycle."""

    code: ClassVar[Code] = CODE
    search: ClassVar[Search] = SEARCH

    settings: AbinitSettings
    scf_steps: int = SCF_STEPS

    def write(self, calculation: Calculation, job: Job) -> Invocation:
        """Write `run.abi`; wave functions and density go to the scratch folder."""
        from ase.data import atomic_numbers
        from ase.io.abinit import write_abinit_in

        structure = calculation.structure
        files = self.linked_files(structure, job)
        atoms = to_atoms(structure)
        if self.settings.spin_polarized:
            atoms.set_initial_magnetic_moments([INITIAL_MOMENT_BOHR] * len(atoms))
        # ASE numbers the types in this order.
        ordered = sorted(files.values(), key=lambda file: atomic_numbers[file.symbol])
        with (job.folder / INPUT_NAME).open("w") as stream:
            write_abinit_in(
                stream,
                atoms,
                param=self.variables(structure, files, job),
                pseudos=[f"{SCRATCH_NAME}/{file.path.name}" for file in ordered],
            )
        return Invocation((INPUT_NAME, *_limit_words(job)), LOG_NAME)

    def read(self, calculation: Calculation, folder: Path, ending: Ending) -> Label:
        """The label that the main output gives, in agreement with itself."""
        return read_label(calculation, folder, ending)

    def variables(self, structure: Structure, files: dict[str, Pseudopotential], job: Job) -> dict[str, Any]:
        """Input variables; energies in eV where ASE's writer adds the unit, else in Hartree."""
        settings = self.settings
        electrons = valence_electrons(structure.symbols, files)
        grid, shift = self.grid(structure)
        variables: dict[str, Any] = {
            "ixc": _IXC[settings.xc],
            "ecut": settings.cutoff_ev,
            "kptopt": 1,
            "ngkpt": list(grid),
            "nshiftk": 1,
            "shiftk": [0.5 * half for half in shift],
            "occopt": _OCCOPT[settings.smearing] if settings.smearing_ev else 1,
            "optforces": 1,
            "optstress": int(settings.stress),
            "chksymtnons": 0,
            # With its default of 1e-5 it moves the atoms to where they would be symmetric.
            "tolsym": 1e-9,
            "outdata_prefix": f'"{SCRATCH_NAME}/out"',
            "tmpdata_prefix": f'"{SCRATCH_NAME}/tmp"',
            "indata_prefix": f'"{SCRATCH_NAME}/in"',
            **self._road(len(structure), job),
            **_restart(job),
        }
        if settings.smearing_ev:
            variables["tsmear"] = settings.smearing_ev
            variables["nband"] = bands(electrons, many=False, spins=settings.spin_polarized)
        if not self.reduces(structure, job.remedies):
            # It refuses grids that lack the symmetry of the crystal.
            variables["nsym"] = 1
        variables |= {name: list(v) if isinstance(v, tuple) else v for name, v in settings.extra.items()}
        if "more-bands" in job.remedies:
            variables["nband"] = bands(electrons, many=True)
        return variables

    def _road(self, n_atoms: int, job: Job) -> dict[str, Any]:
        road: dict[str, Any] = {
            "tolvrs": 0.01 * self.settings.energy_tolerance_ev * n_atoms / EV_PER["ha"],
            "nstep": MORE_SCF_STEPS if "more-steps" in job.remedies else self.scf_steps,
        }
        if "mixing" in job.remedies:
            road["diemix"] = 0.2
        if "eigensolver" in job.remedies:
            road["wfoptalg"] = 14
        return road


def _limit_words(job: Job) -> tuple[str, ...]:
    """Words by which ABINIT stops in time; it reads options behind the name of the input alone."""
    if job.walltime_s is None:
        return ()
    minutes, seconds = divmod(max(int(TIME_FRACTION * job.walltime_s), 1), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return ("--timelimit", f"{days}-{hours:02d}:{minutes:02d}:{seconds:02d}")


def _restart(job: Job) -> dict[str, int]:
    """Go on from the wave functions, and so from the density, of an attempt that stopped in time."""
    scratch = job.folder / SCRATCH_NAME
    if not (scratch / "out_WFK").is_file():
        return {}
    (scratch / "out_WFK").rename(scratch / "in_WFK")
    return {"irdwfk": 1}
