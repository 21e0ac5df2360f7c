"""Screening campaigns: the best are found with fewer labels, whatever fails, is killed or was computed before."""

import math
import os
from dataclasses import replace
from io import StringIO

import pytest
from campaign_events import Drive
from rich.console import Console
from screens import LIGHTEST, STIFFEST, checked, screen_of, screen_text, truth

from hpcmat.campaign.events import Decided, Finished
from hpcmat.campaign.screen.search import Enough, Search, ranking
from hpcmat.campaign.screen.standing import CrystalState, crystal_states
from hpcmat.cli.app import run
from hpcmat.dispatch.worker import Ending
from hpcmat.records import Execution, Failure, FailureKind, Governance, Provenance, Record, encode
from hpcmat.report.kinds import standing_data
from hpcmat.report.screening import screening_report
from hpcmat.report.watching import Watcher
from hpcmat.store.results import ResultStore

ZERO = '{ candidate = "Al fcc", property = "energy_ev", value = 0.0, source = "somewhere" }'


def best_of(state, count=3):
    return {crystal.name for crystal in ranking(state.screen, crystal_states(state))[:count]}


def true_best(count=3, name="bulk_modulus_gpa"):
    return set(sorted(truth(), key=lambda crystal: -truth()[crystal][name])[:count])


