"""By how much two sets of labels of the same structures differ, and two equations of state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.utils.deltacodesdft import delta
from numpy.typing import NDArray

from hpcmat.records import Label, Structure
from hpcmat.surrogates.equation_of_state import EquationOfState
from hpcmat.units import GPA_PER_EV_PER_ANG3

Composition = tuple[tuple[str, float], ...]
MEV_PER_EV = 1000.0


@dataclass(frozen=True, slots=True)
class Differences:
    """Differences of labels; None where nothing can be compared."""

    structures: int
    """How many are labelled in both sets."""
    energy_rms_mev_per_atom: float | None
    """Of energies relative to the first structure of the same composition, which itself does not count."""
    energy_max_mev_per_atom: float | None
    force_rms_mev_per_ang: float | None
    """Over all components."""
    force_max_mev_per_ang: float | None
    """Largest length of a difference of two force vectors."""
    stress_max_gpa: float | None
    """Largest component, where both sets have a stress."""


def differences(labels: Sequence[Label | None], others: Sequence[Label | None]) -> Differences:
    """Compare two sets of labels of the same structures, in the same order; structures without a label are left out."""
    pairs = [(ours, theirs) for ours, theirs in zip(labels, others, strict=True) if ours and theirs]
    energies = _relative_energies([ours for ours, _ in pairs]) - _relative_energies([theirs for _, theirs in pairs])
    forces = [ours.forces - theirs.forces for ours, theirs in pairs]
    vectors = np.concatenate(forces) if forces else np.zeros((0, 3))
    stresses = [ours.stress - theirs.stress for ours, theirs in pairs if ours.stress.size and theirs.stress.size]
    return Differences(
        structures=len(pairs),
        energy_rms_mev_per_atom=_rms(energies * MEV_PER_EV),
        energy_max_mev_per_atom=_largest(energies * MEV_PER_EV),
        force_rms_mev_per_ang=_rms(vectors * MEV_PER_EV),
        force_max_mev_per_ang=_largest(np.linalg.norm(vectors, axis=1) * MEV_PER_EV),
        stress_max_gpa=_largest(np.array(stresses) * GPA_PER_EV_PER_ANG3),
    )


def delta_mev_per_atom(first: EquationOfState | None, second: EquationOfState | None) -> float | None:
    """Δ: root mean square difference of two equations of state, minima aligned, over ±6 % of their mean volume.

    Lejaeghere et al., Crit. Rev. Solid State Mater. Sci. 39, 1 (2014); symmetric in both, as in Science 351,
    aad3000 (2016). None where one of them is missing.
    """
    if first is None or second is None:
        return None
    return MEV_PER_EV * float(delta(*_parameters(first), *_parameters(second)))


def _parameters(state: EquationOfState) -> tuple[float, float, float]:
    return state.volume, state.bulk_modulus_gpa / GPA_PER_EV_PER_ANG3, state.bulk_modulus_derivative


def _relative_energies(labels: Sequence[Label]) -> NDArray[np.float64]:
    """Energies per atom, eV, less that of the first structure of the same composition; without these first ones."""
    first: dict[Composition, float] = {}
    relative: list[float] = []
    for label in labels:
        energy, composition = label.energy / len(label.structure), _composition(label.structure)
        if composition in first:
            relative.append(energy - first[composition])
        else:
            first[composition] = energy
    return np.array(relative)


def _composition(structure: Structure) -> Composition:
    counts = Counter(structure.symbols)
    return tuple((symbol, counts[symbol] / len(structure)) for symbol in sorted(counts))


def _rms(values: NDArray[np.float64]) -> float | None:
    return float(np.sqrt(np.mean(values**2))) if values.size else None


def _largest(values: NDArray[np.float64]) -> float | None:
    return float(np.abs(values).max()) if values.size else None
