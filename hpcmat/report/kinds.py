"""The report of a campaign of either kind, and where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpcmat.campaign.screen.spec import ScreenCampaign
from hpcmat.campaign.state import CampaignState
from hpcmat.report.data import report_data
from hpcmat.report.schema import Report
from hpcmat.report.screening import ScreeningReport, screening_report, screening_text
from hpcmat.report.status import status_of, status_text
from hpcmat.report.text import summary_line
from hpcmat.store.results import ResultStore

AnyReport = Report | ScreeningReport


def campaign_report(state: CampaignState, store: ResultStore) -> AnyReport:
    """Everything the report says."""
    return screening_report(state) if isinstance(state.spec, ScreenCampaign) else report_data(state, store)


def write_campaign_report(state: CampaignState, store: ResultStore, path: Path) -> AnyReport:
    """Write the page and return its numbers; raises StorageError where it cannot be written."""
    if isinstance(state.spec, ScreenCampaign):
        from hpcmat.report.screening_html import write_screening

        return write_screening(state, path)
    from hpcmat.report.html import write_report

    return write_report(state, store, path)


def standing_data(state: CampaignState, now: float, driver_runs: bool) -> dict[str, Any]:
    """Where a campaign stands, as JSON data; arguments as of `status_of`."""
    if isinstance(state.spec, ScreenCampaign):
        return screening_report(state, driver_runs).as_json()
    return status_of(state, now, driver_runs).as_json()


def standing_text(state: CampaignState, now: float, driver_runs: bool) -> str:
    """The same for a terminal."""
    if isinstance(state.spec, ScreenCampaign):
        return screening_text(screening_report(state, driver_runs))
    return status_text(status_of(state, now, driver_runs))


def closing_lines(report: AnyReport) -> str:
    """What a command says of a report at its end."""
    return screening_text(report) if isinstance(report, ScreeningReport) else summary_line(report)
