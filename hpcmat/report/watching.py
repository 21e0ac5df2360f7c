"""Follow a campaign through its journal: each event once, the state after it, a screen that shows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType

from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpcmat.campaign.events import Event, read_event
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.screen.spec import ScreenCampaign
from hpcmat.campaign.screen.standing import crystal_states
from hpcmat.campaign.state import CampaignState
from hpcmat.campaign.stopping import labels_done
from hpcmat.errors import InputError, VersionError
from hpcmat.report.kinds import standing_text
from hpcmat.report.outcome import GOES_ON, campaign_phase
from hpcmat.report.progress import event_line
from hpcmat.report.status import one_line
from hpcmat.report.text import clock

LAST_LINES = 8


class Watcher:
    """Reader of a campaign's journal that never reads an event twice; a context manager.

    Raises
    ------
    InputError
        There is no campaign in the folder.
    VersionError
        A newer version wrote it.
    """

    def __init__(self, folder: CampaignFolder) -> None:
        if not folder.exists:
            raise InputError(f"{folder.root}: no campaign here; start one with `hpcmat run CAMPAIGN.toml --out FOLDER`")
        self.state = CampaignState()
        self._folder = folder
        self._journal = folder.journal()
        self._journal.check_version()
        self._lines: list[str] = []

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()

    def news(self) -> Iterator[tuple[Event, float]]:
        """Events since the last look, each after it has been taken into `state`."""
        for entry in self._journal.read():
            try:
                event = read_event(entry.payload)
            except ValidationError as error:
                raise VersionError(
                    f"{self._folder.root}: its journal has an event this hpcmat does not know; use the version that "
                    "wrote it"
                ) from error
            self.state.apply(event, entry.time)
            line = event_line(event, self.state)
            if line is not None:
                self._lines = [*self._lines, f"{clock(entry.time)}  {one_line(line, 160)}"][-LAST_LINES:]
            yield event, entry.time

    def driver_runs(self) -> bool:
        """Whether a driver holds the campaign."""
        return self._folder.driven

    def last_words(self) -> str:
        """What to say when nothing more will come."""
        if self.state.created is None or campaign_phase(self.state) == "running":
            return GOES_ON
        return standing_text(self.state, time.time(), False)

    def screen(self) -> RenderableType:
        """The state as a screen: progress of the labels, status, last events."""
        if self.state.spec is None:
            return Text("reading the journal")
        text = standing_text(self.state, time.time(), self.driver_runs())
        name, done, most = _progress(self.state)
        bar = Table.grid(padding=(0, 1))
        bar.add_row(Text(name, style="bold"), ProgressBar(total=most, completed=done, width=40), f"{done} of {most}")
        return Group(bar, Text(text), Text(""), Text("\n".join(self._lines), style="dim"))


def _progress(state: CampaignState) -> tuple[str, int, int]:
    """What a campaign counts, how many it has, and how many at most."""
    if isinstance(state.spec, ScreenCampaign):
        crystals = crystal_states(state)
        known = sum(crystal.status == "done" for crystal in crystals)
        return "candidates", known, state.spec.budget.candidates or len(crystals)
    return "labels", labels_done(state), state.campaign.budget.labels
