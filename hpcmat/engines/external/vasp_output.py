"""What VASP wrote: a label where `vasprun.xml` and `OUTCAR` agree and are complete, else the failure and its kind.

ASE reads `vasprun.xml`, also where it breaks off: that it is whole is checked before. Its numbers are confirmed by
those that `OUTCAR` prints with fewer digits.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcmat.engines.base import EngineFailure, log_tail
from hpcmat.engines.external.calculation import Calculation, read_output
from hpcmat.engines.external.engine import check_version
from hpcmat.engines.external.run import Ending
from hpcmat.engines.external.vasp_failures import LOG_NAME, OUTPUT_NAME, check_failures, not_finished
from hpcmat.engines.structures import to_atoms
from hpcmat.records import Label, Structure
from hpcmat.units import GPA_PER_EV_PER_ANG3

Array = NDArray[np.float64]

XML_NAME = "vasprun.xml"
_KBAR_PER_EV_ANG3 = 10.0 * GPA_PER_EV_PER_ANG3
_FORCE_ROUNDING, _STRESS_ROUNDING_KBAR = 0.51e-6, 0.51e-5
"""Half of the last digit that OUTCAR prints."""
_STRESS_FACTOR = 1e-6
"""Part by which kbar of VASP and ours may differ: its constants are older."""


@dataclass(frozen=True, slots=True, eq=False)
class _Result:
    """eV, (n, 3) eV/Å, (6,) eV/Å³ in the order of the sorted atoms."""

    energy: float
    forces: Array
    stress: Array
    steps: list[float]
    """Change of the energy in each step of the cycle, eV."""


def sorted_atoms(structure: Structure) -> tuple[Any, NDArray[np.int64]]:
    """ASE atoms in the order of VASP's files, by element, and where each was before."""
    order = np.argsort(np.array(structure.symbols), kind="stable")
    return to_atoms(structure)[order], order


def read_label(calculation: Calculation, folder: Path, ending: Ending) -> Label:
    """The label of one run of VASP.

    Raises
    ------
    EngineFailure
        See `check_failures`; `CORRUPT_OUTPUT` too where the two files are not complete or contradict each other.
    """
    try:
        root = ElementTree.fromstring(read_output(folder / XML_NAME))
        result = _from_xml(calculation, folder, root)
        check_failures(folder, ending, result.steps, int(_item(root, "parameters//i[@name='NELM']")))
        version = _item(root, "generator/i[@name='version']")
        check_version(version, calculation)
        _confirm(result, read_output(folder / OUTPUT_NAME))
    except (ValueError, IndexError, AttributeError, KeyError, TypeError, ElementTree.ParseError) as error:
        reason = f"{XML_NAME} and {OUTPUT_NAME} are not both whole ({error})"
        raise not_finished(folder, ending, reason) from error
    except EngineFailure as failure:
        raise EngineFailure(failure.kind, failure.message, log_tail(folder / LOG_NAME)) from failure
    return _label(calculation, result, version)


def _label(calculation: Calculation, result: _Result, version: str) -> Label:
    _, order = sorted_atoms(calculation.structure)
    forces = np.empty_like(result.forces)
    forces[order] = result.forces
    return Label(
        structure=calculation.structure,
        energy=result.energy,
        forces=forces,
        stress=result.stress,
        method=calculation.method,
        energy_kind="free",
        scf_steps=len(result.steps),
        notes=(f"VASP {version}",),
    )


def _from_xml(calculation: Calculation, folder: Path, root: ElementTree.Element) -> _Result:
    from ase.io.vasp import read_vasp_xml

    if len(root.findall("calculation")) != 1:
        raise ValueError("not one calculation")
    (atoms,) = read_vasp_xml(folder / XML_NAME)
    _check_geometry(calculation, atoms)
    stress = np.array(atoms.calc.results["stress"]) if calculation.engine.stress else np.zeros(0)  # type: ignore[union-attr]
    energies = [float(item.text or "") for item in root.findall("calculation/scstep/energy/i[@name='e_fr_energy']")]
    free_energy = float(atoms.calc.results["free_energy"])
    if abs(energies[-1] - free_energy) > 1e-7:
        raise ValueError("two energies")
    return _Result(free_energy, np.array(atoms.calc.results["forces"]), stress, np.diff([0.0, *energies]).tolist())


def _check_geometry(calculation: Calculation, atoms: Any) -> None:
    """The calculation must be of the structure asked for: an output of another one is whole, too."""
    wanted, _ = sorted_atoms(calculation.structure)
    same = (
        atoms.get_chemical_symbols() == wanted.get_chemical_symbols()
        and np.allclose(atoms.cell.array, wanted.cell.array, rtol=0, atol=1e-6)
        # VASP folds positions into the cell.
        and np.allclose(_whole(atoms.get_scaled_positions(False) - wanted.get_scaled_positions(False)), 0, atol=1e-6)
    )
    if not same:
        raise ValueError("the output is of another structure")


def _whole(fractions: Array) -> Array:
    rest: Array = fractions - np.round(fractions)
    return rest


def _confirm(result: _Result, text: str) -> None:
    energy = re.findall(r"^\s+free  energy   TOTEN  =\s+(-?\d+\.\d+) eV$", text, re.MULTILINE)[-1]
    block = text[text.rindex(" TOTAL-FORCE (eV/Angst)") :].splitlines()[2 : 2 + len(result.forces)]
    forces = np.array([[float(word) for word in line.split()[3:6]] for line in block])
    same = abs(float(energy) - result.energy) <= 0.51e-8
    same = same and bool(np.all(abs(forces - result.forces) <= _FORCE_ROUNDING))
    if len(result.stress):
        (pressures,) = re.findall(r"^\s+in kB" + 6 * r"\s+(-?\d+\.\d+)" + "$", text, re.MULTILINE)
        # xx yy zz xy yz zx, positive under pressure.
        kbar = np.array(pressures, dtype=float)[[0, 1, 2, 4, 5, 3]]
        ours = -result.stress * _KBAR_PER_EV_ANG3
        same = same and bool(np.all(abs(kbar - ours) <= _STRESS_ROUNDING_KBAR + _STRESS_FACTOR * abs(kbar)))
    if not same:
        raise ValueError("they contradict each other")


def _item(root: ElementTree.Element, path: str) -> str:
    found = root.find(path)
    if found is None or found.text is None:
        raise ValueError(f"no {path} in {XML_NAME}")
    return found.text.strip()
