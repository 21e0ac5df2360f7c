r"""Warps that make the values of a property look Gaussian to the process.

    identity  z = y,      inverse hyperbolic sine  z = asinh((y - m) / s)

With m and s the median and the median deviation of the values, the second takes heavy tails on both sides. Where all
values have one sign, m = 0 and s half of the smallest size make it the logarithm of their size, which unlike that knows
what to do with a value of the pool that is zero or has the other sign (Huber et al., Bioinformatics 18 (2002) S96). All
are increasing, so that an order is kept, and odd: what is minimised is treated like what is maximised. Densities carry
over with dz/dy, and the evidence of the values decides between the warps.

Cheap values have a warp of the same form with numbers of their own, scaled and shifted so that the crystals known at
both fidelities have the same mean and spread in both: a cheap engine may be wrong by a factor or an offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Form = Literal["identity", "logarithm", "asinh"]

_LARGEST = 50.0
"""Of z in units of its spread, where values are recovered from it: sinh must not overflow."""
_LEAST_PAIRS = 3
"""Crystals known at both fidelities below which each has a scale of its own."""


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

    def log_slope(self, values: Floats) -> Floats:
        """(n,) log dz/dy at the values."""
        slopes = np.full(len(values), -np.log(self.deviation))
        if self.form != "identity":
            slopes -= np.log(np.hypot(self.scale, values - self.centre))
        return slopes

    def log_slopes(self, values: Floats) -> float:
        """Σ log dz/dy over the values."""
        return float(self.log_slope(values).sum())


def warps_for(values: Floats) -> tuple[Warp, ...]:
    """Warps that these values (n,) allow."""
    centre = float(np.median(values))
    spread = float(1.4826 * np.median(np.abs(values - centre))) or float(values.std()) or 1.0
    warps = [_standardised("identity", values, 0.0, 1.0), _standardised("asinh", values, centre, spread)]
    if values.min() > 0 or values.max() < 0:
        warps.append(_standardised("logarithm", values, 0.0, 0.5 * float(np.abs(values).min())))
    return tuple(warps)


@dataclass(frozen=True, slots=True)
class PairedWarp:
    """Warps of dear and of cheap values to one scale."""

    dear: Warp
    cheap: Warp

    def forward(self, values: Floats, dear: Flags) -> Floats:
        """Standardised z of values (n,), of which those at `dear` are dear."""
        return np.where(dear, self.dear.forward(values), self.cheap.forward(values))

    def log_slopes(self, values: Floats, dear: Flags) -> float:
        """Σ log dz/dy over the values."""
        return self.dear.log_slopes(values[dear]) + self.cheap.log_slopes(values[~dear])


def paired_warps(dear: Floats, cheap: Floats, pairs: tuple[Floats, Floats]) -> tuple[PairedWarp, ...]:
    """Warps that dear and cheap values both allow.

    Parameters
    ----------
    dear, cheap : (n,) and (m,) values.
    pairs : dear and cheap values (p,) of the crystals known at both fidelities.
    """
    forms = {warp.form: warp for warp in warps_for(cheap)}
    return tuple(
        PairedWarp(warp, _aligned(forms[warp.form], warp, pairs)) for warp in warps_for(dear) if warp.form in forms
    )


def _aligned(cheap: Warp, dear: Warp, pairs: tuple[Floats, Floats]) -> Warp:
    """The cheap warp with the mean and spread over the pairs that the dear one has there."""
    wanted, found = dear.forward(pairs[0]), cheap.forward(pairs[1])
    if len(wanted) < _LEAST_PAIRS or not wanted.std() or not found.std():
        return cheap
    deviation = cheap.deviation * float(found.std() / wanted.std())
    mean = cheap.mean + cheap.deviation * float(found.mean()) - deviation * float(wanted.mean())
    return Warp(cheap.form, cheap.centre, cheap.scale, mean, deviation)


def _standardised(form: Form, values: Floats, centre: float, scale: float) -> Warp:
    raw = _raw(form, values, centre, scale)
    return Warp(form, centre, scale, float(raw.mean()), float(raw.std()) or 1.0)


def _raw(form: Form, values: Floats, centre: float, scale: float) -> Floats:
    return values if form == "identity" else np.arcsinh((values - centre) / scale)
