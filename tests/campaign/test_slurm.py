"""A campaign through a real Slurm: submitted, drained, taken up by its successor, given back."""

import json

import pytest
from harness import Trial
from slurm import running_slurm

from hpcmat.campaign.allocations import read_ledger
from hpcmat.cli.app import run

SITE = """
name = "sim"
kind = "slurm"
verified = "a Slurm on one machine"
cores_per_node = 2
setup = ['{setup}']
[environment]
OMP_NUM_THREADS = "1"
[batch]
walltime_h = 0.5
options = {options}
queues = [{{ name = "{queue}" }}]
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with running_slurm(tmp_path_factory.mktemp("slurm"), nodes=2) as daemons:
        yield daemons


class Login:
    """A user's shell on the login node."""

    def __init__(self, root, capsys):
        self.trial = Trial(root, labels=20)
        self.root, self.capsys = root, capsys

    def site(self, setup="true", options="[]", queue="default"):
        (self.root / "sim.toml").write_text(SITE.format(setup=setup, options=options, queue=queue))

    def hpcmat(self, *words):
        """Exit code and answer."""
        code = run([*words, "--json"])
        return code, json.loads(self.capsys.readouterr().out)

    def submit(self):
        places = ("--out", str(self.trial.folder.root), "--store", str(self.trial.store))
        return self.hpcmat("submit", str(self.trial.file), "--site", "sim.toml", *places)

    def about(self, command):
        return self.hpcmat(command, str(self.trial.folder.root))


@pytest.fixture
def login(tmp_path, slurm, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    return Login(tmp_path, capsys)


def test_campaign_is_drained_and_completed_by_its_successor(login, slurm):
    """The first allocation is told to drain at once; its successor does the work, and nothing twice."""
    drain = f"[ -e {login.root}/once ] || export HPCMAT_DRAIN_AT=1; touch {login.root}/once"
    login.site(setup=drain)
    code, answer = login.submit()
    assert code == 0, answer
    (first,) = answer
    slurm.await_jobs()
    submissions = read_ledger(login.trial.folder).submissions
    assert [known.after for known in submissions] == ["", first["job"]]
    assert {slurm.states()[known.job] for known in submissions} == {"COMPLETED"}
    state = login.trial.state()
    assert [run.ended is not None for run in state.runs] == [True, True]
    assert state.ended.complete
    assert set(login.trial.executions("end").values()) == {1}
    _, status = login.about("status")
    assert (status["phase"], status["allocations"]) == ("complete", [])


def test_waiting_allocation_is_seen_and_given_back(login, slurm):
    login.site(options='["--hold"]')
    _, (submitted,) = login.submit()
    code, status = login.about("status")
    assert (code, status["phase"]) == (0, "not started")
    assert [(row["job"], row["state"]) for row in status["allocations"]] == [(submitted["job"], "pending")]
    assert login.submit()[0] == 5
    assert login.about("stop") == (
        0,
        {"folder": str(login.trial.folder.root), "was_running": False, "given_back": [submitted["job"]]},
    )
    assert slurm.states()[submitted["job"]] == "CANCELLED"


def test_plan_asks_slurm_what_its_nodes_have(login):
    code, plan = login.hpcmat("plan", str(login.trial.file), "--site", "slurm")
    assert (code, plan["site"]["cores_per_node"], plan["site"]["workers"]) == (0, 2, 2)
    assert "#SBATCH --exclusive" in plan["allocation"]["script"]


def test_refusal_of_the_scheduler_is_told_in_its_own_words(login):
    login.site(queue="nowhere")
    code, answer = login.submit()
    assert code == 4
    assert "invalid partition specified: nowhere" in answer["error"]
    assert not login.trial.folder.allocations.exists()
