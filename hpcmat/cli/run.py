"""`hpcmat run`: begin a campaign, or take it up where it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpcmat.cli.common import (
    DEFAULT_OUT,
    DEFAULT_STORE,
    AsJson,
    CampaignFile,
    OutFolder,
    SiteName,
    StoreFolder,
    one_blas_thread,
    print_json,
)

if TYPE_CHECKING:
    from hpcmat.campaign.state import CampaignState


def run(
    campaign: CampaignFile,
    out: OutFolder = DEFAULT_OUT,
    site: SiteName = "local",
    store: StoreFolder = DEFAULT_STORE,
    journal: Annotated[
        str | None, typer.Option("--journal", metavar="URL", help="Another database for the journal (SQLAlchemy URL).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a campaign to its target; on a campaign that exists, go on where it is."""
    one_blas_thread()
    from hpcmat.campaign.converged import warnings_about
    from hpcmat.campaign.folder import CampaignFolder
    from hpcmat.campaign.lifecycle import Start, run_campaign
    from hpcmat.campaign.specification import load_specification
    from hpcmat.dispatch.sites import load_site
    from hpcmat.report.progress import Progress

    folder = CampaignFolder(out)
    start = Start(folder, store, load_site(site), journal)
    specification = load_specification(campaign)
    for warning in warnings_about(specification, campaign):
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    with Progress(folder, quiet=as_json) as progress:
        state = run_campaign(specification, start, progress)
    _conclude(state, folder, as_json)


def _conclude(state: CampaignState, folder: Any, as_json: bool) -> None:
    from hpcmat.report.kinds import closing_lines, write_campaign_report
    from hpcmat.store.results import ResultStore

    assert state.created is not None, "a campaign that ran was created"
    store = ResultStore(state.created.store)
    report = write_campaign_report(state, store, folder.report)
    if as_json:
        print_json(report.as_json())
        return
    print(closing_lines(report))
    print(f"report: {folder.report}")
    if folder.potential.exists():
        print(f"potential: {folder.potential}")
