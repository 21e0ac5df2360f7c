"""VASP (Kresse and Furthmüller, Phys. Rev. B 54, 11169 (1996)): input and execution.

Not run where this package is tested, for want of a licence: inputs and outputs are tested in their documented formats.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hpcmat.engines.base import Job, make_method
from hpcmat.engines.external.calculation import Calculation
from hpcmat.engines.external.code import Code, Sources
from hpcmat.engines.external.engine import check_occupations
from hpcmat.engines.external.plane_waves import PlaneWaveEngine
from hpcmat.engines.external.run import Ending, Invocation
from hpcmat.engines.external.vasp_failures import LOG_NAME
from hpcmat.engines.external.vasp_output import read_label, sorted_atoms
from hpcmat.engines.settings.vasp import VaspSettings
from hpcmat.errors import InputError
from hpcmat.records import Label, Method, Structure

SCF_STEPS, MORE_SCF_STEPS = 100, 400
INITIAL_MOMENT_BOHR = 1.0
FOLDER_VARIABLE = "VASP_PP_PATH"

CODE = Code(
    title="VASP",
    executable="vasp_std",
    variable="HPCMAT_VASP",
    sources=Sources(
        spack="spack install vasp, with your own licensed sources",
        fugaku="build it from your own licensed sources",
    ),
    # It stops at the missing INCAR; where it says nothing before, state engine.code_version.
    version_pattern=r"vasp\.(\d+\.\d+\.\d+)",
    tried=False,
)
_FAMILIES = {"PBE": "potpaw_PBE", "LDA": "potpaw", "PBEsol": "potpaw_PBE", "RPBE": "potpaw_PBE"}
_GGA = {"PBE": "PE", "LDA": "CA", "PBEsol": "PS", "RPBE": "RP"}
_ISMEAR = {"fermi-dirac": -1, "gaussian": 0, "methfessel-paxton": 1}


@dataclass(frozen=True, slots=True)
class VaspEngine(PlaneWaveEngine):
    """VASP with given settings; `scf_steps` limits the self-consistency cycle."""

    code: ClassVar[Code] = CODE
    discarded: ClassVar[tuple[str, ...]] = ("POTCAR",)

    settings: VaspSettings
    scf_steps: int = SCF_STEPS

    def data_files(self, symbols: Iterable[str]) -> dict[str, Path]:
        """POTCAR of each element, in the folder of its symbol below the family's."""
        folder = self._family()
        files = {symbol: folder / symbol / "POTCAR" for symbol in sorted(set(symbols))}
        missing = [str(path) for path in files.values() if not path.is_file()]
        if missing:
            raise InputError(
                f"no {', '.join(missing)}; name a folder with one folder for each element in engine.pseudopotentials, "
                f"or that above it in {FOLDER_VARIABLE} (the data sets come with the licence of VASP)"
            )
        return files

    def write(self, calculation: Calculation, job: Job) -> Invocation:
        """Write INCAR, KPOINTS, POSCAR and POTCAR; atoms are sorted by element, as these files want them."""
        from ase.io.vasp import write_vasp
        from ase.io.vasp_parsers.incar_writer import write_incar

        structure, folder = calculation.structure, job.folder
        atoms, _ = sorted_atoms(structure)
        files = self.data_files(structure.symbols)
        valence = {symbol: _valence(path) for symbol, path in files.items()}
        check_occupations(sum(valence[symbol] for symbol in structure.symbols), self.settings.smearing_ev)
        with (folder / "POSCAR").open("w") as stream:
            write_vasp(stream, atoms, direct=False)
        # POTCAR holds the data sets in the order in which POSCAR names the elements.
        (folder / "POTCAR").write_bytes(b"".join(files[symbol].read_bytes() for symbol in sorted(files)))
        write_incar(folder, self.tags(structure, job.remedies))
        (folder / "KPOINTS").write_text(self._kpoints(structure))
        return Invocation((), LOG_NAME)

    def read(self, calculation: Calculation, folder: Path, ending: Ending) -> Label:
        """The label that `vasprun.xml` and `OUTCAR` agree on."""
        return read_label(calculation, folder, ending)

    def method(self, symbols: Iterable[str]) -> Method:
        """As of every engine; data files go by their element, since all are called POTCAR."""
        files = {f"POTCAR-{symbol}": path for symbol, path in self.data_files(symbols).items()}
        return make_method(self.settings, self.settings.code_version or self.code.version(), files)

    def tags(self, structure: Structure, remedies: tuple[str, ...]) -> dict[str, Any]:
        """Tags of the INCAR file."""
        settings = self.settings
        tags: dict[str, Any] = {
            "istart": 0,
            "icharg": 2,
            "gga": _GGA[settings.xc],
            "encut": settings.cutoff_ev,
            "prec": "Accurate",
            # Without smearing the occupations are those of a narrow Gaussian, which an insulator does not feel.
            "ismear": _ISMEAR[settings.smearing] if settings.smearing_ev else 0,
            "sigma": settings.smearing_ev or 0.01,
            "ispin": 2 if settings.spin_polarized else 1,
            "ediff": settings.energy_tolerance_ev * len(structure),
            "nelm": MORE_SCF_STEPS if "more-steps" in remedies else self.scf_steps,
            "algo": "All" if "eigensolver" in remedies else "Normal",
            "ibrion": -1,
            "nsw": 0,
            "isif": 2 if settings.stress else 0,
            "lwave": ".FALSE.",
            "lcharg": ".FALSE.",
        }
        if settings.spin_polarized:
            tags["magmom"] = f"{len(structure)}*{INITIAL_MOMENT_BOHR}"
        if "mixing" in remedies:
            tags |= {"amix": 0.1, "bmix": 0.01}
        if not self.reduces(structure, remedies):
            tags["isym"] = 0
        return tags | dict(settings.extra)

    def _kpoints(self, structure: Structure) -> str:
        grid = " ".join(map(str, self.grid(structure)[0]))
        centred = "Gamma" if self.settings.kpoint_grid == "gamma" else "Monkhorst-Pack"
        return f"k-points by spacing\n0\n{centred}\n{grid}\n0 0 0\n"

    def _family(self) -> Path:
        named = Path(self.settings.pseudopotentials).expanduser() if self.settings.pseudopotentials else None
        if named is not None and named.is_dir():
            return named
        above = Path(os.environ.get(FOLDER_VARIABLE, ""))
        return above / (self.settings.pseudopotentials or _FAMILIES[self.settings.xc])


def _valence(path: Path) -> float:
    found = re.search(r"ZVAL\s*=\s*(\d+\.?\d*)", path.read_text(errors="replace"))
    if found is None:
        raise InputError(f"{path} states no ZVAL, the number of its electrons; put a whole data set in its place")
    return float(found[1])
