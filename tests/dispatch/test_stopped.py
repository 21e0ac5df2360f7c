"""What is stopped and stays so is ended; what was stopped for a while, or belongs to others, is not."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from hpcmat.dispatch import orphans
from hpcmat.dispatch.executor import ParslDispatcher, Workers
from hpcmat.dispatch.marks import CAMPAIGN_VARIABLE
from hpcmat.dispatch.stopped import PATIENCE_LOOKS, StoppedWatch

WAIT = "print('ready', flush=True); import sys; sys.stdin.read()"


@pytest.fixture
def spawn():
    """Processes of a campaign, ended after the test."""
    started = []

    def start(campaign):
        environment = {**os.environ, CAMPAIGN_VARIABLE: campaign}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", WAIT], env=environment, **pipes)
        started.append(process)
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def stop(process):
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)


def look(watch, times):
    return [watch.look() for _ in range(times)]


def test_what_nobody_wakes_is_ended(spawn):
    stopped, running, foreign = spawn("c"), spawn("c"), spawn("another")
    stop(stopped)
    stop(foreign)
    watch = StoppedWatch("c", tuple)
    assert look(watch, PATIENCE_LOOKS) == [0] * (PATIENCE_LOOKS - 1) + [1]
    assert stopped.wait(timeout=30) == -signal.SIGKILL
    assert running.poll() is None
    assert psutil.Process(foreign.pid).status() == psutil.STATUS_STOPPED


def test_one_that_woke_in_between_has_a_new_start(spawn):
    process = spawn("c")
    watch = StoppedWatch("c", tuple)
    stop(process)
    assert not any(look(watch, PATIENCE_LOOKS - 1))
    process.send_signal(signal.SIGCONT)
    os.waitid(os.P_PID, process.pid, os.WCONTINUED)
    look(watch, 1)
    stop(process)
    assert not any(look(watch, PATIENCE_LOOKS - 1))
    assert process.poll() is None


def test_a_process_without_the_mark_is_known_by_its_number(spawn):
    process = spawn("renamed itself")
    stop(process)
    watch = StoppedWatch("c", lambda: (process.pid,))
    assert look(watch, PATIENCE_LOOKS)[-1] == 1
    assert process.wait(timeout=30) == -signal.SIGKILL


def test_end_of_a_driver_waits_for_nobody_who_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(orphans, "_WARDEN_S", 0.5)
    with ParslDispatcher(Workers(1), tmp_path, str(tmp_path)):
        children = {" ".join([child.name(), *child.cmdline()]): child for child in psutil.Process().children()}
        stopped = [child for words, child in children.items() if "orphans" in words or "nterchange" in words]
        assert len(stopped) == 2
        for process in stopped:
            process.suspend()
    assert not any(process.is_running() for process in stopped)
