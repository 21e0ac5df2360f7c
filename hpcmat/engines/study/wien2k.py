"""Equations of state of the elements by WIEN2k with PBE, all electrons, from ASE's collection `dcdft`.

Lejaeghere et al., Crit. Rev. Solid State Mater. Sci. 39, 1 (2014).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcmat.engines.structures import from_atoms, to_atoms
from hpcmat.errors import InputError
from hpcmat.records import Structure
from hpcmat.surrogates.equation_of_state import EquationOfState

_NEIGHBOURS = 24
"""fcc and hcp differ from the nineteenth on."""
_REACH = 2.5
"""Radius, in cube roots of the volume per atom, of a sphere that holds more neighbours than are compared."""
_TOLERANCE = 0.06
"""fcc, hcp and bcc are 0.1 apart; lattice constants may differ by some percent."""


def published_state(crystal: Structure) -> EquationOfState:
    """WIEN2k's equation of state of an elemental crystal; its energy is zero at the minimum.

    Raises
    ------
    InputError
        The crystal is of several elements, of one that is not in the collection, or of another structure.
    """
    from ase.collections import dcdft

    symbols = set(crystal.symbols)
    symbol = min(symbols)
    if len(symbols) > 1 or symbol not in dcdft.names:
        raise InputError(
            f"no published equation of state of {', '.join(sorted(symbols))}; the collection has crystals of one of "
            f"{', '.join(dcdft.names)}: name such a seed as system.reference.structure, or leave --reference out"
        )
    if np.abs(_shells(from_atoms(dcdft[symbol])) - _shells(crystal)).max() > _TOLERANCE:
        raise InputError(
            f"the published crystal of {symbol} is another one than system.reference.structure names, or of another "
            "shape; name the same crystal (`ase.collections.dcdft` has it), or leave --reference out"
        )
    published = dcdft.data[symbol]
    return EquationOfState(published["wien2k_volume"], published["wien2k_B"], 0.0, published["wien2k_Bp"])


def _shells(crystal: Structure) -> NDArray[np.float64]:
    """Mean distance of the first, second, ... neighbour over the atoms, in cube roots of the volume per atom."""
    from ase.neighborlist import neighbor_list

    length = (abs(float(np.linalg.det(crystal.cell))) / len(crystal)) ** (1.0 / 3.0)
    first, distance = neighbor_list("id", to_atoms(crystal), cutoff=_REACH * length)
    nearest = [np.sort(distance[first == atom])[:_NEIGHBOURS] for atom in range(len(crystal))]
    mean: NDArray[np.float64] = np.mean(nearest, axis=0) / length
    return mean
