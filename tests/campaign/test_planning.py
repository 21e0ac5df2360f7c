"""Decisions: the same for the same journal, never mixing what is trained on with what judges."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from campaign_events import campaign_of, created, decided, fold, run_started
from harness import Trial

from hpcmat.campaign.events import Decided, read_event
from hpcmat.campaign.evidence import Evidence
from hpcmat.campaign.outcomes import summarise
from hpcmat.campaign.planning import Planner
from hpcmat.campaign.state import CampaignState
from hpcmat.engines.dynamics import Frame
from hpcmat.engines.exploration import ExploreResult
from hpcmat.engines.labelling import label_key
from hpcmat.records import Execution, Governance, Provenance, Record, encode
from hpcmat.steering.acquisition import condition
from hpcmat.steering.schedule import Action
from hpcmat.store.results import ResultStore
from hpcmat.surrogates.potential import Potential

REPLAY = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import test_planning
print(test_planning.json.dumps([test_planning.in_words(d) for d in test_planning.replayed(Path({folder!r}))]))
"""


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """A campaign that learns, with choices of every rule."""
    trial = Trial(tmp_path_factory.mktemp("learning"), method="md", acquisition="i-optimal", labels=30, points=5)
    # Dynamics that the target stops at its first step would leave no frame for validation.
    text = trial.file.read_text()
    trial.file.write_text(text.replace("cold_start = 10", "cold_start = 10\nsigma_stop_ev_per_ang = 1.0"))
    finished = trial.run()
    assert finished.returncode == 0, finished.stderr
    return trial


@pytest.fixture(scope="module")
def state(trial):
    return trial.state()


def events_of(folder):
    from hpcmat.campaign.folder import CampaignFolder

    journal = CampaignFolder(folder).journal()
    events = [(read_event(entry.payload), entry.time) for entry in journal.read()]
    journal.close()
    return events


def replayed(folder):
    """Each decision of a journal, made again from what was in the journal before it."""
    state, planner, made = CampaignState(), None, []
    for event, time in events_of(folder):
        if isinstance(event, Decided):
            planner = planner or Planner(state.campaign, Evidence(ResultStore(state.created.store)), state.created)
            made.append(planner.decide(Action(event.decision.purpose), state))
        state.apply(event, time)
    return made


def in_words(decision):
    """All of a decision but its scores, and these, whose last digits belong to the machine."""
    data = json.loads(encode(decision))
    scores = [data.pop("score"), data["task"]["provenance"].pop("score"), *(score for _, score in decision.passed_over)]
    data["passed_over"] = [name for name, _ in decision.passed_over]
    return data, [score or 0.0 for score in scores]


def assert_same(made, known):
    assert [data for data, _ in made] == [data for data, _ in known]
    for (data, scores), (_, expected) in zip(made, known, strict=True):
        assert scores == pytest.approx(expected, rel=1e-6), data["id"]


def recorded(folder):
    return [in_words(event.decision) for event, _ in events_of(folder) if isinstance(event, Decided)]


def test_every_decision_follows_from_the_journal_before_it(trial):
    assert_same([in_words(decision) for decision in replayed(trial.folder.root)], recorded(trial.folder.root))
    assert {decision["rule"] for decision, _ in recorded(trial.folder.root)} >= {
        "cold-start",
        "i-optimal",
        "random",
        "reference",
        "refit",
        "molecular dynamics",
    }


def test_covariance_kept_from_decision_to_decision_equals_one_made_afresh(trial):
    """Through all new labels, refits and failures of a campaign, against the definition."""
    state, evidence, compared = CampaignState(), Evidence(trial.results()), 0
    for event, time in events_of(trial.folder.root):
        state.apply(event, time)
        model = state.model
        if model is None or not isinstance(event, Decided):
            continue
        factor = Potential.load(trial.results().folder(model.key) / "potential.npz").covariance_factor
        expected = factor @ factor.T
        for task in state.tasks.values():
            if task.purpose == "train" and task.status != "failed" and task.key not in model.decision.train:
                expected = condition(expected, evidence.rows(task.decision.candidate, model))
        kept = evidence.covariance(state, model)
        assert np.linalg.norm(kept - expected) <= 1e-8 * np.linalg.norm(expected)
        compared += 1
    assert compared > 5


def chosen_in_a_row(trial, count, planner_for):
    """Candidates of so many training tasks decided one after the other, while none ends."""
    state, chosen = trial.state(), []
    for _ in range(count):
        decision = planner_for(state).decide(Action.TRAIN, state)
        state.apply(Decided(decision), state.last_time)
        chosen.append(decision.candidate)
    return chosen


