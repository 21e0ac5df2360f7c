r"""Warps that make the values of a property look Gaussian to the process.

    identity  z = y,      logarithm  z = log y (y > 0),      inverse hyperbolic sine  z = asinh((y - m) / s)

m and s are median and median deviation of the values. All are increasing, so that an order is kept, and densities carry
over with dz/dy: the evidence of the values decides between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Form = Literal["identity", "logarithm", "asinh"]

_LARGEST = 50.0
"""Of z in units of its spread, where values are recovered from it: exp must not overflow."""


@dataclass(frozen=True, slots=True)
class Warp:
    """z(y), standardised."""

    form: Form
    centre: float
    scale: float
    """m and s of the inverse hyperbolic sine."""
    mean: float
    deviation: float
    """Of z before it is standardised."""

    def forward(self, values: Floats) -> Floats:
        """Standardised z of the values."""
        warped: Floats = (_raw(self.form, values, self.centre, self.scale) - self.mean) / self.deviation
        return warped

    def backward(self, warped: Floats) -> Floats:
        """Values of standardised z."""
        raw = self.mean + self.deviation * np.clip(warped, -_LARGEST, _LARGEST)
        match self.form:
            case "identity":
                return raw
            case "logarithm":
                return np.exp(np.clip(raw, -600.0, 600.0))
            case "asinh":
                return self.centre + self.scale * np.sinh(np.clip(raw, -600.0, 600.0))

    def log_slopes(self, values: Floats) -> float:
        """Σ log dz/dy over the values."""
        match self.form:
            case "identity":
                slopes = np.zeros(len(values))
            case "logarithm":
                slopes = -np.log(values)
            case "asinh":
                slopes = -0.5 * np.log(self.scale**2 + (values - self.centre) ** 2)
        return float(slopes.sum() - len(values) * np.log(self.deviation))


def warps_for(values: Floats) -> tuple[Warp, ...]:
    """Warps that these values (n,) allow."""
    forms: tuple[Form, ...] = ("identity", "asinh") if values.min() <= 0 else ("identity", "logarithm", "asinh")
    return tuple(_standardised(form, values) for form in forms)


def _standardised(form: Form, values: Floats) -> Warp:
    centre = float(np.median(values))
    scale = float(1.4826 * np.median(np.abs(values - centre))) or float(values.std()) or 1.0
    raw = _raw(form, values, centre, scale)
    return Warp(form, centre, scale, float(raw.mean()), float(raw.std()) or 1.0)


def _raw(form: Form, values: Floats, centre: float, scale: float) -> Floats:
    match form:
        case "identity":
            return values
        case "logarithm":
            return np.log(values)
        case "asinh":
            return np.arcsinh((values - centre) / scale)
