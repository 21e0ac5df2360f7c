"""The report as one HTML file that opens offline: figures, tables and the script that draws them inside it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from hpcmat.campaign.state import CampaignState
from hpcmat.report import describe, figures, figures_work, text
from hpcmat.report.data import report_data
from hpcmat.report.parity import Parity, read_parity
from hpcmat.report.schema import Report
from hpcmat.store.atomic import write_text
from hpcmat.store.results import ResultStore

ROWS_SHOWN = 200
"""Rows of a long table that are open at first."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure for the page: its id, its plotly JSON, and what it shows for those who cannot see it."""

    id: str
    json: str
    description: str
    caption: str = ""


def write_report(state: CampaignState, store: ResultStore, path: Path) -> Report:
    """Write the report of a campaign to a file, whole or not at all, and return its numbers.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    parity = read_parity(state, store)
    report = report_data(state, store, parity)
    write_text(path, render_html(report, parity))
    return report


def render_html(report: Report, parity: Parity) -> str:
    """Page of a report; everything that came from people or programs is escaped, and nothing is loaded from outside."""
    return render_page(
        "report.html.j2",
        r=report,
        figures=_figures(report, parity),
        rows_shown=ROWS_SHOWN,
        purpose_words=figures.PURPOSE_WORDS,
    )


def render_page(template: str, **values: Any) -> str:
    """Page of a template with the style and the scripts that all pages share; every value is escaped."""
    scripts = (get_plotlyjs(), _source("report.js"))
    page = _environment().get_template(template)
    return page.render(style=_source("report.css"), scripts=scripts, policy=content_policy(scripts), **values)


def content_policy(scripts: tuple[str, ...]) -> str:
    """Content security policy: these scripts and no others, no network, no plug-ins.

    Were the escaping of some text ever forgotten, a browser would still refuse to run it.
    """
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _figures(report: Report, parity: Parity) -> dict[str, Figure]:
    built = (
        _figure("learning-curve", bool(report.learning_curve), lambda: figures.learning_curve(report), report),
        _figure("parity", bool(parity), lambda: figures.parity(parity), report),
        _figure("calibration", bool(report.reliability), lambda: figures.calibration(report), report),
        _figure("equation-of-state", bool(report.equation_of_state), lambda: figures.equation_of_state(report), report),
        _figure("timeline", bool(report.timeline), lambda: figures_work.timeline(report), report),
        _figure("cost", report.node_hours > 0, lambda: figures_work.cost(report), report),
        _figure("durations", _has_predictions(report), lambda: figures_work.durations(report), report),
    )
    return {figure.id: figure for figure in built if figure is not None}


def _has_predictions(report: Report) -> bool:
    return any(row.predicted_s and row.actual_s for row in report.decisions)


def _figure(name: str, wanted: bool, build: Callable[[], Any], report: Report) -> Figure | None:
    if not wanted:
        return None
    return Figure(name, json_in_html(build().to_json()), describe.figure(name, report))


def json_in_html(text_of_json: str) -> str:
    """JSON that can stand inside a script element: no character in it can end the element."""
    return text_of_json.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hpcmat.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "number": text.number,
        "span": text.span,
        "percent": text.percent,
        "duration": text.duration,
        "moment": text.moment,
        "plural": text.plural,
    }
    return environment


def _source(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
