"""Reasons to stop: each is given when it holds and not before, and no campaign runs for ever."""

import pytest
from campaign_events import (
    LABELS,
    Drive,
    campaign_of,
    candidate,
    created,
    decided,
    explored,
    failed,
    finished,
    fitted,
    fold,
    run_started,
)

from hpcmat.campaign.events import Condition
from hpcmat.campaign.stopping import HOPELESS_EXPLORATIONS, HOPELESS_LABELS, stopping_reason


def begin(**changes):
    return created(campaign_of(**changes)), run_started()


def reason(*events, now=2.0, **changes):
    found = stopping_reason(fold(*begin(**changes), *events), now)
    return found.reason if found else None


def done(count, purpose="train", prefix="d"):
    return [event for n in range(count) for event in (decided(f"{prefix}{n}", purpose), finished(f"{prefix}{n}"))]


def lost(count, purpose="train", prefix="l"):
    return [event for n in range(count) for event in (decided(f"{prefix}{n}", purpose), failed(f"{prefix}{n}", None))]


def barren(count, prefix="x"):
    return [
        event
        for n in range(count)
        for event in (decided(f"{prefix}{n}", "explore"), finished(f"{prefix}{n}", explored()))
    ]


def fit(summary, name="f"):
    return [decided(name, "fit"), finished(name, summary)]


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        (fitted(bound=0.09), "target"),
        (fitted(bound=0.11), None),
        (fitted(rmse=0.01, bound=None), None),
        (fitted(bound=0.09, frames=1), None),
    ],
)
def test_target_is_judged_by_the_bound_on_enough_frames(summary, expected):
    assert reason(*fit(summary), target=0.1) == expected


def test_target_waits_until_every_temperature_is_judged():
    """Frames of the cold trajectory alone say nothing of the hot one."""
    cold, hot = Condition(300.0, 0), Condition(900.0, 0)
    events = [
        *fit(fitted(), "f1"),
        decided("e1", "explore", model="key-f1", condition=cold),
        finished("e1", explored(candidate(0, reserved=True, exploration="key-e1"))),
        decided("e2", "explore", model="key-f1", condition=hot),
        finished("e2", explored(candidate(0, reserved=True, exploration="key-e2"))),
        decided("v1", "validation", candidate=candidate(0, reserved=True, exploration="key-e1")),
        finished("v1"),
    ]
    judged = [
        decided("v2", "validation", candidate=candidate(0, reserved=True, exploration="key-e2")),
        finished("v2"),
    ]
    good = finished("f2", fitted(bound=0.09, frames=5))
    assert reason(*events, decided("f2", "fit", validation=("key-v1",)), good, target=0.1) is None
    assert reason(*events, *judged, decided("f2", "fit", validation=("key-v1",)), good, target=0.1) is None
    both = decided("f2", "fit", validation=("key-v1", "key-v2"))
    assert reason(*events, *judged, both, good, target=0.1) == "target"


def test_only_a_look_stops():
    """Between two looks, a fifth more frames apart, the bound is told and decides nothing."""
    first = fit(fitted(bound=0.11, frames=10), "f1")
    soon, later = (fit(fitted(bound=0.09, frames=frames), "f2") for frames in (11, 12))
    assert reason(*first, *soon, target=0.1) is None
    assert reason(*first, *later, target=0.1) == "target"
    assert reason(*first, *soon, *fit(fitted(bound=0.09, frames=12), "f3"), target=0.1) == "target"


def test_target_waits_for_the_reference():
    assert reason(*fit(fitted(bound=0.09)), decided("r", "reference"), target=0.1) is None
    assert reason(*fit(fitted(bound=0.09)), decided("r", "reference"), finished("r"), target=0.1) == "target"


@pytest.mark.parametrize(("count", "expected"), [(LABELS - 1, None), (LABELS, "budget")])
def test_budget_of_labels(count, expected):
    assert reason(*done(count)) == expected


def test_budget_waits_for_what_runs():
    assert reason(*done(LABELS), decided("r", "reference")) is None


@pytest.mark.parametrize(("limit", "expected"), [("node_hours = 0.004", "budget"), ("node_hours = 0.1", None)])
def test_budget_of_node_hours(limit, expected):
    assert reason(*done(1), budget=limit) == expected


@pytest.mark.parametrize(("now", "expected"), [(60.9, None), (61.0, "walltime")])
def test_walltime_counts_from_the_first_run(now, expected):
    assert reason(now=now, budget="walltime_s = 60.0") == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (lost(HOPELESS_LABELS), "failures"),
        (lost(HOPELESS_LABELS - 1), None),
        (done(1) + lost(HOPELESS_LABELS), "failures"),
        (lost(HOPELESS_LABELS - 1) + done(1) + lost(1, prefix="m"), None),
        (lost(5) + lost(5, "validation", "v"), "failures"),
    ],
    ids=["all lost", "too few", "after a good one", "with a good one among them", "of any purpose"],
)
def test_labels_given_up_in_a_row(events, expected):
    assert reason(*events) == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (barren(HOPELESS_EXPLORATIONS), "failures"),
        (lost(HOPELESS_EXPLORATIONS, "explore"), "failures"),
        (barren(HOPELESS_EXPLORATIONS - 1), None),
        (
            [decided("e", "explore"), finished("e", explored(candidate(0))), *barren(HOPELESS_EXPLORATIONS)],
            None,
        ),
        (
            [
                decided("e", "explore"),
                finished("e", explored(candidate(0, exploration="key-e"))),
                decided("a", candidate=candidate(0, exploration="key-e")),
                *barren(HOPELESS_EXPLORATIONS),
            ],
            "failures",
        ),
    ],
    ids=["nothing found", "all failed", "too few", "something left to label", "all of it labelled"],
)
def test_explorations_without_a_find(events, expected):
    assert reason(*events) == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (lost(2, "fit"), "failures"),
        (lost(1, "fit"), None),
        (lost(1, "fit") + fit(fitted()) + lost(1, "fit", "m"), None),
    ],
)
def test_fits_given_up_in_a_row(events, expected):
    assert reason(*events) == expected


def test_sentence_says_why_and_what_to_do():
    state = fold(*begin(), *lost(HOPELESS_LABELS))
    sentence = stopping_reason(state, 2.0).sentence
    assert "engine crash: it broke" in sentence
    assert "start a new campaign on the same store" in sentence


def test_campaign_whose_exploration_can_find_nothing_new_ends(tmp_path):
    """Neither rattled nor strained, all frames are one and the same structure."""
    drive = Drive(tmp_path, campaign_of(explore="rattle_ang = 0.0\nstrain = 0.0"))
    state = drive.run()
    assert state.ended.complete
    assert state.stopping.reason == "failures"
    assert "found nothing to label: every frame had been seen before" in state.ended.sentence
    assert len(state.done("train")) == 1


def test_campaign_whose_engine_breaks_after_its_first_labels_ends(tmp_path):
    drive = Drive(tmp_path, campaign_of())
    perform = drive.dispatcher.carry_out

    def carry_out(order):
        if order.task.kind == "label" and len(drive.state.done("train")) >= 3:
            raise ValueError("the licence has expired")
        return perform(order)

    drive.dispatcher.carry_out = carry_out
    state = drive.run()
    assert state.stopping.reason == "failures"
    assert "the licence has expired" in state.ended.sentence
    assert len(state.of_purpose("train")) <= 3 + HOPELESS_LABELS + 2
