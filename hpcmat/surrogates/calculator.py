"""The potential as an ASE calculator."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from hpcmat.records import Structure
from hpcmat.surrogates.potential import Potential, Prediction


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
        self.prediction: Prediction | None = None
        """The last one, without any bias."""

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `self.results`; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        self.prediction = self.potential.predict(structure_of(self.atoms))
        self.results = self._results(self.prediction)
        if "stress" in (properties or []) and "stress" not in self.results:
            raise PropertyNotImplementedError("these atoms have no periodic cell; ask for no stress")

    def _results(self, prediction: Prediction) -> dict[str, Any]:
        """What ASE is given."""
        results = {
            "energy": prediction.energy,
            "free_energy": prediction.energy,
            "energies": prediction.site_energies,
            "forces": prediction.forces,
        }
        return results | ({"stress": prediction.stress} if len(prediction.stress) else {})


MEMORY = 20
"""Calculations, weighted exponentially, over which the strength of a bias is measured: less than a vibration."""


class BiasedCalculator(AceCalculator):
    """The potential lowered where it is uncertain of the energy: U = E - τ σ_E, with its exact forces.

    Dynamics on U visit what the committee disagrees on without being heated. No component of a force changes by more
    than τ times its own standard deviation. Van der Oord et al., npj Comput. Mater. 9 (2023) 168.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]

    def __init__(self, potential: Potential, tau: float = 0.0, **kwargs: Any) -> None:
        super().__init__(potential, **kwargs)
        self.tau = tau
        """Standard deviations of the energy."""
        self._squares = np.zeros(2)
        """Of the forces of E and of σ_E: means over the last calculations."""

    def bias_by(self, strength: float) -> None:
        """Set τ so that, by what was met of late, its forces are this fraction of those of the potential (rms)."""
        own, spread = np.sqrt(self._squares)
        self.tau = float(strength * own / spread) if spread else 0.0

    def _results(self, prediction: Prediction) -> dict[str, Any]:
        spread, gradient = self.potential.energy_spread(structure_of(self.atoms))
        now = np.array([np.mean(prediction.forces**2), np.mean(gradient**2)])
        self._squares += (now - self._squares) / MEMORY
        energy = prediction.energy - self.tau * spread
        return {"energy": energy, "free_energy": energy, "forces": prediction.forces + self.tau * gradient}


def structure_of(atoms: Atoms) -> Structure:
    """The structure in an ASE Atoms object."""
    x, y, z = (bool(periodic) for periodic in atoms.pbc)
    return Structure(
        tuple(atoms.get_chemical_symbols()), np.array(atoms.positions), np.array(atoms.cell.array), (x, y, z)
    )
