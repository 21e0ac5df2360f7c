"""Choices: each rule chooses what it says, costs and misfit count where they are asked for, draws where they guard."""

from dataclasses import replace

import numpy as np
import pytest
from campaign_events import EvenMachine, campaign_of

import hpcmat.campaign.choosing
from hpcmat.campaign.choosing import Chooser
from hpcmat.campaign.costs import FIRST_SETTLED, CostBook, label_size
from hpcmat.campaign.evidence import Evidence
from hpcmat.campaign.rehearsal import Rehearsal, rehearse
from hpcmat.dispatch.placement.dispatcher import worker_pool
from hpcmat.steering.acquisition import judge
from hpcmat.steering.chance import uniform_for
from hpcmat.steering.trust import largest_deviation
from hpcmat.store.results import ResultStore

EXPLORE = 'method = "md"\nsteps = 60\nsample_every = 5\nsigma_stop_ev_per_ang = 5.0\ntemperatures_k = [300.0, 900.0]'


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A campaign that has a potential and candidates left: its state, its evidence and its pool."""
    root = tmp_path_factory.mktemp("learned")
    text = EXPLORE.replace('method = "md"\n', "")
    campaign = campaign_of(labels=12).model_copy(
        update={"explore": campaign_of(explore=text).explore.model_copy(update={"method": "md"})}
    )
    steering = campaign.steering.model_copy(update={"refit_every": 4, "pool_min": 20})
    state = rehearse(
        campaign.model_copy(update={"steering": steering}), Rehearsal(EvenMachine(), worker_pool(2), 2, root)
    )
    return state, Evidence(ResultStore(root / "store")), state.pool.newest(200)


def choose(learned, acquisition, book=None, **steering):
    state, evidence, pool = learned
    given = {"acquisition": acquisition, "random_fraction": 0.0, "cost_aware": False} | steering
    campaign = state.campaign.model_copy(update={"steering": state.campaign.steering.model_copy(update=given)})
    return Chooser(campaign, evidence, book or CostBook()).choose(state, pool)


@pytest.mark.parametrize("rule", ["i-optimal", "d-optimal", "uncertain", "farthest-point", "maxvol", "trusted"])
def test_each_rule_chooses_by_its_name_with_a_reason(learned, rule):
    choice = choose(learned, rule)
    assert choice.rule == rule
    assert choice.candidate in learned[2]
    assert len(choice.reason) > 30
    if rule != "trusted":
        scores = [choice.score, *(score for _, score in choice.passed_over)]
        assert scores == sorted(scores, reverse=True)
        assert "labels in flight accounted for" in choice.reason


def test_the_most_uncertain_is_the_one_with_the_largest_deviation(learned):
    state, evidence, pool = learned
    covariance = evidence.covariance(state, state.model)
    deviations = [largest_deviation(covariance, evidence.parts(candidate)[1]) for candidate in pool]
    choice = choose(learned, "uncertain")
    assert choice.candidate == pool[int(np.argmax(deviations))]
    assert choice.score == pytest.approx(max(deviations))


@pytest.mark.parametrize("misfit_aware", [True, False])
def test_the_most_informative_has_the_largest_gain(learned, misfit_aware):
    state, evidence, pool = learned
    rows = [evidence.rows(candidate, state.model) for candidate in pool]
    excess = [evidence.excess(candidate, state.model) for candidate in pool] if misfit_aware else None
    gains, _ = judge(evidence.covariance(state, state.model), rows, evidence.reference(state), excess)
    assert choose(learned, "i-optimal", misfit_aware=misfit_aware).candidate == pool[int(np.argmax(gains))]


def test_trusted_takes_what_the_window_holds(learned):
    newest = [c for c in learned[2] if c.exploration == learned[2][-1].exploration]
    sigmas = sorted(candidate.sigma for candidate in newest)
    window = (sigmas[0] * 0.999, sigmas[1] * 1.001)
    choice = choose(learned, "trusted", trust_ev_per_ang=window)
    assert window[0] <= choice.candidate.sigma <= window[1]
    inside = sum(window[0] <= sigma <= window[1] for sigma in sigmas)
    assert 2 <= inside < len(sigmas) and f"drawn from the {inside} whose" in choice.reason
    assert "drawn from all" in choose(learned, "trusted", trust_ev_per_ang=(1e6, 2e6)).reason


def priced(learned, cheap):
    """A book that knows one candidate's label to be far cheaper than all others."""
    state, evidence, _ = learned
    book = CostBook()
    size = label_size(evidence.structure(cheap), state.campaign.engine)
    for _ in range(FIRST_SETTLED):
        book.take_in("label", size, 5.0)
    return book


def test_costs_count_once_enough_labels_have_ended(learned):
    book = priced(learned, learned[2][0])
    choice = choose(learned, "i-optimal", book, cost_aware=True)
    assert "s that it should take with" in choice.reason
    assert "should take" not in choose(learned, "i-optimal", book).reason
    assert "should take" not in choose(learned, "i-optimal", CostBook(), cost_aware=True).reason


