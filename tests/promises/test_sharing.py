"""One store, several campaigns: what one of them has computed costs the others nothing."""

import json

import pytest
from harness import Trial

from hpcmat.campaign.spec import load_campaign
from hpcmat.engines.labelling import label_key
from hpcmat.engines.settings import DurationSettings, FaultSettings
from hpcmat.records import Label, decode
from hpcmat.report.data import report_data

LABELS = ("train", "validation", "reference")
ALWAYS = 15
"""The cold start and the reference cells: labelled by every run, in whatever order its tasks end."""


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    trial = Trial(tmp_path_factory.mktemp("first"), labels=20, points=5)
    finished = trial.run()
    assert finished.returncode == 0, finished.stderr
    assert len(trial.executions("end")) == 25
    return trial


def follower(first, root, **changes):
    return Trial(root, labels=20, points=5, store=first.store, **changes)


def test_second_campaign_executes_nothing_that_the_first_has_done(first, tmp_path):
    """Its walltime, faults, durations and ledger differ: none of them is physics."""
    second = follower(first, tmp_path, walltime_s=30.0, faults="truncated = 0.1", median_s=0.1)
    before = first.ledger.read_text()
    finished = second.run()
    assert finished.returncode == 0, finished.stderr
    assert first.ledger.read_text() == before
    assert not second.executions("start").keys() & first.label_keys()
    state = second.state()
    labels = state.done(*LABELS)
    common = [task for task in labels if task.key in first.label_keys()]
    assert len(labels) == 25
    assert len(common) >= ALWAYS
    assert {task.adopted for task in common} == {"earlier campaign"}
    assert sum(task.node_hours for task in common) == 0.0
    report = report_data(state, second.results())
    assert sum(row.reused for row in report.labels_by_purpose) == len(common)
    assert report.cost.node_hours_saved > 0.0


def test_damaged_result_is_executed_again(first, tmp_path):
    """Negative control of the test above: the ledger does notice an execution."""
    key = first.state().done("train")[0].key
    path = first.results().folder(key) / "record.json"
    energy = json.loads(first.results().read(key).outcome)["energy"]
    path.write_text(path.read_text().replace(repr(energy), repr(energy + 1.0)))
    third = follower(first, tmp_path)
    finished = third.run()
    assert finished.returncode == 0, finished.stderr
    assert third.executions("end").keys() & first.label_keys() == {key}
    assert decode(Label, third.results().read(key).outcome).energy == energy
    [again] = [task for task in third.state().done(*LABELS) if task.key == key]
    assert not again.adopted
    assert again.node_hours > 0.0


def test_two_campaigns_at_once_execute_each_label_once(tmp_path):
    store, ledger = tmp_path / "store", tmp_path / "ledger"
    pair = [
        Trial(tmp_path / name, name=name, labels=20, median_s=0.5, sigma=0.3, store=store, ledger=ledger)
        for name in ("one", "two")
    ]
    drivers = [trial.start() for trial in pair]
    assert [driver.wait(timeout=300) for driver in drivers] == [0, 0], [trial.errors for trial in pair]
    both = pair[0].label_keys() | pair[1].label_keys()
    assert len(pair[0].label_keys() & pair[1].label_keys()) >= 10
    assert dict(pair[0].executions("start")) == dict.fromkeys(both, 1)
    assert pair[0].executions("end") == pair[0].executions("start")
    labels = [task for trial in pair for task in trial.state().done(*LABELS)]
    assert sorted(task.key for task in labels if task.adopted != "earlier campaign") == sorted(both)
    assert not any(trial.state().failures for trial in pair)


def test_only_physics_is_in_the_key(first):
    campaign = load_campaign(first.file)
    structure = first.state().created.references[0]
    key = label_key(structure, campaign.engine)
    roads = {
        "ledger": None,
        "faults": FaultSettings(hang=0.5),
        "duration": DurationSettings(median_s=3.0),
    }
    for name, value in roads.items():
        assert label_key(structure, campaign.engine.model_copy(update={name: value})) == key
    assert label_key(structure, campaign.engine.model_copy(update={"calculator": "tersoff"})) != key
    assert label_key(first.state().created.references[1], campaign.engine) != key
