"""The potential as an ASE calculator."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from hpcmat.records import Structure
from hpcmat.surrogates.potential import Potential


class AceCalculator(Calculator):  # type: ignore[misc]
    """Energies (eV), forces (eV/Å) and stress (eV/Å³) for any ASE workflow.

    Raises
    ------
    PropertyNotImplementedError
        From `calculate`: stress is asked of atoms whose cell has no volume.
    InputError
        From `calculate`: an element is unknown to the potential or the geometry cannot be right.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress"]

    def __init__(self, potential: Potential, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.potential = potential

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `self.results`; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        prediction = self.potential.predict(structure_of(self.atoms))
        self.results = {
            "energy": prediction.energy,
            "free_energy": prediction.energy,
            "energies": prediction.site_energies,
            "forces": prediction.forces,
        }
        if len(prediction.stress):
            self.results["stress"] = prediction.stress
        elif "stress" in (properties or []):
            raise PropertyNotImplementedError("these atoms have no periodic cell; ask for no stress")


def structure_of(atoms: Atoms) -> Structure:
    """The structure in an ASE Atoms object."""
    x, y, z = (bool(periodic) for periodic in atoms.pbc)
    return Structure(
        tuple(atoms.get_chemical_symbols()), np.array(atoms.positions), np.array(atoms.cell.array), (x, y, z)
    )
