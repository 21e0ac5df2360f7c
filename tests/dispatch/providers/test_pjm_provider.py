"""The PJM provider against an emulated PJM: every end in its right typed outcome, and no state invented."""

import os
from pathlib import Path

import pytest
from parsl.jobs.states import JobState
from parsl.providers.errors import SubmitException
from pjm import Pjm

from hpcmat.dispatch.providers.pjm.codes import Reaction, meaning_of
from hpcmat.dispatch.providers.pjm.failures import failure_of
from hpcmat.dispatch.providers.pjm.provider import PJMProvider, valid_name
from hpcmat.dispatch.providers.pjm.rules import violations
from hpcmat.records import FailureKind

FOREVER = "sleep 600"


@pytest.fixture
def pjm(tmp_path, monkeypatch):
    emulator = Pjm(tmp_path, nodes=16)
    monkeypatch.setenv("PATH", str(emulator.bin), prepend=os.pathsep)
    yield emulator
    emulator.kill_all()


@pytest.fixture
def make(tmp_path):
    def build(**settings):
        provider = PJMProvider("small", **({"group": "hp1"} | settings))
        provider.script_dir = str(tmp_path / "scripts")
        Path(provider.script_dir).mkdir(exist_ok=True)
        return provider

    return build


def state_of(provider, job):
    return provider.status([job])[0].state


def end_of(provider, job):
    return provider.status([job])[0], provider.resources[job]["end"]


def test_block_is_pending_until_it_runs_and_completes_with_its_output(pjm, make):
    provider = make(nodes_per_block=12)
    first = provider.submit("echo $PJM_NODE $PJM_RSCGRP; echo wrong >&2", 1)
    second = provider.submit(FOREVER, 1)
    third = provider.submit(FOREVER, 1)
    assert (first, second, third) == ("9714", "9715", "9716")
    pjm.await_script(first)
    states = [status.state for status in provider.status([first, second, third])]
    assert states == [JobState.COMPLETED, JobState.RUNNING, JobState.PENDING]
    status, end = end_of(provider, first)
    assert (status.stdout, status.stderr, status.exit_code) == ("12 small\n", "wrong\n", 0)
    assert failure_of(end) is None


def test_job_inherits_no_environment(pjm, make, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_LOGIN", "x")
    provider = make()
    job = provider.submit("env | grep -c SECRET_OF_THE_LOGIN", 1)
    pjm.await_script(job)
    assert provider.status([job])[0].stdout == "0\n"


ENDS = [
    (11, "EXT", JobState.TIMEOUT, FailureKind.WALLTIME, Reaction.RESUME),
    (12, "EXT", JobState.FAILED, FailureKind.OUT_OF_MEMORY, Reaction.MORE_MEMORY),
    (18, "CCL", JobState.TIMEOUT, FailureKind.PREEMPTED, Reaction.RESUME),
    (20, "EXT", JobState.FAILED, FailureKind.NODE_LOST, Reaction.RETRY_ELSEWHERE),
    (23, "EXT", JobState.FAILED, FailureKind.OUT_OF_MEMORY, Reaction.MORE_MEMORY),
    (7, "CCL", JobState.TIMEOUT, FailureKind.PREEMPTED, Reaction.RESUME),
    (120, "EXT", JobState.FAILED, FailureKind.NODE_LOST, Reaction.RETRY_LATER),
    (77, "EXT", JobState.FAILED, FailureKind.NODE_LOST, Reaction.REPORT),
]


def test_each_end_has_its_typed_outcome(pjm, make):
    provider = make()
    jobs = [provider.submit(FOREVER, 1) for _ in ENDS]
    assert {status.state for status in provider.status(jobs)} == {JobState.RUNNING}
    for job, (code, st, *_) in zip(jobs, ENDS, strict=True):
        pjm.end(job, code, st, reason="BECAUSE")
    for status, job, (code, _, *expected) in zip(provider.status(jobs), jobs, ENDS, strict=True):
        end = provider.resources[job]["end"]
        assert [status.state, failure_of(end).failure, meaning_of(end).reaction] == expected
        assert f"PJM code {code}" in failure_of(end).message
        assert "BECAUSE" in status.message


def test_script_that_fails_is_the_programs_fault(pjm, make):
    provider = make()
    job = provider.submit("exit 3", 1)
    pjm.await_script(job)
    status, end = end_of(provider, job)
    failure = failure_of(end)
    assert (status.state, failure.failure, failure.exit_code) == (JobState.FAILED, FailureKind.CRASH, 3)


def test_walltime_ends_the_block_and_its_processes(pjm, make):
    provider = make(walltime="00:10:00")
    job = provider.submit(FOREVER, 1)
    pjm.pass_time(600)
    assert state_of(provider, job) is JobState.RUNNING
    pjm.pass_time(1)
    assert state_of(provider, job) is JobState.TIMEOUT


def test_beyond_the_guaranteed_time_another_job_ends_the_block(pjm, make):
    provider = make(nodes_per_block=12, walltime="100:00:00", guaranteed_walltime="01:00:00")
    job = provider.submit(FOREVER, 1)
    pjm.pass_time(7200)
    assert state_of(provider, job) is JobState.RUNNING
    other = provider.submit(FOREVER, 1)
    status, end = end_of(provider, job)
    assert (status.state, end.code, end.reason) == (JobState.TIMEOUT, 18, "ANOTHER JOB STARTED")
    assert state_of(provider, other) is JobState.RUNNING


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"group": None}, "PJM 0079"),
        ({"group": "fugaku"}, "PJM 0079"),
        ({"walltime": "72:00:01"}, "PJM 0057"),
        ({"nodes_per_block": 385}, "PJM 0057"),
    ],
)
def test_refused_submission_raises_what_pjm_said(pjm, make, settings, text):
    provider = make(**settings)
    with pytest.raises(SubmitException, match=text):
        provider.submit(FOREVER, 1)
    assert (provider.resources, pjm.jobs()) == ({}, [])


