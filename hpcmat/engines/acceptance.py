"""What a structure must satisfy to be computed, and a result to become a label."""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from hpcmat.engines.base import EngineFailure
from hpcmat.engines.structures import to_atoms
from hpcmat.errors import InputError
from hpcmat.records import FailureKind, Label, Structure

OVERLAP_FRACTION = 0.5
"""Atoms nearer than this fraction of the sum of their covalent radii overlap."""
FORCE_CAP_EV_PER_ANG = 100.0
"""No atom of a structure worth learning feels more."""
STRESS_CAP_EV_PER_ANG3 = 10.0
"""1600 GPa."""
NET_FORCE_FLOOR_EV_PER_ANG = 0.01
NET_FORCE_FRACTION = 0.02
"""The mean force over the atoms may reach this fraction of the root mean square force, or the floor."""
MIN_VOLUME_ANG3_PER_ATOM = 0.5


def check_structure(structure: Structure) -> None:
    """Refuse a structure that no engine could label.

    Raises
    ------
    InputError
        Empty, unknown element, wrong shape, NaN or infinity, cell without volume, or overlapping atoms.
    """
    _check_shape(structure)
    volume = abs(float(np.linalg.det(structure.cell)))
    if any(structure.pbc) and volume < MIN_VOLUME_ANG3_PER_ATOM * len(structure):
        raise InputError(
            f"the cell has a volume of {volume:.3g} Å³ for {len(structure)} atoms; "
            "give three lattice vectors in Å that are not in one plane"
        )
    ratio = closest_approach(structure)
    if ratio < OVERLAP_FRACTION:
        raise InputError(
            f"two atoms are at {ratio:.2f} of the sum of their covalent radii (at least {OVERLAP_FRACTION}); "
            "move them apart or remove one"
        )


def closest_approach(structure: Structure) -> float:
    """Smallest distance between two atoms over the sum of their covalent radii; infinite beyond that sum."""
    radii = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in structure.symbols])
    first, second, distance = neighbor_list("ijd", to_atoms(structure), cutoff=radii.tolist())
    if not len(distance):
        return float("inf")
    return float(np.min(distance / (radii[first] + radii[second])))


def accept(label: Label) -> Label:
    """The label itself, once its shape, its finiteness and its physics are in order.

    Checked: (n, 3) forces and 6 or no stress components; all finite; overlap; |F| at most 100 eV/Å on any atom;
    mean force over the atoms at most 2 % of the rms force (or 0.01 eV/Å); |stress| at most 10 eV/Å³.

    Raises
    ------
    EngineFailure
        `CORRUPT_OUTPUT` (shape), `NOT_FINITE` or `UNPHYSICAL`.
    """
    if label.forces.shape != (len(label.structure), 3) or label.stress.shape not in {(6,), (0,)}:
        raise EngineFailure(
            FailureKind.CORRUPT_OUTPUT,
            f"forces of shape {label.forces.shape} and stress of shape {label.stress.shape} "
            f"for {len(label.structure)} atoms; run it again",
        )
    if not (np.isfinite(label.energy) and np.isfinite(label.forces).all() and np.isfinite(label.stress).all()):
        raise EngineFailure(FailureKind.NOT_FINITE, "energy, forces or stress are not finite; run it again")
    complaint = _unphysical(label)
    if complaint:
        raise EngineFailure(FailureKind.UNPHYSICAL, complaint)
    return label


def _check_shape(structure: Structure) -> None:
    if not structure.symbols:
        raise InputError("the structure has no atoms; give at least one")
    unknown = sorted(set(structure.symbols) - (set(atomic_numbers) - {"X"}))
    if unknown:
        raise InputError(f"unknown elements {', '.join(unknown)}; use chemical symbols such as Si")
    shapes = (structure.positions.shape, structure.cell.shape)
    if shapes != ((len(structure), 3), (3, 3)):
        raise InputError(f"positions and cell have shapes {shapes}; give ({len(structure)}, 3) and (3, 3)")
    if not (np.isfinite(structure.positions).all() and np.isfinite(structure.cell).all()):
        raise InputError("positions or cell are not finite; remove NaN and infinite numbers")


def _unphysical(label: Label) -> str:
    largest = float(np.max(np.linalg.norm(label.forces, axis=1)))
    if largest > FORCE_CAP_EV_PER_ANG:
        return f"a force of {largest:.0f} eV/Å exceeds {FORCE_CAP_EV_PER_ANG:.0f}; leave this structure out"
    excess = _net_force_excess(label.forces)
    if excess > 0:
        return f"the forces do not sum to zero (by {excess:.3g} eV/Å per atom too much); raise the cutoff"
    if label.stress.size and float(np.max(np.abs(label.stress))) > STRESS_CAP_EV_PER_ANG3:
        return f"a stress above {STRESS_CAP_EV_PER_ANG3} eV/Å³; leave this structure out"
    if closest_approach(label.structure) < OVERLAP_FRACTION:
        return "two atoms overlap; leave this structure out"
    return ""


def _net_force_excess(forces: NDArray[np.float64]) -> float:
    mean = float(np.linalg.norm(forces.mean(axis=0)))
    rms = float(np.sqrt(np.mean(np.sum(forces**2, axis=1))))
    return mean - max(NET_FORCE_FLOOR_EV_PER_ANG, NET_FORCE_FRACTION * rms)
