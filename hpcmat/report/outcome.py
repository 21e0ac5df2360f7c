"""Where a campaign stands and what became of it, in words."""

from __future__ import annotations

from hpcmat.campaign.state import CampaignState
from hpcmat.report.schema import CurvePoint, Phase


def campaign_phase(state: CampaignState) -> Phase:
    """Where the campaign stands, as far as its journal knows.

    `running` also describes a driver that was killed and could not say so.
    """
    if state.ended is not None:
        return "complete" if state.ended.complete else "stopped"
    return "running" if state.runs else "not started"


def outcome(state: CampaignState) -> str:
    """One sentence on what became of the campaign."""
    sentence = _outcome(state)
    return sentence[:1].upper() + sentence[1:]


def _outcome(state: CampaignState) -> str:
    if state.ended is not None and state.ended.sentence:
        return state.ended.sentence
    if state.stopping is not None:
        return state.stopping.sentence
    if not state.runs:
        return "The campaign has been created and has not been run yet."
    running = sum(task.status == "running" for task in state.tasks.values())
    return f"The campaign is under way: {len(state.models)} fits so far, {running} tasks running."


def target_reached(state: CampaignState, last: CurvePoint | None) -> bool:
    """Whether the newest fit's upper bound is within the target, on enough validation frames."""
    target = state.campaign.target
    bound = last.validation_force_rmse_bound_ev_per_ang if last else None
    if last is None or bound is None:
        return False
    return bound <= target.force_rmse_ev_per_ang and last.validation_frames >= target.min_validation
