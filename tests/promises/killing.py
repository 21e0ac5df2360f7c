"""Kills of drivers and workers, and whether every label was paid for once all the same."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

from harness import Trial, kill


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


def die_after(trial: Trial, transactions: int) -> None:
    """Start a driver of this campaign that dies at once after so many transactions."""
    script = Path(__file__).with_name("mortal_driver.py")
    arguments = [str(trial.file), str(trial.folder.root), str(trial.store), str(transactions)]
    died = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=120)
    assert died.returncode == -signal.SIGKILL, died.stderr


def kill_driver_often(trial: Trial, kills: int) -> int:
    """Start the campaign and kill its driver, again and again: while it starts, while it adopts, while labels run.

    Every third time the instant is drawn from the whole start-up, else from the time after its first new label began.
    Returns how many kills there were before the campaign ended by itself.
    """
    chance = random.Random(20)
    for count in range(kills):
        began = trial.executions("start").total()
        driver = trial.start()
        if count % 3:
            while driver.poll() is None and trial.executions("start").total() == began:
                wait_a_moment(driver)
        try:
            driver.wait(timeout=chance.uniform(0.0, 0.8 if count % 3 else 3.0))
        except subprocess.TimeoutExpired:
            kill(driver)
        else:
            assert driver.returncode == 0, trial.errors
            return count
    return kills


def kill_workers(trial: Trial, count: int) -> None:
    """Run the campaign to its end and kill so many workers that are busy."""
    driver, chance, killed = trial.start(), random.Random(5), 0
    while driver.poll() is None:
        busy = trial.busy_workers()
        if busy and killed < count:
            kill(chance.choice(busy))
            killed += 1
        wait_a_moment(driver)
    assert driver.returncode == 0, trial.errors
    assert killed == count


def wait_a_moment(driver) -> None:
    try:
        driver.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        return
