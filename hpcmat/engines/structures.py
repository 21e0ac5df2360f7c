"""Between the records' `Structure` and ASE's `Atoms`."""

from __future__ import annotations

from typing import Any

from ase import Atoms

from hpcmat.records import Structure


def to_atoms(structure: Structure) -> Any:
    """ASE atoms with the same symbols, positions (Å), cell (Å) and periodicity."""
    return Atoms(
        symbols=list(structure.symbols),
        positions=structure.positions,
        cell=structure.cell,
        pbc=structure.pbc,
    )


def from_atoms(atoms: Any) -> Structure:
    """Record of ASE atoms; positions are taken as they are, not wrapped into the cell."""
    periodic = tuple(bool(flag) for flag in atoms.pbc)
    return Structure(
        symbols=tuple(atoms.get_chemical_symbols()),
        positions=atoms.positions.copy(),
        cell=atoms.cell.array.copy(),
        pbc=(periodic[0], periodic[1], periodic[2]),
    )