def test_where_all_cost_the_same_costs_change_nothing(learned):
    book = priced(learned, learned[2][0])
    plain, aware = choose(learned, "i-optimal"), choose(learned, "i-optimal", book, cost_aware=True)
    assert plain.candidate == aware.candidate


def test_what_is_dear_is_passed_over(learned, monkeypatch):
    """The best of all, made a hundred times as dear, is no longer chosen."""
    best = choose(learned, "i-optimal").candidate
    book = priced(learned, best)
    original = Chooser._size

    def dear(self, candidate):
        size = original(self, candidate)
        return replace(size, guess_s=100 * size.guess_s) if candidate == best else size

    monkeypatch.setattr(Chooser, "_size", dear)
    assert choose(learned, "i-optimal", book, cost_aware=True).candidate != best
    assert choose(learned, "i-optimal", book, cost_aware=False).candidate == best


def test_draws_are_rare_while_the_coefficients_are_not_known(learned, monkeypatch):
    state, evidence, _ = learned
    assert 0.0 < evidence.misfit_share(state, state.model) < 1.0
    shares = {}
    for share in (0.0, 0.5, 1.0):
        monkeypatch.setattr(Evidence, "misfit_share", lambda *_, share=share: share)
        chooser = Chooser(state.campaign.model_copy(update={"steering": _half(state)}), evidence, CostBook())
        shares[share] = np.mean([chooser._at_random(state, number) for number in range(400)])
    assert shares[0.0] == 0.0
    assert shares[0.5] == pytest.approx(0.25, abs=0.06)
    assert shares[1.0] == pytest.approx(0.5, abs=0.07)


def test_draws_are_frequent_where_much_is_in_flight(learned, monkeypatch):
    """Three times as many as are fitted: the policy holds for a quarter of the choices."""
    state, evidence, _ = learned
    monkeypatch.setattr(Evidence, "misfit_share", lambda *_: 1e-9)
    fitted = len(state.model.decision.train)
    assert 3 * fitted >= state.campaign.steering.refit_every
    monkeypatch.setattr(hpcmat.campaign.choosing, "_in_flight", lambda _: 3 * fitted)
    chooser = Chooser(state.campaign.model_copy(update={"steering": _half(state)}), evidence, CostBook())
    assert np.mean([chooser._at_random(state, number) for number in range(400)]) == pytest.approx(0.75, abs=0.06)
    none = _half(state).model_copy(update={"random_fraction": 0.0})
    chooser = Chooser(state.campaign.model_copy(update={"steering": none}), evidence, CostBook())
    assert not any(chooser._at_random(state, number) for number in range(400))


def _half(state):
    return state.campaign.steering.model_copy(update={"acquisition": "i-optimal", "random_fraction": 0.5})


def test_random_draws_do_not_depend_on_the_order_of_the_pool(learned):
    state, evidence, pool = learned
    for acquisition in ("random", "i-optimal"):
        steering = _half(state).model_copy(update={"acquisition": acquisition})
        chooser = Chooser(state.campaign.model_copy(update={"steering": steering}), evidence, CostBook())
        drawn, reverse = (chooser._drawn(state.model, order) for order in (pool, pool[::-1]))
        assert drawn.rule == "random" and drawn.candidate == reverse.candidate


def test_what_is_hardly_wrong_is_seldom_drawn(learned, monkeypatch):
    """Draws beside a rule follow the squared error that is expected; those of the rule `random` do not."""
    state, evidence, pool = learned
    expected = [evidence.expected_square(candidate, state.model) for candidate in pool]
    monkeypatch.setattr(Chooser, "_chance", lambda self, *names: uniform_for(self.number, *names))
    means = {}
    for acquisition in ("random", "i-optimal"):
        steering = _half(state).model_copy(update={"acquisition": acquisition})
        chooser = Chooser(state.campaign.model_copy(update={"steering": steering}), evidence, CostBook())
        drawn = []
        for chooser.number in range(400):
            drawn.append(expected[pool.index(chooser._drawn(state.model, pool).candidate)])
        means[acquisition] = np.mean(drawn)
    assert means["random"] == pytest.approx(np.mean(expected), rel=0.15)
    assert means["i-optimal"] == pytest.approx(np.average(expected, weights=expected), rel=0.15)
    assert means["i-optimal"] > 1.2 * means["random"]


def test_the_expected_square_is_that_of_the_error_bars(learned):
    """Variance and misfit of each force component, as the potential itself predicts them."""
    state, evidence, pool = learned
    potential = evidence._potential(state.model.key)
    for candidate in pool[:: len(pool) // 3]:
        total = potential.force_variance_of(potential.design(evidence.structure(candidate)))
        assert evidence.expected_square(candidate, state.model) == pytest.approx(np.mean(total), rel=1e-4)
