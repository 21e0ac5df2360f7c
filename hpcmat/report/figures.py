"""Figures of what was learned: one function each, from the report's numbers to a plotly figure.

Colours have a contrast of at least 3 to 1 on the light and on the dark page and stay apart in the common kinds of
colour blindness; text and lines of the axes are coloured by the page's style sheet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from hpcmat.campaign.events import Purpose
from hpcmat.report.parity import Parity, ParitySet, Part, Quantity
from hpcmat.report.schema import CurvePoint, Report

BLUE, ORANGE, GREEN, PURPLE, GREY, RED = "#2f7fc1", "#c77c02", "#0f9068", "#a86fa0", "#7b8490", "#d5502a"
PURPOSE_COLOURS: dict[Purpose, str] = {
    "train": BLUE,
    "validation": ORANGE,
    "reference": PURPLE,
    "explore": GREEN,
    "fit": GREY,
}
PURPOSE_WORDS: dict[Purpose, str] = {
    "train": "training labels",
    "validation": "validation labels",
    "reference": "reference cells",
    "explore": "exploration",
    "fit": "fits",
}
MAX_POINTS = 3000
"""Points of one parity cloud that are drawn; more would only make the file slow to open."""

_RNG_SEED = 20260101


def styled(figure: Any, height: int) -> Any:
    """Return the figure with the page's layout: no background, room for labels only, legend on top."""
    figure.update_layout(
        template=go.layout.Template(),
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13},
        margin={"l": 64, "r": 16, "t": 44, "b": 52},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.04, "xanchor": "left", "x": 0.0},
        hoverlabel={"bgcolor": "#1d2733", "bordercolor": "#1d2733", "font": {"color": "#ffffff"}, "align": "left"},
    )
    axis = {"showline": True, "ticks": "outside", "ticklen": 4, "gridwidth": 1, "zeroline": False}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis, automargin=True)
    return figure


def learning_curve(report: Report) -> Any:
    """Force error of each fit against labels and against node-hours, with intervals and target."""
    points = report.learning_curve
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.04)
    axes: tuple[Sequence[float], ...] = ([p.train_labels for p in points], [p.node_hours for p in points])
    for column, x in enumerate(axes, start=1):
        for trace in _curve_traces(points, x, legend=column == 1):
            figure.add_trace(trace, row=1, col=column)
    target = report.target_force_rmse_ev_per_ang
    for column in (1, 2):
        figure.add_hline(y=target, line={"color": RED, "width": 1.5, "dash": "dash"}, row=1, col=column)
    figure.add_annotation(
        text=f"target {target:g}", x=0.01, xref="x domain", xanchor="left", y=np.log10(target), yref="y",
        yanchor="bottom", showarrow=False,
    )  # fmt: skip
    figure.update_xaxes(title_text="training labels", row=1, col=1)
    figure.update_xaxes(title_text="node-hours spent", row=1, col=2)
    figure.update_yaxes(type="log", dtick="D2", tickformat=".3~g", range=_error_range(report))
    figure.update_xaxes(tickformat=".3~g", row=1, col=2)
    figure.update_yaxes(title_text="force RMSE / eV Å⁻¹", row=1, col=1)
    return styled(figure, 400)


def _error_range(report: Report) -> list[float]:
    """Decimal logarithms of the ends of the error axis; intervals that reach to zero are cut, as a log axis must."""
    points = report.learning_curve
    middle = [p.train_force_rmse_ev_per_ang for p in points]
    middle += [p.validation_force_rmse_ev_per_ang or math.nan for p in points]
    bounds = [p.validation_force_rmse_bound_ev_per_ang or math.nan for p in points]
    top = float(np.nanmax([*middle, *bounds, report.target_force_rmse_ev_per_ang]))
    bottom = float(np.nanmin([*middle, report.target_force_rmse_ev_per_ang]))
    return [math.log10(max(bottom, 1e-12) / 2.0), math.log10(min(top, 30.0 * max(middle)) * 1.4)]


