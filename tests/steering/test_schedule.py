"""Schedules: the asynchronous one waits for the first potential alone, the barrier one for whole rounds."""

from collections import Counter
from dataclasses import replace

import pytest

from hpcmat.steering.schedule import EXPLORED_AGAIN, Action, Rules, View, barrier_action, next_action

RULES = Rules(workers=2, cold_start=4, refit_every=3, validation_fraction=0.25, pool_min=5, labels=40, batch_size=4)
EMPTY = View(
    train=0,
    validation=0,
    labels_open=0,
    train_done=0,
    scored_done=0,
    train_fitted=0,
    scored_fitted=0,
    fits_open=0,
    explorations=0,
    explorations_open=0,
    explorations_of_model=0,
    has_model=False,
    explored=False,
    cut_short=0,
    pool_train=0,
    pool_validation=0,
    references_left=0,
    labels_since_fit=0,
    draining=False,
)
LEARNING = replace(
    EMPTY,
    train=8,
    train_done=8,
    train_fitted=8,
    validation=2,
    scored_done=2,
    scored_fitted=2,
    explorations=3,
    explorations_of_model=1,
    has_model=True,
    explored=True,
    pool_train=10,
    pool_validation=2,
)


@pytest.mark.parametrize("schedule", [next_action, barrier_action])
def test_a_campaign_begins_by_exploring(schedule):
    assert schedule(EMPTY, RULES) is Action.EXPLORE


@pytest.mark.parametrize("schedule", [next_action, barrier_action])
def test_every_material_is_rattled_before_the_first_potential_and_none_after_it(schedule):
    rules = replace(RULES, cold_explorations=3)
    begun = replace(EMPTY, explorations=2, explorations_open=1, pool_train=4)
    assert schedule(begun, rules) is Action.EXPLORE
    assert schedule(replace(begun, explorations=3, explorations_open=0), rules) is Action.TRAIN
    fitted = replace(LEARNING, explorations=2)
    assert schedule(fitted, rules) is not Action.EXPLORE


def test_references_fill_the_time_until_candidates_exist():
    assert (
        next_action(replace(EMPTY, explorations=1, explorations_open=1, references_left=5), RULES) is Action.REFERENCE
    )


def test_first_fit_takes_the_cold_start_and_later_ones_the_new_labels():
    cold = replace(EMPTY, explorations=1, train=4, train_done=4)
    assert next_action(cold, RULES) is Action.FIT
    assert next_action(replace(cold, train_done=3), RULES) is not Action.FIT
    assert next_action(replace(LEARNING, train_done=11), RULES) is Action.FIT
    assert next_action(replace(LEARNING, train_done=11, fits_open=1), RULES) is not Action.FIT


def cold_campaign(workers: int, failing: int, references: int = 0) -> tuple[Counter, Counter]:
    """What was decided until the first fit, and what of it failed; tasks end in the order of decision."""
    rules, queue = replace(RULES, workers=workers), list[Action]()
    decided, ended, failed = Counter(), Counter(), Counter()
    while not ended[Action.FIT]:
        view = replace(
            EMPTY,
            train=decided[Action.TRAIN] - failed[Action.TRAIN],
            validation=decided[Action.VALIDATION],
            labels_open=queue.count(Action.TRAIN) + queue.count(Action.REFERENCE),
            train_done=ended[Action.TRAIN] - failed[Action.TRAIN],
            fits_open=queue.count(Action.FIT),
            explorations=decided[Action.EXPLORE],
            explorations_open=queue.count(Action.EXPLORE),
            pool_train=4 * ended[Action.EXPLORE] - decided[Action.TRAIN],
            references_left=references - decided[Action.REFERENCE],
        )
        action = next_action(view, rules) if len(queue) < workers else None
        if action is not None:
            decided[action] += 1
            queue.append(action)
            continue
        assert queue, "nothing runs and nothing is decided"
        done = queue.pop(0)
        ended[done] += 1
        if done is Action.TRAIN and failed[done] < failing:
            failed[done] += 1
    return decided, failed


