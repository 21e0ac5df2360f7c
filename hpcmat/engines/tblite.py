"""Extended tight binding with tblite.

GFN1-xTB: Grimme, Bannwarth, Shushkov, J. Chem. Theory Comput. 13, 1989 (2017); GFN2-xTB: Bannwarth, Ehlert, Grimme,
J. Chem. Theory Comput. 15, 1652 (2019). The package is licensed under the LGPL and optional: it is imported inside
functions. Its parameters are compiled in, so that its version says them. Cells are computed at the Γ point alone.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from hpcmat.engines.base import LOG_TAIL_LINES, EngineFailure, Job, make_method
from hpcmat.engines.external.errors import ErrorTable, classify
from hpcmat.engines.kpoints import kpoint_grid
from hpcmat.engines.settings.tblite import TbliteSettings
from hpcmat.errors import InputError
from hpcmat.records import FailureKind, Label, Method, Structure
from hpcmat.store.atomic import write_text
from hpcmat.units import ANG_PER, BOLTZMANN_EV_PER_K, EV_PER

LOG_NAME = "tblite.txt"
INSTALL = 'pip install "hpcmat[tblite]"; Spack: spack install tblite+python; Debian and Fugaku: not packaged, use pip'
SCF_STEPS, MORE_SCF_STEPS = 250, 1000
DAMPING, GENTLE_DAMPING = 0.4, 0.1
OTHER_GUESS = 1
"""Start from charges by electronegativity equilibration instead of neutral atoms."""
HEAVIEST = 86

_ERRORS: ErrorTable = (
    (r"not converged", FailureKind.NOT_CONVERGED, "use gentler mixing or more steps"),
    (r"too close", FailureKind.UNPHYSICAL, "leave this structure out"),
    (r"eigenvalue problem|sygv", FailureKind.DIAGONALIZATION, "atoms overlap, or the cell has no volume"),
    (r"not compatible", FailureKind.BAD_SETTINGS, "correct engine.unpaired_electrons or engine.charge_e"),
    (r"no support", FailureKind.BAD_SETTINGS, "these parameters do not know the element"),
)


@dataclass(frozen=True, slots=True)
class TbliteEngine:
    """tblite in this process; `scf_steps` limits the self-consistency cycle."""

    settings: TbliteSettings
    scf_steps: int = SCF_STEPS

    @property
    def name(self) -> str:
        """Name of the code."""
        return "tblite"

    def check(self, symbols: Iterable[str]) -> None:
        """Raise `InputError` when tblite is missing, or an element is heavier than radon."""
        _require_package()
        unknown = sorted(
            symbol for symbol in set(symbols) if atomic_numbers.get(symbol, 0) not in range(1, HEAVIEST + 1)
        )
        if unknown:
            raise InputError(
                f"{self.settings.parameters} ends at radon and has no {', '.join(unknown)}; use another engine"
            )

    def check_cell(self, structure: Structure) -> None:
        """Refuse cells that the one k-point does not sample.

        Raises
        ------
        InputError
            Says how often the cell must be repeated, or that it is periodic along some axes only, which tblite would
            compute as if it were along all.
        """
        if not any(structure.pbc):
            return
        if not all(structure.pbc):
            raise InputError(
                "tblite treats a cell periodic along some axes as periodic along all; add vacuum and set pbc to true"
            )
        spacing = self.settings.kpoint_spacing_per_ang
        grid = kpoint_grid(structure.cell, spacing)
        if grid != (1, 1, 1):
            heights = 1.0 / np.linalg.norm(np.linalg.inv(structure.cell), axis=0)
            raise InputError(
                f"tblite has the Γ point alone, and the cell of heights {', '.join(f'{h:.1f}' for h in heights)} Å "
                f"needs {' x '.join(map(str, grid))} k-points at {spacing} 1/Å; repeat it that often (each height at "
                f"least {2.0 * np.pi / spacing:.1f} Å), or widen engine.kpoint_spacing_per_ang"
            )

    def method(self, symbols: Iterable[str]) -> Method:
        """Version as the library states it, which includes the parameters."""
        _require_package()
        from tblite.library import get_version

        return make_method(self.settings, ".".join(map(str, get_version())))

    def warm_up(self) -> None:
        """Import the library."""
        _require_package()
        import tblite.interface

        _ = tblite.interface.Calculator

    def calculate(self, structure: Structure, job: Job) -> Label:
        """Free energy, forces and, of crystals, stress from one self-consistent calculation.

        Raises
        ------
        EngineFailure
            `BAD_SETTINGS` too for a cell too small for the Γ point, or periodic along some axes only.
        """
        try:
            self.check_cell(structure)
        except InputError as error:
            raise EngineFailure(FailureKind.BAD_SETTINGS, str(error)) from error
        lines: list[str] = []
        try:
            result = self._calculator(structure, job, lines).singlepoint()
        except (RuntimeError, ValueError) as error:
            tail = "\n".join(lines[-LOG_TAIL_LINES:])
            raise classify("tblite", " ".join(str(error).split()), _ERRORS, tail) from error
        finally:
            write_text(job.folder / LOG_NAME, "\n".join(lines) + "\n")
        return self._label(structure, result, _count_steps(lines))

    def _label(self, structure: Structure, result: Any, scf_steps: int) -> Label:
        hartree, bohr = EV_PER["ha"], ANG_PER["bohr"]
        stress = np.zeros(0)
        if all(structure.pbc):
            # tblite's virial is dE/dε.
            stress = result.get("virial").ravel()[[0, 4, 8, 5, 2, 1]] * hartree / abs(np.linalg.det(structure.cell))
        return Label(
            structure=structure,
            energy=float(result.get("energy")) * hartree,
            forces=-np.array(result.get("gradient")) * (hartree / bohr),
            stress=stress,
            method=self.method(set(structure.symbols)),
            energy_kind="free",
            scf_steps=scf_steps,
        )

    def _calculator(self, structure: Structure, job: Job, lines: list[str]) -> Any:
        from tblite.interface import Calculator

        settings, bohr = self.settings, ANG_PER["bohr"]
        crystal = all(structure.pbc)
        calculator = Calculator(
            settings.parameters,
            np.array([atomic_numbers[symbol] for symbol in structure.symbols]),
            structure.positions / bohr,
            float(settings.charge_e),
            settings.unpaired_electrons,
            structure.cell / bohr if crystal else None,
            np.array(structure.pbc) if crystal else None,
            color=False,
            logger=lines.append,
        )
        kelvin = BOLTZMANN_EV_PER_K / EV_PER["ha"]
        calculator.set("accuracy", settings.accuracy)
        calculator.set("temperature", settings.electronic_temperature_k * kelvin)
        calculator.set("max-iter", MORE_SCF_STEPS if "more-steps" in job.remedies else self.scf_steps)
        calculator.set("mixer-damping", GENTLE_DAMPING if "mixing" in job.remedies else DAMPING)
        if "eigensolver" in job.remedies:
            calculator.set("guess", OTHER_GUESS)
        return calculator


def _count_steps(lines: list[str]) -> int:
    numbers = [int(found[1]) for line in lines if (found := re.match(r"\s+(\d+)\s+-?\d+\.\d{12}\s", line))]
    return max(numbers, default=0)


def _require_package() -> None:
    if importlib.util.find_spec("tblite") is None:
        raise InputError(f"tblite is not installed; install it with: {INSTALL}")
