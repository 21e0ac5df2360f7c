"""Where a campaign stands and what became of it, in words."""

from __future__ import annotations

from hpcmat.campaign.spec import Campaign
from hpcmat.campaign.state import CampaignState
from hpcmat.report.schema import CurvePoint, Phase

GOES_ON = "no driver is running and the last one did not finish; the same `hpcmat run` goes on where it was"


def campaign_phase(state: CampaignState) -> Phase:
    """Where the campaign stands, as far as its journal knows.

    `running` also describes a driver that was killed and could not say so.
    """
    if state.ended is not None:
        return "complete" if state.ended.complete else "stopped"
    return "running" if state.runs else "not started"


def phase_now(state: CampaignState, driver_runs: bool) -> Phase:
    """The same where it is known whether a driver holds the campaign: `interrupted` where one was killed."""
    phase = campaign_phase(state)
    return "interrupted" if phase == "running" and not driver_runs else phase


def outcome(state: CampaignState, phase: Phase | None = None) -> str:
    """One sentence on what became of the campaign, by its journal or by a phase that is known better."""
    sentence = GOES_ON if phase == "interrupted" else _outcome(state)
    return sentence[:1].upper() + sentence[1:]


def _outcome(state: CampaignState) -> str:
    if state.ended is not None and state.ended.sentence:
        return state.ended.sentence
    if state.stopping is not None:
        return state.stopping.sentence
    if not state.runs:
        return "The campaign has been created and has not been run yet."
    running = sum(task.status == "running" for task in state.tasks.values())
    fits = f"{len(state.models)} fits so far, " if isinstance(state.spec, Campaign) else ""
    return f"The campaign is under way: {fits}{running} tasks running."


def target_reached(state: CampaignState, last: CurvePoint | None) -> bool:
    """Whether the newest fit's upper bound is within the target, on enough validation frames."""
    target = state.campaign.target
    bound = last.validation_force_rmse_bound_ev_per_ang if last else None
    if last is None or bound is None:
        return False
    return bound <= target.force_rmse_ev_per_ang and last.validation_frames >= target.min_validation
