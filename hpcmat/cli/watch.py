"""`hpcmat watch`: a running campaign, live, until it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpcmat.cli.common import DEFAULT_OUT, AsJson

if TYPE_CHECKING:
    from hpcmat.campaign.events import Event
    from hpcmat.report.watching import Watcher

Folder = Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Folder of the campaign.")]
Interval = Annotated[float, typer.Option("--interval", metavar="SECONDS", min=0.1, help="Time between two looks.")]


def watch(folder: Folder = DEFAULT_OUT, interval: Interval = 2.0, as_json: AsJson = False) -> None:
    """Follow a campaign until it ends.

    A live screen in a terminal, a line per event elsewhere; with `--json` one JSON event per line. Only the journal
    is read, from any machine that sees it, and leaving does not disturb the campaign.
    """
    from rich.console import Console

    from hpcmat.campaign.folder import CampaignFolder
    from hpcmat.report.watching import Watcher

    with Watcher(CampaignFolder(folder)) as watcher:
        console = Console(highlight=False, soft_wrap=True)
        if console.is_terminal and not as_json:
            _screen(watcher, interval)
            return
        for event, moment in _until_end(watcher, interval):
            _tell(watcher, event, moment, as_json)
        if not as_json:
            print(watcher.last_words())


def _until_end(watcher: Watcher, interval: float) -> Iterator[tuple[Event, float]]:
    import time

    ended = False
    while not ended:
        # Asked before reading: what a driver wrote just before it left is then read still.
        ended = not watcher.driver_runs()
        yield from watcher.news()
        ended = ended or watcher.state.ended is not None
        if not ended:
            time.sleep(interval)


def _tell(watcher: Watcher, event: Event, moment: float, as_json: bool) -> None:
    import json

    from hpcmat.campaign.events import event_json
    from hpcmat.report.progress import event_line
    from hpcmat.report.text import clock

    if as_json:
        print(json.dumps({"time": moment, **json.loads(event_json(event))}, ensure_ascii=False), flush=True)
        return
    line = event_line(event, watcher.state)
    if line is not None:
        print(f"{clock(moment)}  {line}", flush=True)


def _screen(watcher: Watcher, interval: float) -> None:
    import time

    from rich.live import Live

    with Live(watcher.screen(), refresh_per_second=4) as live:
        while True:
            ended = not watcher.driver_runs()
            for _ in watcher.news():
                pass
            live.update(watcher.screen())
            if ended or watcher.state.ended is not None:
                return
            time.sleep(interval)
