"""Screenings at two fidelities: dear values alone count, cheap ones save some of them, and their failures no harm."""

import json

import pytest
from campaign_events import Drive, created, decided, failed, fold, run_started, submitted
from screens import CHEAP, LIGHTEST, STIFFEST, checked, screen_of, truth
from test_screen_campaign import best_of, true_best

from hpcmat.campaign.events import Decided, event_json, read_event
from hpcmat.campaign.screen.fidelities import cheap_cost, guessed_cost, standings
from hpcmat.campaign.screen.kind import ScreenKind
from hpcmat.campaign.screen.search import Search
from hpcmat.campaign.screen.standing import CrystalState
from hpcmat.campaign.state import CampaignState
from hpcmat.campaign.stopping import spent_reason
from hpcmat.cli.app import run
from hpcmat.dispatch.worker import Ending
from hpcmat.errors import InputError
from hpcmat.records import Execution, Failure, FailureKind, Governance, Provenance, Record, encode
from hpcmat.report.screening import screening_text
from hpcmat.report.screening_html import write_screening
from hpcmat.store.results import ResultStore

COST = 0.05


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A campaign with cheap calculations of a twentieth of the cost, run to its end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpcmat.campaign.screen.search.cheap_cost", lambda *_: COST)
        drive = Drive(tmp_path_factory.mktemp("two"), screen_of(cheap=CHEAP))
        drive.run()
        yield drive


def decisions(state):
    return [task.decision for task in state.of_purpose("screen")]


def test_the_best_are_found_and_only_dear_values_count(two):
    state, both = two.state, standings(two.state)
    assert state.ended.complete and state.stopping.reason == "target" and best_of(state) == true_best()
    computed = [crystal for crystal in both.dear if crystal.status == "done"]
    assert computed and all(crystal.properties == pytest.approx(truth()[crystal.name]) for crystal in computed)
    assert {task.decision.fidelity for crystal in both.dear for task in crystal.tasks} == {"dear"}
    cheap = sum(crystal.status == "done" for crystal in both.cheap)
    assert len(computed) < cheap < len(truth()), "cheap values chose, and not all of them were needed"
    assert any(decision.rule == "cheap-first" for decision in decisions(state))


def test_labels_of_the_two_fidelities_have_keys_of_their_own(two):
    keys = {
        fidelity: {d.task.key for d in decisions(two.state) if d.fidelity == fidelity} for fidelity in ("cheap", "dear")
    }
    assert keys["cheap"] and keys["dear"] and not keys["cheap"] & keys["dear"]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_driver_that_takes_over_decides_what_the_first_one_did(two, share):
    """From the journal up to a decision alone; what had been decided there is the answer."""
    events = [read_event(event_json(event)) for event in [*first_events(two), *two.events]]
    begun = [n for n, event in enumerate(events) if isinstance(event, Decided) and event.decision.rule != "recipe"]
    number = begun[int(share * len(begun))]
    state = CampaignState.of((event, float(n)) for n, event in enumerate(events[:number]))
    decision = ScreenKind(state, ResultStore(state.created.store)).decide(state)
    assert decision == events[number].decision


def first_events(drive):
    return [drive.state.created, drive.state.runs[0].started]


def test_the_report_tells_what_cheap_values_took(two, tmp_path):
    report = write_screening(two.state, tmp_path / "report.html")
    state = two.state
    assert report.labels + report.cheap.labels == len(state.done("screen"))
    assert 0.0 < report.cheap.node_hours < report.node_hours == pytest.approx(state.node_hours)
    assert f"{report.cheap.computed} candidates computed cheaply" in screening_text(report)
    page = (tmp_path / "report.html").read_text()
    assert "Computed cheaply" in page and "bulk modulus, cheap" in page
    shown = [row for row in report.crystals if row.cheap_status == "done"]
    assert len(shown) == report.cheap.computed and all("bulk_modulus_gpa" in row.cheap_properties for row in shown)


def test_a_cheap_engine_that_fails_is_given_up_and_harms_nobody(tmp_path):
    drive = Drive(tmp_path, screen_of(cheap=CHEAP, engine="duration = { median_s = 0.01 }"))
    perform = drive.dispatcher.carry_out

    def carry_out(order):
        if drive.state.tasks[order.task.id].decision.fidelity == "dear":
            return perform(order)
        store = ResultStore(order.store)
        attempt = store.begin(order.task.key)
        provenance = Provenance(drive.state.created.identity, order.task.id, "random")
        execution = Execution(attempt.number, "host", 7, 1.0, 2.0)
        outcome = encode(Failure(FailureKind.CRASH, "it broke"))
        record = Record(order.task.key, "label", "{}", outcome, False, execution, provenance, Governance())
        store.publish(record, attempt.folder)
        return Ending.DONE

    drive.dispatcher.carry_out = carry_out
    state = drive.run()
    assert state.ended.complete and state.stopping.reason == "target" and best_of(state) == true_best()
    both = standings(state)
    assert not any(crystal.status == "failed" for crystal in both.dear)
    assert 0 < sum(crystal.status == "failed" for crystal in both.cheap) <= 5


