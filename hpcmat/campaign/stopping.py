"""Why a campaign stops: its target, its budget, or nothing left to gain."""

from __future__ import annotations

from hpcmat.campaign.events import ExploreSummary, FitSummary, Stopping
from hpcmat.campaign.state import OPEN, CampaignState, TaskState, fit_summaries, last_ended
from hpcmat.steering.stopping import looks_at, on_plateau
from hpcmat.units import SECONDS_PER_HOUR

HOPELESS_LABELS = 10
"""Labels given up in a row after which the engine, not the structures, must be at fault."""
HOPELESS_EXPLORATIONS = 10
"""Explorations in a row that gave nothing to label."""
HOPELESS_FITS = 2
"""Fits given up in a row."""


def spent_reason(state: CampaignState, now: float) -> Stopping | None:
    """Why a campaign of any kind stops: its engine gives nothing, or its node-hours or its time are spent.

    Parameters
    ----------
    now : float
        Seconds since the epoch.
    """
    return _labels_hopeless(state) or _spent(state, now)


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
    return state.index.number(("train", "validation"), "done")


def _target(state: CampaignState) -> Stopping | None:
    fits = fit_summaries(state)
    if not fits or state.index.number(("reference",), *OPEN):
        return None
    target, fit = state.campaign.target, fits[-1]
    looks = looks_at([each.validation.n_frames for each in fits], target.min_validation)
    if len(fits) - 1 not in looks or fit.force_rmse_bound is None:
        return None
    if fit.force_rmse_bound > target.force_rmse_ev_per_ang or _unjudged_temperatures(state):
        return None
    return Stopping(
        "target",
        f"force RMSE below {fit.force_rmse_bound:.4f} eV/Å with {100 * target.confidence:g} % confidence "
        f"on {fit.validation.n_frames} validation frames; the target is {target.force_rmse_ev_per_ang:g} eV/Å",
    )


def _unjudged_temperatures(state: CampaignState) -> set[tuple[float, float | None]]:
    """Temperatures, held or changed, that dynamics explore and that no frame in the newest fit's validation stream has.

    A bound on the error at some of the conditions says nothing of the others. Journals of versions that did not write
    down conditions have none here.
    """
    fit = state.model
    assert fit is not None, "there is a fit to be judged"
    conditions = {t.key: t.decision.condition for t in state.of_purpose("explore") if t.decision.model is not None}
    explored = {(c.temperature_k, c.end_temperature_k) for c in conditions.values() if c is not None}
    keys = set(fit.decision.validation)
    frames = [t.decision.candidate for t in state.done("validation") if t.key in keys]
    judged = [conditions.get(frame.exploration) for frame in frames if frame is not None]
    return explored - {(c.temperature_k, c.end_temperature_k) for c in judged if c is not None}


def _budget(state: CampaignState, now: float) -> Stopping | None:
    budget = state.campaign.budget
    done = labels_done(state)
    if done >= budget.labels and not state.index.number(("train", "validation", "reference"), *OPEN):
        return Stopping("budget", f"{done} labels, all that the budget allows")
    return _spent(state, now)


def _spent(state: CampaignState, now: float) -> Stopping | None:
    budget = state.specification.budget
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
    return _labels_hopeless(state) or _explorations_hopeless(state) or _fits_hopeless(state)


def _labels_hopeless(state: CampaignState) -> Stopping | None:
    last = last_ended(state, HOPELESS_LABELS, "train", "validation", "reference", "screen")
    if len(last) < HOPELESS_LABELS or any(task.status == "done" for task in last):
        return None
    return Stopping(
        "failures",
        f"{len(last)} labels in a row given up, the last one {_why(last[-1])}; "
        "mend the engine or its settings and start a new campaign on the same store",
    )


def _explorations_hopeless(state: CampaignState) -> Stopping | None:
    last = last_ended(state, HOPELESS_EXPLORATIONS, "explore")
    if len(last) < HOPELESS_EXPLORATIONS or len(state.pool) > 0 or any(_found_something(task) for task in last):
        return None
    cause = _why(last[-1]) if last[-1].failures else "every frame had been seen before or was unphysical"
    return Stopping(
        "failures",
        f"{len(last)} explorations in a row found nothing to label: {cause}; "
        "change the table explore and start a new campaign on the same store",
    )


def _fits_hopeless(state: CampaignState) -> Stopping | None:
    fits = state.of_purpose("fit")[-HOPELESS_FITS:]
    if len(fits) < HOPELESS_FITS or any(task.status != "failed" for task in fits):
        return None
    return Stopping("failures", f"{HOPELESS_FITS} fits in a row given up, the last one {_why(fits[-1])}")


def _found_something(task: TaskState) -> bool:
    return isinstance(task.summary, ExploreSummary) and bool(task.summary.candidates)


def _why(task: TaskState) -> str:
    failure = task.failures[-1].failure
    return f"{failure.failure}: {failure.message}"