@pytest.mark.parametrize("workers", [1, 2, 8, 64])
@pytest.mark.parametrize("failing", [0, 1, 9])
def test_any_number_of_workers_labels_no_more_than_a_quarter_beyond_the_cold_start(workers, failing):
    decided, failed = cold_campaign(workers, failing)
    assert failed[Action.TRAIN] == failing
    succeeded = decided[Action.TRAIN] - failed[Action.TRAIN]
    assert RULES.cold_start <= succeeded <= RULES.cold_start + 1
    assert decided[Action.EXPLORE] <= 1 + -(-(5 + failing) // 4) + workers // 2


def test_workers_beyond_the_cold_start_compute_references_and_then_wait():
    assert cold_campaign(64, 0, references=7)[0][Action.REFERENCE] == 7
    full = replace(EMPTY, explorations=2, train=5, labels_open=5, pool_train=9)
    assert next_action(replace(full, references_left=1), RULES) is Action.REFERENCE
    assert next_action(full, RULES) is None
    assert next_action(replace(full, train=4, labels_open=4), RULES) is Action.TRAIN, "one was given up"
    assert next_action(replace(full, train_done=4, labels_open=1), RULES) is Action.FIT
    assert next_action(replace(full, train_done=4, labels_open=1, fits_open=1), RULES) is None


def test_the_first_potential_explores_on_all_workers_before_more_rattled_seeds_are_labelled():
    first = replace(LEARNING, explored=False, explorations_open=1)
    assert next_action(first, RULES) is Action.EXPLORE
    assert next_action(replace(first, references_left=1), RULES) is Action.REFERENCE
    assert next_action(replace(first, explored=True), RULES) is Action.TRAIN
    assert next_action(replace(first, explorations_open=0), RULES) is Action.EXPLORE, "the one that ran was given up"


def test_a_new_model_is_explored_with_and_a_thin_pool_refilled():
    assert next_action(replace(LEARNING, explorations_of_model=0), RULES) is Action.EXPLORE
    assert next_action(replace(LEARNING, pool_train=2), RULES) is Action.EXPLORE
    assert next_action(replace(LEARNING, pool_train=2, explorations_open=1), RULES) is Action.TRAIN


def test_validation_keeps_its_share():
    assert next_action(replace(LEARNING, validation=0), RULES) is Action.VALIDATION
    assert next_action(replace(LEARNING, validation=3), RULES) is Action.TRAIN
    assert next_action(replace(LEARNING, validation=0, pool_validation=0), RULES) is Action.TRAIN
    assert next_action(replace(LEARNING, validation=9, pool_train=0, explorations_open=1), RULES) is Action.VALIDATION


def test_no_worker_is_left_without_work_while_labels_are_allowed():
    for train in range(0, 39):
        for pool_train in (0, 1):
            for pool_validation in (0, 1):
                view = replace(
                    LEARNING, train=train, validation=0, pool_train=pool_train, pool_validation=pool_validation
                )
                assert next_action(view, RULES) is not None


def test_budget_counts_what_is_decided():
    assert next_action(replace(LEARNING, train=36, validation=4, train_done=8), RULES) is None


def test_draining_starts_nothing_but_a_last_fit():
    assert next_action(replace(LEARNING, draining=True), RULES) is None
    new = replace(LEARNING, draining=True, train_done=9)
    assert next_action(new, RULES) is Action.FIT
    assert next_action(replace(new, labels_open=1), RULES) is None
    assert next_action(replace(LEARNING, draining=True, scored_done=3), RULES) is Action.FIT


def test_barrier_waits_for_every_label_of_the_round_before_it_fits():
    waiting = replace(LEARNING, labels_since_fit=4, labels_open=1, train=12, train_done=11)
    assert barrier_action(waiting, RULES) is None
    assert next_action(waiting, RULES) is not None, "the asynchronous schedule has work in the same state"
    assert barrier_action(replace(waiting, labels_open=0, train_done=12), RULES) is Action.FIT
    assert barrier_action(replace(waiting, fits_open=1, labels_open=0), RULES) is None


def test_barrier_explores_on_all_workers_after_a_fit():
    fresh = replace(LEARNING, explorations_of_model=0)
    assert barrier_action(fresh, RULES) is Action.EXPLORE
    assert barrier_action(replace(fresh, explorations_of_model=1, explorations_open=1), RULES) is Action.EXPLORE
    assert barrier_action(replace(fresh, explorations_of_model=2, explorations_open=1), RULES) is None


@pytest.mark.parametrize(("fitted", "needed"), [(1, 1), (8, 1), (16, 2), (25, 3), (400, 3)])
def test_early_potentials_are_fitted_again_after_fewer_labels(fitted, needed):
    """An eighth more, up to `refit_every`; one label less is not enough."""
    known = replace(LEARNING, train_fitted=fitted, train=fitted + needed, train_done=fitted + needed)
    assert next_action(known, RULES) is Action.FIT
    assert next_action(replace(known, train_done=fitted + needed - 1), RULES) is not Action.FIT


def test_conditions_cut_short_are_explored_again_before_a_label_is_chosen():
    cut = replace(LEARNING, cut_short=2)
    assert next_action(LEARNING, RULES) is Action.TRAIN
    assert next_action(cut, RULES) is Action.EXPLORE
    assert next_action(replace(cut, explorations_open=1), RULES) is Action.TRAIN, "half of the workers label"
    assert next_action(replace(cut, explorations_of_model=EXPLORED_AGAIN), RULES) is Action.TRAIN
