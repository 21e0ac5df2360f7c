"""Which candidate is begun next, and whether enough are known: surrogates of all properties that count, and draws.

Where there is a cheap engine, it is a candidate at one of two fidelities. The first candidates are computed at both,
from which the surrogates learn what a cheap value tells of a dear one. What is sought, and when to stop, is of dear
values alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcmat.campaign.events import Fidelity
from hpcmat.campaign.screen.fidelities import cheap_cost, guessed_cost
from hpcmat.campaign.screen.spec import ScreenCampaign
from hpcmat.campaign.screen.standing import CrystalState
from hpcmat.campaign.screen.surrogates import Known, Surrogates
from hpcmat.engines.recipes.steps import Property
from hpcmat.records import Structure
from hpcmat.steering.chance import seed_for, uniform_for
from hpcmat.steering.fidelity import Step, best_step
from hpcmat.steering.goals import Goal
from hpcmat.steering.screening import best_batch, feasible_draws, hypervolume, hypervolume_batch, top_probability
from hpcmat.surrogates.properties.model import PropertyModel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_LISTED = 3
_MOST_DRAWS = 128
"""For several objectives, where each draw has a front of its own."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A candidate to begin."""

    crystal: int
    rule: str
    reason: str
    score: float | None = None
    passed_over: tuple[tuple[str, float], ...] = ()
    fidelity: Fidelity = "dear"


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is begun until a cheap calculation in flight has ended."""


@dataclass(frozen=True, slots=True)
class Enough:
    """Why no further candidate is begun."""

    sentence: str
    exhausted: bool = False
    """Whether nothing is left that may be begun, known enough or not."""


class Search:
    """Chooses among candidates; the same states give the same choice."""

    def __init__(self, campaign: ScreenCampaign, structures: Sequence[Structure]) -> None:
        self._campaign = campaign
        self._surrogates = Surrogates.of(structures)
        self._guess = guessed_cost(campaign, structures) if campaign.cheap_engine is not None else 1.0
        self._last: tuple[tuple[object, ...], Choice | Wait | Enough] | None = None
        self._fitted: tuple[tuple[object, ...], dict[Property, PropertyModel]] | None = None

    def next(self, crystals: Sequence[CrystalState], cheap: Sequence[CrystalState] = ()) -> Choice | Wait | Enough:
        """The candidate to begin now.

        Parameters
        ----------
        crystals : all candidates at the dear fidelity.
        cheap : all at the cheap one, or none without an engine for it.
        """
        basis = tuple(crystal.status for crystal in (*crystals, *cheap))
        if self._last is None or self._last[0] != basis:
            self._last = basis, self._choose(crystals, cheap)
        return self._last[1]

    def _choose(self, crystals: Sequence[CrystalState], cheap: Sequence[CrystalState]) -> Choice | Wait | Enough:
        waiting = [crystal for crystal in crystals if crystal.status == "waiting"]
        begun = len(crystals) - len(waiting)
        limit = self._campaign.budget.candidates
        if not waiting:
            return Enough(f"all {len(crystals)} candidates are computed", exhausted=True)
        if limit is not None and begun >= limit:
            return Enough(f"{begun} candidates, all that the budget allows", exhausted=True)
        cost = cheap_cost(crystals, cheap, self._guess) if cheap else None
        if cost is not None and (pair := self._pair(crystals, cheap)):
            return pair
        known = [crystal for crystal in crystals if crystal.status == "done"]
        if self._campaign.search.policy == "random" or begun < self._campaign.search.first:
            return self._at_random(waiting)
        if len(known) < 2:
            return self._at_random(self._meanwhile(crystals, cheap, cost) or waiting)
        return self._informed(crystals, known, _Cheap(cheap, cost))

    def _pair(self, crystals: Sequence[CrystalState], cheap: Sequence[CrystalState]) -> Choice | None:
        """The cheap calculation of one of the first candidates begun, while there are too few to learn from."""
        if sum(crystal.status != "waiting" for crystal in cheap) >= self._campaign.search.first:
            return None
        both = zip(crystals, cheap, strict=True)
        lacking = next((c for c, other in both if c.status != "waiting" and other.status == "waiting"), None)
        if lacking is None:
            return None
        reason = f"cheap value of {lacking.name}, from which to learn what cheap values tell of dear ones"
        return Choice(lacking.number, "pair", reason, fidelity="cheap")

    def _meanwhile(
        self, crystals: Sequence[CrystalState], cheap: Sequence[CrystalState], cost: float | None
    ) -> list[CrystalState]:
        """Cheap calculations for workers that are free before the first candidates are known."""
        if cost is None or not any(crystal.status == "running" for crystal in crystals):
            return []
        return [crystal for crystal in cheap if crystal.status == "waiting"]

    def _at_random(self, waiting: Sequence[CrystalState]) -> Choice:
        seed = self._campaign.seed
        chosen = min(waiting, key=lambda crystal: uniform_for(seed, "screen", crystal.name))
        reason = f"drawn at random from {len(waiting)} candidates"
        return Choice(chosen.number, "random", reason, fidelity=chosen.fidelity)

    def _informed(
        self, crystals: Sequence[CrystalState], known: Sequence[CrystalState], cheap: _Cheap
    ) -> Choice | Wait | Enough:
        models = self._models(known, cheap.known)
        rows = self._preselected([c for c in crystals if c.status in {"waiting", "running"}], models)
        draws = self._draws(rows, models, len(known) + len(cheap.known))
        free = np.array([crystals[row].status == "waiting" for row in rows])
        values = np.array([self._values(c) for c in known if self._allowed(c)]).reshape(-1, len(self._goals))
        if len(self._goals) == 1:
            chances = top_probability(draws[..., 0], values[:, 0], self._campaign.search.top)
            step = self._step(Known(rows[free], chances[free]), next(iter(models.values())), cheap)
            return self._top(crystals, rows, free, chances, step)
        return self._front(crystals, rows, free, (draws, values))

    def _top(
        self, crystals: Sequence[CrystalState], rows: Ints, free: Flags, chances: Floats, step: Step | None
    ) -> Choice | Wait | Enough:
        search = self._campaign.search
        missed = float(chances[free].sum())
        if missed < search.missed:
            return Enough(
                f"{missed:.2g} of the best {search.top} are expected among the {int(free.sum())} candidates that are "
                f"not computed; {search.missed:g} were allowed"
            )
        if step is not None and step.kind != "dear":
            return Wait() if step.kind == "wait" else self._cheap_first(step)
        best, *others = best_batch(chances, free, 1 + _LISTED)
        flight = int((~free).sum())
        reason = (
            f"among the best {search.top} with a probability of {100 * best.score:.0f} %, the largest of "
            f"{int(free.sum())}, with {flight} in flight accounted for; {missed:.2g} of the best are expected here"
        )
        passed = tuple((crystals[rows[pick.index]].name, pick.score) for pick in others)
        return Choice(int(rows[best.index]), "top-probability", reason, best.score, passed)

    def _step(self, chances: Known, model: PropertyModel, cheap: _Cheap) -> Step | None:
        """First step of the best course; None where cheap values are no use."""
        if cheap.cost is None or not model.paired:
            return None
        flying = np.array([c.number for c in cheap.crystals if c.status == "running"], dtype=np.int64)
        askable = np.array([crystal.status == "waiting" for crystal in cheap.crystals])
        rng = np.random.default_rng(seed_for(self._campaign.seed, "course", len(cheap.known), len(chances.rows)))
        return best_step(self._surrogates.outlook(model, chances, flying, askable), cheap.cost, rng)

    def _cheap_first(self, step: Step) -> Choice:
        first = "a cheap calculation" if step.cheap == 1 else f"{step.cheap} cheap calculations"
        reason = (
            f"with {first} first, {step.rate:.2g} of the best {self._campaign.search.top} are "
            f"expected to be found for the cost of a dear one, {step.dear_rate:.2g} without; those in flight accounted "
            "for"
        )
        return Choice(step.candidate, "cheap-first", reason, step.rate, fidelity="cheap")

    def _front(
        self, crystals: Sequence[CrystalState], rows: Ints, free: Flags, known: tuple[Floats, Floats]
    ) -> Choice | Enough:
        draws, values = known
        reference = values.min(axis=0) if len(values) else _low(draws)
        best, *others = hypervolume_batch(draws, values, np.flatnonzero(~free), reference, 1 + _LISTED)
        volume = hypervolume(values, reference)
        share = best.score / volume if volume > 0 else np.inf
        if share < self._campaign.search.hypervolume_gain:
            return Enough(f"no candidate is expected to add more than {100 * share:.2g} % to the hypervolume")
        gained = f"{100 * share:.3g} % to the hypervolume of what is known" if volume > 0 else "the first hypervolume"
        reason = (
            f"expected to add {gained}, the most of {int(free.sum())}, "
            f"with {int((~free).sum())} candidates in flight accounted for"
        )
        passed = tuple((crystals[rows[pick.index]].name, pick.score) for pick in others)
        return Choice(int(rows[best.index]), "hypervolume", reason, best.score, passed)

    @property
    def _goals(self) -> dict[Property, Goal]:
        """By property, in the order of the campaign file."""
        return {objective.property: objective.aim() for objective in self._campaign.objectives}

    def _models(self, known: Sequence[CrystalState], cheap: Sequence[CrystalState]) -> dict[Property, PropertyModel]:
        """Surrogates of all properties that objectives and constraints ask for; new ones where more is known."""
        basis = tuple((crystal.fidelity, crystal.number) for crystal in (*known, *cheap))
        if self._fitted is None or self._fitted[0] != basis:
            names = dict.fromkeys([*self._goals, *(item.property for item in self._campaign.constraints)])
            models = {name: self._surrogates.fit(_known(known, name), _known(cheap, name)) for name in names}
            self._fitted = basis, models
        return self._fitted[1]

    def _draws(self, rows: Ints, models: dict[Property, PropertyModel], known: int) -> Floats:
        """(S, r, m) what the objectives of the candidates in `rows` may be; -inf where a constraint is broken."""
        count = self._campaign.search.draws
        count = count if len(self._goals) == 1 else min(count, _MOST_DRAWS)
        found = dict[Property, Floats]()
        for name, model in models.items():
            rng = np.random.default_rng(seed_for(self._campaign.seed, "draws", name, known))
            found[name] = model.sample(self._surrogates.asked(rows, model), count, rng)
        values = np.stack([goal.utility(found[name]) for name, goal in self._goals.items()], axis=-1)
        broken = np.zeros(values.shape[:2], dtype=bool)
        for item in self._campaign.constraints:
            broken |= ~_within(found[item.property], item.at_least, item.at_most)
        return feasible_draws(values, broken)

    def _preselected(self, open_: Sequence[CrystalState], models: dict[Property, PropertyModel]) -> Ints:
        """Rows of the candidates that are drawn jointly: all, or those in flight and those of the best prospects."""
        rows = np.array([crystal.number for crystal in open_])
        running = np.array([crystal.status == "running" for crystal in open_])
        sought = [models[name] for name in self._goals]
        return self._surrogates.promising(rows, sought, list(self._goals.values()), running)

    def _values(self, crystal: CrystalState) -> list[float]:
        return [float(goal.utility(np.array(crystal.properties[name]))) for name, goal in self._goals.items()]

    def _allowed(self, crystal: CrystalState) -> bool:
        return allowed(self._campaign, crystal)


@dataclass(frozen=True, slots=True)
class _Cheap:
    """All candidates at the cheap fidelity, and what a cheap value costs."""

    crystals: Sequence[CrystalState]
    cost: float | None
    """In dear calculations; None where none is to be asked for."""

    @property
    def known(self) -> list[CrystalState]:
        """Those computed."""
        return [crystal for crystal in self.crystals if crystal.status == "done"]


def _known(crystals: Sequence[CrystalState], name: Property) -> Known:
    rows = np.array([crystal.number for crystal in crystals], dtype=np.int64)
    return Known(rows, np.array([crystal.properties[name] for crystal in crystals]))


def allowed(campaign: ScreenCampaign, crystal: CrystalState) -> bool:
    """Whether a computed candidate fulfils all constraints."""
    return all(
        _within(np.array([crystal.properties[item.property]]), item.at_least, item.at_most).all()
        for item in campaign.constraints
    )


def ranking(campaign: ScreenCampaign, crystals: Sequence[CrystalState]) -> list[CrystalState]:
    """Computed candidates that fulfil the constraints, best first objective first."""
    objective = campaign.objectives[0]

    def merit(crystal: CrystalState) -> float:
        return float(objective.aim().utility(np.array(crystal.properties[objective.property])))

    counted = [crystal for crystal in crystals if crystal.status == "done" and allowed(campaign, crystal)]
    return sorted(counted, key=lambda crystal: (-merit(crystal), crystal.number))


def _low(draws: Floats) -> Floats:
    """(m,) what nearly all draws (S, n, m) exceed that break no constraint; 0 where all do."""
    allowed_ones = draws[np.isfinite(draws).all(axis=-1)]
    low: Floats = np.quantile(allowed_ones, 0.05, axis=0) if len(allowed_ones) else np.zeros(draws.shape[-1])
    return low


def _within(values: Floats, least: float | None, most: float | None) -> Flags:
    inside: Flags = (values >= (-np.inf if least is None else least)) & (values <= (np.inf if most is None else most))
    return inside
