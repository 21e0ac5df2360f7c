"""Rehearsals: the campaign on a virtual clock is the campaign, and its times add up."""

import itertools

import numpy as np
import pytest
from campaign_events import LABELS, campaign_of

from hpcmat.campaign.costs import CostBook, label_size, learned_from, size_of
from hpcmat.campaign.events import Decided, Failed, Finished, Submitted
from hpcmat.campaign.rehearsal import TASK_OVERHEAD_S, LearnedMachine, Rehearsal, rehearse
from hpcmat.dispatch.launchers.request import Launcher
from hpcmat.dispatch.placement.dispatcher import Allocation, worker_pool
from hpcmat.dispatch.placement.nodes import Node
from hpcmat.records import Resources, Task

SECONDS = {"label": 100.0, "explore": 10.0, "fit": 5.0}


class FixedMachine:
    """Every task of a kind takes as long; the first attempts at some labels fail."""

    def __init__(self, failing=lambda key, attempt: False):
        self.failing = failing

    def seconds(self, task: Task, attempt: int, outcome: str) -> float:
        return SECONDS[task.kind]

    def fails(self, task: Task, attempt: int) -> bool:
        return task.kind == "label" and self.failing(task.key, attempt)


def rehearsed(root, campaign=None, machine=None, workers=2, allocation=None):
    events = []
    state = rehearse(
        campaign or campaign_of(),
        Rehearsal(machine or FixedMachine(), allocation or worker_pool(workers), 2, root),
        lambda event, _state: events.append(event),
    )
    return state, events


def test_a_rehearsal_ends_as_a_campaign_does(tmp_path):
    state, events = rehearsed(tmp_path)
    assert state.ended.complete
    assert state.stopping.reason == "budget"
    assert len(state.done("train", "validation")) == LABELS
    assert state.models
    assert sum(isinstance(event, Finished) for event in events) == len(state.tasks)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_no_more_tasks_run_at_a_time_than_there_are_workers_and_times_add_up(tmp_path, workers):
    state, _ = rehearsed(tmp_path, workers=workers)
    spans = [(task.execution.started, task.execution.finished) for task in state.tasks.values()]
    for start, _ in spans:
        assert sum(begin <= start < end for begin, end in spans) <= workers
    busy = sum(end - start for start, end in spans)
    assert busy == sum(SECONDS[task.decision.task.kind] for task in state.tasks.values())
    assert state.node_hours == pytest.approx(busy / 2 / 3600)
    makespan = max(end for _, end in spans)
    assert busy / workers <= makespan <= busy
    assert workers > 1 or makespan == pytest.approx(busy)
    assert state.last_time == makespan


def sized(nodes):
    """Four nodes of two cores; labels take whole ones, the rest one core."""
    nodes_of = {"label": Resources(nodes, 2 * nodes), "explore": Resources(), "fit": Resources()}
    four = tuple(Node(f"n{number}", 2) for number in range(4))
    return Allocation(four, Launcher("srun"), lambda task, usable: nodes_of[task.kind], nodes_of["label"])


@pytest.mark.parametrize(("nodes", "at_once"), [(1, 4), (2, 2), (3, 1), (4, 1)])
def test_labels_of_several_nodes_are_paid_and_wait_for_them(tmp_path, nodes, at_once):
    state, _ = rehearsed(tmp_path, allocation=sized(nodes))
    assert state.ended.complete
    assert (state.runs[0].started.workers, state.runs[0].started.nodes, state.runs[0].started.cores) == (at_once, 4, 8)
    spans = [(t.execution.started, t.execution.finished) for t in state.done("train", "validation")]
    most = max(sum(begin <= start < end for begin, end in spans) for start, _ in spans)
    assert most == min(at_once, LABELS)
    assert state.last_time >= LABELS / at_once * 100.0
    assert all(t.node_hours == pytest.approx(nodes * 100.0 / 3600) for t in state.done("train", "validation"))
    assert all(t.node_hours == pytest.approx(0.5 * 10.0 / 3600) for t in state.done("explore"))


def test_rehearsals_are_reproducible_and_another_seed_decides_otherwise(tmp_path):
    roots = (tmp_path / name for name in "abc")
    campaigns = (campaign_of(), campaign_of(), campaign_of().model_copy(update={"seed": 5}))
    one, two, other = (
        [event.decision.task.key for event in rehearsed(root, campaign)[1] if isinstance(event, Decided)]
        for root, campaign in zip(roots, campaigns, strict=True)
    )
    assert one == two
    assert one != other


def test_what_is_drawn_to_fail_is_repeated_and_paid(tmp_path):
    state, events = rehearsed(tmp_path, machine=FixedMachine(lambda key, attempt: key[0] < "8" and attempt == 1))
    failed = [event.task_id for event in events if isinstance(event, Failed)]
    assert failed
    for name in failed:
        assert state.tasks[name].status == "done"
        assert state.tasks[name].node_hours == pytest.approx(2 * 100.0 / 2 / 3600)
        assert sum(isinstance(event, Submitted) and event.task_id == name for event in events) == 2