def _curve_traces(points: Sequence[CurvePoint], x: Sequence[float], legend: bool) -> list[Any]:
    rmse = [p.validation_force_rmse_ev_per_ang for p in points]
    ends = [p.validation_force_rmse_ev_per_ang_interval for p in points]
    up = [e[1] - r if e and r is not None else None for e, r in zip(ends, rmse, strict=True)]
    down = [r - e[0] if e and r is not None else None for e, r in zip(ends, rmse, strict=True)]
    hover = [f"{p.fit}: {p.train_labels} training labels, {p.validation_frames} validation frames" for p in points]
    bars = {"type": "data", "array": up, "arrayminus": down, "symmetric": False, "thickness": 1.4, "width": 4}
    validation = {"mode": "lines+markers", "line": {"color": BLUE, "width": 2}, "error_y": {**bars, "color": BLUE}}
    bound = [p.validation_force_rmse_bound_ev_per_ang for p in points]
    return [
        _line(x, rmse, "validation (with interval)", hover, legend, validation),
        _line(x, bound, "upper bound", hover, legend, {"mode": "markers", "marker": {"symbol": "triangle-down-open",
              "color": ORANGE, "size": 9, "line": {"width": 1.6}}}),
        _line(x, [p.train_force_rmse_ev_per_ang for p in points], "training", hover, legend,
              {"mode": "lines+markers", "line": {"color": GREY, "width": 1.5, "dash": "dot"},
               "marker": {"symbol": "square", "size": 5}}),
    ]  # fmt: skip


def _line(
    x: Sequence[float], y: Sequence[float | None], name: str, hover: Sequence[str], legend: bool, style: dict[str, Any]
) -> Any:
    return go.Scatter(
        x=list(x), y=list(y), name=name, legendgroup=name, showlegend=legend, text=list(hover),
        hovertemplate="%{text}<br>" + name + ": %{y:.3g} eV/Å<extra></extra>", **style,
    )  # fmt: skip


def parity(data: Parity) -> Any:
    """Prediction against label: energies and force components, training and validation."""
    figure = make_subplots(cols=2, horizontal_spacing=0.12)
    columns: tuple[Quantity, ...] = ("energy", "forces")
    parts: tuple[Part, ...] = ("train", "validation")
    for column, quantity in enumerate(columns, start=1):
        sets = {part: data[quantity, part] for part in parts if (quantity, part) in data}
        for part, points in sets.items():
            figure.add_trace(_cloud(points, part, legend=column == 1, unit=_UNITS[quantity]), row=1, col=column)
        if sets:
            figure.add_trace(_identity(list(sets.values())), row=1, col=column)
        figure.update_xaxes(title_text=f"label: {_TITLES[quantity]}", row=1, col=column)
        figure.update_yaxes(title_text=f"prediction: {_TITLES[quantity]}", row=1, col=column)
    return styled(figure, 430)


_UNITS: dict[Quantity, str] = {"energy": "eV/atom", "forces": "eV/Å"}
_TITLES: dict[Quantity, str] = {"energy": "energy / eV atom⁻¹", "forces": "force component / eV Å⁻¹"}


def _cloud(points: ParitySet, part: Part, legend: bool, unit: str) -> Any:
    chosen = thinned(points.label.size)
    style = {"train": (GREY, "square", 4, 0.45), "validation": (BLUE, "circle", 5, 0.75)}[part]
    name = {"train": "training", "validation": "validation"}[part]
    return go.Scatter(
        x=points.label[chosen], y=points.predicted[chosen], customdata=points.sigma[chosen], mode="markers", name=name,
        legendgroup=name, showlegend=legend,
        marker={"color": style[0], "symbol": style[1], "size": style[2], "opacity": style[3]},
        hovertemplate=f"label %{{x:.4f}}, predicted %{{y:.4f}} ± %{{customdata:.4f}} {unit}<extra>{name}</extra>",
    )  # fmt: skip