def test_choices_in_a_row_are_those_of_one_at_a_time(trial, state):
    """All but the first few are made from a ranking that is kept up; a new planner judges all candidates each time."""

    def planner(_state):
        return Planner(state.campaign, Evidence(trial.results()), state.created)

    count = min(16, state.pool.number(reserved=False))
    one, other = planner(state), planner(state)
    other.foresee(state)
    kept = chosen_in_a_row(trial, count, lambda _: one)
    assert kept == chosen_in_a_row(trial, count, lambda _: other), "looking ahead changes nothing"
    alone = chosen_in_a_row(trial, count, planner)
    assert kept[:8] == alone[:8]
    assert len(set(kept)) == count > 8
    assert len(set(kept) & set(alone)) >= 0.8 * count


@pytest.mark.parametrize("threads", [1, 2])
def test_decisions_do_not_depend_on_the_number_of_threads(trial, threads):
    code = REPLAY.format(here=os.path.dirname(__file__), folder=str(trial.folder.root))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    path = os.pathsep.join([os.path.dirname(__file__), sys.modules["harness"].__file__.rpartition("/")[0], *sys.path])
    environment = os.environ | dict.fromkeys(names, str(threads)) | {"PYTHONPATH": path}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert_same(json.loads(out.stdout), recorded(trial.folder.root))


def test_another_seed_decides_otherwise(trial, state):
    """Negative control: the comparison above does see a difference."""
    first, second = (
        Planner(state.campaign.model_copy(update={"seed": seed}), Evidence(trial.results()), state.created)
        for seed in (state.campaign.seed, state.campaign.seed + 1)
    )
    one, two = first.decide(Action.EXPLORE, state), second.decide(Action.EXPLORE, state)
    assert one.task.key != two.task.key
    assert one.task.key == first.decide(Action.EXPLORE, state).task.key


def test_validation_and_reference_are_never_trained_on(state):
    kept = {task.key for task in state.of_purpose("validation", "reference")}
    assert len(state.done("validation")) >= 2
    assert len(state.done("reference")) == 5
    for fit in state.done("fit"):
        assert not kept & set(fit.decision.train)
        assert set(fit.decision.validation) <= {task.key for task in state.of_purpose("validation")}


def test_validation_is_drawn_from_reserved_frames_of_dynamics_alone(state):
    rules = {task.key: task.decision.rule for task in state.done("explore")}
    for task in state.of_purpose("validation"):
        assert task.decision.candidate.reserved
        assert rules[task.decision.candidate.exploration] == "molecular dynamics"
    assert not any(task.decision.candidate.reserved for task in state.of_purpose("train"))


def test_no_structure_is_a_candidate_twice_and_no_reference_is_one(state):
    keys = [candidate.key for candidate in state.candidates]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & {task.key for task in state.of_purpose("reference")}


def test_frames_seen_before_are_no_candidates():
    campaign = campaign_of(points=5)
    begin = created(campaign)
    reference, other = begin.references[0], begin.references[1]
    new = replace(other, positions=other.positions + 0.01 * (other.positions > 1.0))
    frames = tuple(Frame(structure, 0, 0.0, 0.0) for structure in (new, reference, new, other))
    outcome = encode(ExploreResult(frames, "cold-start", 0))
    record = Record(
        "k", "explore", "{}", outcome, True, Execution(1, "h", 1, 0.0, 1.0), Provenance("c", "d", "r"), Governance()
    )
    state = fold(begin, run_started(), decided("explore", "explore"))
    decision = state.tasks["explore"].decision
    references = {label_key(structure, campaign.engine) for structure in begin.references}
    found = summarise(record, decision, state, references).candidates
    assert [(c.frame, c.key) for c in found] == [(0, label_key(new, campaign.engine))]
    everything = summarise(record, decision, state, set()).candidates
    assert [c.frame for c in everything] == [0, 1, 3], "control: without the references two more are new"


def test_provenance_leads_from_each_label_to_its_origin(trial, state):
    for task in state.done("train", "validation"):
        told = trial.results().read(task.key).provenance
        assert told.campaign == state.created.identity
        assert told.decision == task.id
        assert told.selected_by == task.decision.rule
        assert told.derived_from[0] == task.decision.candidate.exploration
        assert told.frame == task.decision.candidate.frame
