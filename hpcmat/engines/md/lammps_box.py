"""The cell as LAMMPS wants it: its lattice vectors a lower triangle with a positive diagonal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcmat.errors import InputError
from hpcmat_kernels.md.state import State

Floats = NDArray[np.float64]

MARGIN_ANG = 1.0
"""Room around a molecule at the start; its box follows it from there."""


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """The box of a state, and how vectors are turned into it and back."""

    cell: Floats
    """(3, 3) Å, lower triangle."""
    origin: Floats
    """(3,) Å, in the turned frame."""
    turn: Floats
    """(3, 3) orthogonal: v @ turn is in the frame of LAMMPS. A left-handed cell is mirrored too, which changes no
    energy."""
    periodic: bool

    def commands(self, n_types: int) -> str:
        """Boundaries, region and box; shrink-wrapped around what is not periodic, so that no atom leaves it."""
        lower, upper = self.origin, self.origin + np.diag(self.cell)
        sides = " ".join(f"{float(lo)!r} {float(hi)!r}" for lo, hi in zip(lower, upper, strict=True))
        tilts = " ".join(repr(float(self.cell[place])) for place in ((1, 0), (2, 0), (2, 1)))
        boundary = "p p p" if self.periodic else "s s s"
        # Any tilt is a cell of the same lattice; LAMMPS warns of large ones.
        return f"boundary {boundary}\nbox tilt large\nregion box prism {sides} {tilts}\ncreate_box {n_types} box"

    def into(self, positions: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """Positions in the box, and for each the cell (n, 3) that it was in."""
        turned = positions @ self.turn
        if not self.periodic:
            return turned, np.zeros(turned.shape, dtype=np.int64)
        cells = np.floor(turned @ np.linalg.inv(self.cell)).astype(np.int64)
        return turned - cells @ self.cell, cells

    def out_of(self, positions: Floats, cells: NDArray[np.int64]) -> Floats:
        """Positions in the frame and the cell of the state."""
        shifted: Floats = (positions + cells @ self.cell if self.periodic else positions) @ self.turn.T
        return shifted


def box_of(state: State) -> Box:
    """The box for a state that `check_box` accepts."""
    if not all(state.pbc):
        lower, upper = state.positions.min(axis=0) - MARGIN_ANG, state.positions.max(axis=0) + MARGIN_ANG
        return Box(np.diag(upper - lower), lower, np.eye(3), False)
    # Hᵀ = Q R gives H Q = Rᵀ, a lower triangle; signs make its diagonal positive.
    q, r = np.linalg.qr(state.cell.T)
    signs = np.sign(np.diag(r))
    return Box(np.tril((signs[:, None] * r).T), np.zeros(3), q * signs, True)


def check_box(state: State) -> None:
    """Refuse what has no equal in LAMMPS.

    Raises
    ------
    InputError
        Periodic along some axes only, or two masses within one species, which LAMMPS keeps by type.
    """
    if any(state.pbc) and not all(state.pbc):
        raise InputError("LAMMPS is given cells that are periodic along all axes or none; use the kernels here")
    for species in np.unique(state.species):
        if len(np.unique(state.masses[state.species == species])) > 1:
            raise InputError(
                f"LAMMPS keeps one mass for each species, and species {species} has several; use the kernels"
            )
