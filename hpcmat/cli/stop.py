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
    """Ask the driver to start nothing more and to leave when what runs has ended; `hpcmat run` goes on later."""
    from hpcmat.campaign.folder import CampaignFolder
    from hpcmat.campaign.lifecycle import request_stop

    running = request_stop(CampaignFolder(folder))
    if as_json:
        print_json({"folder": str(folder), "was_running": running})
    elif running:
        print(f"{folder}: asked to stop; running tasks may end first (`hpcmat status {folder}` shows them)")
    else:
        print(f"{folder}: no driver is running; nothing to stop")
