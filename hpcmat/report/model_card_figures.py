"""Figures of the model card, from comparisons to plotly figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from hpcmat.report.figures import BLUE, GREY, ORANGE, RED, styled, thinned
from hpcmat.surrogates.calibration import Calibration
from hpcmat.surrogates.scoring import Comparison

if TYPE_CHECKING:
    from hpcmat.report.model_card import EnergyVolumeCurve

Floats = NDArray[np.float64]
PlotlyFigure: TypeAlias = Any

Z_RANGE = 5.0
"""Where the histogram of z ends; what lies beyond is counted in its outermost bars."""
Z_BINS = 50
SIGMA_BINS = 12

_MARKERS = {"training": (GREY, "square", 4, 0.4), "test": (BLUE, "circle", 5, 0.75)}
_DASHED = {"color": RED, "width": 1.2, "dash": "dash"}


def parity(sets: Mapping[str, Sequence[Comparison]]) -> PlotlyFigure:
    """Prediction against label: energies and force components of `training` and `test`."""
    figure = make_subplots(cols=2, horizontal_spacing=0.12)
    for column, (quantity, unit) in enumerate((("energy", "eV/atom"), ("force component", "eV/Å")), start=1):
        points = {name: _points(comparisons, quantity) for name, comparisons in sets.items()}
        for name, (label, predicted, sigma) in points.items():
            colour, symbol, size, opacity = _MARKERS[name]
            chosen = thinned(len(label))
            figure.add_trace(go.Scatter(
                x=label[chosen], y=predicted[chosen], customdata=sigma[chosen], mode="markers", name=name,
                legendgroup=name, showlegend=column == 1,
                marker={"color": colour, "symbol": symbol, "size": size, "opacity": opacity},
                hovertemplate=f"label %{{x:.4f}}, predicted %{{y:.4f}} ± %{{customdata:.4f}} {unit}"
                              f"<extra>{name}</extra>"), row=1, col=column)  # fmt: skip
        ends = [float(end([end(label) for label, _, _ in points.values()])) for end in (np.min, np.max)]
        figure.add_trace(_line(ends, ends, "equal", _DASHED), row=1, col=column)
        figure.update_xaxes(title_text=f"label: {quantity} / {unit}", row=1, col=column)
        figure.update_yaxes(title_text=f"prediction: {quantity} / {unit}", row=1, col=column)
    return styled(figure, 430)


def _points(comparisons: Sequence[Comparison], quantity: str) -> tuple[Floats, Floats, Floats]:
    if quantity == "energy":
        label, predicted, sigma = np.array([c.energy for c in comparisons]).T
        return label, predicted, sigma
    label, predicted, sigma = (np.concatenate([c.forces[part] for c in comparisons]) for part in range(3))
    return label, predicted, sigma


def _line(
    x: Sequence[float] | Floats, y: Sequence[float] | Floats, name: str, line: Mapping[str, Any], legend: bool = False
) -> Any:
    return go.Scatter(x=list(x), y=list(y), mode="lines", line=dict(line), name=name, hoverinfo="skip",
                      showlegend=legend)  # fmt: skip


def calibration(comparisons: Sequence[Comparison], forces: Calibration) -> PlotlyFigure:
    """Left: predicted intervals against observed coverage; right: histogram of z beside the normal distribution."""
    figure = make_subplots(cols=2, horizontal_spacing=0.12)
    figure.add_trace(_line([0, 100], [0, 100], "perfect", _DASHED, legend=True), row=1, col=1)
    figure.add_trace(go.Scatter(
        x=[0.0, *(100 * p.predicted for p in forces.reliability)],
        y=[0.0, *(100 * p.observed for p in forces.reliability)],
        mode="lines+markers", name="observed", line={"color": BLUE, "width": 2},
        hovertemplate="predicted %{x:.0f} %: observed %{y:.1f} %<extra></extra>"), row=1, col=1)  # fmt: skip
    label, predicted, sigma = _points(comparisons, "forces")
    edges = np.linspace(-Z_RANGE, Z_RANGE, Z_BINS + 1)
    counts = np.histogram(np.clip((predicted - label) / sigma, -Z_RANGE, Z_RANGE), edges)[0]
    middle, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    figure.add_trace(go.Bar(x=middle, y=counts / (counts.sum() * width), width=width, marker={"color": BLUE},
                            opacity=0.6, showlegend=False,
                            hovertemplate="z %{x:.1f}: density %{y:.3f}<extra></extra>"), row=1, col=2)  # fmt: skip
    normal = np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi)
    figure.add_trace(_line(middle, normal, "normal", _DASHED), row=1, col=2)
    figure.update_xaxes(title_text="predicted interval / %", range=[0, 100], row=1, col=1)
    figure.update_yaxes(title_text="force components inside / %", range=[0, 103], row=1, col=1)
    figure.update_xaxes(title_text="z = error / predicted standard deviation", row=1, col=2)
    figure.update_yaxes(title_text="density", row=1, col=2)
    return styled(figure, 380)


def error_against_sigma(comparisons: Sequence[Comparison]) -> PlotlyFigure:
    """Root mean square error of force components in bins of equal size in σ, on logarithmic axes."""
    label, predicted, sigma = _points(comparisons, "forces")
    bins = np.array_split(np.argsort(sigma, kind="stable"), min(SIGMA_BINS, len(sigma)))
    x = np.array([np.sqrt(np.mean(sigma[b] ** 2)) for b in bins])
    y = np.array([np.sqrt(np.mean((predicted - label)[b] ** 2)) for b in bins])
    ends = [float(x.min()), float(x.max())]
    # Forces that vanish by symmetry have errors of rounding; the axis ends a decade below the least standard deviation.
    low, high = np.log10(ends[0]) - 1.0, np.log10(max(ends[1], float(y.max()))) + 0.2
    figure = go.Figure()
    figure.add_trace(_line(ends, ends, "perfect", _DASHED, legend=True))
    figure.add_trace(go.Scatter(x=x, y=np.where(y > 0, y, np.nan), mode="lines+markers", name="test",
                                line={"color": ORANGE, "width": 2}, marker={"symbol": "diamond", "size": 7},
                                hovertemplate="predicted %{x:.2e}, found %{y:.2e} eV/Å<extra></extra>"))  # fmt: skip
    figure.update_xaxes(title_text="predicted standard deviation / eV Å⁻¹", type="log", dtick=1, exponentformat="power")
    figure.update_yaxes(title_text="force error (RMS) / eV Å⁻¹", type="log", dtick=1, exponentformat="power",
                        range=[low, high])  # fmt: skip
    return styled(figure, 380)


def energy_volume(curve: EnergyVolumeCurve) -> PlotlyFigure:
    """Energy over volume by the potential, each curve from its own lowest point."""
    figure = go.Figure()
    text = "%{x:.3f} Å³/atom: %{y:.2f} meV/atom<extra>%{fullData.name}</extra>"
    figure.add_trace(go.Scatter(x=curve.volumes, y=_above_lowest(curve.energies), mode="lines", name="potential",
                                hovertemplate=text, line={"color": BLUE, "width": 2}))  # fmt: skip
    if len(curve.reference_volumes):
        zero = float(np.min(curve.energies))
        figure.add_trace(go.Scatter(
            x=curve.reference_volumes, y=1000 * (curve.reference_energies - zero), mode="markers", name="reference",
            hovertemplate=text, marker={"color": ORANGE, "symbol": "circle-open", "size": 11,
                                        "line": {"width": 2}}))  # fmt: skip
    figure.update_xaxes(title_text="volume / Å³ atom⁻¹")
    figure.update_yaxes(title_text="energy above minimum / meV atom⁻¹")
    return styled(figure, 380)


def _above_lowest(energies: Floats) -> Floats:
    above: Floats = 1000 * (energies - energies.min())
    return above
