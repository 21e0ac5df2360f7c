"""What a killed driver leaves behind is ended by its mark, and nothing else is."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from hpcmat.dispatch.orphans import CAMPAIGN_VARIABLE, EPOCH_VARIABLE, end_orphans, end_warden, start_warden
from hpcmat.dispatch.worker import TASK_PROCESS_NAME

WAIT = "print('ready', flush=True); import sys; sys.stdin.read()"
AS_TASK = f"open('/proc/self/comm', 'w').write('{TASK_PROCESS_NAME}'); {WAIT}"


@pytest.fixture
def spawn():
    """Processes under given marks, ended after the test."""
    started = []

    def start(code=WAIT, **marks):
        environment = {k: v for k, v in os.environ.items() if k not in {EPOCH_VARIABLE, CAMPAIGN_VARIABLE}} | marks
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        started.append(process)
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def marks(epoch, campaign="c"):
    return {EPOCH_VARIABLE: epoch, CAMPAIGN_VARIABLE: campaign}


def ended(process):
    return process.wait(timeout=30) is not None


def test_only_the_marked_are_ended(spawn):
    victim, other, unmarked = spawn(**marks("one")), spawn(**marks("two")), spawn()
    assert end_orphans(epoch="one") == 1
    assert ended(victim)
    assert other.poll() is None
    assert unmarked.poll() is None


def test_running_tasks_are_spared(spawn):
    task, worker = spawn(AS_TASK, **marks("one")), spawn(**marks("one"))
    assert end_orphans(epoch="one") == 1
    assert ended(worker)
    assert task.poll() is None


def test_a_new_driver_ends_all_epochs_of_its_campaign_but_its_own(spawn):
    old, own, foreign = spawn(**marks("old")), spawn(**marks("own")), spawn(**marks("old", "another campaign"))
    assert end_orphans(campaign="c", spare="own") == 1
    assert ended(old)
    assert own.poll() is None
    assert foreign.poll() is None


def test_warden_that_was_stopped_ends_with_the_next_driver(spawn, monkeypatch):
    """It outlived its driver; the mark of its epoch would have it end itself."""
    monkeypatch.setenv(CAMPAIGN_VARIABLE, "c")
    old, own = start_warden("old"), start_warden("own")
    old.send_signal(signal.SIGSTOP)
    assert end_orphans(epoch="old") == 0
    assert end_orphans(campaign="c", spare="own") == 1
    assert ended(old)
    assert own.poll() is None
    end_warden(own)
    old.stdin.close()


def test_nobody_ends_himself(monkeypatch):
    monkeypatch.setenv(EPOCH_VARIABLE, "mine")
    assert end_orphans(epoch="mine") == 0


def test_warden_acts_when_its_driver_lets_go(spawn):
    worker = spawn(**marks("one"))
    warden = start_warden("one")
    assert worker.poll() is None
    warden.stdin.close()
    assert warden.wait(timeout=30) == 0
    assert ended(worker)


def test_warden_acts_when_its_driver_is_killed(spawn):
    worker = spawn(**marks("one"))
    code = f"from hpcmat.dispatch.orphans import start_warden; start_warden('one'); {WAIT}"
    driver = spawn(code)
    [warden] = psutil.Process(driver.pid).children()
    assert worker.poll() is None
    driver.kill()
    assert ended(worker)
    psutil.wait_procs([warden], timeout=30)
    assert not warden.is_running() or warden.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(("module", "survives"), [("hpcmat.dispatch.interchange", False), ("code", True)])
def test_interchange_ends_with_its_driver(spawn, module, survives):
    """Both wait for their standard input, which stays open; a plain interpreter (negative control) goes on."""
    code = (
        "import os, subprocess, sys\n"
        "scripts = os.path.dirname(sys.executable)\n"
        "os.environ['PATH'] = scripts + os.pathsep + os.environ['PATH']\n"
        f"child = subprocess.Popen([sys.executable, '-m', '{module}'], stdin=0, stdout=subprocess.DEVNULL)\n"
        "print('ready', flush=True)\n"
        "child.wait()\n"
    )
    driver = spawn(code)
    [child] = psutil.Process(driver.pid).children()
    while not survives and child.name().startswith("python"):
        assert child.is_running(), "the interchange did not start"
        try:
            child.wait(timeout=0.05)
        except psutil.TimeoutExpired:
            continue
    driver.kill()
    driver.wait()
    _, alive = psutil.wait_procs([child], timeout=1 if survives else 30)
    assert bool(alive) is survives
    for process in alive:
        process.kill()
