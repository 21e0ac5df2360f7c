"""Audits: a failed one takes back what its exploration found, and nothing that was paid for or judges."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from campaign_events import (
    LABEL,
    EvenMachine,
    campaign_of,
    candidate,
    created,
    decided,
    explored,
    finished,
    fitted,
    fold,
    run_started,
)

from hpcmat.campaign.conditions import Conditions
from hpcmat.campaign.events import Condition, Decided, event_json, read_event
from hpcmat.campaign.evidence import Evidence
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.planning import Planner
from hpcmat.campaign.potential import PotentialKind
from hpcmat.campaign.rehearsal import Rehearsal, rehearse
from hpcmat.campaign.state import CampaignState
from hpcmat.dispatch.placement.dispatcher import worker_pool
from hpcmat.records import Label, decode
from hpcmat.steering import audit
from hpcmat.steering.audit import Audit
from hpcmat.steering.schedule import Action
from hpcmat.store.results import ResultStore
from hpcmat.surrogates.potential import Potential

GOOD, BAD = Audit(0.1, 0.1, 0.2, True), Audit(0.9, 0.1, 2.0, False)
HOT = Condition(900.0, 0)
RESERVED = (2, 5, 8)
FRAMES = [replace(candidate(n, reserved=n in RESERVED), step=20 * (n + 1)) for n in range(10)]
EXPLORE = "temperatures_k = [300.0, 900.0]\nsteps = 400"


def campaign(roll_back=True):
    given = campaign_of(explore=EXPLORE)
    return given.model_copy(update={"steering": given.steering.model_copy(update={"roll_back": roll_back})})


def audited(*frames, roll_back=True, before=()):
    """State after an exploration with a potential, some events, and labels that audit these of its frames."""
    first = created(campaign(roll_back))
    found = finished("explore", replace(explored(*FRAMES, model="key-f1"), steps_run=200))
    begun = [
        decided("f1", "fit"),
        finished("f1", fitted()),
        decided("explore", "explore", model="key-f1", condition=HOT),
    ]
    labels = [
        event
        for number, verdict in frames
        for event in (
            decided(f"v{number}", "validation", candidate=FRAMES[number]),
            finished(f"v{number}", replace(LABEL, audit=verdict)),
        )
    ]
    return fold(first, run_started(), *begun, found, *before, *labels)


def frames_of(pool, reserved=False):
    return [c.frame for c in pool if c.reserved is reserved]


def test_what_followed_the_failed_frame_is_withdrawn():
    state = audited((2, GOOD), (5, BAD))
    assert frames_of(state.pool) == [0, 1, 3, 4]
    assert state.pool.number(reserved=False) == 4
    (made,) = state.index.audits.roll_backs
    assert (made.first, made.steps, made.withdrawn) == (5, FRAMES[5].step - 1, 3)


def test_all_is_withdrawn_where_the_first_frame_failed():
    first = replace(FRAMES[0], reserved=True)
    state = audited((2, GOOD))
    state.index.audits.roll_back(first, state.pool)
    assert frames_of(state.pool) == [] and state.pool.newest(9) == []


def test_what_judges_stays_so_that_the_stream_is_a_fair_sample():
    state = audited((2, BAD))
    assert frames_of(state.pool, reserved=True) == [5, 8]
    assert state.pool.number(reserved=True) == 2


def test_a_label_that_was_decided_is_kept_and_trained_on():
    labels = [decided("t3", candidate=FRAMES[3]), decided("t9", candidate=FRAMES[9]), finished("t9")]
    state = audited((2, BAD), before=labels)
    assert state.tasks["t9"].status == "done" and state.tasks["t3"].open
    assert list(state.index.beyond_fit) == ["t3", "t9"], "the next fit takes in what there is of them"
    assert state.index.audits.roll_backs[0].withdrawn == 3


@pytest.mark.parametrize("frames", [[(5, GOOD)], [(2, GOOD), (5, GOOD), (8, GOOD)]])
def test_a_good_trajectory_is_not_rolled_back(frames):
    state = audited(*frames)
    assert frames_of(state.pool) == [0, 1, 3, 4, 6, 7, 9]
    assert not state.index.audits.roll_backs


def test_off_means_that_audits_are_counted_and_change_nothing():
    state = audited((5, BAD), roll_back=False)
    assert frames_of(state.pool) == [0, 1, 3, 4, 6, 7, 9]
    assert state.index.audits.frames == {"key-explore": {5: BAD}}
    assert state.index.audits.of("key-explore") is None


def test_a_second_failure_takes_back_only_what_is_left():
    later = audited((5, BAD), (8, BAD))
    assert len(later.index.audits.roll_backs) == 1, "all behind frame 5 had been taken back"
    state = audited((8, BAD), (2, BAD))
    assert [(r.first, r.until, r.withdrawn) for r in state.index.audits.roll_backs] == [(8, None, 1), (2, 8, 4)]
    assert frames_of(state.pool) == [0, 1]


@pytest.mark.parametrize("verdict", [BAD, GOOD])
def test_its_condition_counts_as_cut_short(verdict):
    def next_of(state, newer):
        for event in [decided("f2", "fit"), finished("f2", fitted())] if newer else []:
            state.apply(event, 99.0)
        conditions = Conditions(campaign(), created(campaign()).seeds)
        cold = finished("cold", replace(explored(model="key-f1"), steps_run=400))
        for event in (decided("cold", "explore", model="key-f1", condition=Condition(300.0, 0)), cold):
            state.apply(event, 99.0)
        return conditions.cut_short(state), conditions.to_explore(state), conditions.failed_audit(state, HOT)

    def whole(state):
        summary = state.tasks["explore"].summary
        state.tasks["explore"].summary = replace(summary, steps_run=400)
        return state

    failed = verdict is BAD
    assert next_of(whole(audited((8, verdict))), newer=True) == (failed, HOT if failed else Condition(300.0, 0), failed)
    assert next_of(whole(audited((8, verdict))), newer=False)[0] == 0, "the same potential would err again"


def test_audits_do_not_choose_what_is_judged():
    first, second = audited((2, BAD)), audited((2, GOOD))
    judged = [Conditions(campaign(), created(campaign()).seeds).to_judge(state) for state in (first, second)]
    assert judged[0] == judged[1]


def test_journals_that_do_not_tell_of_audits_are_read():
    event = finished("v5", replace(LABEL, audit=BAD))
    text = event_json(event)
    assert read_event(text) == event
    old = text.replace(text[text.index(',"audit":') : text.index(',"kind":"label"')], "")
    assert "audit" not in old
    assert read_event(old) == finished("v5")


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """Events of a campaign in which whatever is wrong fails its audit, and its result store."""
    root = tmp_path_factory.mktemp("failing")
    given = campaign_of(labels=18)
    explore = {"method": "md", "steps": 60, "sample_every": 5, "temperatures_k": (300.0, 3000.0)}
    explore |= {"sigma_stop_ev_per_ang": 0.1}
    steering = {"roll_back": True, "acquisition": "i-optimal", "validation_fraction": 0.4, "refit_every": 2}
    given = given.model_copy(
        update={
            "explore": given.explore.model_copy(update=explore),
            "steering": given.steering.model_copy(update=steering),
        }
    )
    events = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "ALLOWED", 0.0)
        last = rehearse(
            given, Rehearsal(EvenMachine(), worker_pool(2), 2, root), lambda e, s: events.append((e, s.last_time))
        )
    assert last.index.audits.roll_backs, "negative control: some failed"
    return [(last.created, 0.0), (last.runs[0].started, 0.0), *events], last, ResultStore(root / "store")


def test_another_driver_finds_the_same_pool_and_decides_alike(failing):
    """Wherever the first one is killed: state, evidence and planner are made anew from the journal up to there."""
    events, last, store = failing
    assert frames_of_all(CampaignState.of(events)) == frames_of_all(last)
    kept, compared = Evidence(store), 0
    for number, (event, _) in enumerate(events):
        if not isinstance(event, Decided) or event.decision.purpose not in {"train", "explore"}:
            continue
        state = CampaignState.of((read_event(event_json(each)), time) for each, time in events[:number])
        if not state.index.audits.roll_backs:
            continue
        np.testing.assert_array_equal(kept.reference(state), Evidence(store).reference(state))
        made = Planner(state.campaign, Evidence(store), state.created).decide(Action(event.decision.purpose), state)
        assert (made.candidate, made.condition) == (event.decision.candidate, event.decision.condition)
        compared += 1
    assert compared >= 3


def frames_of_all(state):
    return [(c.exploration, c.frame) for c in state.pool]


def test_what_was_taken_back_does_not_count_as_explored(failing):
    _, state, store = failing
    evidence, means = Evidence(store), {}
    for task in state.done("explore"):
        if task.decision.model is None:
            continue
        taken_back = state.index.audits.of(task.key)
        with np.load(store.folder(task.key) / "rows.npz") as rows:
            frames = rows["forces"][: taken_back.first if taken_back else None].astype(float)
        means.setdefault(task.decision.condition, []).extend(frames)
    expected = [np.concatenate(frames) for frames in means.values() if frames]
    expected = np.mean([rows.T @ rows / len(rows) for rows in expected], axis=0)
    np.testing.assert_allclose(evidence.reference(state), expected, rtol=1e-8, atol=1e-10 * np.abs(expected).max())


def test_audits_are_of_the_potential_that_ran_the_trajectory(failing):
    """Not of the newest, which may know better; against its own prediction of the structure."""
    _, state, store = failing
    older = 0
    for task in state.done("validation"):
        exploration = state.index.explorations[task.decision.candidate.exploration]
        label = decode(Label, store.read(task.key).outcome)
        potential = Potential.load(store.folder(exploration.decision.model) / "potential.npz")
        errors = potential.predict(label.structure).forces - label.forces
        assert task.summary.audit.error == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-3)
        stated = potential.force_variance_of(potential.design(label.structure))
        assert task.summary.audit.stated == pytest.approx(np.sqrt(stated.mean()), rel=1e-3)
        older += exploration.decision.model != state.model.key
    assert older >= 2


def test_a_label_counts_where_the_potential_of_its_trajectory_can_no_longer_be_read(failing, tmp_path):
    _, state, store = failing
    shutil.copytree(store.root, tmp_path / "store")
    copy = ResultStore(tmp_path / "store")
    newest = state.done("validation")[-1]
    record = copy.read(newest.key)
    kind = PotentialKind(state, CampaignFolder(tmp_path), copy, 1)
    assert kind.summarise(record, newest, state).audit == newest.summary.audit
    exploration = state.index.explorations[newest.decision.candidate.exploration]
    (copy.folder(exploration.decision.model) / "potential.npz").write_bytes(b"cut off")
    summary = PotentialKind(state, CampaignFolder(tmp_path), copy, 1).summarise(record, newest, state)
    assert summary == replace(newest.summary, audit=None)
