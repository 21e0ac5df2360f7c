"""Which candidate is labelled to train on, by which rule and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcmat.campaign.costs import CostBook, LabelCosts, Size, label_size
from hpcmat.campaign.events import Candidate
from hpcmat.campaign.evidence import Evidence
from hpcmat.campaign.spec import Campaign
from hpcmat.campaign.state import OPEN, CampaignState, TaskState
from hpcmat.steering.chance import uniform_for, weighted_draw
from hpcmat.steering.costs import worth
from hpcmat.steering.policies import SCORES, random_share, rank
from hpcmat.steering.ranking import TOLERANCE, Ranking
from hpcmat.steering.trust import TrustWindow, draw_trusted

Floats = NDArray[np.float64]

LISTED = 3
"""How many of those passed over are named."""
IN_A_ROW = 8
"""So many choices between two ends of tasks are made by judging all candidates anew."""
KAPPA = 0.7
"""Exponent of the expected cost: below 1, because what is cheap today leaves what is dear for later."""
TRUST_FACTOR = 3.0
"""Upper over lower bound of the trust window where none is given."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A candidate with the reasons for it."""

    candidate: Candidate
    rule: str
    reason: str
    score: float | None = None
    passed_over: tuple[tuple[str, float], ...] = ()


@dataclass(slots=True)
class _Ranked:
    """A ranking, and what it rests on."""

    basis: tuple[object, ...]
    pool: list[Candidate]
    ranking: Ranking
    decided: int
    """How many of the training tasks beyond the newest fit it accounts for."""
    places: dict[Candidate, int] = field(init=False)

    def __post_init__(self) -> None:
        self.places = {candidate: place for place, candidate in enumerate(self.pool)}


