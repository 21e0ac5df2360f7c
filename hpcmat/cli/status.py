"""`hpcmat status`: where a campaign stands, and why it did what it did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpcmat.cli.common import DEFAULT_OUT, AsJson, print_json

if TYPE_CHECKING:
    from hpcmat.campaign.folder import CampaignFolder
    from hpcmat.campaign.state import CampaignState

Folder = Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Folder of the campaign.")]
Why = Annotated[
    str | None, typer.Option("--why", metavar="ID", help="Explain one decision, named by its id or by its task.")
]


def status(folder: Folder = DEFAULT_OUT, why: Why = None, as_json: AsJson = False) -> None:
    """Show where a campaign stands.

    Labels, error and target, cost, what runs, what failed last and a forecast. Only the journal is read, and the
    scheduler asked where the campaign was submitted to one.
    """
    import time

    from hpcmat.campaign.folder import CampaignFolder
    from hpcmat.report.kinds import standing_data, standing_text
    from hpcmat.report.outcome import campaign_phase

    campaign = CampaignFolder(folder)
    allocations = _allocations(campaign)
    if allocations and not campaign.exists:
        _print_waiting(allocations, as_json)
        return
    state = campaign.read()
    if why is not None:
        _explain(state, why, as_json)
        return
    runs = campaign_phase(state) == "running" and campaign.driven
    # A driver that left between the two looks has said so in the journal.
    state = state if runs else campaign.read()
    if as_json:
        print_json(standing_data(state, time.time(), runs) | {"allocations": allocations})
        return
    print(standing_text(state, time.time(), runs))
    if allocations:
        print()
        _print_waiting(allocations, as_json)


def _allocations(campaign: CampaignFolder) -> list[dict[str, Any]]:
    from hpcmat.campaign.allocations import standing

    return [
        {"job": known.job, "state": state, "site": known.site, "queue": known.queue, "after": known.after or None}
        for known, state in standing(campaign)
    ]


def _print_waiting(allocations: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json({"phase": "not started", "allocations": allocations})
        return
    for row in allocations:
        after = f", after job {row['after']}" if row["after"] else ""
        print(f"allocation  job {row['job']} on {row['site']}, queue {row['queue']}: {row['state']}{after}")


def _explain(state: CampaignState, name: str, as_json: bool) -> None:
    import json

    from hpcmat.records import encode
    from hpcmat.report.status import decision_of, decision_text

    row = decision_of(state, name)
    if as_json:
        print_json(json.loads(encode(row)))
    else:
        print(decision_text(row))
