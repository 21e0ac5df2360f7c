"""Promise 1: a label paid for is never lost and never paid for twice, whatever is killed and when."""

import random
import subprocess

import psutil
import pytest
from harness import Trial, kill

from hpcmat.campaign.folder import CampaignFolder
from hpcmat.records import FailureKind
from hpcmat.store.results import AttemptState

KILLS = 25


def assert_exactly_once(trial: Trial) -> None:
    """Every label of the journal has one accepted record, one start and one end in the ledger; nothing else ran."""
    labels = trial.label_keys()
    starts, ends = trial.executions("start"), trial.executions("end")
    assert set(ends) == labels
    assert set(starts.values()) == {1}, "some label was executed twice"
    assert ends == starts
    for key in labels:
        attempts = trial.results().attempts(key)
        assert sum(a.record is not None and a.record.accepted for a in attempts) == 1


def kill_driver_often(trial: Trial, kills: int, longest_s: float) -> int:
    """Start the campaign and kill its driver after a random time, until that was done `kills` times."""
    chance = random.Random(20)
    for count in range(kills):
        driver = trial.start()
        try:
            driver.wait(timeout=chance.uniform(0.0, longest_s))
        except subprocess.TimeoutExpired:
            kill(driver)
        else:
            return count
    return kills


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    trial = Trial(tmp_path_factory.mktemp("undisturbed"), labels=90, points=5)
    finished = trial.run()
    assert finished.returncode == 0, finished.stderr
    return trial


def test_driver_killed_at_25_random_instants(undisturbed, tmp_path):
    # The duration is no physics: the same labels as the undisturbed run, slowly enough to be killed in their midst.
    trial = Trial(tmp_path, labels=90, points=5, median_s=0.5, sigma=0.5)
    assert kill_driver_often(trial, KILLS, longest_s=6.0) == KILLS, "the campaign ended before the last kill"
    finished = trial.run()
    assert finished.returncode == 0, finished.stderr
    assert_exactly_once(trial)
    assert trial.label_keys() == undisturbed.label_keys()
    assert trial.state().ended.complete
    adopted = [task for task in trial.state().done("train", "validation") if task.adopted == "earlier driver"]
    assert adopted, "no kill hit a running label, so that the test has shown nothing"


def test_driver_killed_in_a_campaign_that_learns(tmp_path):
    trial = Trial(tmp_path, method="md", acquisition="i-optimal", labels=36, points=5, median_s=0.4, sigma=0.5)
    kill_driver_often(trial, 6, longest_s=9.0)
    finished = trial.run()
    assert finished.returncode == 0, finished.stderr
    assert_exactly_once(trial)
    assert len(trial.state().done("train", "validation")) == 36


def test_workers_killed(undisturbed, tmp_path):
    """Killing a worker does not even end its task: the task's own process publishes the result."""
    trial = Trial(tmp_path, labels=90, points=5, median_s=0.3, sigma=0.5)
    driver, chance, killed = trial.start(), random.Random(5), 0
    while driver.poll() is None:
        busy = [process for process in trial.pool_workers() if has_task(process)]
        if busy and killed < 8:
            kill(chance.choice(busy))
            killed += 1
        wait_a_moment(driver)
    assert driver.returncode == 0, trial.errors
    assert killed == 8
    assert_exactly_once(trial)
    assert trial.label_keys() == undisturbed.label_keys()


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
    trial = Trial(tmp_path, labels=30, median_s=0.5)
    driver = trial.start()
    while not trial.tasks():
        wait_a_moment(driver)
    started = trial.processes()
    kill(driver)
    _, alive = psutil.wait_procs([process for process in started if process.name() != "python"], timeout=30)
    assert not alive
    assert not trial.pool_workers()


def test_a_claim_left_by_a_dead_process_is_seen_as_lost(tmp_path):
    """Negative control: without the check of the claimant's life, a killed task would be waited for for ever."""
    trial = Trial(tmp_path, labels=20, median_s=30.0)
    driver = trial.start()
    while not trial.tasks():
        wait_a_moment(driver)
    for process in trial.tasks():
        kill(process)
    kill(driver)
    running = [task for task in CampaignFolder(trial.folder.root).read().open_tasks if task.status == "running"]
    states = {attempt.state for task in running for attempt in trial.results().attempts(task.key)}
    assert AttemptState.LOST in states | {AttemptState.LOST for task in running if task.failures}
    assert AttemptState.RUNNING not in states


def has_task(worker: psutil.Process) -> bool:
    try:
        return any(child.name() == "hpcmat-task" for child in worker.children())
    except psutil.NoSuchProcess:
        return False


def wait_a_moment(driver) -> None:
    try:
        driver.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        return