def refuse(drive, name):
    """Every label of this candidate fails."""
    perform = drive.dispatcher.carry_out

    def carry_out(order):
        task = drive.state.tasks[order.task.id]
        if drive.state.created.names[task.decision.crystal] != name:
            return perform(order)
        store = ResultStore(order.store)
        attempt = store.begin(order.task.key)
        provenance = Provenance(drive.state.created.identity, order.task.id, "random")
        failure = encode(Failure(FailureKind.CRASH, "it broke"))
        execution = Execution(attempt.number, "host", os.getpid(), 1.0, 2.0)
        record = Record(order.task.key, "label", "{}", failure, False, execution, provenance, Governance())
        store.publish(record, attempt.folder)
        return Ending.DONE

    drive.dispatcher.carry_out = carry_out


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A campaign that ran to its end, with the folder of its store."""
    root = tmp_path_factory.mktemp("shared")
    drive = Drive(root, screen_of(), store=root / "store")
    drive.run()
    return drive


def test_the_stiffest_are_found_with_fewer_labels_and_as_computed_alone(shared):
    state = shared.state
    assert state.ended.complete and state.stopping.reason == "target"
    assert best_of(state) == true_best()
    report = screening_report(state)
    assert report.labels < 0.6 * report.labels_exhaustive
    for row in report.crystals:
        if row.status == "done":
            assert row.properties == pytest.approx(truth()[row.name])
    assert [point.found for point in report.found][-1] == 3


def test_random_choice_does_not_find_them_with_as_many_candidates(shared, tmp_path):
    begun = sum(crystal.status == "done" for crystal in crystal_states(shared.state))
    search, budget = 'policy = "random"\ntop = 3', f"candidates = {begun}"
    random = Drive(tmp_path, screen_of(search=search, budget=budget), store=shared.folder.root.parent / "store").run()
    assert random.stopping.reason == "budget"
    assert best_of(random) != true_best()


def test_a_failed_candidate_is_never_used_and_does_not_stop_the_campaign(tmp_path):
    drive = Drive(tmp_path, screen_of())
    refuse(drive, "Pt fcc")
    state = drive.run()
    assert state.ended.complete and state.stopping.reason == "target"
    platinum = next(crystal for crystal in crystal_states(state) if crystal.name == "Pt fcc")
    assert platinum.status == "failed" and "broke" in platinum.reason and not platinum.properties
    assert best_of(state) == set(sorted(set(truth()) - {"Pt fcc"}, key=lambda c: -truth()[c]["bulk_modulus_gpa"])[:3])


def test_a_second_campaign_on_the_store_pays_for_no_label_again(shared, tmp_path):
    again = Drive(tmp_path, screen_of(), store=shared.folder.root.parent / "store")
    state = again.run()
    paid = {state.tasks[task].key for task in again.dispatcher.orders}
    assert not paid & {task.key for task in shared.state.done("screen")}
    assert len(paid) < 0.5 * len(shared.dispatcher.orders)
    assert best_of(state) == best_of(shared.state)
    third = Drive(tmp_path / "third", screen_of(), store=shared.folder.root.parent / "store")
    state = third.run()
    assert not third.dispatcher.orders, "all that it needs is there"
    assert state.ended.complete and state.stopping.reason == "target"


def test_a_driver_takes_up_what_another_left_and_comes_to_the_same(tmp_path):
    drive = Drive(tmp_path, screen_of(), store=tmp_path / "second")
    perform, orders = drive.dispatcher.carry_out, []

    def carry_out(order):
        orders.append(order.task.key)
        if len(orders) == 40:
            raise KeyboardInterrupt
        return perform(order)

    drive.dispatcher.carry_out = carry_out
    with pytest.raises(KeyboardInterrupt):
        drive.run()
    drive.state = drive.folder.read()
    left = standing_data(drive.state, 0.0, driver_runs=False)
    assert left["phase"] == "interrupted" and "goes on where it was" in left["outcome"]
    drive.dispatcher.carry_out = perform
    state = drive.run()
    assert state.ended.complete and best_of(state) == true_best()
    accepted = [event.task_id for event in drive.events if isinstance(event, Finished)]
    assert len(accepted) == len(set(accepted))
    decided = [event.decision.task.key for event in drive.events if isinstance(event, Decided)]
    assert len(decided) == len(set(decided))


def test_a_screening_can_be_watched_and_asked_for_and_is_not_replayed(shared, tmp_path, capsys, hpcmat):
    with Watcher(shared.folder) as watcher:
        assert [event for event, _ in watcher.news()][2:] == shared.events
        screen = Console(width=120, file=StringIO())
        screen.print(watcher.screen())
        computed = sum(crystal.status == "done" for crystal in crystal_states(watcher.state))
        assert f"{computed} of {len(truth())}" in screen.file.getvalue()
        assert watcher.last_words().startswith("alloys: complete.")
    assert hpcmat.answer("status", shared.folder.root)["phase"] == "complete"
    (tmp_path / "alloys.toml").write_text(screen_text())
    assert run(["check", str(tmp_path / "alloys.toml"), "--site", "local-mpi"]) == 0
    assert "labels on 1 of 1 node(s), 2 rank(s)" in capsys.readouterr().out
    assert run(["replay", str(shared.folder.root)]) == 2
    assert "has no policy to replay" in capsys.readouterr().err


def test_two_objectives_end_with_the_front(tmp_path):
    state = Drive(tmp_path, screen_of(objectives=f"{STIFFEST}, {LIGHTEST}")).run()
    known = {c.name: c.properties for c in crystal_states(state) if c.status == "done"}
    front = {
        name
        for name, own in truth().items()
        if not any(
            other["bulk_modulus_gpa"] > own["bulk_modulus_gpa"] and other["density_g_cm3"] < own["density_g_cm3"]
            for other in truth().values()
        )
    }
    assert len(front & set(known)) >= 0.7 * len(front)
    assert len(known) < len(truth())


def test_a_constraint_excludes_the_otherwise_best(tmp_path):
    top = "constraints = [{ property = 'density_g_cm3', at_most = 15.0 }]"
    state = Drive(tmp_path, screen_of(top=top)).run()
    light = {name: p for name, p in truth().items() if p["density_g_cm3"] <= 15.0}
    assert best_of(state) == set(sorted(light, key=lambda name: -light[name]["bulk_modulus_gpa"])[:3])


def test_several_objectives_begin_where_nothing_known_fulfils_the_constraint(shared):
    """The reference point is then that of draws, of which most break it too."""
    top = "constraints = [{ property = 'density_g_cm3', at_most = 3.0 }]"
    campaign, names = screen_of(objectives=f"{STIFFEST}, {LIGHTEST}", top=top), shared.state.created.names
    crystals = [
        replace(crystal, status="waiting", properties={}) if name == "Al fcc" else crystal
        for name, crystal in zip(names, crystal_states(shared.state), strict=True)
    ]
    choice = Search(campaign, shared.state.created.seeds).next(crystals)
    assert math.isfinite(choice.score) and "first hypervolume" in choice.reason


@pytest.mark.parametrize("drawn_jointly", [3000, 2])
def test_one_value_is_sought_where_it_is_expected(shared, monkeypatch, drawn_jointly):
    """Also where only some candidates are drawn jointly: those near the value, which are not the stiffest."""
    monkeypatch.setattr("hpcmat.campaign.screen.surrogates.MOST_JOINT", drawn_jointly)
    order = sorted(truth(), key=lambda name: truth()[name]["bulk_modulus_gpa"])
    waiting = order[2::5]
    chosen = [chosen_for(truth()[name]["bulk_modulus_gpa"], waiting, shared.state.created.seeds) for name in waiting]
    assert sum(name == choice for name, choice in zip(waiting, chosen, strict=True)) >= len(waiting) - 1


def chosen_for(value, waiting, structures):
    """Which of those that wait a search for this value begins, when all others are known."""
    goal = f'{{ property = "bulk_modulus_gpa", goal = "reach", value = {value} }}'
    crystals = [
        CrystalState(number, name) if name in waiting else CrystalState(number, name, "done", truth()[name])
        for number, name in enumerate(truth())
    ]
    search = Search(screen_of(objectives=goal, search="first = 4\ntop = 1\nmissed = 0"), structures)
    return crystals[search.next(crystals).crystal].name


def test_decisions_say_why_and_rest_on_the_state_alone(shared):
    state = shared.state
    chosen = [task.decision for task in state.of_purpose("screen") if task.decision.rule == "top-probability"]
    assert chosen and all("best 3" in decision.reason and decision.passed_over for decision in chosen)
    crystals = crystal_states(state)
    later = [replace(crystal, status="waiting") if crystal.number == 0 else crystal for crystal in crystals]
    first, second = (Search(state.screen, state.created.seeds).next(later) for _ in range(2))
    assert first == second
    assert isinstance(Search(state.screen, state.created.seeds).next(crystals), Enough)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": "tops = 3"}, "did you mean 'top'"),
        ({"objectives": '{ property = "bulk_modulus", goal = "maximise" }'}, "bulk_modulus_gpa"),
        ({"objectives": '{ property = "bulk_modulus_gpa", goal = "reach" }'}, "value"),
        ({"objectives": f"{STIFFEST}, {STIFFEST}"}, "one property"),
        ({"metals": '["Al", "Xx"]'}, "no element"),
        ({"search": "top = 100"}, "lower it"),
        ({"top": f"literature = [{ZERO}]"}, "leave the entry out"),
        ({"top": "constraints = [{ property = 'volume_ang3' }]"}, "at_least"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, changes, message):
    from hpcmat.errors import InputError

    with pytest.raises(InputError, match=message):
        checked(tmp_path, **changes)


def test_candidates_of_files_have_names_and_a_name_stands_once(tmp_path):
    from ase.build import bulk
    from ase.io import write

    from hpcmat.campaign.screen.candidates import candidates_of
    from hpcmat.errors import InputError

    write(tmp_path / "two.extxyz", [bulk("Cu"), bulk("NaCl", "rocksalt", a=5.6)])
    campaign = screen_of()
    read = type(campaign).model_validate_json(
        campaign.model_copy().model_dump_json(exclude={"candidates"})[:-1] + ',"candidates":[{"file":"two.extxyz"}]}'
    )
    read._folder = tmp_path
    assert [c.name for c in candidates_of(read)] == ["Cu 0.0", "NaCl 0.1"]
    doubled = campaign.model_copy(update={"candidates": campaign.candidates[:1] * 2})
    with pytest.raises(InputError, match="twice"):
        candidates_of(doubled)
