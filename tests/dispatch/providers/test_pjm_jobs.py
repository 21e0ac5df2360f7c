"""Bulk and step jobs of an emulated PJM, watched by id."""

import os

import pytest
from parsl.jobs.states import JobState
from pjm import Pjm

from hpcmat.dispatch.providers.pjm.commands import PjmCommands, Refused
from hpcmat.dispatch.providers.pjm.watch import JobWatch

SCRIPT = """\
#!/bin/bash
#PJM --name camp
#PJM -L "node=1"
#PJM -L "rscgrp=small"
#PJM -L "elapse=10:00"
#PJM -g hp1
"""


@pytest.fixture
def pjm(tmp_path, monkeypatch):
    emulator = Pjm(tmp_path)
    monkeypatch.setenv("PATH", str(emulator.bin), prepend=os.pathsep)
    yield emulator
    emulator.kill_all()


@pytest.fixture
def script(tmp_path):
    def write(body):
        path = tmp_path / "camp.sh"
        path.write_text(SCRIPT + body)
        return path

    return write


def watch(*jobs):
    watching = JobWatch(PjmCommands())
    for job in jobs:
        watching.add(job)
    watching.refresh()
    return {job: known.state for job, known in watching.jobs.items()}


def test_jobs_of_a_bulk_know_their_number_and_end_one_by_one(pjm, script, tmp_path):
    parent = PjmCommands().submit(
        script('echo "$PJM_BULKNUM of $PJM_JOBID"; exit $PJM_BULKNUM\n'), "--bulk", "--sparam", "0-1"
    )
    jobs = [f"{parent}[0]", f"{parent}[1]"]
    assert pjm.jobs() == jobs
    for job in jobs:
        pjm.await_script(job)
    assert watch(*jobs) == {jobs[0]: JobState.COMPLETED, jobs[1]: JobState.FAILED}
    assert (tmp_path / f"camp.{jobs[1]}.out").read_text() == f"1 of {parent}\n"


def test_step_follows_the_one_before_where_its_condition_holds(pjm, script):
    commands = PjmCommands()
    first = commands.submit(script("exit 75\n"), "--step")
    parent = first.split("_")[0]
    second = commands.submit(script("exit 0\n"), "--step", "--sparam", f"jid={parent},sd=ec!=75:all")
    third = commands.submit(script("exit 75\n"), "--step", "--sparam", f"jid={parent},sd=ec!=75:all")
    assert (first, second, third) == (f"{parent}_0", f"{parent}_1", f"{parent}_2")
    pjm.await_script(first)
    pjm.pass_time(1)
    pjm.await_script(second)
    assert watch(first, second, third) == {
        first: JobState.FAILED,
        second: JobState.COMPLETED,
        third: JobState.CANCELLED,
    }


def test_deleting_what_is_not_there_is_done_and_what_is_ending_is_not(pjm, script):
    commands = PjmCommands()
    assert commands.delete("4711")
    pjm.slow_start(5)
    job = commands.submit(script("sleep 600\n"))
    assert not commands.delete(job)


def test_refusal_carries_the_words_of_pjm(pjm, script, tmp_path):
    path = script("true\n")
    path.write_text(path.read_text().replace("-g hp1", "--all-mount-gfscache -g hp1"))
    with pytest.raises(Refused, match=r"\[ERR\.\] PJM 0055"):
        PjmCommands().submit(path)
