"""Which candidate is begun next, and whether enough are known: surrogates of all properties that count, and draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcmat.campaign.screen.spec import ScreenCampaign
from hpcmat.campaign.screen.standing import CrystalState
from hpcmat.engines.recipes.steps import Property
from hpcmat.records import Structure
from hpcmat.steering.chance import seed_for, uniform_for
from hpcmat.steering.goals import LEVELS, Goal, preselect
from hpcmat.steering.screening import best_batch, feasible_draws, hypervolume, hypervolume_batch, top_probability
from hpcmat.surrogates.properties.descriptors import describe_structures
from hpcmat.surrogates.properties.gaussian_process import Points
from hpcmat.surrogates.properties.model import MOST_JOINT, PropertyModel, fit_property

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
        self._descriptors = describe_structures(structures)
        self._points = Points(self._descriptors.standardised(), np.zeros(len(structures)))
        self._last: tuple[tuple[object, ...], Choice | Enough] | None = None

    def next(self, crystals: Sequence[CrystalState]) -> Choice | Enough:
        """The candidate to begin now."""
        basis = tuple(crystal.status for crystal in crystals)
        if self._last is None or self._last[0] != basis:
            self._last = basis, self._choose(crystals)
        return self._last[1]

    def _choose(self, crystals: Sequence[CrystalState]) -> Choice | Enough:
        waiting = [crystal for crystal in crystals if crystal.status == "waiting"]
        begun = len(crystals) - len(waiting)
        limit = self._campaign.budget.candidates
        if not waiting:
            return Enough(f"all {len(crystals)} candidates are computed", exhausted=True)
        if limit is not None and begun >= limit:
            return Enough(f"{begun} candidates, all that the budget allows", exhausted=True)
        known = [crystal for crystal in crystals if crystal.status == "done"]
        if self._campaign.search.policy == "random" or begun < self._campaign.search.first or len(known) < 2:
            return self._at_random(waiting)
        return self._informed(crystals, known)

    def _at_random(self, waiting: Sequence[CrystalState]) -> Choice:
        seed = self._campaign.seed
        chosen = min(waiting, key=lambda crystal: uniform_for(seed, "screen", crystal.name))
        return Choice(chosen.number, "random", f"drawn at random from {len(waiting)} candidates")

    def _informed(self, crystals: Sequence[CrystalState], known: Sequence[CrystalState]) -> Choice | Enough:
        models = self._models(known)
        rows = self._preselected([c for c in crystals if c.status in {"waiting", "running"}], models)
        draws = self._draws(rows, models, len(known))
        free = np.array([crystals[row].status == "waiting" for row in rows])
        values = np.array([self._values(c) for c in known if self._allowed(c)]).reshape(-1, len(self._goals))
        if len(self._goals) == 1:
            return self._top(crystals, rows, free, (draws[..., 0], values[:, 0]))
        return self._front(crystals, rows, free, (draws, values))

    def _top(
        self, crystals: Sequence[CrystalState], rows: Ints, free: Flags, known: tuple[Floats, Floats]
    ) -> Choice | Enough:
        search = self._campaign.search
        chances = top_probability(*known, search.top)
        missed = float(chances[free].sum())
        if missed < search.missed:
            return Enough(
                f"{missed:.2g} of the best {search.top} are expected among the {int(free.sum())} candidates that are "
                f"not computed; {search.missed:g} were allowed"
            )
        best, *others = best_batch(chances, free, 1 + _LISTED)
        flight = int((~free).sum())
        reason = (
            f"among the best {search.top} with a probability of {100 * best.score:.0f} %, the largest of "
            f"{int(free.sum())}, with {flight} in flight accounted for; {missed:.2g} of the best are expected here"
        )
        passed = tuple((crystals[rows[pick.index]].name, pick.score) for pick in others)
        return Choice(int(rows[best.index]), "top-probability", reason, best.score, passed)

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

    def _models(self, known: Sequence[CrystalState]) -> dict[Property, PropertyModel]:
        """Surrogates of all properties that objectives and constraints ask for."""
        some = self._points.part(np.array([crystal.number for crystal in known]))
        names = dict.fromkeys([*self._goals, *(item.property for item in self._campaign.constraints)])
        values = {name: np.array([crystal.properties[name] for crystal in known]) for name in names}
        return {name: fit_property(some, values[name], self._descriptors.groups) for name in names}

    def _draws(self, rows: Ints, models: dict[Property, PropertyModel], known: int) -> Floats:
        """(S, r, m) what the objectives of the candidates in `rows` may be; -inf where a constraint is broken."""
        count = self._campaign.search.draws
        count = count if len(self._goals) == 1 else min(count, _MOST_DRAWS)
        points, found = self._points.part(rows), dict[Property, Floats]()
        for name, model in models.items():
            rng = np.random.default_rng(seed_for(self._campaign.seed, "draws", name, known))
            found[name] = model.sample(points, count, rng)
        values = np.stack([goal.utility(found[name]) for name, goal in self._goals.items()], axis=-1)
        broken = np.zeros(values.shape[:2], dtype=bool)
        for item in self._campaign.constraints:
            broken |= ~_within(found[item.property], item.at_least, item.at_most)
        return feasible_draws(values, broken)

    def _preselected(self, open_: Sequence[CrystalState], models: dict[Property, PropertyModel]) -> Ints:
        """Rows of the candidates that are drawn jointly: all, or those in flight and those of the best prospects."""
        rows = np.array([crystal.number for crystal in open_])
        if len(rows) <= MOST_JOINT:
            return rows
        quantiles = {name: models[name].quantiles(self._points.part(rows), LEVELS) for name in self._goals}
        hopes = np.column_stack([goal.prospects(quantiles[name]) for name, goal in self._goals.items()])
        hopes[[crystal.status == "running" for crystal in open_]] = np.inf
        return rows[preselect(hopes, MOST_JOINT)]

    def _values(self, crystal: CrystalState) -> list[float]:
        return [float(goal.utility(np.array(crystal.properties[name]))) for name, goal in self._goals.items()]

    def _allowed(self, crystal: CrystalState) -> bool:
        return allowed(self._campaign, crystal)


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
