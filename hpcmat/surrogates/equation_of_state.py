"""Third-order Birch-Murnaghan equation of state. F. Birch, Phys. Rev. 71 (1947) 809."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcmat.errors import InputError
from hpcmat.units import GPA_PER_EV_PER_ANG3


@dataclass(frozen=True, slots=True)
class EquationOfState:
    """Where the energy of a crystal is least, and how stiff it is there."""

    volume: float
    """Å³/atom"""
    bulk_modulus_gpa: float
    energy: float
    """eV/atom"""
    bulk_modulus_derivative: float
    """dB/dp at the minimum, without unit."""
    scatter: float = 0.0
    """Root mean square distance of the energies from the curve, eV/atom: more than a meV is noise of the engine."""


def fit_equation_of_state(volumes: ArrayLike, energies: ArrayLike) -> EquationOfState:
    """Fit E(V) by least squares; the form is a cubic in V^(-2/3), hence linear in its coefficients.

    Parameters
    ----------
    volumes : (m,) Å³/atom, m >= 4.
    energies : (m,) eV/atom.

    Raises
    ------
    InputError
        Fewer than four distinct volumes, a number that is not finite, or no minimum inside the range of volumes.
    """
    v, e = np.asarray(volumes, dtype=np.float64), np.asarray(energies, dtype=np.float64)
    if v.shape != e.shape or v.ndim != 1 or len(np.unique(v)) < 4:
        raise InputError("an equation of state needs at least four different volumes; compute more reference cells")
    if not (np.isfinite(v).all() and np.isfinite(e).all() and v.min() > 0):
        raise InputError("volumes and energies must be finite and volumes positive; check the reference cells")
    return _minimum(v, e)


def _minimum(v: NDArray[np.float64], e: NDArray[np.float64]) -> EquationOfState:
    # Centred and scaled, so that offsets of thousands of eV cost no digits.
    s = v ** (-2 / 3)
    middle, width, offset = s.mean(), np.ptp(s) / 2, e.mean()
    cubic = np.polynomial.Polynomial.fit(s, e - offset, 3, domain=[middle - width, middle + width])
    slope, curvature = cubic.deriv(), cubic.deriv(2)
    roots = slope.roots()
    real = roots[np.isreal(roots)].real
    inside = [root for root in real if s.min() <= root <= s.max() and curvature(root) > 0]
    if not inside:
        raise InputError("the energy has no minimum in the range of volumes; widen or shift the range")
    root = float(min(inside, key=cubic))
    volume = root**-1.5
    # d²E/dV² = E''(s) (ds/dV)² at the minimum, with ds/dV = -(2/3) V^(-5/3).
    bulk = volume * float(curvature(root)) * (2 / 3 * volume ** (-5 / 3)) ** 2
    # dB/dp = -1 - V E'''(V) / E''(V); with E'''(V) = E'''(s) (ds/dV)³ + 3 E''(s) (ds/dV) (d²s/dV²) it is:
    derivative = 4.0 + 2 / 3 * root * float(cubic.deriv(3)(root)) / float(curvature(root))
    scatter = float(np.sqrt(np.mean((cubic(s) + offset - e) ** 2)))
    return EquationOfState(volume, bulk * GPA_PER_EV_PER_ANG3, float(cubic(root)) + float(offset), derivative, scatter)