def thinned(count: int) -> NDArray[np.int64]:
    """Which of `count` points are drawn: all, or a fixed random choice of MAX_POINTS."""
    if count <= MAX_POINTS:
        return np.arange(count)
    return np.sort(np.random.default_rng(_RNG_SEED).choice(count, MAX_POINTS, replace=False))


def _identity(sets: Sequence[ParitySet]) -> Any:
    low = min(float(points.label.min()) for points in sets)
    high = max(float(points.label.max()) for points in sets)
    return go.Scatter(
        x=[low, high], y=[low, high], mode="lines", line={"color": RED, "width": 1.2, "dash": "dash"}, name="equal",
        hoverinfo="skip", showlegend=False,
    )  # fmt: skip


def calibration(report: Report) -> Any:
    """Left: predicted intervals against observed coverage; right: rms z of each fit."""
    figure = make_subplots(cols=2, horizontal_spacing=0.12)
    x = [0.0, *(100 * p.predicted_fraction for p in report.reliability)]
    y = [0.0, *(100 * p.observed_fraction for p in report.reliability)]
    figure.add_trace(go.Scatter(x=[0, 100], y=[0, 100], mode="lines", line={"color": RED, "width": 1.2, "dash": "dash"},
                                name="perfect", hoverinfo="skip"), row=1, col=1)  # fmt: skip
    figure.add_trace(go.Scatter(
        x=x, y=y, mode="lines+markers", name="observed", line={"color": BLUE, "width": 2},
        hovertemplate="predicted %{x:.0f} %: observed %{y:.1f} %<extra></extra>"), row=1, col=1)  # fmt: skip
    figure.update_xaxes(title_text="predicted interval / %", range=[0, 100], row=1, col=1)
    figure.update_yaxes(title_text="force components inside / %", range=[0, 103], row=1, col=1)
    points = [p for p in report.learning_curve if p.rms_z is not None]
    figure.add_trace(go.Scatter(
        x=[p.train_labels for p in points], y=[p.rms_z for p in points], mode="lines+markers", showlegend=False,
        line={"color": ORANGE, "width": 2}, marker={"symbol": "diamond", "size": 7},
        hovertemplate="%{x} training labels: rms z %{y:.2f}<extra></extra>"), row=1, col=2)  # fmt: skip
    figure.add_hline(y=1.0, line={"color": RED, "width": 1.2, "dash": "dash"}, row=1, col=2)
    figure.update_xaxes(title_text="training labels", row=1, col=2)
    top = 1.15 * max([1.1, *(p.rms_z or 0.0 for p in points)])
    figure.update_yaxes(title_text="rms z (1 is perfect)", range=[0, top], row=1, col=2)
    return styled(figure, 380)


def equation_of_state(report: Report) -> Any:
    """Energy against volume of the perfect crystal, engine and potential, from the engine's lowest cell."""
    points = report.equation_of_state
    volumes = [p.volume_ang3_per_atom for p in points]
    zero = min((p.engine_ev_per_atom for p in points), default=0.0)
    engine = [1000 * (p.engine_ev_per_atom - zero) for p in points]
    potential = [None if p.potential_ev_per_atom is None else 1000 * (p.potential_ev_per_atom - zero) for p in points]
    figure = go.Figure()
    text = "%{x:.3f} Å³/atom: %{y:.2f} meV/atom<extra>%{fullData.name}</extra>"
    figure.add_trace(go.Scatter(x=volumes, y=potential, mode="lines+markers", name="potential", hovertemplate=text,
                                line={"color": BLUE, "width": 2, "shape": "spline"}))  # fmt: skip
    figure.add_trace(go.Scatter(x=volumes, y=engine, mode="markers", name="engine", hovertemplate=text,
                                marker={"color": ORANGE, "symbol": "circle-open", "size": 12,
                                        "line": {"width": 2}}))  # fmt: skip
    figure.update_xaxes(title_text="volume / Å³ atom⁻¹")
    figure.update_yaxes(title_text="energy above minimum / meV atom⁻¹")
    return styled(figure, 380)
