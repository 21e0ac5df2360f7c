"""Promise 2: nothing that comes from a failed calculation is learnt, and each failure is told with what was done."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from harness import Trial

from hpcmat.campaign.events import Created
from hpcmat.campaign.evidence import Evidence
from hpcmat.campaign.planning import Planner
from hpcmat.campaign.spec import canonical_spec_json, load_campaign
from hpcmat.campaign.state import CampaignState
from hpcmat.campaign.structures import reference_structures, seed_structures
from hpcmat.engines.exploration import ExploreResult, run_explore
from hpcmat.engines.labelling import label_key
from hpcmat.engines.ladder import next_remedies
from hpcmat.engines.stillinger_weber import StillingerWeber
from hpcmat.engines.teacher import FAULTS, drawn_fault
from hpcmat.records import Failure, FailureKind, Label, decode, encode
from hpcmat.report.data import report_data
from hpcmat.steering.schedule import Action
from hpcmat.store.results import AttemptState, ResultStore
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.training import FitRequest, run_fit

EACH = 1.0 - 0.72**0.2
"""Probability of each of the five faults, so that 28 % of the executions fail."""
FAULTS_28 = ", ".join(f"{fault} = {EACH}" for fault in FAULTS)
KINDS = {
    FailureKind.CRASH,
    FailureKind.WALLTIME,
    FailureKind.NOT_FINITE,
    FailureKind.NOT_CONVERGED,
    FailureKind.CORRUPT_OUTPUT,
}


def first_labels(trial: Trial, folder: Path):
    """Structures of the cold start and of the reference: labelled in any run of this campaign."""
    campaign = load_campaign(trial.file)
    created = Created(
        "x",
        canonical_spec_json(campaign),
        "0",
        str(trial.store),
        seed_structures(campaign),
        reference_structures(campaign),
    )
    planner = Planner(campaign, Evidence(ResultStore(trial.store)), created)
    decision = planner.decide(Action.EXPLORE, CampaignState.of([(created, 0.0)]))
    frames = decode(ExploreResult, run_explore(decision.task.request, folder, 1)).frames
    return campaign.engine, [frame.structure for frame in frames] + list(created.references)


def seed_that_meets_every_fault(trial: Trial, folder: Path) -> int:
    engine, structures = first_labels(trial, folder)
    for seed in itertools.count():
        seeded = engine.model_copy(update={"seed": seed})
        if {drawn_fault(seeded, label_key(s, seeded), 1) for s in structures} >= set(FAULTS):
            return seed


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    trial = Trial(
        tmp_path_factory.mktemp("failures"),
        method="md",
        acquisition="i-optimal",
        labels=36,
        points=5,
        faults=FAULTS_28,
        walltime_s=4.0,
    )
    seed = seed_that_meets_every_fault(trial, tmp_path_factory.mktemp("explore"))
    text = trial.file.read_text().replace("[engine]", f"[engine]\nseed = {seed}")
    # Dynamics that the target stops at its first step would leave no frame for validation.
    trial.file.write_text(text.replace("cold_start = 10", "cold_start = 10\nsigma_stop_ev_per_ang = 1.0"))
    finished = trial.run()
    assert finished.returncode == 0, finished.stderr
    return trial


@pytest.fixture(scope="module")
def state(trial):
    return trial.state()


def label_tasks(state):
    return state.of_purpose("train", "validation", "reference")


def test_campaign_ends_complete_though_every_kind_of_failure_happened(state):
    assert state.ended.complete
    assert state.stopping.reason == "budget"
    assert len(state.done("train", "validation")) == 36
    assert len(state.done("validation")) >= 2
    assert {attempt.failure.failure for _, attempt in state.failures} >= KINDS


def test_every_execution_is_in_the_journal(trial, state):
    """Starts in the ledger, which failures cannot forge, against attempts in the journal."""
    told = {task.key: len(task.failures) + (task.status == "done") for task in label_tasks(state)}
    assert told == dict(trial.executions("start"))


def test_no_failed_attempt_is_in_any_fit_or_in_the_potential(trial, state):
    done = {task.key for task in label_tasks(state) if task.status == "done"}
    potential = Potential.load(trial.folder.potential)
    used = set(potential.metadata.train) | set(potential.metadata.validation)
    for fit in state.of_purpose("fit"):
        used |= set(fit.decision.train) | set(fit.decision.validation)
    assert used <= done
    for key in used:
        accepted = [a for a in trial.results().attempts(key) if a.record is not None and a.record.accepted]
        assert len(accepted) == 1
        assert json.loads(accepted[0].record.outcome)["kind"] == "label"
        assert drawn_fault(load_campaign(trial.file).engine, key, accepted[0].number) is None


def test_every_accepted_label_is_what_the_calculator_gives(trial, state):
    for task in state.done("train", "validation", "reference"):
        label = decode(Label, trial.results().read(task.key).outcome)
        atoms = Atoms(
            label.structure.symbols, label.structure.positions, cell=label.structure.cell, pbc=label.structure.pbc
        )
        atoms.calc = StillingerWeber()
        assert label.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
        np.testing.assert_allclose(label.forces, atoms.get_forces(), atol=1e-10)
        np.testing.assert_allclose(label.stress, atoms.get_stress(), atol=1e-10)


def test_each_failed_attempt_has_its_kind_and_its_record(trial, state):
    expected = dict(
        zip(
            FAULTS,
            (
                FailureKind.CRASH,
                FailureKind.WALLTIME,
                FailureKind.NOT_FINITE,
                FailureKind.NOT_CONVERGED,
                FailureKind.CORRUPT_OUTPUT,
            ),
            strict=True,
        )
    )
    engine = load_campaign(trial.file).engine
    for task in label_tasks(state):
        attempts = trial.results().attempts(task.key)
        assert all(attempt.state is AttemptState.DONE for attempt in attempts)
        for attempt, told in zip(attempts, task.failures, strict=False):
            assert told.failure.failure is expected[drawn_fault(engine, task.key, attempt.number)]
            assert not attempt.record.accepted
            assert told.execution == attempt.record.execution


def test_report_says_what_was_done_about_each(trial, state):
    report = report_data(state, trial.results())
    rows = report.failed_attempts
    assert len(rows) == report.failures == len(state.failures) > 0
    for task in state.tasks.values():
        told = [row for row in rows if row.task == task.id]
        assert [row.kind for row in told] == [attempt.failure.failure.value for attempt in task.failures]
        tried: list[tuple[str, ...]] = []
        for row, attempt in zip(told, task.failures, strict=True):
            tried.append(attempt.remedies)
            assert row.tried == attempt.remedies
            assert row.next_remedies == next_remedies(attempt.failure, tuple(tried))
            assert row.ending == ("cured" if task.status == "done" else "given up")
    groups = {group.kind: group for group in report.failures_by_kind}
    assert sum(group.attempts for group in groups.values()) == len(rows)
    assert groups[FailureKind.NOT_CONVERGED.value].remedies[0] == "mixing"
    assert any(group.cured for group in groups.values())


@pytest.mark.parametrize("damage", ["number", "truncated", "failed"])
def test_damaged_result_is_not_trained_on(trial, state, tmp_path, damage):
    """Negative control: the same fit succeeds while the record is whole."""
    store = ResultStore(shutil.copytree(trial.store, tmp_path / "store"))
    fit = state.done("fit")[0]
    request = FitRequest(str(store.root), Potential.load(trial.folder.potential).settings, fit.decision.train)
    whole, spoiled = tmp_path / "whole", tmp_path / "spoiled"
    whole.mkdir()
    spoiled.mkdir()
    assert json.loads(run_fit(encode(request), whole, 1))["kind"] == "fit"
    key = fit.decision.train[0]
    path = store.folder(key) / "record.json"
    text = path.read_text()
    if damage == "number":
        energy = json.loads(store.read(key).outcome)["energy"]
        changed = text.replace(repr(energy), repr(energy - 1.0))
        assert changed != text
        path.write_text(changed)
    elif damage == "truncated":
        path.write_text(text[: len(text) // 2])
    else:
        path.unlink()
    failure = decode(Failure, run_fit(encode(request), spoiled, 1))
    assert failure.failure is FailureKind.CORRUPT_OUTPUT
    assert key[:8] in failure.message
    assert not (spoiled / "potential.npz").exists()


def test_engine_that_always_fails_ends_the_campaign_with_a_sentence(tmp_path):
    trial = Trial(tmp_path, labels=24, faults="crash = 1.0")
    finished = trial.run()
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)
    assert report["labels"] == 0
    assert "10 labels in a row given up, the last one engine crash: died by SIGSEGV" in report["outcome"]
    assert trial.state().stopping.reason == "failures"
    assert trial.executions("end") == {}
    assert not trial.folder.potential.exists()
    starts = trial.executions("start")
    assert set(starts.values()) <= {1, 2, 3}
    assert starts.total() <= 3 * 13