def test_unclear_answer_to_a_submission_raises_and_says_that_a_job_may_exist(pjm, make):
    pjm.misbehave("pjsub", "garbled", "empty")
    for _ in range(2):
        with pytest.raises(SubmitException, match="pjstat may know a job"):
            make().submit(FOREVER, 1)


@pytest.mark.parametrize("command", ["pjwait", "pjstat"])
def test_unclear_answers_leave_states_as_they_were(pjm, make, command):
    provider = make()
    job = provider.submit(FOREVER, 1)
    assert state_of(provider, job) is JobState.RUNNING
    moods = ["garbled", "truncated", "banner", "broken"]
    pjm.misbehave(command, *moods)
    assert [state_of(provider, job) for _ in moods] == [JobState.RUNNING] * 4


def test_commands_that_hang_are_given_up_and_leave_states_as_they_were(pjm, make):
    provider = make(cmd_timeout=0.3)
    provider._commands.timeout_s = 10
    job = provider.submit(FOREVER, 1)
    assert state_of(provider, job) is JobState.RUNNING
    provider._commands.timeout_s = 0.3
    pjm.misbehave("pjwait", "slow")
    assert state_of(provider, job) is JobState.RUNNING


def test_without_pjm_nothing_is_known(tmp_path, make, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SubmitException, match="is this a login node"):
        make().submit(FOREVER, 1)


def test_an_end_is_final(pjm, make):
    provider = make()
    job = provider.submit(FOREVER, 1)
    pjm.end(job, 20)
    assert state_of(provider, job) is JobState.FAILED
    pjm.set(job, st="RUN", pc=0)
    assert state_of(provider, job) is JobState.FAILED
    assert provider.cancel([job]) == [True]
    assert state_of(provider, job) is JobState.FAILED


def test_empty_answer_is_no_end(pjm, make):
    """pjwait keeps silent about what it does not know, with exit status 0."""
    provider = make()
    job = provider.submit(FOREVER, 1)
    assert state_of(provider, job) is JobState.RUNNING
    pjm.misbehave("pjwait", "empty")
    assert state_of(provider, job) is JobState.RUNNING


def test_rejected_and_held_and_broken_jobs(pjm, make):
    provider = make()
    rejected, held, broken = (provider.submit(FOREVER, 1) for _ in range(3))
    for job, st in ((rejected, "RJT"), (held, "HLD"), (broken, "ERR")):
        pjm.end(job, 0, st)
    pjm.set(rejected, pc=2)
    states = [status.state for status in provider.status([rejected, held, broken])]
    assert states == [JobState.FAILED, JobState.HELD, JobState.FAILED]
    assert failure_of(provider.resources[rejected]["end"]).failure is FailureKind.BAD_SETTINGS
    assert failure_of(provider.resources[broken]["end"]).failure is FailureKind.NODE_LOST


def test_cancelled_block_is_gone(pjm, make):
    provider = make()
    job = provider.submit(FOREVER, 1)
    assert provider.cancel([job]) == [True]
    assert state_of(provider, job) is JobState.CANCELLED
    assert pjm.job(job)["st"] == "CCL"


def test_block_in_its_prologue_is_deleted_at_a_later_look(pjm, make):
    pjm.slow_start(8)
    provider = make()
    job = provider.submit(FOREVER, 1)
    assert provider.cancel([job]) == [False]
    states = [state_of(provider, job) for _ in range(4)]
    assert (states[0], states[-1]) == (JobState.RUNNING, JobState.CANCELLED)
    assert pjm.job(job)["st"] == "CCL"


def test_unanswered_deletion_is_asked_for_again(pjm, make):
    provider = make()
    job = provider.submit(FOREVER, 1)
    pjm.misbehave("pjdel", "broken")
    provider._commands.timeout_s = 10
    assert provider.cancel([job]) == [False]
    assert provider.cancel([job]) == [True]


@pytest.mark.parametrize("name", ["parsl.HTEX.block-0.1700000000.5", "0-digit first", "é" * 80, "a" * 80])
def test_any_name_becomes_one_that_pjm_takes(name):
    script = f'#!/bin/bash\n#PJM --name {valid_name(name)}\n#PJM -L "node=1"\n#PJM -L "rscgrp=a"\n#PJM -L "elapse=1"\n'
    assert [found.rule for found in violations(script)] == ["group"]


def test_provider_shows_its_settings_as_parsl_wants(make):
    shown = repr(make(nodes_per_block=2, polling_interval=7))
    assert shown.startswith("PJMProvider(\n    'small'")
    assert all(text in shown for text in ("group='hp1'", "nodes_per_block=2", "polling_interval=7"))


def test_script_of_a_block_satisfies_the_rules_of_fugaku(pjm, make):
    provider = make(nodes_per_block=12, node_shape="2x3x2:torus", guaranteed_walltime="00:30:00", cores_per_node=48)
    job = provider.submit("echo block", 4)
    script = pjm.job(job)["script"]
    assert violations(script) == ()
    assert '"elapse=00:30:00-01:00:00"' in script
    assert '"proc=48,max-proc-per-node=4"' in script
    assert "export PARSL_CORES=12" in script
