"""`hpcmat stop`: drain a running campaign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpcmat.cli.common import DEFAULT_OUT, AsJson, print_json


def stop(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the campaign.")] = DEFAULT_OUT,
    as_json: AsJson = False,
) -> None:
    """Drain a campaign.

    The driver starts nothing more and leaves when what runs has ended; allocations that still wait are given back.
    `hpcmat run` or `hpcmat submit` goes on later.
    """
    from hpcmat.campaign.allocations import give_back
    from hpcmat.campaign.folder import CampaignFolder
    from hpcmat.campaign.lifecycle import request_stop

    campaign = CampaignFolder(folder)
    returned = [submission.job for submission in give_back(campaign)]
    running = request_stop(campaign) if campaign.exists or not returned else False
    if as_json:
        print_json({"folder": str(folder), "was_running": running, "given_back": returned})
        return
    for job in returned:
        print(f"{folder}: job {job} was waiting and is given back")
    if running:
        print(f"{folder}: asked to stop; running tasks may end first (`hpcmat status {folder}` shows them)")
    elif not returned:
        print(f"{folder}: no driver is running; nothing to stop")
