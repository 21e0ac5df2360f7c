"""The state is a fold over the journal: what each event changes, and what it counts."""

import pytest
from campaign_events import (
    LABEL,
    campaign_of,
    candidate,
    created,
    decided,
    execution,
    explored,
    failed,
    finished,
    fitted,
    fold,
    run_started,
    submitted,
)

from hpcmat.campaign.events import Amended, Ended, Stopping, event_json, read_event
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.spec import canonical_spec_json
from hpcmat.campaign.state import CampaignState
from hpcmat.errors import InputError, StorageError, VersionError
from hpcmat.records import FailureKind

CAMPAIGN = campaign_of()
BEGIN = (created(CAMPAIGN), run_started())
NODE_HOUR_SHARE = 36.0 / 3600.0 / 2
"""36 s on one core of two."""


def test_created_gives_the_campaign_with_all_defaults():
    state = fold(created(CAMPAIGN))
    assert state.campaign == CAMPAIGN
    assert state.created.store == "store"
    assert not state.runs


@pytest.mark.parametrize(
    ("events", "status", "is_open"),
    [
        ([], "decided", True),
        ([submitted("a")], "running", True),
        ([submitted("a"), failed("a", ("mixing",))], "waiting", True),
        ([submitted("a"), failed("a", ("mixing",)), submitted("a", ("mixing",), 1)], "running", True),
        ([submitted("a"), finished("a")], "done", False),
        ([submitted("a"), failed("a", None)], "failed", False),
    ],
)
def test_task_goes_from_its_decision_to_its_end(events, status, is_open):
    task = fold(*BEGIN, decided("a"), *events).tasks["a"]
    assert task.status == status
    assert task.open is is_open


def test_failed_attempt_keeps_what_it_had_tried_and_the_next_one_its_remedies():
    state = fold(*BEGIN, decided("a"), submitted("a"), failed("a", ("mixing",)))
    task = state.tasks["a"]
    assert task.failures[0].remedies == ()
    assert task.remedies == ("mixing",)
    state.apply(submitted("a", ("mixing",), 1), 9.0)
    state.apply(failed("a", None, FailureKind.NOT_CONVERGED), 10.0)
    assert task.failures[1].remedies == ("mixing",)
    assert task.attempts_before == 1
    assert task.finished == 10.0
    assert [attempt for _, attempt in state.failures] == task.failures


def test_all_attempts_are_paid_for_and_a_result_of_another_campaign_is_not():
    events = [decided("a"), submitted("a"), failed("a"), submitted("a"), finished("a")]
    assert fold(*BEGIN, *events).node_hours == pytest.approx(2 * NODE_HOUR_SHARE)
    assert fold(*BEGIN, decided("a"), finished("a", adopted="earlier campaign")).node_hours == 0.0
    assert fold(*BEGIN, decided("a"), finished("a", adopted="earlier driver")).node_hours == pytest.approx(
        execution().node_hours
    )


def test_candidate_leaves_the_pool_when_its_label_is_decided():
    found = explored(candidate(0), candidate(1), candidate(2, reserved=True))
    state = fold(*BEGIN, decided("explore", "explore"), finished("explore", found))
    assert list(state.pool) == state.candidates == list(found.candidates)
    state.apply(decided("a", candidate=candidate(1)), 9.0)
    assert [c.frame for c in state.pool] == [0, 2]
    state.apply(submitted("a"), 10.0)
    state.apply(failed("a", None), 11.0)
    assert [c.frame for c in state.pool] == [0, 2], "a structure given up is not chosen again"


def test_newest_fit_is_the_model_in_the_order_of_their_ends():
    fits = [decided("one", "fit"), decided("two", "fit"), finished("two", fitted()), finished("one", fitted())]
    state = fold(*BEGIN, *fits)
    assert state.model.id == "one"
    assert [task.id for task in state.models] == ["two", "one"]


def test_stop_on_request_is_forgotten_by_the_next_run_and_a_reason_of_the_campaign_is_not():
    asked = fold(*BEGIN, Stopping("asked", "x"), Ended(False, "x"))
    assert asked.ended is not None
    asked.apply(run_started("f"), 9.0)
    assert asked.stopping is None
    assert asked.ended is None
    assert len(asked.runs) == 2
    full = fold(*BEGIN, Stopping("budget", "x"), run_started("f"))
    assert full.stopping.reason == "budget"


def test_amended_campaign_goes_on():
    larger = campaign_of(labels=40)
    state = fold(*BEGIN, Stopping("budget", "x"), Ended(True, "x"))
    assert state.runs[-1].ended == 3.0
    state.apply(Amended(canonical_spec_json(larger), ("budget.labels",)), 9.0)
    assert state.campaign == larger
    assert state.stopping is None
    assert state.ended is None


def test_time_counts_from_the_first_run():
    assert fold(*BEGIN, run_started("f")).walltime_origin == 1.0


EVENTS = [
    *BEGIN,
    decided("explore", "explore"),
    finished("explore", explored(candidate(0))),
    decided("a", candidate=candidate(0), score=0.1, passed_over=(("x/1", 0.3),)),
    submitted("a", ("mixing",), 2),
    failed("a", ("mixing", "eigensolver")),
    finished("a", LABEL, "earlier driver"),
    decided("f", "fit", train=("k",), validation=("v",)),
    finished("f", fitted()),
    Amended(canonical_spec_json(CAMPAIGN), ("budget.labels",)),
    Stopping("target", "reached"),
    Ended(True, "done"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_every_event_is_read_back_as_it_was_written(event):
    assert event_json(read_event(event_json(event))) == event_json(event)


def write(folder, *payloads):
    folder.root.mkdir()
    journal = folder.journal()
    journal.create()
    journal.append([("kind", payload) for payload in payloads])
    journal.close()


def test_folder_gives_the_fold_of_its_journal(tmp_path):
    folder = CampaignFolder(tmp_path / "campaign")
    write(folder, *(event_json(event) for event in EVENTS))
    read, folded = folder.read(), CampaignState.of((event, 0.0) for event in EVENTS)
    assert read.ended == folded.ended
    assert [(t.id, t.status, t.remedies) for t in read.tasks.values()] == [
        (t.id, t.status, t.remedies) for t in folded.tasks.values()
    ]


@pytest.mark.parametrize("payload", ['{"kind": "teleported"}', '{"kind": "submitted", "task_id": "a"}'])
def test_entry_of_a_newer_version_is_refused(tmp_path, payload):
    folder = CampaignFolder(tmp_path / "campaign")
    write(folder, event_json(BEGIN[0]), payload)
    with pytest.raises(VersionError, match="use the version that wrote it"):
        folder.read()


def test_folder_without_a_campaign_is_refused(tmp_path):
    with pytest.raises(InputError, match="no campaign here"):
        CampaignFolder(tmp_path).read()
    (tmp_path / "journal.sqlite").write_bytes(b"not a database, but long enough to look like one" * 50)
    with pytest.raises(StorageError):
        CampaignFolder(tmp_path).read()