class Chooser:
    """Chooses among candidates; reads arrays through `Evidence`, writes nothing."""

    def __init__(self, campaign: Campaign, evidence: Evidence, book: CostBook) -> None:
        self._campaign = campaign
        self._evidence = evidence
        self._book = book
        self._ranked: _Ranked | None = None

    def choose(self, state: CampaignState, pool: list[Candidate]) -> Choice:
        """The candidate to label next, of a pool that is not empty."""
        if state.model is None:
            # Each seed has a copy labelled before any has a second one.
            candidate = min(pool, key=lambda each: each.frame)
            return Choice(candidate, "cold-start", "rattled and strained seed: there is no potential yet")
        number = state.index.number(("train",))
        if self._at_random(state, number):
            return self._drawn(state.model, pool)
        rule = self._campaign.steering.acquisition
        if rule == "i-optimal":
            return self._most_informative(state, pool)
        if rule == "trusted":
            return self._trusted(state, pool, number)
        return self._first(state, pool)

    def foresee(self, state: CampaignState, pool: list[Candidate]) -> None:
        """Compute what the next choice will rest on, if nothing changes: for idle moments."""
        rule, number = self._campaign.steering.acquisition, state.index.number(("train",))
        if state.model and pool and rule == "i-optimal" and not self._at_random(state, number):
            # The next choice comes after another task has ended.
            self._ranking(state, pool, in_a_row=0)

    def _at_random(self, state: CampaignState, number: int) -> bool:
        """Whether this training label is drawn, not chosen.

        Draws guard against misfit, which no posterior sees; while the error is mostly that the coefficients are not
        known, they would be wasted. Their share grows to the full one as what is left becomes misfit, and beyond it for
        choices that run far ahead of the potential.
        """
        steering = self._campaign.steering
        if steering.acquisition == "random":
            return True
        if not steering.random_fraction or state.model is None:
            return False
        fraction = steering.random_fraction * self._evidence.misfit_share(state, state.model)
        fitted, ahead = len(state.model.decision.train), _in_flight(state)
        return self._chance("rule", number) < random_share(fraction, fitted, ahead, steering.refit_every)

    def _drawn(self, model: TaskState, pool: list[Candidate]) -> Choice:
        # Each frame has a number of its own, so that the draw depends on which there are and not on how they came.
        draws = [self._chance("train", candidate.exploration, candidate.frame) for candidate in pool]
        if self._campaign.steering.acquisition == "random":
            weights, how = [1.0] * len(pool), "drawn at random from the explored frames"
        else:
            # What is hardly ever wrong teaches as little when it is drawn as when it is chosen.
            weights = [self._evidence.expected_square(candidate, model) for candidate in pool]
            how = "drawn from the explored frames with chances as the squared error expected of them"
        chosen = pool[weighted_draw(weights, draws)]
        return Choice(chosen, "random", f"{how}, so that nothing the potential visits is left out")

    def _trusted(self, state: CampaignState, pool: list[Candidate], number: int) -> Choice:
        lower = self._campaign.target.force_rmse_ev_per_ang
        bounds = self._campaign.steering.trust_ev_per_ang or (lower, TRUST_FACTOR * lower)
        # As its deviation is the one its model had of it, only what the newest models explored can be judged by it.
        newest = [c for c in pool if c.exploration == pool[-1].exploration]
        deviations = np.array([candidate.sigma for candidate in newest])
        index, reason = draw_trusted(deviations, TrustWindow(*bounds), self._chance("trusted", number))
        return Choice(newest[index], "trusted", reason)

    def _first(self, state: CampaignState, pool: list[Candidate]) -> Choice:
        """The first by any rule that ranks all candidates anew."""
        rule = self._campaign.steering.acquisition
        (best, score), *others = rank(rule, _PoolGrounds(self._evidence, state, pool))
        passed = tuple((pool[index].id, each) for index, each in others[:LISTED])
        reason = f"{SCORES[rule]}, of {len(pool)} candidates, with {_in_flight(state)} labels in flight accounted for"
        return Choice(pool[best], rule, reason, score, passed)

    def _most_informative(self, state: CampaignState, pool: list[Candidate]) -> Choice:
        ranked = self._ranking(state, pool, state.index.train_since_end)
        (best, score), *others = ranked.ranking.best(1 + LISTED)
        before = ranked.ranking.variance
        lowered = 100 * ranked.ranking.gain(best, score) / before
        reason = (
            f"lowers the mean force variance on what is explored by {lowered:.1f} %, the most of {len(pool)} candidates"
            f"{self._for_its_cost(ranked.pool[best])}, with {_in_flight(state)} labels in flight accounted for"
        )
        passed = tuple((ranked.pool[index].id, each / before) for index, each in others)
        return Choice(ranked.pool[best], "i-optimal", reason, score / before, passed)

    def _for_its_cost(self, candidate: Candidate) -> str:
        costs = self._costs
        if costs is None:
            return ""
        size = self._size(candidate)
        seconds, success = costs.expected_s(size), 100 * costs.success_probability(size)
        return f" for the {seconds:.3g} s that it should take with {success:.0f} % chance of success"

    @property
    def _costs(self) -> LabelCosts | None:
        """None while costs do not count."""
        return self._book.settled if self._campaign.steering.cost_aware else None

    def _worth(self, pool: list[Candidate]) -> Floats | None:
        """What gains are multiplied by, relative to the cheapest candidate; None while costs do not count."""
        costs = self._costs
        if costs is None:
            return None
        sizes = [self._size(candidate) for candidate in pool]
        seconds = np.array([costs.expected_s(size) for size in sizes])
        success = np.array([costs.success_probability(size) for size in sizes])
        return worth(np.ones(len(pool)), seconds / seconds.min(), success, KAPPA)

    def _size(self, candidate: Candidate) -> Size:
        return label_size(self._evidence.structure(candidate), self._campaign.engine)

    def _ranking(self, state: CampaignState, pool: list[Candidate], in_a_row: int) -> _Ranked:
        """The candidates by informativeness, with all that was decided taken in.

        Parameters
        ----------
        in_a_row : how many training tasks were decided since a task ended.
        """
        model = state.model
        assert model is not None, "informativeness is judged on a posterior"
        explored, losses = state.index.number(("explore",), "done"), state.index.beyond_fit_losses
        taken_back, runs = len(state.index.audits.roll_backs), len(state.runs)
        basis = (model.key, explored, losses, runs, taken_back, self._costs.ended if self._costs else 0)
        if self._ranked is None or self._ranked.basis != basis or self._outdated(self._ranked, state, in_a_row):
            self._ranked = _Ranked(basis, pool, self._rank(state, model, pool), len(state.index.beyond_fit))
        return self._ranked

    def _rank(self, state: CampaignState, model: TaskState, pool: list[Candidate]) -> Ranking:
        covariance, reference = self._evidence.covariance(state, model), self._evidence.reference(state)
        excess = [self._evidence.excess(c, model) for c in pool] if self._campaign.steering.misfit_aware else None
        rows = [self._evidence.rows(c, model) for c in pool]
        return Ranking(covariance, rows, reference, excess, self._worth(pool))

    def _outdated(self, ranked: _Ranked, state: CampaignState, in_a_row: int) -> bool:
        """Take in what was decided since; whether all candidates have to be judged anew because of it.

        The first choices after a task has ended are made by judging all. More in a row mean that many workers wait: the
        ranking is kept up for these, as long as half of it lasts.
        """
        assert state.model is not None, "a ranking rests on a model"
        for task in state.index.beyond_fit_since(ranked.decided):
            assert task.decision.candidate is not None, "every rule names a candidate"
            candidate = task.decision.candidate
            ranked.ranking.take_in(self._evidence.rows(candidate, state.model), ranked.places.get(candidate))
            ranked.decided += 1
        if ranked.ranking.lags and in_a_row >= IN_A_ROW:
            ranked.ranking.renew(self._evidence.covariance(state, state.model))
        change, used = ranked.ranking.change, 2 * len(ranked.ranking.taken) > len(ranked.pool)
        return used or (change > TOLERANCE and in_a_row < IN_A_ROW)

    def _chance(self, *names: object) -> float:
        return uniform_for(self._campaign.seed, *names)


