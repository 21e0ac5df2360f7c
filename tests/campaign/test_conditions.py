"""Conditions: each is explored, those little known first, and each is judged alike."""

from dataclasses import replace

import numpy as np
from campaign_events import campaign_of, candidate, created, decided, explored, finished, fitted, fold, run_started

from hpcmat.campaign.conditions import Conditions
from hpcmat.campaign.events import Condition
from hpcmat.records import Structure

HOT, COLD = Condition(900.0, 0), Condition(300.0, 0)
EXPLORE = 'temperatures_k = [300.0, 900.0]\nsteps = 400\nconditions = "{order}"'


def begin(order="least-known"):
    campaign = campaign_of(explore=EXPLORE.format(order=order))
    return campaign, created(campaign), run_started()


def exploration(name, condition, model, steps=None, frames=()):
    """Decided, and ended after so many steps."""
    event = decided(name, "explore", model=model, condition=condition)
    if steps is None:
        return [event]
    summary = replace(explored(*frames, model=model), steps_run=steps)
    return [event, finished(name, summary)]


def fit(name):
    return [decided(name, "fit"), finished(name, fitted())]


def next_condition(*events, order="least-known"):
    campaign, *first = begin(order)
    return Conditions(campaign, created(campaign).seeds).to_explore(fold(*first, *events))


def test_conditions_are_all_seeds_at_each_temperature():
    campaign, first, _ = begin()
    in_turn = Conditions(campaign, first.seeds * 2).in_turn
    assert in_turn == tuple(Condition(t, s) for t in (300.0, 900.0) for s in (0, 1))


def test_the_cold_start_takes_each_material_once_whatever_its_cells():
    campaign, first, run = begin()
    (seed,) = first.seeds
    doubled = Structure(2 * seed.symbols, np.tile(seed.positions, (2, 1)), seed.cell * [[2.0], [1.0], [1.0]])
    expanded = replace(seed, cell=1.1 * seed.cell)
    other = replace(seed, symbols=("Ge",) * len(seed))
    conditions = Conditions(campaign, (seed, doubled, expanded, other))
    assert conditions.cold_seeds == (0, 2, 3)
    explorations = [decided(f"e{n}", "explore", condition=Condition(300.0, n)) for n in conditions.cold_seeds]
    found = [conditions.to_explore(fold(first, run, *explorations[:number])) for number in range(3)]
    assert [condition.seed for condition in found] == [0, 2, 3]


def test_no_more_materials_than_labels_of_the_cold_start():
    campaign, first, _ = begin()
    (seed,) = first.seeds
    seeds = [replace(seed, cell=(1.0 + 0.1 * n) * seed.cell) for n in range(6)]
    assert Conditions(campaign, seeds).cold_seeds == (0, 1, 2, 3), "cold_start = 4"


def test_a_quench_is_a_condition_of_its_own():
    campaign = campaign_of(explore="temperatures_k = [300.0]\nquenches_k = [[900.0, 300.0]]")
    plain, quench = Conditions(campaign, created(campaign).seeds).in_turn
    assert (plain, quench) == (Condition(300.0, 0), Condition(900.0, 0, end_temperature_k=300.0))
    assert [str(each) for each in (plain, quench)] == ["300 K", "900 K to 300 K"]


def test_each_is_explored_once_before_any_is_repeated():
    first = [*exploration("cold", COLD, None, 0), *fit("f1")]
    assert next_condition(*first) == HOT, "it is the second exploration"
    hot = exploration("e1", HOT, "key-f1", 20)
    assert next_condition(*first, *hot) == COLD, "the cold start was no trajectory"


