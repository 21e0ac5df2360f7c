r"""Elastic constants of a crystal, from stresses of strained cells with relaxed ions.

    C_ij = dσ_i / dη_j ≈ (σ_i(+δ) - σ_i(-δ)) / 2 δ

at the crystal's own stress-free cell, Voigt order xx yy zz yz xz xy, engineering shear strains. The ions move to where
the forces vanish, by Newton steps with the crystal's own force constants, found once by finite differences: internal
strain is a matter of a few optical modes, for which line searches waste evaluations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpcmat.errors import InputError
from hpcmat.records import Structure
from hpcmat.surrogates.ace import cell_volume
from hpcmat.surrogates.potential import Potential
from hpcmat.units import GPA_PER_EV_PER_ANG3

Floats = NDArray[np.float64]

Mechanics = Callable[[Structure], tuple[Floats, Floats]]
"""Forces (n, 3) eV/Å and stress (6,) eV/Å³, positive under tension, of a structure."""

STRAIN = 0.004
"""δ: symmetric differences err by δ², and what is left on the ions enters over δ."""
DISPLACEMENT_ANG = 0.005
"""For the force constants."""
FORCE_TOLERANCE = 1e-5
"""eV/Å, largest force that is left on an ion."""
STRESS_TOLERANCE = 1e-6
"""eV/Å³ (0.2 MPa), largest stress component that is left in the cell."""
MAX_STEPS = 60
LARGEST_STEP_ANG = 0.1
SOFT_MODE = 1e-3
"""eV/Å²: modes softer than this, translations among them, are not moved along."""
MOST_ATOMS = 64
"""Larger cells make the finite differences expensive and are not needed: elasticity belongs to the primitive cell."""

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Axes of xx yy zz yz xz xy."""


@dataclass(frozen=True, slots=True, eq=False)
class ElasticConstants:
    """Second-order elastic constants at zero stress."""

    matrix: Floats
    """C (6, 6) GPa, symmetric."""
    asymmetry_gpa: float
    """Largest |C_ij - C_ji| before it was averaged away: an error estimate."""
    structure: Structure
    """The relaxed, stress-free crystal."""

    @property
    def cubic(self) -> tuple[float, float, float]:
        """C11, C12, C44 in GPa, averages over equivalent entries, whatever the crystal's symmetry."""
        c = self.matrix
        c11 = float(np.mean(np.diag(c)[:3]))
        c12 = float(np.mean([c[0, 1], c[0, 2], c[1, 2]]))
        return c11, c12, float(np.mean(np.diag(c)[3:]))

    @property
    def bulk_modulus_gpa(self) -> float:
        """Voigt average; that of the equation of state for a cubic crystal."""
        return float(self.matrix[:3, :3].mean())

    @property
    def shear_modulus_gpa(self) -> float:
        """Voigt average."""
        c11, c12, c44 = self.cubic
        return (c11 - c12 + 3.0 * c44) / 5.0

    @property
    def hill(self) -> tuple[float, float]:
        """Bulk and shear modulus of many grains in GPa, means of Voigt's and Reuss's bounds.

        R. Hill, Proc. Phys. Soc. A 65 (1952) 349. Only for a stable crystal.
        """
        s = np.linalg.inv(self.matrix)
        normal, mixed = np.diag(s)[:3].sum(), s[0, 1] + s[0, 2] + s[1, 2]
        bulk = 1.0 / (normal + 2.0 * mixed)
        shear = 15.0 / (4.0 * (normal - mixed) + 3.0 * np.diag(s)[3:].sum())
        return (self.bulk_modulus_gpa + float(bulk)) / 2, (self.shear_modulus_gpa + float(shear)) / 2

    @property
    def stable(self) -> bool:
        """Whether every strain costs energy (Born's criterion)."""
        return bool(np.linalg.eigvalsh(self.matrix).min() > 0)


def mechanics_of(potential: Potential) -> Mechanics:
    """Forces and stress by a potential."""

    def mechanics(structure: Structure) -> tuple[Floats, Floats]:
        prediction = potential.predict(structure)
        return prediction.forces, prediction.stress

    return mechanics


