"""Allocations of a campaign: asked for once, looked at, succeeded, given back; against schedulers of a few lines."""

import os

import pytest
from harness import Trial
from pjm import Pjm

from hpcmat.campaign.allocations import (
    Errand,
    Wish,
    give_back,
    read_ledger,
    standing,
    submit_campaign,
    submit_successor,
)
from hpcmat.dispatch.batch import scheduler
from hpcmat.dispatch.sites import load_site
from hpcmat.errors import BusyError, DispatchError, InputError

SITE = """
name = "mine"
kind = "{kind}"
verified = "never run"
cores_per_node = 4
[batch]
account = "hp1"
python = "echo"
queues = [{{ name = "small", max_nodes = 8, max_walltime_h = 24 }}]
"""

# What each scheduler prints, as its manual shows it: on submission, while the job waits, runs, is gone.
SCHEDULERS = {
    "slurm": {
        "sbatch": "echo 'Submitted batch job 41'",
        "scontrol": 'echo "JobId=41 JobState=$(cat state)"',
        "scancel": "echo CANCELLED >state",
        "states": ("PENDING", "RUNNING", "COMPLETED"),
    },
    "pbs": {
        "qsub": "echo 41.pbs1",
        "qstat": 'printf "Job Id: 41.pbs1\\n    job_state = $(cat state)\\n"',
        "qdel": "echo F >state",
        "states": ("Q", "R", "F"),
    },
    "gridengine": {
        "qsub": "echo 'Your job 41 (\"hpcmat-trial\") has been submitted'",
        "qstat": 'echo "job-ID prior name"; [ $(cat state) = gone ] || echo " 41 0.5 hpcmat me $(cat state) x"',
        "qdel": "echo gone >state",
        "states": ("qw", "r", "gone"),
    },
}


class Bench:
    """A campaign file, a site, and a folder of commands on the PATH."""

    def __init__(self, root, monkeypatch):
        self.root, self.bin = root, root / "bin"
        self.bin.mkdir(exist_ok=True)
        monkeypatch.chdir(root)
        monkeypatch.setenv("PATH", str(self.bin), prepend=os.pathsep)
        trial = Trial(root / "trial")
        self.errand = Errand("trial", trial.file, trial.folder, trial.store)
        self.folder = trial.folder

    def command(self, name, body):
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.root}/calls\ncd {self.root}\n{body}\n')
        path.chmod(0o755)

    def site(self, kind):
        (self.root / "site.toml").write_text(SITE.format(kind=kind))
        return load_site(self.root / "site.toml")

    def scheduler(self, kind):
        for name, body in SCHEDULERS[kind].items():
            if name != "states":
                self.command(name, body)
        self.say(SCHEDULERS[kind]["states"][0])
        return self.site(kind)

    def say(self, state):
        (self.root / "state").write_text(state)

    @property
    def calls(self):
        return (self.root / "calls").read_text().splitlines()


@pytest.fixture
def bench(tmp_path, monkeypatch):
    return Bench(tmp_path, monkeypatch)


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_allocation_from_submission_to_end(bench, kind):
    site = bench.scheduler(kind)
    (submitted,) = submit_campaign(bench.errand, site, Wish(walltime_h=2.0))
    assert submitted.job.startswith("41")
    assert read_ledger(bench.folder).submissions == (submitted,)
    script = (bench.folder.root / "allocation-1.sh").read_text()
    assert f"hpcmat run {bench.errand.file} --site {bench.root}/site.toml --out {bench.folder.root}" in script
    for said, state in zip(SCHEDULERS[kind]["states"], ("pending", "running", "ended"), strict=True):
        bench.say(said)
        assert scheduler.state_of(submitted) == state
    assert standing(bench.folder) == []


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_waiting_allocation_is_given_back_and_a_running_one_is_not(bench, kind):
    submit_campaign(bench.errand, bench.scheduler(kind), Wish())
    bench.say(SCHEDULERS[kind]["states"][1])
    assert give_back(bench.folder) == []
    bench.say(SCHEDULERS[kind]["states"][0])
    assert [known.job[:2] for known in give_back(bench.folder)] == ["41"]
    assert standing(bench.folder) == []


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_scheduler_without_an_answer_ends_nothing(bench, kind):
    (submitted,) = submit_campaign(bench.errand, bench.scheduler(kind), Wish())
    for name in ("scontrol", "qstat"):
        bench.command(name, "echo 'Connection refused' >&2; exit 1")
    assert scheduler.state_of(submitted) == "unknown"
    with pytest.raises(BusyError, match="is unknown on mine"):
        submit_campaign(bench.errand, bench.site(kind), Wish())


