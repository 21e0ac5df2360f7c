"""The two calculations that a candidate of a screening may have, and what a cheap one costs in dear ones."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from hpcmat.campaign.events import Fidelity
from hpcmat.campaign.plan import guess_label_seconds
from hpcmat.campaign.screen.spec import ScreenCampaign
from hpcmat.campaign.screen.standing import CrystalState, crystal_states
from hpcmat.campaign.state import CampaignState
from hpcmat.records import Structure

LEAST_ENDED = 5
"""Cheap calculations that ended after which most of them failing gives the cheap engine up."""
_GUESSED_FROM = 100
"""Candidates are enough to guess a ratio of costs."""


@dataclass(frozen=True, slots=True)
class Standings:
    """Where all candidates stand at each fidelity."""

    dear: list[CrystalState]
    cheap: list[CrystalState]
    """Empty without a cheap engine."""

    def of(self, fidelity: Fidelity) -> list[CrystalState]:
        """All candidates at one fidelity."""
        return self.dear if fidelity == "dear" else self.cheap


def standings(state: CampaignState) -> Standings:
    """Where all candidates stand at each fidelity that the campaign has."""
    cheap = crystal_states(state, "cheap") if "cheap" in state.screen.fidelities else []
    return Standings(crystal_states(state), cheap)


def guessed_cost(campaign: ScreenCampaign, structures: Sequence[Structure]) -> float:
    """Cost of a cheap calculation in dear ones before any has ended: recipes are taken to be equally long."""
    dear, cheap = (
        statistics.fmean(guess_label_seconds(each, campaign.engine_of(fidelity)) for each in structures[:_GUESSED_FROM])
        for fidelity in ("dear", "cheap")
    )
    return cheap / dear


def cheap_cost(dear: Sequence[CrystalState], cheap: Sequence[CrystalState], guess: float) -> float | None:
    """What a cheap value costs, in dear calculations: failures make it dearer.

    Returns
    -------
    float | None
        None where it is no use to ask for one: it costs as much as a dear one, or most of them fail.
    """
    done, known = ([each.effort for each in some if each.status == "done"] for some in (cheap, dear))
    failed = sum(each.status == "failed" for each in cheap)
    if len(done) + failed >= LEAST_ENDED and failed > len(done):
        return None
    measured = statistics.fmean(done) / statistics.fmean(known) if done and sum(known) > 0.0 else guess
    cost = measured * (len(done) + failed + 1) / (len(done) + 1)
    return cost if cost < 1.0 else None
