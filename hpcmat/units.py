"""Units: eV, Å, eV/Å, eV/Å³, K, fs, seconds and node-hours everywhere inside; conversions only at the edges.

Conversion factors come from ASE's CODATA tables, so that they agree with the engines driven through ASE.
"""

from ase import units as _ase

GPA_PER_EV_PER_ANG3: float = 1.0 / _ase.GPa
"""Multiply a stress or bulk modulus in eV/Å³ by this to get GPa."""

J_PER_M2_PER_EV_PER_ANG2: float = _ase.m**2 / _ase.J
"""Multiply an energy of a surface in eV/Å² by this to get J/m²."""

BOLTZMANN_EV_PER_K: float = _ase.kB
FEMTOSECOND: float = _ase.fs
"""One femtosecond in ASE's time unit, Å·sqrt(u/eV)."""

SECONDS_PER_HOUR = 3600.0

EV_PER: dict[str, float] = {"ev": 1.0, "mev": 1e-3, "ry": _ase.Ry, "ha": _ase.Ha, "kjmol": _ase.kJ / _ase.mol}
"""Energies: eV in one of each unit, keyed by the suffix a user may have written."""

ANG_PER: dict[str, float] = {"ang": 1.0, "nm": 10.0, "bohr": _ase.Bohr, "pm": 0.01}
"""Lengths: Å in one of each unit."""
