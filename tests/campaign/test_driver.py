"""The driver against a store and a journal, its tasks carried out at once in children of the test."""

import errno
import json
import os
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace

import pytest
from campaign_events import LABELS as BUDGET
from campaign_events import Drive, InlineDispatcher, campaign_of, run_started

from hpcmat.campaign.events import Decided, Failed, Finished, Submitted, read_event
from hpcmat.campaign.state import CampaignState
from hpcmat.dispatch.worker import Ending
from hpcmat.engines import labelling, teacher
from hpcmat.errors import StorageError
from hpcmat.records import Execution, Failure, FailureKind, Governance, Provenance, Record, encode
from hpcmat.store.results import ResultStore
from hpcmat.surrogates.potential import Potential

LABELS = ("train", "validation")


def of_type(drive, kind):
    return [event for event in drive.events if isinstance(event, kind)]


def name_of(event):
    """Task that an event tells of, or None."""
    return event.decision.task.id if isinstance(event, Decided) else getattr(event, "task_id", None)


def publish_failure(store: ResultStore, key: str, kind: FailureKind, campaign: str) -> None:
    """A failed attempt as another process would leave it."""
    attempt = store.begin(key)
    execution = Execution(attempt.number, "host", os.getpid(), 1.0, 3601.0)
    failure = encode(Failure(kind, "it broke"))
    provenance = Provenance(campaign, "label-0001", "random")
    store.publish(Record(key, "label", "{}", failure, False, execution, provenance, Governance()), attempt.folder)


def failing(drive, kind: FailureKind, times: int, campaign: str | None = None):
    """The first attempts at every label fail in this way."""
    perform = drive.dispatcher.carry_out
    identity = campaign or drive.state.created.identity

    def carry_out(order):
        store = ResultStore(order.store)
        if order.task.kind == "label" and len(store.attempts(order.task.key)) < times:
            publish_failure(store, order.task.key, kind, identity)
            return Ending.DONE
        return perform(order)

    drive.dispatcher.carry_out = carry_out


def test_campaign_runs_to_its_budget_and_leaves_its_potential(tmp_path):
    drive = Drive(tmp_path, campaign_of())
    state = drive.run()
    assert state.ended.complete
    assert len(state.done(*LABELS)) == BUDGET
    assert Potential.load(drive.folder.potential).metadata.train == state.model.decision.train
    assert set(state.model.decision.train) == {task.key for task in state.done("train")}
    assert set(state.model.decision.validation) == {task.key for task in state.done("validation")}


def test_each_act_is_announced_before_it_happens(tmp_path):
    """Decided, then submitted, then ended; and the journal holds exactly what the observer was told."""
    drive = Drive(tmp_path, campaign_of())
    state = drive.run()
    for task in state.tasks:
        assert [type(event) for event in drive.events if name_of(event) == task] == [Decided, Submitted, Finished]
    assert len(list(drive.folder.journal().read())) == 2 + len(drive.events)
    assert drive.folder.read().ended == state.ended


def test_nothing_is_handed_over_before_its_submission_is_durable_and_a_pass_takes_few_transactions(tmp_path):
    drive = Drive(tmp_path, campaign_of())
    submit, commit, transactions = drive.dispatcher.submit, drive.journal.commit, []

    def submit_what_is_on_disk(order):
        on_disk = [read_event(entry.payload) for entry in drive.folder.journal().read()]
        assert any(isinstance(e, Submitted) and e.task_id == order.task.id for e in on_disk)
        return submit(order)

    def counted():
        transactions.append(len(drive.journal._staged))
        commit()

    drive.dispatcher.submit, drive.journal.commit = submit_what_is_on_disk, counted
    drive.run()
    assert sum(transactions) == len(drive.events)
    assert max(transactions) >= 3, "what ends and what is decided next go together"


def test_journal_that_cannot_be_written_starts_nothing(tmp_path):
    drive = Drive(tmp_path, campaign_of())

    def refuse():
        raise StorageError("no space; free some")

    drive.journal.commit = refuse
    with pytest.raises(StorageError, match="no space"):
        drive.run()
    assert drive.dispatcher.orders == [] and drive.events == []


def test_result_without_an_event_is_adopted(tmp_path):
    """What a driver leaves that died while its task ran: here after the first submission, with all results there."""
    drive = Drive(tmp_path, campaign_of())
    done = drive.run()
    again = Drive(tmp_path, campaign_of(), name="campaign2")
    again.state.created = replace(again.state.created, identity=drive.state.created.identity)
    first = of_type(drive, Decided)[0]
    task = first.decision.task.id
    again.append(first)
    again.append(Submitted(task, (), 0))
    state = again.run()
    assert state.tasks[task].adopted == "earlier driver"
    assert {t.adopted for t in state.tasks.values()} == {"earlier driver"}
    assert again.dispatcher.orders == []
    assert {t.key for t in state.done(*LABELS)} == {t.key for t in done.done(*LABELS)}