def test_a_trajectory_that_ended_early_is_repeated_once_there_is_a_better_potential():
    events = [*fit("f1"), *exploration("e1", COLD, "key-f1", 400), *exploration("e2", HOT, "key-f1", 20)]
    assert next_condition(*events) == COLD, "with the same potential it would end there again"
    assert next_condition(*events, *fit("f2")) == HOT
    running = exploration("e3", HOT, "key-f2"), exploration("e4", HOT, "key-f2")
    assert next_condition(*events, *fit("f2"), *running[0], *running[1]) == COLD, "it is being repeated: in turn again"
    reached = exploration("e3", HOT, "key-f2", 400)
    assert next_condition(*events, *fit("f2"), *reached, *fit("f3")) == HOT, "all reach their end: in turn again"


def cut_short(*events, order="least-known"):
    campaign, *first = begin(order)
    return Conditions(campaign, created(campaign).seeds).cut_short(fold(*first, *events))


def test_what_ended_early_waits_for_a_better_potential():
    """Counted until it is decided again; not while its trajectory runs, and not where conditions are in turn."""
    cold = [*fit("f1"), *exploration("e1", COLD, "key-f1", 30)]
    events = [*cold, *exploration("e2", HOT, "key-f1", 20)]
    assert cut_short(*events) == 0, "the same potential would end there again"
    assert cut_short(*events, *fit("f2")) == 2
    assert cut_short(*events, *fit("f2"), *exploration("e3", HOT, "key-f2")) == 1
    assert cut_short(*events, *fit("f2"), *exploration("e3", HOT, "key-f2", 400), *fit("f3")) == 1
    assert cut_short(*cold, *exploration("e2", HOT, "key-f1"), *fit("f2")) == 1, "the hot one runs"
    assert cut_short(*events, *fit("f2"), order="in-turn") == 0


def test_in_turn_nothing_is_preferred():
    events = [*fit("f1"), *exploration("e1", COLD, "key-f1", 400), *exploration("e2", HOT, "key-f1", 20), *fit("f2")]
    assert next_condition(*events, order="in-turn") == COLD


def reserved(number, name):
    return candidate(number, reserved=True, exploration=f"key-{name}")


def to_judge(*events):
    campaign, *first = begin()
    return Conditions(campaign, created(campaign).seeds).to_judge(fold(*first, *events))


def test_the_condition_with_the_fewest_is_judged_next():
    cold = exploration("e1", COLD, "key-f1", 400, [reserved(0, "e1"), reserved(1, "e1")])
    hot = exploration("e2", HOT, "key-f1", 400, [reserved(0, "e2"), reserved(1, "e2")])
    events = [*fit("f1"), *hot, *cold]
    first = to_judge(*events)
    assert first.exploration == "key-e1", "of equals the newest"
    events.append(decided("v1", "validation", candidate=first))
    second = to_judge(*events)
    assert second.exploration == "key-e2"
    events.append(decided("v2", "validation", candidate=second))
    assert to_judge(*events).exploration == "key-e1"


def test_the_trajectory_that_went_the_farthest_is_judged_by():
    """Frames of one that ended early are of its beginning alone."""
    long = exploration("e1", HOT, "key-f1", 400, [reserved(0, "e1")])
    short = exploration("e2", HOT, "key-f1", 20, [reserved(0, "e2")])
    assert to_judge(*fit("f1"), *long, *short).exploration == "key-e1"
    assert to_judge(*fit("f1"), *short, *long).exploration == "key-e1"


def test_within_a_trajectory_what_is_judged_is_drawn():
    """The first or the last of the reserved frames would be the coldest or the hottest of a trajectory that melts."""
    chosen = set()
    for number in range(20):
        frames = [reserved(frame, f"e{number}") for frame in (3, 9, 17)]
        chosen.add(to_judge(*fit("f1"), *exploration(f"e{number}", HOT, "key-f1", 400, frames)).frame)
    assert chosen == {3, 9, 17}


def test_journals_without_conditions_can_still_be_judged():
    events = [decided("e1", "explore"), finished("e1", explored(reserved(0, "e1")))]
    assert to_judge(*events).exploration == "key-e1"