class _PoolGrounds:
    """What rules ask for, of candidates that wait; see `hpcmat.steering.policies.Grounds`."""

    def __init__(self, evidence: Evidence, state: CampaignState, pool: list[Candidate]) -> None:
        assert state.model is not None, "rules judge on a posterior"
        self._evidence = evidence
        self._state = state
        self._model: TaskState = state.model
        self._pool = pool
        tasks = state.of_purpose("train")
        self._taken = [t.decision.candidate for t in tasks if t.status != "failed" and t.decision.candidate is not None]

    @cached_property
    def covariance(self) -> Floats:
        return self._evidence.covariance(self._state, self._model)

    @cached_property
    def reference(self) -> Floats:
        return self._evidence.reference(self._state)

    @cached_property
    def rows(self) -> Sequence[Floats]:
        return [self._evidence.rows(candidate, self._model) for candidate in self._pool]

    @cached_property
    def forces(self) -> Sequence[Floats]:
        return [self._evidence.parts(candidate)[1] for candidate in self._pool]

    @cached_property
    def labelled(self) -> Floats:
        return np.concatenate([self._evidence.parts(candidate)[1] for candidate in self._taken])

    @cached_property
    def descriptors(self) -> Floats:
        return self._means(self._pool) / self._scale

    @cached_property
    def known(self) -> Floats:
        return self._means(self._taken) / self._scale

    @cached_property
    def _scale(self) -> Floats:
        """Spread of the features, so that each counts alike."""
        spread = np.concatenate([self._means(self._pool), self._means(self._taken)]).std(axis=0)
        return np.where(spread > 0.0, spread, 1.0)

    def _means(self, candidates: Sequence[Candidate]) -> Floats:
        return np.concatenate([self._evidence.parts(candidate)[0] for candidate in candidates])


def _in_flight(state: CampaignState) -> int:
    return state.index.number(("train",), *OPEN)
