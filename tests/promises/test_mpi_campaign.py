"""MPI labels of 1 to 4 nodes through a real Slurm: a node fails, the job is cancelled, the next allocation goes on."""

import json
import subprocess
import sys
import threading

import pytest
from harness import Trial
from slurm import running_slurm

from hpcmat.campaign.allocations import read_ledger
from hpcmat.records import FailureKind

SITE = """
name = "sim"
kind = "slurm"
verified = "a Slurm on one machine"
cores_per_node = 2
launcher = "srun"
launcher_options = ["--mpi=pmi2"]
[tasks.label]
atoms_per_node = 8
ranks_per_node = 2
[environment]
OMP_NUM_THREADS = "1"
[batch]
nodes = 4
walltime_h = 0.5
options = ["--exclusive"]
queues = [{ name = "default" }]
"""
LABELS = 14
NEVER = threading.Event()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with running_slurm(tmp_path_factory.mktemp("slurm"), nodes=4) as daemons:
        yield daemons


def submit(trial, slurm):
    """What a user types on the login node; the id of the job."""
    words = ["submit", str(trial.file), "--site", "sim.toml", "--out", str(trial.folder.root), "--json"]
    command = [sys.executable, "-m", "hpcmat", *words, "--store", str(trial.store)]
    done = subprocess.run(command, cwd=trial.root, env=slurm.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)[0]["job"]


def until(trial, slurm, job, reached):
    """Wait for a state of the ledger while the job runs."""
    while not reached(trial.executions("start").total(), trial.executions("end").total()):
        assert slurm.states()[job] in {"PENDING", "RUNNING"}, output(trial)
        NEVER.wait(0.2)


def output(trial):
    return "\n".join(path.read_text() for path in trial.folder.root.glob("*.out"))


def test_labels_of_many_nodes_survive_a_lost_node_and_a_cancelled_job(tmp_path, slurm):
    cells = ("1, 1, 1", "2, 1, 1", "3, 1, 1", "2, 2, 1")
    trial = Trial(tmp_path, labels=LABELS, cold_start=3, pool_min=1, repeats=cells, median_s=1.5)
    (tmp_path / "sim.toml").write_text(SITE)
    first = submit(trial, slurm)
    until(trial, slurm, first, lambda started, ended: ended >= 2)
    slurm.set_down(busy_node(trial, slurm, first))
    ended_before = trial.executions("end").total()
    until(trial, slurm, first, lambda started, ended: ended >= ended_before + 2 and started > ended)
    slurm.cancel(first)
    slurm.await_jobs()
    assert not trial.folder.driven
    done_before = {task.key for task in trial.state().done("train", "validation")}
    slurm.await_idle()

    second = submit(trial, slurm)
    slurm.await_jobs()
    assert slurm.states()[second] == "COMPLETED", output(trial)
    assert [known.job for known in read_ledger(trial.folder).submissions] == [first, second]
    state = trial.state()
    assert state.ended.complete
    assert len(state.done("train", "validation")) == LABELS
    assert done_before
    assert_nothing_lost_or_repeated(trial, state)
    assert {task.execution.nodes for task in state.done("train", "validation")} == {1, 2, 3, 4}
    assert not trial.processes()


def busy_node(trial, slurm, job):
    """A node on which a step of a job runs, but not the first one: the driver is there."""
    while not (busy := [name for name in slurm.steps(job) if name != slurm.names[0]]):
        assert slurm.states()[job] == "RUNNING", output(trial)
        NEVER.wait(0.1)
    return max(busy)


def assert_nothing_lost_or_repeated(trial, state):
    """One end for every label; more starts than one only where the machine took the attempt, which costs nothing."""
    labels = trial.label_keys()
    starts, ends = trial.executions("start"), trial.executions("end")
    assert set(ends) == labels
    assert set(ends.values()) == {1}
    for key in labels:
        attempts = trial.results().attempts(key)
        assert sum(attempt.record is not None and attempt.record.accepted for attempt in attempts) == 1
        assert starts[key] <= len(attempts)
    kinds = {attempt.failure.failure for _, attempt in state.failures}
    assert FailureKind.NODE_LOST in kinds, "the node that was set down had no label on it"
    assert all(kind.free for kind in kinds), kinds