def elastic_constants(mechanics: Mechanics, crystal: Structure, strain: float = STRAIN) -> ElasticConstants:
    """Elastic constants of the crystal that `crystal` relaxes to, with the orientation it has.

    Parameters
    ----------
    mechanics : forces and stress of a structure; for a potential, `mechanics_of(potential)`.
    crystal : periodic in three directions, near its minimum, of at most 64 atoms.
    strain : δ.

    Raises
    ------
    InputError
        The crystal is not periodic or too large, or it does not relax.
    """
    _check(crystal, strain)
    relaxed = _relax_cell(mechanics, crystal)
    constants = _force_constants(mechanics, relaxed)
    matrix = np.empty((6, 6))
    for j in range(6):
        plus, minus = (
            _relax_ions(mechanics, deform(relaxed, sign * strain * np.eye(6)[j]), constants)[1] for sign in (1, -1)
        )
        matrix[:, j] = (plus - minus) / (2 * strain) * GPA_PER_EV_PER_ANG3
    return ElasticConstants((matrix + matrix.T) / 2, float(np.abs(matrix - matrix.T).max()), relaxed)


def deform(structure: Structure, strain: Floats) -> Structure:
    """The structure under a strain (6,) in Voigt order with engineering shears: r → (1 + ε) r."""
    tensor = np.eye(3)
    for (a, b), value in zip(VOIGT, strain, strict=True):
        tensor[a, b] += value / (1 if a == b else 2)
        tensor[b, a] = tensor[a, b]
    return replace(structure, cell=structure.cell @ tensor, positions=structure.positions @ tensor)


def _check(crystal: Structure, strain: float) -> None:
    if not all(crystal.pbc) or not cell_volume(crystal):
        raise InputError("elastic constants need a crystal that is periodic in three directions; give it a cell")
    if len(crystal) > MOST_ATOMS:
        raise InputError(f"{len(crystal)} atoms are more than {MOST_ATOMS}; give the conventional or primitive cell")
    if not 0.0 < strain < 0.05:
        raise InputError(f"strain must lie between 0 and 0.05, not {strain}; 0.004 is a good choice")


def _force_constants(mechanics: Mechanics, structure: Structure) -> Floats:
    """Inverse (3n, 3n) Å²/eV of the force constants, without the modes that are as good as free."""
    size = 3 * len(structure)
    hessian = np.empty((size, size))
    for k in range(size):
        step = np.zeros(size)
        step[k] = DISPLACEMENT_ANG
        ahead, behind = (mechanics(_moved(structure, sign * step))[0] for sign in (1, -1))
        hessian[k] = np.ravel(behind - ahead) / (2 * DISPLACEMENT_ANG)
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    # A crystal on a saddle point walks downhill all the same when the curvature's size is taken.
    inverse = np.where(np.abs(values) > SOFT_MODE, 1.0 / np.maximum(np.abs(values), SOFT_MODE), 0.0)
    result: Floats = (vectors * inverse) @ vectors.T
    return result


def _moved(structure: Structure, step: Floats) -> Structure:
    return replace(structure, positions=structure.positions + step.reshape(-1, 3))


def _relax_ions(mechanics: Mechanics, structure: Structure, inverse: Floats) -> tuple[Structure, Floats]:
    """The structure with ions at rest, and its stress."""
    for _ in range(MAX_STEPS):
        forces, stress = mechanics(structure)
        # A translation of all atoms is no relaxation, whatever rounding says.
        forces = forces - forces.mean(axis=0)
        if np.abs(forces).max() < FORCE_TOLERANCE:
            return structure, stress
        step = inverse @ forces.ravel()
        structure = _moved(structure, step * min(1.0, LARGEST_STEP_ANG / max(np.abs(step).max(), 1e-300)))
    raise InputError("the ions do not come to rest; start nearer to the minimum or check the potential")


def _relax_cell(mechanics: Mechanics, crystal: Structure) -> Structure:
    """The crystal without forces and without stress."""
    structure = crystal
    inverse = _force_constants(mechanics, structure)
    compliance = None
    for _ in range(MAX_STEPS):
        structure, stress = _relax_ions(mechanics, structure, inverse)
        if np.abs(stress).max() < STRESS_TOLERANCE:
            return structure
        if compliance is None:
            compliance = _compliance(mechanics, structure)
        structure = deform(structure, np.clip(-compliance @ stress, -0.02, 0.02))
    raise InputError("the cell does not come to rest; start nearer to the minimum or check the potential")


def _compliance(mechanics: Mechanics, structure: Structure) -> Floats:
    """Inverse (6, 6) Å³/eV of the clamped-ion stiffness, good enough for Newton steps of the cell."""
    columns = [
        (mechanics(deform(structure, STRAIN * e))[1] - mechanics(deform(structure, -STRAIN * e))[1]) / (2 * STRAIN)
        for e in np.eye(6)
    ]
    values, vectors = np.linalg.eigh((np.array(columns) + np.array(columns).T) / 2)
    compliance: Floats = (vectors / np.maximum(np.abs(values), 1e-2)) @ vectors.T
    return compliance
