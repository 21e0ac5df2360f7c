"""`hpcmat submit`: run a campaign in an allocation of a site."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpcmat.cli.common import (
    DEFAULT_OUT,
    DEFAULT_STORE,
    Account,
    AsJson,
    CampaignFile,
    GuaranteedHours,
    Nodes,
    OutFolder,
    QueueName,
    SiteName,
    StoreFolder,
    WalltimeHours,
    print_json,
)

if TYPE_CHECKING:
    from hpcmat.campaign.allocations import Errand, Wish


def submit(  # noqa: PLR0913 - one parameter for each option of the command line
    campaign: CampaignFile,
    site: SiteName,
    out: OutFolder = DEFAULT_OUT,
    store: StoreFolder = DEFAULT_STORE,
    nodes: Nodes = None,
    walltime: WalltimeHours = None,
    guaranteed: GuaranteedHours = None,
    queue: QueueName = "",
    account: Account = "",
    allocations: Annotated[
        int, typer.Option("--allocations", min=1, help="Allocations that follow one another (PJM: as a step job).")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Submit a campaign to a scheduler.

    The driver runs inside the allocation; shortly before its end it begins nothing more and submits its successor.
    """
    from hpcmat.campaign.allocations import submit_campaign
    from hpcmat.dispatch.sites import load_site

    wish = make_wish(nodes, walltime, guaranteed, queue, account)
    submitted = submit_campaign(make_errand(campaign, out, store), load_site(site), wish, allocations)
    if as_json:
        print_json([asdict(submission) for submission in submitted])
        return
    for submission in submitted:
        print(f"job {submission.job} on {submission.site}, queue {submission.queue}: {submission.script}")
    print(f"`hpcmat status {out}` shows it, `hpcmat stop {out}` ends it")


def make_errand(campaign: Path, out: Path, store: Path) -> Errand:
    """The campaign to be run, checked."""
    from hpcmat.campaign.allocations import Errand
    from hpcmat.campaign.folder import CampaignFolder
    from hpcmat.campaign.specification import load_specification

    return Errand(load_specification(campaign).name, campaign, CampaignFolder(out), store)


def make_wish(
    nodes: int | None, walltime_h: float | None, guaranteed_h: float | None, queue: str, account: str
) -> Wish:
    """What the command line asks of the scheduler."""
    from hpcmat.campaign.allocations import Wish

    return Wish(nodes, walltime_h, guaranteed_h, queue, account)
