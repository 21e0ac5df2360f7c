"""The state of a campaign as the schedule sees it."""

from __future__ import annotations

from hpcmat.campaign.spec import Campaign
from hpcmat.campaign.state import CampaignState, TaskState
from hpcmat.steering.schedule import Rules, View


def rules_of(campaign: Campaign, workers: int) -> Rules:
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
    )


def view_of(state: CampaignState, references: int) -> View:
    """Counts that decide what is scheduled next.

    Parameters
    ----------
    references : number of reference cells of the campaign.
    """
    labels = [task for task in state.of_purpose("train", "validation", "reference") if task.status != "failed"]
    fits = [task for task in state.of_purpose("fit") if task.status != "failed"]
    fit = fits[-1] if fits else None
    explorations = state.of_purpose("explore")
    pool = state.pool
    done = {purpose: len(state.done(purpose)) for purpose in ("train", "validation", "reference")}
    return View(
        train=_count(labels, "train"),
        validation=_count(labels, "validation"),
        labels_open=sum(task.open for task in labels),
        train_done=done["train"],
        scored_done=done["validation"] + done["reference"],
        train_fitted=len(fit.decision.train) if fit else 0,
        scored_fitted=_scored(fit, state) if fit else 0,
        fits_open=sum(task.open for task in fits),
        explorations=len(explorations),
        explorations_open=sum(task.open for task in explorations),
        explorations_of_model=_of_model(explorations, state),
        has_model=state.model is not None,
        pool_train=sum(not candidate.reserved for candidate in pool),
        pool_validation=sum(candidate.reserved for candidate in pool),
        references_left=references - len(state.of_purpose("reference")),
        labels_since_fit=sum(
            task.purpose != "reference" and (not fit or task.decided > fit.decided) for task in labels
        ),
        draining=state.stopping is not None,
    )


def _of_model(explorations: list[TaskState], state: CampaignState) -> int:
    """Explorations that are as good as any with the newest model: all of them where exploring needs no model."""
    if state.campaign.explore.method == "rattle":
        return len(explorations)
    return sum(state.model is not None and task.decision.model == state.model.key for task in explorations)


def _count(tasks: list[TaskState], purpose: str) -> int:
    return sum(task.purpose == purpose for task in tasks)


def _scored(fit: TaskState, state: CampaignState) -> int:
    """Validation and reference labels that a fit has scored: the latter all at once or not at all."""
    references = [task for task in state.done("reference") if (task.finished or 0.0) <= fit.decided]
    return len(fit.decision.validation) + len(references)