def test_walltime_is_virtual(tmp_path):
    state, _ = rehearsed(tmp_path, campaign_of(budget="walltime_s = 250.0"))
    assert state.stopping.reason == "walltime"
    assert len(state.done("train")) < LABELS


def test_faults_and_durations_of_the_teacher_are_left_to_the_machine(tmp_path):
    slow = campaign_of(engine="duration = { median_s = 1e6 }\nfaults = { crash = 1.0 }")
    state, _ = rehearsed(tmp_path, slow)
    assert state.ended.complete
    assert not state.failures


def test_costs_are_learned_as_tasks_end_and_from_the_store(tmp_path):
    state, _ = rehearsed(tmp_path)
    online, stored = CostBook(), learned_from(tmp_path / "store", state.campaign.engine)
    online.catch_up(state)
    online.catch_up(state)
    size = label_size(state.created.seeds[0], state.campaign.engine)
    for book in (online, stored):
        assert book.model("label").number == LABELS
        # A tenth of the campaign's labels is enough to correct a guess that is wrong by a factor of a thousand.
        assert book.expected("label", size).median_s == pytest.approx(100.0, rel=0.3)
        assert book.label_costs().success_probability(size) > 0.9
    assert CostBook().expected("label", size).median_s < 1.0, "control: what is known before"


class NeverWalked(list):
    """A list of which parts can be taken, but that nobody may go through from the start."""

    def __iter__(self):
        raise AssertionError("a pass over all tasks that ever ended, for each decision")


def test_what_was_learned_is_not_gone_through_again(tmp_path):
    state, _ = rehearsed(tmp_path)
    state.index.all_ended = NeverWalked(state.index.all_ended)
    with pytest.raises(AssertionError):
        next(itertools.islice(state.index.all_ended, LABELS, None))
    book = CostBook()
    book.catch_up(state)
    assert book.model("label").number == LABELS


class UnevenMachine(FixedMachine):
    """Labels take times of their own."""

    def seconds(self, task: Task, attempt: int, outcome: str) -> float:
        return SECONDS[task.kind] * (1.0 + int(task.key[0], 16))


def test_a_driver_that_comes_back_has_learned_the_same(tmp_path):
    """Costs decide as of certain numbers of ended labels, which are of several purposes that end by turns."""
    watching, back = CostBook(), CostBook()
    rehearsal = Rehearsal(UnevenMachine(), worker_pool(2), 2, tmp_path)
    state = rehearse(campaign_of(labels=14), rehearsal, lambda _event, state: watching.catch_up(state))
    back.catch_up(state)
    purposes = [task.purpose for task in state.index.all_ended if task.purpose in {"train", "validation"}]
    assert purposes != sorted(purposes), "they do end by turns"
    assert back.settled.ended == watching.settled.ended < back.label_costs().ended
    np.testing.assert_array_equal(back.settled.duration.mean, watching.settled.duration.mean)


def test_durations_follow_the_size_of_a_task(tmp_path):
    state, _ = rehearsed(tmp_path)
    request = next(task.decision.task.request for task in state.tasks.values() if task.purpose == "explore")
    long, short = (size_of("explore", request, steps) for steps in (400, 40))
    np.testing.assert_array_equal(long.features, short.features, "without a potential no steps are made")
    seed = state.created.seeds[0]
    repeated = type(seed)(seed.symbols * 2, np.tile(seed.positions, (2, 1)), seed.cell, seed.pbc)
    engine = state.campaign.engine
    assert label_size(repeated, engine).features[1] - label_size(seed, engine).features[1] == pytest.approx(np.log(2))


def test_a_learned_machine_draws_each_task_once_and_with_the_learned_spread(tmp_path):
    state, _ = rehearsed(tmp_path)
    book = CostBook()
    book.catch_up(state)
    task = state.done("train")[0].decision.task
    names = [f"{number:04d}" for number in range(300)]
    keyed = [Task(name, task.kind, name, task.runner, task.request, task.resources, task.provenance) for name in names]
    machine = LearnedMachine.of(state.campaign.engine, book)
    drawn = np.array([machine.seconds(each, 1, '{"kind": "label"}') for each in keyed]) - TASK_OVERHEAD_S
    assert drawn.tolist() == [machine.seconds(each, 1, '{"kind": "label"}') - TASK_OVERHEAD_S for each in keyed]
    predicted = book.expected("label", size_of("label", task.request))
    assert np.median(drawn) == pytest.approx(predicted.median_s, rel=0.05)
    assert np.mean(drawn < predicted.quantile_s(0.9)) == pytest.approx(0.9, abs=0.05)
    failures = sum(machine.fails(each, 1) for each in keyed)
    assert failures / 300 == pytest.approx(
        1 - book.label_costs().success_probability(size_of("label", task.request)), abs=0.04
    )
    assert len({machine.seconds(each, 2, '{"kind": "label"}') for each, _ in itertools.product(keyed[:3], "ab")}) == 3
