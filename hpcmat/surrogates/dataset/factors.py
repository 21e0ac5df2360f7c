"""Factors by which numbers in other units differ from ours."""

from __future__ import annotations

import math

from ase import units as ase_units

from hpcmat.units import EV_PER, GPA_PER_EV_PER_ANG3

_KCAL_MOL = ase_units.mol / ase_units.kcal
_KJ_MOL = ase_units.mol / ase_units.kJ

ENERGY: dict[str, float] = {
    "Hartree": 1 / EV_PER["ha"],
    "Rydberg": 1 / EV_PER["ry"],
    "kcal/mol": _KCAL_MOL,
    "kJ/mol": _KJ_MOL,
    "meV": 1000.0,
}
"""Value of 1 eV in each unit."""

FORCES: dict[str, float] = {
    "Ha/Bohr": ase_units.Bohr / EV_PER["ha"],
    "Ry/Bohr or Ha/Å": ase_units.Bohr / EV_PER["ry"],
    "Ry/Å": 1 / EV_PER["ry"],
    "kcal/mol/Å": _KCAL_MOL,
    "kJ/mol/Å": _KJ_MOL,
    "meV/Å": 1000.0,
    "eV/Å with the opposite sign": -1.0,
}
"""Value of 1 eV/Å in each unit; Ry/Bohr and Ha/Å differ by 6 %, which an estimate cannot tell apart."""

STRESS: dict[str, float] = {
    "eV/Å³ with the opposite sign (pressure)": -1.0,
    "GPa": GPA_PER_EV_PER_ANG3,
    "GPa with the opposite sign": -GPA_PER_EV_PER_ANG3,
    "kbar": 10 * GPA_PER_EV_PER_ANG3,
    "kbar with the opposite sign (as VASP writes it)": -10 * GPA_PER_EV_PER_ANG3,
}
"""Value of 1 eV/Å³ under tension in each unit."""


def unit_like(ratio: float, table: dict[str, float], tolerance: float) -> str:
    """Name of the unit whose factor is nearest to `ratio`, within a factor of 1 + `tolerance`; empty where none is."""
    found = {name: _distance(ratio, factor) for name, factor in table.items() if ratio * factor > 0}
    name = min(found, key=found.__getitem__, default="")
    return name if name and found[name] < math.log1p(tolerance) else ""


def _distance(ratio: float, factor: float) -> float:
    return abs(math.log(ratio / factor))
