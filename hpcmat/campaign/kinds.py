"""What a kind of campaign adds to the driver: what is done next, what a result means, and when it is enough."""

from __future__ import annotations

from typing import Protocol

from hpcmat.campaign.events import Decision, Stopping, Summary
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.potential import PotentialKind
from hpcmat.campaign.screen.kind import ScreenKind
from hpcmat.campaign.spec import Campaign
from hpcmat.campaign.state import CampaignState, TaskState
from hpcmat.records import Record
from hpcmat.store.results import ResultStore


class Kind(Protocol):
    """Decides for the driver; reads the result store, writes no event."""

    def decide(self, state: CampaignState) -> Decision | None:
        """What a free worker does next; None where there is nothing."""

    def foresee(self, state: CampaignState) -> None:
        """Compute what the next decision will rest on, in an idle moment."""

    def summarise(self, record: Record, task: TaskState, state: CampaignState) -> Summary:
        """What the journal keeps of an accepted result, which is in the store."""

    def stopping(self, state: CampaignState, now: float) -> Stopping | None:
        """Why to begin nothing more, or None."""


def kind_of(state: CampaignState, folder: CampaignFolder, store: ResultStore, workers: int) -> Kind:
    """The kind that a campaign is of."""
    if isinstance(state.spec, Campaign):
        return PotentialKind(state, folder, store, workers)
    return ScreenKind(state, store)
