"""`hpcmat report`: the numbers of a campaign, and the page that shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpcmat.cli.common import DEFAULT_OUT, AsJson, print_json

Folder = Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Folder of the campaign.")]
HtmlFile = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Where to write the page; FOLDER/report.html by default.")
]


def report(folder: Folder = DEFAULT_OUT, html: HtmlFile = None, as_json: AsJson = False) -> None:
    """Write the report of a campaign, finished or not.

    One HTML file that opens offline. With `--json` the numbers go to standard output and no file is written unless
    `--html` names one.
    """
    from hpcmat.campaign.folder import CampaignFolder
    from hpcmat.report.kinds import campaign_report, closing_lines, write_campaign_report
    from hpcmat.store.results import ResultStore

    campaign = CampaignFolder(folder)
    state = campaign.read()
    store = ResultStore(state.created.store if state.created else "")
    if as_json and html is None:
        print_json(campaign_report(state, store).as_json())
        return
    page = html or campaign.report
    found = write_campaign_report(state, store, page)
    if as_json:
        print_json(found.as_json())
        return
    print(found.outcome)
    print(closing_lines(found))
    print(f"report: {page}")
