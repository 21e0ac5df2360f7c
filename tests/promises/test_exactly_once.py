"""Promise 1: a label paid for is never lost and never paid for twice, whatever is killed and when."""

import psutil
import pytest
from harness import Trial, kill
from killing import assert_exactly_once, die_after, kill_driver_often, kill_workers, wait_a_moment

from hpcmat.campaign.events import Created, RunStarted, Submitted, read_event
from hpcmat.records import FailureKind
from hpcmat.store.results import AttemptState

KILLS = 25
LABELS = 110
"""Enough that no machine is through before the last kill."""
LIVES = (0, 1, 1, 2, 2, 3, 4, 5)
"""Transactions that each driver in turn commits before it dies."""


def test_driver_killed_between_every_two_transactions_of_its_start(tmp_path):
    """Whatever the speed of the machine: each driver dies right after the events at which the one before had not."""
    trial = Trial(tmp_path, labels=20, points=5)
    last = []
    for transactions in LIVES:
        die_after(trial, transactions)
        journal = trial.folder.journal()
        last += [type(read_event(entry.payload)) for entry in journal.read()][-1:]
        journal.close()
    assert last[:3] == [Created, RunStarted, Submitted]
    finished = trial.run()
    assert finished.returncode == 0, finished.stderr
    assert_exactly_once(trial)
    assert len(trial.state().done("train", "validation")) == 20


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Nothing befell it. Which frames are drawn depends on what is explored by then, their number does not."""
    trial = Trial(tmp_path_factory.mktemp("undisturbed"), labels=LABELS, points=5)
    finished = trial.run()
    assert finished.returncode == 0, finished.stderr
    return trial


def test_driver_killed_at_25_random_instants(undisturbed, tmp_path):
    # Slowly enough to be killed in their midst.
    trial = Trial(tmp_path, labels=LABELS, points=5, median_s=0.5, sigma=0.5)
    assert kill_driver_often(trial, KILLS) == KILLS, "the campaign ended before the last kill"
    finished = trial.run()
    assert finished.returncode == 0, finished.stderr
    assert_exactly_once(trial)
    assert len(trial.label_keys()) == len(undisturbed.label_keys())
    assert trial.state().ended.complete
    adopted = [task for task in trial.state().done("train", "validation") if task.adopted == "earlier driver"]
    assert adopted, "no kill hit a running label, so that the test has shown nothing"


def test_driver_killed_in_a_campaign_that_learns(tmp_path):
    trial = Trial(tmp_path, method="md", acquisition="i-optimal", labels=36, points=5, median_s=0.4, sigma=0.5)
    assert kill_driver_often(trial, 5) == 5
    finished = trial.run()
    assert finished.returncode == 0, finished.stderr
    assert_exactly_once(trial)
    assert len(trial.state().done("train", "validation")) == 36


def test_workers_killed(undisturbed, tmp_path):
    """Killing a worker does not even end its task: the task's own process publishes the result."""
    trial = Trial(tmp_path, labels=LABELS, points=5, median_s=0.3, sigma=0.5)
    kill_workers(trial, 8)
    assert_exactly_once(trial)
    assert len(trial.label_keys()) == len(undisturbed.label_keys())


def test_task_process_killed_is_repeated_and_charged_to_nobody(tmp_path):
    """A calculation that is itself killed is not paid for: it runs again, once, and counts as no attempt."""
    trial = Trial(tmp_path, labels=20, median_s=0.5, sigma=0.3)
    driver, killed = trial.start(), 0
    while driver.poll() is None:
        running = [p for p in trial.tasks() if trial.executions("start").total() > trial.executions("end").total()]
        if running and killed < 3:
            kill(running[0])
            killed += 1
        wait_a_moment(driver)
    assert driver.returncode == 0, trial.errors
    labels = trial.label_keys()
    assert len(labels) == 20
    ends = trial.executions("end")
    assert set(ends) == labels
    assert set(ends.values()) == {1}
    kinds = {attempt.failure.failure for _, attempt in trial.state().failures}
    assert kinds == {FailureKind.KILLED}
    assert trial.executions("start").total() <= len(labels) + killed


def test_nothing_survives_a_killed_driver_for_long(tmp_path):
    """But for the tasks that run, which end by themselves."""
    trial = Trial(tmp_path, labels=30, median_s=0.5)
    driver = trial.start()
    while not trial.tasks():
        wait_a_moment(driver)
    started = [process for process in trial.processes() if process.pid != driver.pid]
    assert len(started) > 3, "negative control: there was something to clean up"
    kill(driver)
    _, alive = psutil.wait_procs(started, timeout=30)
    assert not alive
    assert not trial.processes()


def test_a_task_whose_death_nobody_saw_is_told_from_one_that_runs(tmp_path):
    """Its claim outlives it; taken for alive, it would be waited for for ever."""
    trial = Trial(tmp_path, labels=20, median_s=30.0)
    driver = trial.start()
    while len(trial.tasks()) < 2:
        wait_a_moment(driver)
    dying, surviving = trial.tasks()
    for worker in trial.busy_workers():
        worker.suspend()
    kill(dying)
    kill(driver)
    running = [task for task in trial.state().open_tasks if task.status == "running"]
    states = [attempt.state for task in running for attempt in trial.results().attempts(task.key)]
    assert sorted(state.value for state in states) == [AttemptState.LOST.value, AttemptState.RUNNING.value]
    kill(surviving)