def test_decision_without_a_result_is_submitted(tmp_path):
    """What a driver leaves that died before a worker had its task."""
    drive = Drive(tmp_path, campaign_of())
    drive.run()
    first = of_type(drive, Decided)[0]
    again = Drive(tmp_path / "elsewhere", campaign_of())
    again.append(first)
    again.append(Submitted(first.decision.task.id, (), 0))
    state = again.run()
    assert again.dispatcher.orders[0] == first.decision.task.id
    assert len(state.done(*LABELS)) == BUDGET
    assert state.failures == []


def test_result_of_another_campaign_costs_nothing(tmp_path):
    Drive(tmp_path, campaign_of(), name="one").run()
    two = Drive(tmp_path, campaign_of(), name="two")
    state = two.run()
    assert {task.adopted for task in state.done(*LABELS)} == {"earlier campaign"}
    assert state.node_hours == 0.0
    assert two.dispatcher.orders == []


@pytest.mark.parametrize(
    ("kind", "times", "remedies"),
    [
        (FailureKind.CRASH, 2, [(), ("eigensolver",)]),
        (FailureKind.NOT_CONVERGED, 2, [("mixing",), ("mixing", "more-steps", "eigensolver")]),
        (FailureKind.WALLTIME, 1, [()]),
        (FailureKind.NODE_LOST, 5, [(), (), (), (), ()]),
    ],
)
def test_failures_are_repeated_as_the_ladder_says(tmp_path, kind, times, remedies):
    drive = Drive(tmp_path, campaign_of())
    failing(drive, kind, times)
    state = drive.run()
    assert len(state.done(*LABELS)) == BUDGET
    for task in state.done(*LABELS):
        told = [event.remedies for event in of_type(drive, Failed) if event.task_id == task.id]
        assert told == remedies
        sent = [event.remedies for event in of_type(drive, Submitted) if event.task_id == task.id]
        assert sent == [(), *remedies]
        request = json.loads(ResultStore(state.created.store).read(task.key).request)
        assert request["remedies"] == list(remedies[-1])


def test_task_lost_too_often_is_given_up_though_it_was_not_its_fault(tmp_path):
    drive = Drive(tmp_path, campaign_of())
    failing(drive, FailureKind.NODE_LOST, 1000)
    state = drive.run()
    assert state.stopping.reason == "failures"
    assert {len(task.failures) for task in state.of_purpose("train") if task.status == "failed"} == {20}


def test_failed_attempt_of_another_campaign_is_told_but_not_paid(tmp_path):
    drive = Drive(tmp_path, campaign_of())
    failing(drive, FailureKind.CRASH, 1, campaign="another")
    state = drive.run()
    assert len(state.failures) == BUDGET
    assert all(attempt.execution is None for _, attempt in state.failures)
    assert state.node_hours < 1.0
    own = Drive(tmp_path / "own", campaign_of())
    failing(own, FailureKind.CRASH, 1)
    assert own.run().node_hours > BUDGET * 0.49, "control: its own failed attempts of an hour each are paid"


def test_failed_attempts_before_this_campaign_do_not_count_against_it(tmp_path):
    drive = Drive(tmp_path, campaign_of())
    perform = drive.dispatcher.carry_out
    seen = set()

    def after_three_old_failures(event, state):
        drive.events.append(event)
        if isinstance(event, Decided) and event.decision.task.kind == "label" and event.decision.task.key not in seen:
            seen.add(event.decision.task.key)
            for _ in range(3):
                publish_failure(ResultStore(state.created.store), event.decision.task.key, FailureKind.CRASH, "old")

    drive.observe = after_three_old_failures
    drive.dispatcher.carry_out = perform
    state = drive.run()
    assert len(state.done(*LABELS)) == BUDGET
    assert state.failures == []
    assert {task.execution.attempt for task in state.done(*LABELS)} == {4}


def test_full_disk_ends_the_run_at_once_and_the_next_goes_on(tmp_path, monkeypatch):
    drive = Drive(tmp_path, campaign_of())

    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(teacher, "write_output", no_space)
        with pytest.raises(StorageError, match="free space and run the same command again"):
            drive.run()
    full = [event for event in of_type(drive, Failed) if event.failure.failure is FailureKind.DISK_FULL]
    assert len(full) == 1
    assert full[0].remedies == ()
    state = drive.run()
    assert state.ended.complete
    assert len(state.done(*LABELS)) == BUDGET


def test_task_whose_worker_vanished_is_taken_up_again(tmp_path):
    drive = Drive(tmp_path, campaign_of())
    perform, lost = drive.dispatcher.carry_out, set()

    def carry_out(order):
        if order.task.id not in lost:
            lost.add(order.task.id)
            raise ConnectionError("the worker went away")
        return perform(order)

    drive.dispatcher.carry_out = carry_out
    state = drive.run()
    assert len(state.done(*LABELS)) == BUDGET
    assert all("did not begin it" in attempt.failure.message for _, attempt in state.failures)
    assert len(state.failures) == len(state.tasks)


