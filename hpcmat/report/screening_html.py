"""The report of a screening as one HTML file that opens offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hpcmat.campaign.state import CampaignState
from hpcmat.report.figures import BLUE, GREEN, GREY, ORANGE, styled
from hpcmat.report.html import Figure, json_in_html, render_page
from hpcmat.report.screening import UNITS, KnownValue, ScreeningReport, screening_report
from hpcmat.store.atomic import write_text


def write_screening(state: CampaignState, path: Path) -> ScreeningReport:
    """Write the report of a screening to a file, whole or not at all, and return its numbers.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    report = screening_report(state)
    page = render_page(
        "screening.html.j2",
        r=report,
        figures=_figures(state, report),
        units=UNITS,
        columns=_columns(report),
        objective=state.screen.objectives[0].property,
    )
    write_text(path, page)
    return report


def _columns(report: ScreeningReport) -> dict[str, tuple[str, str]]:
    """Of the ranking: what some candidate has."""
    return {name: words for name, words in UNITS.items() if any(name in row.properties for row in report.crystals)}


def _figures(state: CampaignState, report: ScreeningReport) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    if report.found:
        words = f"{report.found[-1].found} of the best {report.top} known after {report.found[-1].labels} labels"
        figure = _found(report, state.screen.objectives[0].property)
        found["found"] = Figure("found", json_in_html(figure.to_json()), words)
    if report.literature:
        words = f"{len(report.literature)} computed values against the literature"
        found["literature"] = Figure("literature", json_in_html(_literature(report).to_json()), words)
    return found


def _found(report: ScreeningReport, name: str) -> Any:
    figure = make_subplots(cols=2, horizontal_spacing=0.12)
    labels = [point.labels for point in report.found]
    names = [point.candidate for point in report.found]
    figure.add_trace(go.Scatter(
        x=[0, *labels], y=[0, *(point.found for point in report.found)], mode="lines+markers",
        line={"color": BLUE, "shape": "hv"}, name=f"best {report.top} found"), row=1, col=1)  # fmt: skip
    if report.labels_exhaustive:
        figure.add_trace(go.Scatter(
            x=[0, report.labels_exhaustive], y=[0, report.top], mode="lines",
            line={"color": GREY, "dash": "dash"}, name="at random, all candidates"), row=1, col=1)  # fmt: skip
    figure.add_trace(go.Scatter(
        x=labels, y=[point.value for point in report.found], text=names, mode="markers",
        marker={"color": ORANGE, "size": 7}, name="computed"), row=1, col=2)  # fmt: skip
    words, unit = UNITS[name]
    figure.update_xaxes(title_text="labels")
    figure.update_yaxes(title_text=f"of the best {report.top}", row=1, col=1)
    figure.update_yaxes(title_text=f"{words} / {unit}", row=1, col=2)
    return styled(figure, 380)


def _literature(report: ScreeningReport) -> Any:
    properties = list(dict.fromkeys(known.property for known in report.literature))
    figure = make_subplots(cols=len(properties), horizontal_spacing=0.12)
    for column, name in enumerate(properties, start=1):
        _add_comparison(figure, column, [known for known in report.literature if known.property == name])
    return styled(figure, 400)


def _add_comparison(figure: Any, column: int, known: list[KnownValue]) -> None:
    x, y = [item.literature for item in known], [item.computed for item in known]
    ends = [min(x + y), max(x + y)]
    figure.add_trace(go.Scatter(
        x=ends, y=ends, mode="lines", line={"color": GREY, "dash": "dash"}, showlegend=False,
    ), row=1, col=column)  # fmt: skip
    figure.add_trace(go.Scatter(
        x=x, y=y, text=[item.candidate for item in known], mode="markers", marker={"color": GREEN, "size": 7},
        showlegend=False), row=1, col=column)  # fmt: skip
    words, unit = UNITS[known[0].property]
    figure.update_xaxes(title_text=f"literature: {words} / {unit}", row=1, col=column)
    figure.update_yaxes(title_text=f"computed / {unit}", row=1, col=column)