@pytest.mark.parametrize(
    ("kind", "variable", "option"),
    [
        ("slurm", "SLURM_JOB_ID", "--dependency=afterany:41"),
        ("pbs", "PBS_JOBID", "-W depend=afterany:41.pbs1"),
        ("gridengine", "JOB_ID", "-hold_jid 41"),
    ],
)
def test_successor_is_asked_for_once_and_waits_for_its_predecessor(bench, kind, variable, option):
    (first,) = submit_campaign(bench.errand, bench.scheduler(kind), Wish())
    assert submit_successor(bench.folder, {}) is None
    assert submit_successor(bench.folder, {variable: "40"}) is None
    second = submit_successor(bench.folder, {variable: first.job})
    assert (second.after, second.script) == (first.job, first.script)
    assert option in bench.calls[-1]
    assert submit_successor(bench.folder, {variable: first.job}) is None


def test_refused_successor_leaves_the_campaign_alone(bench, caplog):
    (first,) = submit_campaign(bench.errand, bench.scheduler("slurm"), Wish())
    bench.command("sbatch", "echo 'sbatch: error: Access denied' >&2; exit 1")
    assert submit_successor(bench.folder, {"SLURM_JOB_ID": first.job}) is None
    assert "Access denied" in caplog.text


def test_marks_of_a_driver_do_not_reach_its_successor(bench, monkeypatch):
    """Orphan control would end the successor with the processes of the driver that submitted it."""
    site = bench.scheduler("slurm")
    bench.command("sbatch", "env >sbatch.env; echo 'Submitted batch job 41'")
    monkeypatch.setenv("HPCMAT_EPOCH", "abc")
    monkeypatch.setenv("HPCMAT_CAMPAIGN", "abc")
    monkeypatch.setenv("HPCMAT_DATA", "kept")
    submit_campaign(bench.errand, site, Wish())
    seen = (bench.root / "sbatch.env").read_text()
    assert "HPCMAT_DATA=kept" in seen
    assert "HPCMAT_EPOCH" not in seen
    assert "HPCMAT_CAMPAIGN" not in seen


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo 'invalid partition' >&2; exit 1", "sbatch refused the job: invalid partition; change what it names"),
        ("echo hello", "sbatch named no job: hello; look for it"),
    ],
)
def test_refused_submission(bench, body, message):
    site = bench.scheduler("slurm")
    bench.command("sbatch", body)
    with pytest.raises(DispatchError, match=message):
        submit_campaign(bench.errand, site, Wish())
    assert read_ledger(bench.folder).submissions == ()


def test_what_cannot_be_granted_writes_nothing(bench):
    site = bench.scheduler("slurm")
    for wish, message in ((Wish(nodes=2), "fills one node"), (Wish(walltime_h=25.0), "small takes 24 h or less")):
        with pytest.raises(InputError, match=message):
            submit_campaign(bench.errand, site, wish)
    assert not bench.folder.root.exists()


def test_machine_without_the_scheduler(bench, monkeypatch):
    monkeypatch.setenv("PATH", str(bench.bin))
    with pytest.raises(DispatchError, match="no command sbatch here; is this a login node"):
        submit_campaign(bench.errand, bench.site("slurm"), Wish())


def test_allocations_of_pjm_are_the_steps_of_one_job(bench, tmp_path, monkeypatch):
    """Jobs cannot submit jobs there, so that all are asked for at once."""
    pjm = Pjm(tmp_path / "pjm")
    monkeypatch.setenv("PATH", str(pjm.bin), prepend=os.pathsep)
    submitted = submit_campaign(bench.errand, bench.site("pjm"), Wish(), allocations=3)
    parent = submitted[0].job.split("_")[0]
    assert [known.job for known in submitted] == [f"{parent}_{number}" for number in range(3)]
    assert submit_successor(bench.folder, {"PJM_JOBID": submitted[0].job}) is None
    for known in submitted:
        pjm.pass_time(1)
        pjm.await_script(known.job)
    assert standing(bench.folder) == []
    output = bench.folder.root / f"hpcmat-trial.{submitted[2].job}.out"
    assert output.read_text().startswith(f"-m hpcmat run {bench.errand.file}")