def test_process_that_vanished_without_a_record_is_repeated_for_free(tmp_path):
    drive = Drive(tmp_path, campaign_of())
    perform, killed = drive.dispatcher.carry_out, set()

    def carry_out(order):
        if order.task.kind == "label" and order.task.id not in killed:
            killed.add(order.task.id)
            child = os.fork()
            if child == 0:
                ResultStore(order.store).begin(order.task.key)
                os._exit(0)
            os.waitpid(child, 0)
            return Ending.DONE
        return perform(order)

    drive.dispatcher.carry_out = carry_out
    state = drive.run()
    assert {attempt.failure.failure for _, attempt in state.failures} == {FailureKind.KILLED}
    assert all(attempt.execution is None for _, attempt in state.failures)
    assert len(state.done(*LABELS)) == BUDGET


def test_broken_dispatcher_is_restarted_before_the_next_task(tmp_path):
    drive = Drive(tmp_path, campaign_of())
    drive.dispatcher.healthy = False
    drive.run()
    assert drive.dispatcher.restarts == 1


def test_request_to_stop_starts_nothing_new_and_is_taken_away(tmp_path):
    drive = Drive(tmp_path, campaign_of())
    observe = drive.observe

    def stop_after_three(event, state):
        observe(event, state)
        if len(state.done("train")) >= 3:
            drive.folder.stop_request.touch()

    drive.observe = stop_after_three
    state = drive.run()
    assert not state.ended.complete
    assert state.stopping.reason == "asked"
    assert not state.open_tasks or all(task.status != "running" for task in state.open_tasks)
    assert not drive.folder.stop_request.exists()
    assert len(state.done(*LABELS)) < BUDGET


def test_allocation_that_ends_is_drained_and_the_next_driver_goes_on(tmp_path):
    drive = Drive(tmp_path, campaign_of())
    observe = drive.observe

    def drain_after_three(event, state):
        observe(event, state)
        drive.dispatcher.draining = len(state.done("train")) >= 3

    drive.observe = drain_after_three
    state = drive.run()
    assert (state.stopping.reason, state.ended.complete) == ("allocation", False)
    assert all(task.status != "running" for task in state.open_tasks)
    assert len(state.done(*LABELS)) < BUDGET
    drive.append(run_started("next"))
    assert state.stopping is None


class HoldingDispatcher(InlineDispatcher):
    """Holds labels back from the third on, as if none of them could end before the allocation does."""

    room = 4

    def __init__(self):
        super().__init__()
        self.waiting = []

    @property
    def held(self):
        return len(self.waiting)

    def submit(self, order):
        if order.task.kind != "label" or len(self.orders) < 3:
            return super().submit(order)
        self.waiting.append(Future())
        return self.waiting[-1]

    def give_back(self):
        while self.waiting:
            self.waiting.pop().set_result(Ending.DECLINED)


def test_labels_that_could_not_end_wait_for_the_next_allocation(tmp_path):
    """They are no failures, the driver does not wait for them, and each is made once."""
    drive = Drive(tmp_path, campaign_of(ledger=tmp_path / "ledger.txt"))
    drive.dispatcher = HoldingDispatcher()
    state = drive.run()
    assert (state.stopping.reason, state.ended.complete) == ("allocation", False)
    held = [task.id for task in state.open_tasks]
    assert held and {task.status for task in state.open_tasks} == {"waiting"} and not state.failures
    assert len(state.tasks) - len(held) == len(drive.dispatcher.orders), "control: others were carried out"
    drive.append(run_started("next"))
    drive.dispatcher = InlineDispatcher()
    state = drive.run()
    assert state.ended.complete and set(held) <= set(drive.dispatcher.orders)
    ends = Counter(line.split()[1] for line in (tmp_path / "ledger.txt").read_text().splitlines() if "end" in line)
    assert ends == dict.fromkeys((task.key for task in state.done(*LABELS)), 1)


def test_potential_that_cannot_be_written_loses_no_event(tmp_path):
    drive = Drive(tmp_path, campaign_of())
    drive.folder.potential.mkdir()
    with pytest.raises(StorageError, match=r"potential\.npz"):
        drive.run()
    assert not drive.state.done("fit")
    drive.folder.potential.rmdir()
    again = Drive.__new__(Drive)
    again.__dict__.update(drive.__dict__)
    again.state = drive.folder.read()
    assert isinstance(again.state, CampaignState)
    assert again.run().ended.complete


def test_labels_are_asked_of_the_runner_that_the_store_can_check(tmp_path):
    """The key under which a label is decided is the key under which its engine files it."""
    drive = Drive(tmp_path, campaign_of())
    state = drive.run()
    for task in state.done(*LABELS):
        request = labelling._parse(ResultStore(state.created.store).read(task.key).request)
        assert labelling.label_key(request.structure, request.engine) == task.key
