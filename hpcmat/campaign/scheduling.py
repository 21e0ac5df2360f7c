"""The state of a campaign as the schedule sees it."""

from __future__ import annotations

from bisect import bisect_right

from hpcmat.campaign.events import Purpose
from hpcmat.campaign.spec import Campaign
from hpcmat.campaign.state import OPEN, CampaignState, TaskState
from hpcmat.steering.schedule import Rules, View

_MODEL_LABELS: tuple[Purpose, ...] = ("train", "validation")
_LABELS: tuple[Purpose, ...] = (*_MODEL_LABELS, "reference")


def rules_of(campaign: Campaign, workers: int, cold_explorations: int = 1) -> Rules:
    """The part of the campaign file that scheduling needs."""
    steering = campaign.steering
    return Rules(
        workers=workers,
        cold_start=campaign.explore.cold_start,
        refit_every=steering.refit_every,
        validation_fraction=steering.validation_fraction,
        pool_min=steering.pool_min,
        labels=campaign.budget.labels,
        batch_size=steering.batch_size,
        cold_explorations=cold_explorations,
    )


def view_of(state: CampaignState, references: int, cut_short: int = 0) -> View:
    """Counts that decide what is scheduled next.

    Parameters
    ----------
    references : number of reference cells of the campaign.
    cut_short : conditions that are to be explored again, see `Conditions.cut_short`.
    """
    number = state.index.number
    fit = next((task for task in reversed(state.index.purposes.get("fit", [])) if task.status != "failed"), None)
    return View(
        train=number(("train",), *OPEN, "done"),
        validation=number(("validation",), *OPEN, "done"),
        labels_open=number(_LABELS, *OPEN),
        train_done=number(("train",), "done"),
        scored_done=number(("validation", "reference"), "done"),
        train_fitted=len(fit.decision.train) if fit else 0,
        scored_fitted=_scored(fit, state) if fit else 0,
        fits_open=number(("fit",), *OPEN),
        explorations=number(("explore",)),
        explorations_open=number(("explore",), *OPEN),
        explorations_of_model=_of_model(state),
        has_model=state.model is not None,
        explored=_explored(state),
        cut_short=cut_short,
        pool_train=state.pool.number(reserved=False),
        pool_validation=state.pool.number(reserved=True),
        references_left=references - number(("reference",)),
        labels_since_fit=_labels_since(fit, state),
        draining=state.stopping is not None,
    )


def _of_model(state: CampaignState) -> int:
    """Explorations that are as good as any with the newest model: all of them where exploring needs no model."""
    if state.campaign.explore.method == "rattle":
        return state.index.number(("explore",))
    return state.index.explorations_with[state.model.key] if state.model is not None else 0


def _explored(state: CampaignState) -> bool:
    """Whether an exploration with a potential has ended, with or without a result; those without come first."""
    ended = state.index.ended.get("explore", ())
    return state.campaign.explore.method == "rattle" or any(task.decision.model is not None for task in ended)


def _labels_since(fit: TaskState | None, state: CampaignState) -> int:
    """Training and validation labels decided after a fit was, without those given up."""
    found = 0
    for purpose in _MODEL_LABELS:
        tasks, given_up = state.index.purposes.get(purpose, []), state.index.given_up.get(purpose, [])
        if fit is None:
            found += len(tasks) - len(given_up)
        else:
            # In the order of decision, and therefore of time.
            found += len(tasks) - bisect_right(tasks, fit.decided, key=lambda task: task.decided)
            found -= sum(task.decided > fit.decided for task in given_up)
    return found


def _scored(fit: TaskState, state: CampaignState) -> int:
    """Validation and reference labels that a fit has scored: the latter all at once or not at all."""
    references = [task for task in state.done("reference") if (task.finished or 0.0) <= fit.decided]
    return len(fit.decision.validation) + len(references)
