"""CP2K (Kühne et al., J. Chem. Phys. 152, 194103 (2020)): input and execution."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hpcmat.engines.base import Job
from hpcmat.engines.external.calculation import SCRATCH_NAME, Calculation
from hpcmat.engines.external.code import Code, Sources
from hpcmat.engines.external.cp2k_data import DataFiles, data_folder, find_data
from hpcmat.engines.external.cp2k_failures import OUTPUT_NAME
from hpcmat.engines.external.cp2k_input import PROJECT, Road, input_text
from hpcmat.engines.external.cp2k_output import SCINE_NAME, read_label
from hpcmat.engines.external.engine import TIME_FRACTION, ExternalEngine
from hpcmat.engines.external.run import Ending, Invocation
from hpcmat.engines.settings.cp2k import Cp2kSettings
from hpcmat.errors import InputError
from hpcmat.records import Label, Structure

INPUT_NAME = "cp2k.inp"
SCF_STEPS, MORE_SCF_STEPS = 100, 300
MIXING, GENTLE_MIXING, GENTLE_SPIN_MIXING = 0.4, 0.1, 0.05
"""Part of the new density in the next step. Charge swings between two atoms of iron at 0.1 (docs/engines-cp2k.md)."""

CODE = Code(
    title="CP2K",
    executable="cp2k.psmp",
    variable="HPCMAT_CP2K",
    sources=Sources(
        debian="apt-get install cp2k cp2k-data openmpi-bin libopenblas0-pthread",
        spack="spack install cp2k",
        fugaku=". /vol0004/apps/oss/spack/share/spack/setup-env.sh && spack load cp2k",
    ),
    version_arguments=("--version",),
    version_pattern=r"CP2K version (\S+)",
)


@dataclass(frozen=True, slots=True)
class Cp2kEngine(ExternalEngine):
    """CP2K with given settings; `scf_steps` limits the self-consistency cycle."""

    code: ClassVar[Code] = CODE
    collected: ClassVar[tuple[str, ...]] = (SCINE_NAME,)

    settings: Cp2kSettings
    scf_steps: int = SCF_STEPS

    def check_cell(self, structure: Structure) -> None:
        """Raise `InputError` for a structure that is periodic along some axes only."""
        if any(structure.pbc) and not all(structure.pbc):
            raise InputError(
                "CP2K is given cells that are periodic along all axes or none; add vacuum and set pbc to true"
            )

    def data_files(self, symbols: Iterable[str]) -> dict[str, Path]:
        """The file of basis sets and that of potentials."""
        data = self._data(symbols)
        return {"basis": data.basis, "potentials": data.potentials}

    def write(self, calculation: Calculation, job: Job) -> Invocation:
        """Write `cp2k.inp`; wave functions go to the scratch folder."""
        structure = calculation.structure
        data = self._data(structure.symbols)
        scratch = job.folder / SCRATCH_NAME
        for file in (data.basis, data.potentials):
            (scratch / file.name).unlink(missing_ok=True)
            (scratch / file.name).symlink_to(file.resolve())
        text = input_text(structure, self.settings, data, self._road(job))
        (job.folder / INPUT_NAME).write_text(text)
        return Invocation(("-i", INPUT_NAME), OUTPUT_NAME)

    def read(self, calculation: Calculation, folder: Path, ending: Ending) -> Label:
        """The label that the output and its copy for SCINE agree on."""
        return read_label(calculation, folder, ending)

    def _road(self, job: Job) -> Road:
        scratch = job.folder / SCRATCH_NAME
        gentle = GENTLE_SPIN_MIXING if self.settings.spin_polarized else GENTLE_MIXING
        return Road(
            scf_steps=MORE_SCF_STEPS if "more-steps" in job.remedies else self.scf_steps,
            mixing=gentle if "mixing" in job.remedies else MIXING,
            diagonalization="SCALAPACK" if "eigensolver" in job.remedies else "ELPA",
            restart=any((scratch / f"{PROJECT}-RESTART.{kind}").is_file() for kind in ("kp", "wfn")),
            walltime_s=None if job.walltime_s is None else TIME_FRACTION * job.walltime_s,
        )

    def _data(self, symbols: Iterable[str]) -> DataFiles:
        settings = self.settings
        return find_data(symbols, settings.xc, settings.basis, data_folder(settings.data_folder, CODE))
