"""What ABINIT wrote: a label where its main output is complete and agrees with itself, else the failure and its kind.

The output states every result several times, with different digits and in different units. Each number of a label is
taken from the closing summary (`etotal`, `fcart`, `strten`) and from the body, with those digits that both have: a
damaged one is a contradiction, not another label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from hpcmat.engines.base import EngineFailure, log_tail
from hpcmat.engines.external.abinit_failures import check_failures
from hpcmat.engines.external.calculation import Calculation, corrupt, only, read_output
from hpcmat.engines.external.engine import check_version
from hpcmat.engines.external.run import Ending
from hpcmat.records import Label
from hpcmat.units import ANG_PER, EV_PER

Array = NDArray[np.float64]

OUTPUT_NAME = "run.abo"
_GEOMETRY_TOLERANCE = 1e-6
"""Å."""
_ROUNDING = 0.5 * (1 + 1e-6)
_SUMMARY = "-outvars: echo values of variables after computation"


def read_label(calculation: Calculation, folder: Path, ending: Ending) -> Label:
    """The label of one run of ABINIT.

    Raises
    ------
    EngineFailure
        See `check_failures`; `CORRUPT_OUTPUT` too where the output is not complete or contradicts itself.
    """
    check_failures(folder, ending)
    text = read_output(folder / OUTPUT_NAME)
    tail = log_tail(folder / OUTPUT_NAME)
    try:
        check_version(only(r"^\.Version (\S+)\s+of ABINIT", text), calculation)
        return _label(calculation, text)
    except (ValueError, IndexError) as error:
        raise corrupt(f"{OUTPUT_NAME} is not whole ({error})", tail) from error
    except EngineFailure as failure:
        raise EngineFailure(failure.kind, failure.message, tail) from failure


def _label(calculation: Calculation, text: str) -> Label:
    body, _, summary = text.partition(_SUMMARY)
    structure = calculation.structure
    _check_geometry(calculation, body, summary)
    energy, forces = _energy(body, summary), _forces(body, summary, len(structure))
    wanted = calculation.engine.stress  # type: ignore[union-attr]
    build = only(r"^\.\((.*?computer)\)", text)
    return Label(
        structure=structure,
        energy=energy * EV_PER["ha"],
        forces=forces * (EV_PER["ha"] / ANG_PER["bohr"]),
        stress=_stress(body, summary) * (EV_PER["ha"] / ANG_PER["bohr"] ** 3) if wanted else np.zeros(0),
        method=calculation.method,
        energy_kind="free",
        scf_steps=_steps(body),
        notes=(f"ABINIT {calculation.method.version}, {build}",),
    )


def _energy(body: str, summary: str) -> float:
    """Hartree; total energy minus temperature times entropy where occupations are smeared."""
    stated = only(r"^\s+etotal\s+(\S+)$", summary)
    again = only(r"^total_energy\s+:\s+(\S+)$", body)
    return float(_agreed("energy", [stated], [again])[0])


def _forces(body: str, summary: str, n_atoms: int) -> Array:
    """(n, 3) Hartree/bohr."""
    stated = _values(summary, "fcart", 3 * n_atoms)
    rows = _rows(body, "cartesian forces (hartree/bohr) at end:", n_atoms)
    return _agreed("forces", stated, [word for row in rows for word in row]).reshape(n_atoms, 3)


def _stress(body: str, summary: str) -> Array:
    """Hartree/bohr³, Voigt order xx yy zz yz xz xy, positive under tension."""
    stated = _values(summary, "strten", 6)
    block = body[body.rindex("Cartesian components of stress tensor (hartree/bohr^3)") :].splitlines()[1:4]
    rows = [re.findall(r"sigma\(\d \d\)=\s*(\S+)", line) for line in block]
    again = [row[0] for row in rows] + [row[1] for row in rows]
    return _agreed("stress", stated, again)


def _steps(body: str) -> int:
    numbers = [int(number) for number in re.findall(r"^ ETOT\s+(\d+)\s", body, re.MULTILINE)]
    last = int(only(r"At SCF step\s+(\d+)\b", body))
    if numbers != list(range(1, last + 1)):
        raise ValueError("steps of the cycle are missing")
    return last


def _check_geometry(calculation: Calculation, body: str, summary: str) -> None:
    """The calculation must be of the structure asked for: an output of another one is whole, too."""
    structure, bohr = calculation.structure, ANG_PER["bohr"]
    n_atoms = len(structure)
    if int(only(r"^\s+natom\s+(\d+)$", summary)) != n_atoms:
        raise ValueError("another number of atoms")
    kinds = sorted({atomic_numbers[symbol] for symbol in structure.symbols})
    charges = [int(float(word)) for word in _values(summary, "znucl", len(kinds))]
    types = [int(word) for word in _values(summary, "typat", n_atoms)]
    # The summary leaves out positions that are all zero.
    positions = np.array(_rows(body, "cartesian coordinates (angstrom) at end:", n_atoms), dtype=float)
    lengths = np.array(_values(summary, "acell", 3), dtype=float)
    cell = lengths[:, None] * np.array(_values(summary, "rprim", 9), dtype=float).reshape(3, 3)
    same = (
        [charges[kind - 1] for kind in types] == [atomic_numbers[symbol] for symbol in structure.symbols]
        and np.allclose(positions, structure.positions, rtol=0, atol=_GEOMETRY_TOLERANCE)
        and np.allclose(cell * bohr, structure.cell, rtol=0, atol=_GEOMETRY_TOLERANCE)
    )
    if not same:
        raise ValueError("the output is of another structure")


def _rows(body: str, title: str, n_atoms: int) -> list[list[str]]:
    """Words of the numbered rows below a title, one row for each atom."""
    rows = [line.split() for line in body[body.index(title) :].splitlines()[1 : n_atoms + 1]]
    if [row[0] for row in rows] != [str(number + 1) for number in range(n_atoms)] or {len(row) for row in rows} != {4}:
        raise ValueError(f"rows of some atoms are missing after {title}")
    return [row[1:] for row in rows]


def _values(text: str, name: str, count: int) -> list[str]:
    """Words of one variable in the summary, which may go over several lines."""
    found = re.findall(rf"^.\s*{name}\s+(.*(?:\n\s{{16,}}.*)*)", text, re.MULTILINE)
    if len(found) != 1:
        raise ValueError(f"{len(found)} times {name} in the summary")
    words = found[0].replace("Bohr", "").split()
    if len(words) != count:
        raise ValueError(f"{len(words)} values of {name} instead of {count}")
    return list(words)


def _agreed(name: str, once: Sequence[str], again: Sequence[str]) -> Array:
    """Numbers printed twice: of each the one with fewer decimals, which must be the rounding of the other."""
    if len(once) != len(again):
        raise ValueError(f"{len(once)} and {len(again)} numbers for the {name}")
    numbers = []
    for words in zip(once, again, strict=True):
        fine, coarse = sorted(words, key=_last_digit)
        if abs(float(fine) - float(coarse)) > _ROUNDING * (_last_digit(coarse) + _last_digit(fine)):
            raise ValueError(f"it contradicts itself in the {name}")
        numbers.append(float(coarse))
    return np.array(numbers)


def _last_digit(word: str) -> float:
    """Value of a one in the last place of a number."""
    mantissa, _, exponent = word.upper().partition("E")
    return float(10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2])))
