"""What pw.x wrote: a label where text and XML agree and are complete, else the failure and its kind.

Every number of a label is the one printed in `pw.out`, and is confirmed by `pw.xml`, which the code writes separately
with all digits: a damaged digit in either file is a contradiction, not another label.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from hpcmat.engines.base import EngineFailure, log_tail
from hpcmat.engines.external.calculation import Calculation, corrupt, only, read_output
from hpcmat.engines.external.engine import check_version
from hpcmat.engines.external.espresso_failures import OUTPUT_NAME, check_failures
from hpcmat.engines.external.espresso_stress import distrust
from hpcmat.engines.external.run import Ending
from hpcmat.records import FailureKind, Label
from hpcmat.units import ANG_PER, EV_PER

Array = NDArray[np.float64]

XML_NAME = "pw.xml"
_TEXT_ROUNDING = 0.5e-8 * (1 + 1e-6)
"""Half of the last digit that the text prints of energies (Ry), forces (Ry/bohr) and stresses (Ry/bohr³)."""
_GEOMETRY_TOLERANCE_BOHR = 1e-6
HIGHEST_OCCUPATION = 0.01
"""Of the highest band at any k-point, relative to a full one; ABINIT warns from the same number on. Methfessel-Paxton
occupations above the Fermi energy are negative."""
_NUMBER = r"\s+(-?\d+\.\d+)"


@dataclass(frozen=True, slots=True, eq=False)
class _Result:
    """Energy (Ry), forces (n, 3) Ry/bohr, stress (3, 3) Ry/bohr³ as pw.x counts it, positive under pressure."""

    energy: float
    forces: Array
    stress: Array
    """Without rows where none was computed."""
    scf_steps: int


def read_label(calculation: Calculation, folder: Path, ending: Ending) -> Label:
    """The label of one run of pw.x.

    Raises
    ------
    EngineFailure
        See `check_failures`; `CORRUPT_OUTPUT` too where the two files are not complete or contradict each other.
    """
    check_failures(folder, ending)
    text = read_output(folder / OUTPUT_NAME)
    tail = log_tail(folder / OUTPUT_NAME)
    try:
        return _label(calculation, text, _output_element(folder / XML_NAME, calculation))
    except (ValueError, IndexError, KeyError, ElementTree.ParseError) as error:
        raise corrupt(f"{OUTPUT_NAME} and {XML_NAME} are not both whole ({error})", tail) from error
    except EngineFailure as failure:
        raise EngineFailure(failure.kind, failure.message, tail) from failure


def _label(calculation: Calculation, text: str, xml: ElementTree.Element) -> Label:
    check_version(only(r"Program PWSCF\s+v\.(\S+) starts", text), calculation)
    _check_geometry(calculation, xml)
    _check_bands(xml)
    result = _from_text(text, calculation)
    _confirm(result, xml)
    stress = _tension(result.stress)
    note = distrust(calculation.method) if stress.size else ""
    build = " ".join(only(r"((?:Parallel|Serial) version.*)", text).split())
    return Label(
        structure=calculation.structure,
        energy=result.energy * EV_PER["ry"],
        forces=result.forces * (EV_PER["ry"] / ANG_PER["bohr"]),
        stress=np.zeros(0) if note else stress,
        method=calculation.method,
        energy_kind="free",
        scf_steps=result.scf_steps,
        notes=(f"pw.x {calculation.method.version}, {build}", *([note] if note else [])),
    )


def _from_text(text: str, calculation: Calculation) -> _Result:
    n_atoms = len(calculation.structure)
    if int(only(r"number of atoms/cell\s+=\s+(\d+)", text)) != n_atoms:
        raise ValueError("another number of atoms")
    end = text.index("convergence has been achieved in")
    return _Result(
        energy=float(only(r"^!\s+total energy\s+=" + _NUMBER + r" Ry$", text)),
        forces=_forces(text[end:], n_atoms),
        stress=_stress(text[end:]) if calculation.engine.stress else np.zeros((0, 3)),  # type: ignore[union-attr]
        scf_steps=int(only(r"convergence has been achieved in\s+(\d+) iterations", text)),
    )


def _forces(text: str, n_atoms: int) -> Array:
    block = text[text.index("Forces acting on atoms (cartesian axes, Ry/au):") :]
    rows = re.findall(r"^\s+atom\s+(\d+) type\s+\d+\s+force =" + 3 * _NUMBER + "$", block, re.MULTILINE)[:n_atoms]
    if [int(row[0]) for row in rows] != list(range(1, n_atoms + 1)):
        raise ValueError("forces of some atoms are missing")
    return np.array([[float(word) for word in row[1:]] for row in rows])


def _stress(text: str) -> Array:
    lines = text[text.index("total   stress  (Ry/bohr**3)") :].splitlines()[1:4]
    rows = [re.fullmatch(6 * _NUMBER + r"\s*", line) for line in lines]
    return np.array([[float(word) for word in row.groups()[:3]] for row in rows if row]).reshape(3, 3)


def _output_element(path: Path, calculation: Calculation) -> ElementTree.Element:
    root = ElementTree.fromstring(read_output(path))
    check_version(_attribute(root, "general_info/creator", "VERSION"), calculation)
    if _text(root, "status") != "0":
        raise ValueError(f"status {_text(root, 'status')} in {path.name}")
    output = root.find("output")
    if output is None:
        raise ValueError(f"no results in {path.name}")
    if _text(output, "convergence_info/scf_conv/convergence_achieved") != "true":
        raise ValueError(f"{path.name} says that the cycle did not converge")
    return output


def _check_bands(xml: ElementTree.Element) -> None:
    """With smearing, the highest band of each spin must be empty: pw.x computes without the missing ones, silently."""
    bands = xml.find("band_structure")
    if bands is None or bands.find("smearing") is None:
        return
    spins = 2 if _text(bands, "lsda") == "true" else 1
    for kpoint in bands.findall("ks_energies"):
        highest = np.abs(_numbers(kpoint, "occupations").reshape(spins, -1)[:, -1]).max()
        if highest > HIGHEST_OCCUPATION:
            raise EngineFailure(
                FailureKind.TOO_FEW_BANDS, f"the highest band is occupied ({highest:.2g}); use more bands"
            )


def _check_geometry(calculation: Calculation, xml: ElementTree.Element) -> None:
    """The calculation must be of the structure asked for: an output of another one is whole, too."""
    structure, bohr = calculation.structure, ANG_PER["bohr"]
    cell = [_numbers(xml, f"atomic_structure/cell/a{axis}") for axis in (1, 2, 3)]
    atoms = xml.findall("atomic_structure/atomic_positions/atom")
    symbols = tuple(re.sub(r"\d+$", "", atom.attrib["name"]) for atom in atoms)
    positions = np.array([[float(word) for word in (atom.text or "").split()] for atom in atoms])
    same = (
        symbols == structure.symbols
        and np.allclose(cell, structure.cell / bohr, rtol=0, atol=_GEOMETRY_TOLERANCE_BOHR)
        and np.allclose(positions, structure.positions / bohr, rtol=0, atol=_GEOMETRY_TOLERANCE_BOHR)
    )
    if not same:
        raise ValueError("the output is of another structure")


def _confirm(result: _Result, xml: ElementTree.Element) -> None:
    """Compare what the text says with the XML, which is in Hartree; both describe one result."""
    pairs = [
        ("energy", np.array([result.energy]), _numbers(xml, "total_energy/etot")),
        ("forces", result.forces, _numbers(xml, "forces")),
    ]
    if len(result.stress):
        pairs.append(("stress", result.stress, _numbers(xml, "stress")))
    for name, ours, theirs in pairs:
        if not np.all(np.abs(ours.ravel() - 2.0 * theirs) <= _TEXT_ROUNDING):
            raise ValueError(f"they contradict each other in the {name}")
    if int(_text(xml, "convergence_info/scf_conv/n_scf_steps")) != result.scf_steps:
        raise ValueError("they contradict each other in the number of steps")


def _tension(stress: Array) -> Array:
    """Voigt components in eV/Å³, positive under tension."""
    if not len(stress):
        return np.zeros(0)
    voigt = full_3x3_to_voigt_6_stress(-stress * (EV_PER["ry"] / ANG_PER["bohr"] ** 3))
    return np.array(voigt, dtype=np.float64)


def _text(element: ElementTree.Element, path: str) -> str:
    found = element.find(path)
    if found is None or found.text is None:
        raise ValueError(f"no {path} in the XML")
    return found.text.strip()


def _attribute(element: ElementTree.Element, path: str, name: str) -> str:
    found = element.find(path)
    if found is None:
        raise ValueError(f"no {path} in the XML")
    return found.attrib[name]


def _numbers(element: ElementTree.Element, path: str) -> Array:
    return np.array([float(word) for word in _text(element, path).split()])
