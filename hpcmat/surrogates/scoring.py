"""How good a potential is on labels it may or may not have seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcmat.records import Label
from hpcmat.surrogates.ace import unit_stress_offset
from hpcmat.surrogates.potential import Potential, Variances

Floats = NDArray[np.float64]

NORMAL_95 = 1.959963984540054
"""Half width of the 95 % interval of a normal distribution, in standard deviations."""


@dataclass(frozen=True, slots=True)
class FrameScore:
    """One label against its prediction. Errors are predicted minus label."""

    key: str
    n_atoms: int
    energy_error: float
    """eV/atom"""
    energy_sigma: float
    """eV/atom"""
    forces_mse: float
    """(eV/Å)², mean over components"""
    forces_variance: float
    """(eV/Å)², mean predicted variance over components"""
    forces_z2: float
    """Mean of (error / sigma)² over components; 1 where sigma is right."""
    coverage_95: float
    """Fraction of components within the 95 % interval."""


@dataclass(frozen=True, slots=True)
class Errors:
    """Root mean square errors over a set of labels; 0 for an empty set."""

    energy_rmse: float
    """eV/atom"""
    forces_rmse: float
    """eV/Å per component"""
    stress_rmse: float
    """eV/Å³ per component; 0 where no label has a stress"""
    n_frames: int


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """One label, its prediction and the predicted standard deviations."""

    key: str
    n_atoms: int
    energy: tuple[float, float, float]
    """Label, predicted, sigma: eV/atom."""
    forces: tuple[Floats, Floats, Floats]
    """Label, predicted, sigma: (3n,) eV/Å; (0,) where the label has no forces."""
    stress_error: Floats
    """(6,) eV/Å³ with the offset of the labels taken off, or empty."""
    stress_sigma: Floats
    """(6,) eV/Å³, or empty"""

    def score(self) -> FrameScore:
        """Figures of this label, which has forces."""
        label, predicted, sigma = self.forces
        z = (predicted - label) / sigma
        return FrameScore(
            key=self.key,
            n_atoms=self.n_atoms,
            energy_error=self.energy[1] - self.energy[0],
            energy_sigma=self.energy[2],
            forces_mse=float(np.mean((predicted - label) ** 2)),
            forces_variance=float(np.mean(sigma**2)),
            forces_z2=float(np.mean(z**2)),
            coverage_95=float(np.mean(np.abs(z) < NORMAL_95)),
        )


def compare(potential: Potential, key: str, label: Label, deviations: bool = True) -> Comparison:
    """Predict one label, with uncertainties from its design rows; without `deviations` they are not numbers.

    The rows take a hundred times as long as the prediction.
    """
    predicted = potential.predict(label.structure)
    n = len(label.structure)
    labelled = np.ravel(label.forces)
    if deviations:
        variances = potential.variances_of(potential.design(label.structure))
    else:
        variances = Variances(np.nan, np.full((n, 3), np.nan), np.full(6, np.nan))
    sigma = np.sqrt(variances.forces).ravel()[: len(labelled)]
    has_stress = len(label.stress) and len(predicted.stress)
    offset = potential.metadata.stress_offset_ev * unit_stress_offset(label.structure)
    stress = predicted.stress + offset - label.stress if has_stress else np.empty(0)
    return Comparison(
        key=key,
        n_atoms=n,
        energy=(label.energy / n, predicted.energy / n, float(np.sqrt(variances.energy))),
        forces=(labelled, predicted.forces.ravel()[: len(labelled)], sigma),
        stress_error=stress,
        stress_sigma=np.sqrt(variances.stress[: len(stress)]),
    )


def summarise(comparisons: tuple[Comparison, ...]) -> Errors:
    """Errors over several labels."""
    energy = np.array([c.energy[1] - c.energy[0] for c in comparisons])
    forces = [c.forces[1] - c.forces[0] for c in comparisons]
    stress = [c.stress_error for c in comparisons]
    return Errors(_rms([energy]), _rms(forces), _rms(stress), len(comparisons))


def _rms(parts: list[Floats]) -> float:
    errors = np.concatenate([np.empty(0), *parts])
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else 0.0
