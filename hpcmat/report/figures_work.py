"""Figures of the work done: who did what when, what it cost, how well durations were predicted."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hpcmat.campaign.events import Purpose
from hpcmat.report.figures import GREY, PURPOSE_COLOURS, PURPOSE_WORDS, RED, styled
from hpcmat.report.schema import Report, Span
from hpcmat.report.text import duration

MAX_LANES = 48
"""Workers drawn one by one; beyond that only how many were busy is readable."""
MAX_SPANS = 4000
MAX_STEPS = 1500

_UNITS = ((7200.0, 1.0, "s"), (2 * 86400.0, 60.0, "min"), (float("inf"), 3600.0, "h"))


def time_unit(seconds: float) -> tuple[float, str]:
    """Return the unit in which so long a time is best read, in seconds and by name."""
    scaled = [(factor, name) for limit, factor, name in _UNITS if seconds <= limit]
    return (60.0, "min") if 600.0 < seconds <= 7200.0 else scaled[0]


def timeline(report: Report) -> Any:
    """Who did what when: workers as lanes, colour by purpose, failures crossed; below, how many were busy."""
    spans = report.timeline
    factor, unit = time_unit(max(span.end_s for span in spans))
    workers = sorted({span.worker for span in spans}, key=_natural)
    lanes = len(workers) <= MAX_LANES
    heights = [28 * len(workers) + 30, 110] if lanes else [260]
    total = sum(heights)
    figure = make_subplots(
        rows=len(heights), shared_xaxes=True, vertical_spacing=0.16 * 110 / total if lanes else 0.0,
        row_heights=[height / total for height in heights],
    )  # fmt: skip
    if lanes:
        _add_lanes(figure, spans, workers, factor)
    _add_occupation(figure, report, factor, row=len(heights), legend=not lanes)
    figure.update_xaxes(title_text=f"time since the start / {unit}", row=len(heights), col=1)
    figure.update_layout(barmode="overlay", bargap=0.25)
    return styled(figure, total + 110)


def _natural(name: str) -> tuple[Any, ...]:
    digits = "".join(c if c.isdigit() else " " for c in name).split()
    return (name.rstrip("0123456789"), *(int(part) for part in digits))


def _add_lanes(figure: Any, spans: Sequence[Span], workers: Sequence[str], factor: float) -> None:
    # Of very many, the longest are what an eye can see.
    shown = sorted(spans, key=lambda span: span.start_s - span.end_s)[:MAX_SPANS]
    lane = {worker: f"W{number}" for number, worker in enumerate(workers, start=1)}
    for purpose, colour in PURPOSE_COLOURS.items():
        chosen = [span for span in shown if span.purpose == purpose]
        if chosen:
            figure.add_trace(_bars(chosen, purpose, colour, lane, factor), row=1, col=1)
    failed = [span for span in shown if span.failure is not None]
    if failed:
        figure.add_trace(go.Scatter(
            x=[span.end_s / factor for span in failed], y=[lane[span.worker] for span in failed], mode="markers",
            name="failed", marker={"symbol": "x", "color": RED, "size": 9}, text=[_hover(span) for span in failed],
            hovertemplate="%{text}<extra></extra>"), row=1, col=1)  # fmt: skip
    order = [lane[worker] for worker in workers]
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1], row=1, col=1, title_text="worker")


def _bars(spans: Sequence[Span], purpose: Purpose, colour: str, lane: dict[str, str], factor: float) -> Any:
    return go.Bar(
        orientation="h", base=[span.start_s / factor for span in spans],
        x=[(span.end_s - span.start_s) / factor for span in spans], y=[lane[span.worker] for span in spans],
        name=PURPOSE_WORDS[purpose], legendgroup=purpose,
        marker={"color": colour, "line": {"width": 0},
                "opacity": [0.45 if span.failure else 1.0 for span in spans]},
        text=[_hover(span) for span in spans], textposition="none", hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _hover(span: Span) -> str:
    ended = f"failed: {span.failure}" if span.failure else "done"
    attempt = f", attempt {span.attempt}" if span.attempt > 1 else ""
    words = f"{span.task}{attempt} ({PURPOSE_WORDS[span.purpose]})"
    return f"{escape(words)}<br>{escape(span.worker)}<br>{duration(span.end_s - span.start_s)}, {escape(ended)}"


def _add_occupation(figure: Any, report: Report, factor: float, row: int, legend: bool) -> None:
    grid, counts = occupation_steps(report.timeline)
    for purpose, colour in PURPOSE_COLOURS.items():
        if purpose in counts:
            figure.add_trace(go.Scatter(
                x=grid / factor, y=counts[purpose], mode="lines", stackgroup="busy", name=PURPOSE_WORDS[purpose],
                legendgroup=purpose, showlegend=legend, fillcolor=colour,
                line={"width": 0, "color": colour, "shape": "hv"},
                hovertemplate="%{y} busy<extra>" + PURPOSE_WORDS[purpose] + "</extra>"), row=row, col=1)  # fmt: skip
    if report.cost.workers:
        figure.add_hline(y=report.cost.workers, line={"color": GREY, "width": 1.2, "dash": "dot"}, row=row, col=1)
    figure.update_yaxes(title_text="busy", rangemode="tozero", tickformat="d", row=row, col=1)
    if report.cost.workers <= 5:
        figure.update_yaxes(dtick=1, row=row, col=1)


def occupation_steps(spans: Sequence[Span]) -> tuple[Any, dict[Purpose, Any]]:
    """Times (m,) in seconds and, for each purpose, how many workers were busy with it from each time on."""
    marks = np.unique([time for span in spans for time in (span.start_s, span.end_s)])
    if marks.size > MAX_STEPS:
        marks = np.linspace(marks[0], marks[-1], MAX_STEPS)
    counts: dict[Purpose, Any] = {}
    for purpose in PURPOSE_COLOURS:
        starts = np.sort([span.start_s for span in spans if span.purpose == purpose])
        ends = np.sort([span.end_s for span in spans if span.purpose == purpose])
        if starts.size:
            counts[purpose] = np.searchsorted(starts, marks, "right") - np.searchsorted(ends, marks, "right")
    return marks, counts


def cost(report: Report) -> Any:
    """Node-hours by purpose, with the share that gave no result."""
    rows = [entry for entry in report.cost.by_purpose if entry.executions][::-1]
    names = [PURPOSE_WORDS[entry.purpose] for entry in rows]
    good = [entry.node_hours - entry.failed_node_hours for entry in rows]
    figure = go.Figure()
    figure.add_trace(go.Bar(
        orientation="h", y=names, x=good, name="gave a result",
        marker={"color": [PURPOSE_COLOURS[entry.purpose] for entry in rows]},
        hovertemplate="%{x:.3g} node-hours<extra>%{y}</extra>"))  # fmt: skip
    figure.add_trace(go.Bar(
        orientation="h", y=names, x=[entry.failed_node_hours for entry in rows], name="failed attempts",
        marker={"color": RED},
        hovertemplate="%{x:.3g} node-hours failed<extra>%{y}</extra>"))  # fmt: skip
    figure.update_xaxes(title_text="node-hours", tickformat=".3~g", nticks=6)
    figure.update_layout(barmode="stack", bargap=0.35, showlegend=any(entry.failed_node_hours for entry in rows))
    return styled(figure, 120 + 42 * len(rows))


def durations(report: Report) -> Any:
    """Actual against predicted duration of each task for which one was predicted."""
    figure = go.Figure()
    rows = [row for row in report.decisions if row.predicted_s and row.actual_s]
    for purpose, colour in PURPOSE_COLOURS.items():
        chosen = [row for row in rows if row.purpose == purpose]
        if chosen:
            figure.add_trace(go.Scatter(
                x=[row.predicted_s for row in chosen], y=[row.actual_s for row in chosen], mode="markers",
                name=PURPOSE_WORDS[purpose], marker={"color": colour, "size": 6, "opacity": 0.8},
                text=[escape(row.task) for row in chosen],
                hovertemplate="%{text}: predicted %{x:.3g} s, took %{y:.3g} s<extra></extra>"))  # fmt: skip
    ends = [min(row.predicted_s or 0 for row in rows), max(row.predicted_s or 0 for row in rows)]
    figure.add_trace(go.Scatter(x=ends, y=ends, mode="lines", line={"color": RED, "width": 1.2, "dash": "dash"},
                                showlegend=False, hoverinfo="skip"))  # fmt: skip
    figure.update_xaxes(title_text="predicted / s", type="log", dtick="D2", tickformat=".3~g")
    figure.update_yaxes(title_text="took / s", type="log", dtick="D2", tickformat=".3~g")
    return styled(figure, 340)