@pytest.mark.parametrize(("fidelity", "stops"), [("cheap", False), ("dear", True)])
def test_cheap_failures_in_a_row_do_not_stop_a_campaign(fidelity, stops):
    tasks = [f"label-{n:04d}" for n in range(10)]
    ends = [
        event
        for n, task in enumerate(tasks)
        for event in (decided(task, "screen", crystal=n, fidelity=fidelity), submitted(task), failed(task, None))
    ]
    state = fold(created(screen_of(cheap=CHEAP)), run_started(), *ends)
    assert (spent_reason(state, 100.0) is not None) is stops


def test_journals_without_fidelities_are_those_of_dear_labels():
    event = decided("label-0001", "screen", crystal=0)
    old = json.loads(event_json(event))
    del old["decision"]["fidelity"]
    campaign = json.loads(event_json(created(screen_of())))
    spec = json.loads(campaign["spec"])
    del spec["cheap_engine"]
    campaign["spec"] = json.dumps(spec)
    read = [read_event(json.dumps(each)) for each in (campaign, old)]
    state = fold(*read)
    assert read[1] == event and state.screen == screen_of()
    both = standings(state)
    assert both.dear[0].status == "running" and both.cheap == []


def test_workers_that_are_free_too_early_do_cheap_work():
    campaign = screen_of(cheap=CHEAP, search="first = 2\ntop = 3")
    search = Search(campaign, created(campaign).seeds)
    dear, cheap = ([candidate(n, fidelity, "waiting") for n in range(len(truth()))] for fidelity in ("dear", "cheap"))
    for n in range(2):
        dear[n].status = cheap[n].status = "running"
    choice = search.next(dear, cheap)
    assert (choice.fidelity, choice.rule) == ("cheap", "random") and choice.crystal > 1
    for crystal in dear[:2]:
        crystal.status = "failed"
    assert search.next(dear, cheap).fidelity == "dear", "when all have failed another is needed"


def candidate(number, fidelity, status="done", hours=0.0):
    crystal = CrystalState(number, f"candidate {number}", status, fidelity=fidelity)
    if hours:
        event = decided(f"label-{number}", "screen", crystal=number, fidelity=fidelity)
        state = fold(created(screen_of(cheap=CHEAP)), run_started(), event)
        (task,) = state.of_purpose("screen")
        task.status, task.execution = "done", Execution(1, "h", 1, 0.0, 3600.0 * hours, cores_per_node=1)
        crystal.tasks = [task]
    return crystal


def test_what_a_cheap_value_costs_is_learned_from_what_ended():
    dear, cheap = [candidate(0, "dear", hours=1.0)], [candidate(0, "cheap", hours=0.1)]
    assert cheap_cost(dear, [candidate(0, "cheap", "running")], 0.3) == pytest.approx(0.3), "a guess before"
    assert cheap_cost(dear, cheap, 0.3) == pytest.approx(0.1)
    assert cheap_cost(dear, [*cheap, candidate(1, "cheap", "failed")], 0.3) == pytest.approx(0.15), "failures cost"
    assert cheap_cost(dear, [candidate(n, "cheap", "failed") for n in range(5)], 0.3) is None
    assert cheap_cost(dear, [candidate(0, "cheap", hours=1.5)], 0.3) is None, "as much as a dear one"


def test_the_cost_is_guessed_from_the_settings():
    campaign = screen_of(cheap=CHEAP, engine="duration = { median_s = 1.9 }")
    assert guessed_cost(campaign, [*created(campaign).seeds]) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cheap": CHEAP.replace("noise_ev_per_ang = 1e-6", "")}, "cheaper settings"),
        ({"cheap": CHEAP.replace("noise_ev_per_ang = 1e-6", "duration = { median_s = 1.0 }")}, "cheaper settings"),
        ({"cheap": CHEAP, "objectives": f"{STIFFEST}, {LIGHTEST}"}, "one objective"),
        ({"cheap": CHEAP, "search": 'policy = "random"\ntop = 3'}, "makes no use"),
        ({"cheap": CHEAP.replace("noise_ev", "noize_ev")}, "did you mean 'noise_ev_per_ang'"),
        ({"cheap": CHEAP.replace('"teacher"', '"teachr"')}, "did you mean 'teacher'"),
        ({"cheap": CHEAP.replace("cheap_engine", "cheap_engin")}, "did you mean 'cheap_engine'"),
        ({"cheap": CHEAP.replace('"emt"', '"lj"')}, "cheap_engine: lj has no parameters"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        checked(tmp_path, **changes)


def test_the_plan_tells_cheap_labels_apart(tmp_path, capsys):
    checked(tmp_path, cheap=CHEAP, engine="duration = { median_s = 1.9 }")
    assert run(["plan", str(tmp_path / "alloys.toml"), "--store", str(tmp_path / "store"), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    dear, cheap = plan["tasks"]
    assert (dear["purpose"], cheap["purpose"]) == ("crystal labels", "cheap crystal labels")
    assert dear["count"] == cheap["count"]
    assert plan["cheap_node_hours"] == pytest.approx(plan["node_hours"] / 21)
