"""Biased explorations give candidates; what judges and what choices aim at comes from the others."""

from dataclasses import replace

import numpy as np
import pytest
from campaign_events import EvenMachine, campaign_of, created, decided, explored, finished, fitted, fold, run_started

from hpcmat.campaign.conditions import Conditions
from hpcmat.campaign.events import BIASED, Condition, Decided
from hpcmat.campaign.evidence import Evidence
from hpcmat.campaign.planning import Planner
from hpcmat.campaign.rehearsal import Rehearsal, rehearse
from hpcmat.campaign.state import CampaignState, TaskState
from hpcmat.dispatch.placement.dispatcher import worker_pool
from hpcmat.engines.exploration import ExploreRequest
from hpcmat.records import decode
from hpcmat.steering.schedule import Action
from hpcmat.store.results import ResultStore

HOT = Condition(900.0, 0)


def rehearsed(root):
    given = campaign_of(labels=12)
    explore = {"method": "md", "steps": 60, "sample_every": 5, "temperatures_k": (300.0, 900.0), "bias": 0.2}
    given = given.model_copy(
        update={
            "explore": given.explore.model_copy(update=explore | {"sigma_stop_ev_per_ang": 1.0}),
            "steering": given.steering.model_copy(update={"refit_every": 2}),
        }
    )
    return rehearse(given, Rehearsal(EvenMachine(), worker_pool(2), 2, root))


@pytest.fixture(scope="module")
def biased(tmp_path_factory):
    root = tmp_path_factory.mktemp("biased")
    return rehearsed(root), ResultStore(root / "store")


def with_potential(state):
    return [task for task in state.of_purpose("explore") if task.decision.model is not None]


def bias_of(task):
    return decode(ExploreRequest, task.decision.task.request).conditions.bias


def test_every_second_trajectory_is_biased(biased):
    found = with_potential(biased[0])
    assert len(found) >= 4
    assert [bias_of(task) for task in found] == [0.2 * (n % 2) for n in range(len(found))]
    assert {task.decision.rule for task in found[1::2]} == {BIASED}


def test_without_a_bias_none_is(biased):
    """The same explorations, decided again with the bias off."""
    state, store = biased
    explore = state.campaign.explore.model_copy(update={"bias": 0.0})
    off = state.campaign.model_copy(update={"explore": explore})
    again = CampaignState.of([(state.created, 0.0), (state.runs[0].started, 0.0)])
    for task in state.tasks.values():
        if task.decision.model is not None and task.purpose == "explore":
            decision = Planner(off, Evidence(store), state.created).decide(Action.EXPLORE, again)
            assert (decision.rule, bias_of(TaskState(decision, 0.0))) == ("molecular dynamics", 0.0)
        again.apply(Decided(task.decision), task.decided)
        if task.summary is not None:
            again.apply(finished(task.id, task.summary), task.decided)


def test_what_judges_is_drawn_from_unbiased_trajectories(biased):
    state = biased[0]
    rules = {task.key: task.decision.rule for task in with_potential(state)}
    reserved = {rules[c.exploration] for c in state.candidates if c.reserved}
    assert reserved == {"molecular dynamics"}
    assert len(state.of_purpose("validation")) >= 2
    assert any(rules.get(c.exploration) == BIASED for c in state.candidates), "control: biased ones found candidates"


def test_choices_aim_at_what_unbiased_trajectories_visit(biased):
    state, store = biased
    rows = {BIASED: {}, "molecular dynamics": {}}
    for task in with_potential(state):
        with np.load(store.folder(task.key) / "rows.npz") as found:
            rows[task.decision.rule].setdefault(task.decision.condition, []).extend(found["forces"].astype(float))
    means = [np.concatenate(frames) for frames in rows["molecular dynamics"].values()]
    expected = np.mean([each.T @ each / len(each) for each in means], axis=0)
    reference = Evidence(store).reference(state)
    np.testing.assert_allclose(reference, expected, rtol=1e-9, atol=1e-12 * abs(expected).max())
    assert rows[BIASED], "control: there was something to leave out"


def test_a_biased_trajectory_that_ends_early_cuts_no_condition_short():
    """It was meant to."""

    def cut_short(rule):
        campaign = campaign_of(explore="temperatures_k = [300.0, 900.0]\nsteps = 400")
        first = [created(campaign), run_started(), decided("f1", "fit"), finished("f1", fitted())]
        event = decided("e1", "explore", model="key-f1", condition=HOT)
        ended = [finished("e1", explored(model="key-f1")), decided("f2", "fit"), finished("f2", fitted())]
        events = [*first, Decided(replace(event.decision, rule=rule)), *ended]
        return Conditions(campaign, created(campaign).seeds).cut_short(fold(*events))

    assert cut_short("molecular dynamics") == 1
    assert cut_short(BIASED) == 0
