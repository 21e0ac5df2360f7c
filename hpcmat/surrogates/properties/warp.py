r"""Warps that make the values of a property look Gaussian to the process.

    identity  z = y,      inverse hyperbolic sine  z = asinh((y - m) / s)

With m and s the median and the median deviation of the values, the second takes heavy tails on both sides. Where all
values have one sign, m = 0 and s half of the smallest size make it the logarithm of their size, which unlike that knows
what to do with a value of the pool that is zero or has the other sign (Huber et al., Bioinformatics 18 (2002) S96). All
are increasing, so that an order is kept, and odd: what is minimised is treated like what is maximised. Densities carry
over with dz/dy, and the evidence of the values decides between the warps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Form = Literal["identity", "logarithm", "asinh"]

_LARGEST = 50.0
"""Of z in units of its spread, where values are recovered from it: sinh must not overflow."""


@dataclass(frozen=True, slots=True)
class Warp:
    """z(y), standardised."""

    form: Form
    centre: float
    scale: float
    """m and s; of no account for the identity."""
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
        if self.form == "identity":
            return raw
        values: Floats = self.centre + self.scale * np.sinh(np.clip(raw, -600.0, 600.0))
        return values

    def log_slopes(self, values: Floats) -> float:
        """Σ log dz/dy over the values."""
        slopes = np.full(len(values), -np.log(self.deviation))
        if self.form != "identity":
            slopes -= np.log(np.hypot(self.scale, values - self.centre))
        return float(slopes.sum())


def warps_for(values: Floats) -> tuple[Warp, ...]:
    """Warps that these values (n,) allow."""
    centre = float(np.median(values))
    spread = float(1.4826 * np.median(np.abs(values - centre))) or float(values.std()) or 1.0
    warps = [_standardised("identity", values, 0.0, 1.0), _standardised("asinh", values, centre, spread)]
    if values.min() > 0 or values.max() < 0:
        warps.append(_standardised("logarithm", values, 0.0, 0.5 * float(np.abs(values).min())))
    return tuple(warps)


def _standardised(form: Form, values: Floats, centre: float, scale: float) -> Warp:
    raw = _raw(form, values, centre, scale)
    return Warp(form, centre, scale, float(raw.mean()), float(raw.std()) or 1.0)


def _raw(form: Form, values: Floats, centre: float, scale: float) -> Floats:
    return values if form == "identity" else np.arcsinh((values - centre) / scale)
