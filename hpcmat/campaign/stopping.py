"""Why a campaign stops: its target, its budget, or nothing left to gain."""

from __future__ import annotations

from hpcmat.campaign.events import FitSummary, Stopping
from hpcmat.campaign.state import CampaignState, fit_summaries
from hpcmat.steering.stopping import on_plateau
from hpcmat.units import SECONDS_PER_HOUR

HOPELESS_LABELS = 10
"""Labels given up with none accepted after which the engine, not the structures, must be at fault."""
HOPELESS_FITS = 2
"""Fits given up in a row."""


def stopping_reason(state: CampaignState, now: float) -> Stopping | None:
    """The first reason to start no further label, or None.

    Parameters
    ----------
    now : float
        Seconds since the epoch.
    """
    return _hopeless(state) or _target(state) or _budget(state, now) or _plateau(state)


def labels_done(state: CampaignState) -> int:
    """Training and validation labels with a result."""
    return len(state.done("train", "validation"))


def _target(state: CampaignState) -> Stopping | None:
    fits = fit_summaries(state)
    if not fits or any(task.open for task in state.of_purpose("reference")):
        return None
    target, fit = state.campaign.target, fits[-1]
    if fit.validation.n_frames < target.min_validation or fit.force_rmse_bound is None:
        return None
    if fit.force_rmse_bound > target.force_rmse_ev_per_ang:
        return None
    return Stopping(
        "target",
        f"force RMSE below {fit.force_rmse_bound:.4f} eV/Å with {100 * target.confidence:g} % confidence "
        f"on {fit.validation.n_frames} validation frames; the target is {target.force_rmse_ev_per_ang:g} eV/Å",
    )


def _budget(state: CampaignState, now: float) -> Stopping | None:
    budget = state.campaign.budget
    done = labels_done(state)
    if done >= budget.labels and not any(t.open for t in state.of_purpose("train", "validation", "reference")):
        return Stopping("budget", f"{done} labels, all that the budget allows")
    if budget.node_hours is not None and state.node_hours >= budget.node_hours:
        return Stopping("budget", f"{state.node_hours:.3g} node-hours of {budget.node_hours:g} spent")
    hours = (now - state.walltime_origin) / SECONDS_PER_HOUR
    if budget.walltime_s is not None and hours * SECONDS_PER_HOUR >= budget.walltime_s:
        return Stopping("walltime", f"{hours:.3g} hours since the start; {budget.walltime_s:g} s were allowed")
    return None


def _plateau(state: CampaignState) -> Stopping | None:
    target = state.campaign.target
    judged = [f for f in fit_summaries(state) if _is_judged(f, target.min_validation)]
    rmse = [fit.force_rmse for fit in judged if fit.force_rmse is not None]
    if not on_plateau(rmse, target.plateau_fits, target.plateau_gain):
        return None
    return Stopping(
        "plateau",
        f"none of the last {target.plateau_fits} fits lowered the force RMSE by {100 * target.plateau_gain:g} %; "
        "a larger surrogate.size or another cutoff may",
    )


def _is_judged(fit: FitSummary, min_validation: int) -> bool:
    return fit.validation.n_frames >= min_validation


def _hopeless(state: CampaignState) -> Stopping | None:
    labels = state.of_purpose("train", "validation", "reference")
    lost = [task for task in labels if task.status == "failed"]
    if len(lost) >= HOPELESS_LABELS and not any(task.status == "done" for task in labels):
        last = lost[-1].failures[-1].failure
        return Stopping(
            "failures",
            f"{len(lost)} labels given up and none accepted, the last one {last.failure}: {last.message}; "
            "mend the engine's settings and start a new campaign",
        )
    fits = state.of_purpose("fit")[-HOPELESS_FITS:]
    if len(fits) == HOPELESS_FITS and all(task.status == "failed" for task in fits):
        return Stopping("failures", f"{HOPELESS_FITS} fits in a row failed: {fits[-1].failures[-1].failure.message}")
    return None
