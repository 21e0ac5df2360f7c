"""What a free worker does next.

The asynchronous schedule waits for the first potential alone; the barrier schedule, for whole rounds, is its measure.

Labels of rattled seeds teach little and count against the budget as all others do. Until the first potential exists no
more of them are decided than the cold start and a quarter of it, which is there so that one slow or failing label does
not hold up the first fit. Workers beyond that compute references, and then wait: more rattled seeds are all that could
be found for them, and labelling those would make a campaign dearer on many workers than on few. With the first
potential all of them explore, and what is left of the rattled seeds is not labelled before one of them is back.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

EARLY_SHARE = 8
"""While labels are few, a potential is fitted again when there is one more for so many that it knows."""


EXPLORED_AGAIN = 8
"""So many explorations at the most with one potential because others ended early; labels should not wait for more."""


class Action(StrEnum):
    """Kinds of work."""

    REFERENCE = "reference"
    TRAIN = "train"
    VALIDATION = "validation"
    EXPLORE = "explore"
    FIT = "fit"


@dataclass(frozen=True, slots=True)
class Rules:
    """The part of the campaign file that scheduling needs."""

    workers: int
    cold_start: int
    refit_every: int
    validation_fraction: float
    pool_min: int
    labels: int
    """Budget of training and validation labels."""
    batch_size: int
    cold_explorations: int = 1
    """How many give the rattled seeds of the cold start."""


@dataclass(frozen=True, slots=True)
class View:
    """The part of the state that scheduling needs. Counts of labels leave out those given up."""

    train: int
    """Decided."""
    validation: int
    """Decided."""
    labels_open: int
    """Decided and not ended, reference cells included."""
    train_done: int
    scored_done: int
    """Finished validation and reference labels."""
    train_fitted: int
    """Training labels the newest fit has taken in, finished or running."""
    scored_fitted: int
    """Validation and reference labels the newest fit has scored."""
    fits_open: int
    explorations: int
    """Ever decided."""
    explorations_open: int
    explorations_of_model: int
    """Decided on the newest model."""
    has_model: bool
    explored: bool
    """Whether an exploration with a potential has ended; true where exploring needs none."""
    cut_short: int
    """Conditions whose trajectories ended early with an older potential: the newest may see more of them."""
    pool_train: int
    pool_validation: int
    references_left: int
    labels_since_fit: int
    """Decided after the newest fit was."""
    draining: bool


def next_action(view: View, rules: Rules) -> Action | None:
    """Asynchronous schedule: the most useful work that exists now; None only where there is none worth its label.

    A fit goes first because everything after it is better informed; exploring comes next while candidates run low,
    because it feeds the labels; then the labels.
    """
    if view.draining:
        return _drain(view)
    if _fit_due(view, rules):
        return Action.FIT
    if _labels_left(view, rules) <= 0:
        return Action.REFERENCE if view.references_left else None
    if _exploration_due(view, rules):
        return Action.EXPLORE
    if view.references_left:
        return Action.REFERENCE
    if not view.has_model and view.train >= _cold_labels(rules):
        return None
    if view.has_model and not view.explored:
        return _fill(view, rules)
    return _label(view, rules) or _fill(view, rules)


def barrier_action(view: View, rules: Rules) -> Action | None:
    """Rounds of label, fit, explore, each of which waits for all of the one before."""
    if view.draining:
        return _drain(view)
    if view.fits_open:
        return None
    if not view.has_model and view.explorations < rules.cold_explorations:
        return Action.EXPLORE
    if view.explorations_open:
        more = view.has_model and view.explorations_of_model < rules.workers
        return Action.EXPLORE if more else None
    if view.references_left:
        return Action.REFERENCE
    size = rules.batch_size if view.has_model else rules.cold_start
    if view.has_model and view.explorations_of_model == 0 and not view.labels_open:
        return Action.EXPLORE
    if view.labels_since_fit < size and _labels_left(view, rules) > 0 and (label := _label(view, rules)):
        return label
    if view.labels_open:
        return None
    return Action.FIT if view.train_done > view.train_fitted else Action.EXPLORE


def _drain(view: View) -> Action | None:
    """A last fit takes in what was still being computed, once all of it has ended."""
    unfitted = view.train_done > view.train_fitted or view.scored_done > view.scored_fitted
    idle = not (view.labels_open or view.fits_open or view.explorations_open)
    return Action.FIT if idle and unfitted and view.train_done else None


def _fit_due(view: View, rules: Rules) -> bool:
    needed = (
        refit_after(view.train_fitted, rules.refit_every) if view.has_model else min(rules.cold_start, rules.labels)
    )
    return not view.fits_open and view.train_done - view.train_fitted >= needed


def refit_after(fitted: int, refit_every: int) -> int:
    """New training labels after which a potential that knows `fitted` is fitted anew.

    One more label changes the first potentials more than anything that could be computed meanwhile, and a fit costs
    next to nothing beside it; later an eighth more of them is what matters, until that is `refit_every`.
    """
    return min(refit_every, max(1, fitted // EARLY_SHARE))


def _cold_labels(rules: Rules) -> int:
    """Training labels decided before the first potential; one given up counts no longer and is replaced."""
    return rules.cold_start + max(1, rules.cold_start // 4)


def _labels_left(view: View, rules: Rules) -> int:
    return rules.labels - view.train - view.validation


def _exploration_due(view: View, rules: Rules) -> bool:
    if not view.has_model:
        return view.explorations < rules.cold_explorations
    if view.explorations_open >= _explorers(rules):
        return False
    again = view.cut_short > 0 and view.explorations_of_model < EXPLORED_AGAIN
    return view.explorations_of_model == 0 or view.pool_train < rules.pool_min or again


def _label(view: View, rules: Rules) -> Action | None:
    wanted = rules.validation_fraction * max(0, view.train + view.validation + 1 - rules.cold_start)
    if view.pool_validation and view.validation < wanted:
        return Action.VALIDATION
    if view.pool_train:
        return Action.TRAIN
    return Action.VALIDATION if view.pool_validation else None


def _fill(view: View, rules: Rules) -> Action | None:
    """Nothing to label: explore rather than leave a worker idle."""
    limit = rules.workers if view.has_model else _explorers(rules)
    return Action.EXPLORE if view.explorations_open < limit else None


def _explorers(rules: Rules) -> int:
    """Workers that may explore while others label."""
    return max(1, rules.workers // 2)
