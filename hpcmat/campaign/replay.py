"""Policies on labels that exist: which of them would have needed fewer, by running each again from the start."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from hpcmat.campaign.spec import Campaign
from hpcmat.campaign.state import CampaignState
from hpcmat.errors import InputError
from hpcmat.records import Label, decode
from hpcmat.steering.acquisition import condition
from hpcmat.steering.chance import uniform_for
from hpcmat.steering.policies import Grounds, random_share, rank
from hpcmat.steering.ranking import Ranking
from hpcmat.steering.trust import TrustWindow, draw_trusted, largest_deviation
from hpcmat.store.results import ResultStore
from hpcmat.surrogates.ace import AceSettings, Design, basis_for
from hpcmat.surrogates.fitting import fit_potential
from hpcmat.surrogates.potential import Potential

Floats = NDArray[np.float64]

_TRUST = TrustWindow(0.05, 0.15)


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule, and the share of labels drawn at random beside it."""

    rule: str
    """One of the acquisitions of a campaign file."""
    random_fraction: float = 0.3
    """Where nothing runs ahead of the next fit; see `random_share`."""
    misfit_aware: bool = True
    trust: TrustWindow = _TRUST
    """Of the rule `trusted`."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What is replayed: labels to choose from, and labels that judge."""

    pool: tuple[Label, ...]
    test: tuple[Label, ...]
    settings: AceSettings


@dataclass(frozen=True, slots=True)
class Pace:
    """How a replay proceeds."""

    start: int = 5
    """Labels drawn at random before the first potential."""
    batch: int = 5
    """Labels between two fits; within a batch each takes account of those before it."""
    in_flight: int = 1
    """Labels that have been decided and that the newest potential has not seen; at least a batch is."""
    limit: int = 60
    """Labels that its last potential has seen."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Error on the test labels after so many labels, those in flight not counted."""

    labels: tuple[int, ...]
    force_rmse: tuple[float, ...]
    """eV/Å"""

    def labels_to(self, target: float) -> float:
        """Labels at which the error first falls to a target, interpolated in its logarithm; infinite if never."""
        before: tuple[int, float] | None = None
        for number, error in zip(self.labels, self.force_rmse, strict=True):
            if error <= target:
                if before is None:
                    return float(number)
                share = math.log(before[1] / target) / math.log(before[1] / error)
                return before[0] + (number - before[0]) * share
            before = (number, error)
        return math.inf


def replay(labels: Labels, policy: Policy, seed: int, pace: Pace = Pace()) -> Curve:
    """Learning curve of a policy; policies with the same seed start from the same labels.

    Raises
    ------
    InputError
        There are fewer labels than the first potential needs, or none that judge.
    """
    if len(labels.pool) < pace.start or not labels.test:
        raise InputError(
            f"{len(labels.pool)} labels to choose from and {len(labels.test)} that judge are too few to replay; "
            f"{pace.start} and 1 are needed"
        )
    designs = _designs(labels)
    order = sorted(range(len(designs)), key=lambda index: uniform_for(seed, "start", index))
    chosen, seen, numbers, errors = order[: pace.start], pace.start, list[int](), list[float]()
    limit = min(pace.limit, len(designs))
    while True:
        potential = fit_potential(tuple(labels.pool[index] for index in chosen[:seen]), labels.settings).potential
        numbers.append(seen)
        errors.append(force_rmse(potential, labels.test))
        if seen >= limit:
            return Curve(tuple(numbers), tuple(errors))
        count = min(seen + max(pace.batch, pace.in_flight), limit) - len(chosen)
        grounds = _Grounds(potential, designs, chosen[:seen])
        for index in chosen[seen:]:
            grounds.take(index)
        chosen = [*chosen, *_batch(grounds, policy, seed, count, pace.batch)]
        seen = min(seen + pace.batch, limit)


@lru_cache(maxsize=1)
def _designs(labels: Labels) -> tuple[Design, ...]:
    """Of the labels to choose from; policies that are compared share them."""
    basis = basis_for(labels.settings)
    return tuple(basis.design(label.structure) for label in labels.pool)


def force_rmse(potential: Potential, labels: Sequence[Label]) -> float:
    """Root mean square error of force components over labels, each frame counting alike, eV/Å."""
    squares = [np.mean((potential.predict(label.structure).forces - label.forces) ** 2) for label in labels]
    return float(np.sqrt(np.mean(squares)))


def labels_of(state: CampaignState, store: ResultStore) -> Labels:
    """What a campaign labelled to train on, judged by its validation stream.

    Raises
    ------
    InputError
        It is a screening, which trains nothing.
    """
    if not isinstance(state.spec, Campaign):
        raise InputError(f"{state.specification.name}: a screening has no policy to replay; name another campaign")
    spec = state.campaign.surrogate
    settings = AceSettings(state.campaign.system.elements, spec.cutoff_ang, spec.inner_ang, spec.size, spec.seed)
    found = {task.key: store.read(task.key) for task in state.done("train", "validation")}
    train, validation = (
        tuple(decode(Label, record.outcome) for t in state.done(purpose) if (record := found[t.key]) is not None)
        for purpose in ("train", "validation")
    )
    return Labels(train, validation, settings)


class _Grounds:
    """What rules ask for, of labels that wait; see `hpcmat.steering.policies.Grounds`."""

    def __init__(self, potential: Potential, designs: Sequence[Design], chosen: Sequence[int]) -> None:
        self._potential = potential
        self._designs = designs
        self.taken = list(chosen)
        self.fitted = len(chosen)
        """Of those taken, how many the potential has seen."""
        self.waiting = [index for index in range(len(designs)) if index not in set(chosen)]
        self.covariance: Floats = potential.covariance_factor @ potential.covariance_factor.T
        self._ranking: Ranking | None = None
        self._ranked: list[int] = []

    def most_informative(self, misfit_aware: bool) -> int:
        """The one that waits which lowers the variance the most; judged anew only as far as that may have changed."""
        if self._ranking is None:
            self._ranked = list(self.waiting)
            excess = self.excess if misfit_aware else None
            self._ranking = Ranking(self.covariance, self.rows, self.reference, excess)
        elif self._ranking.lags:
            self._ranking.renew(self.covariance)
        return self._ranked[self._ranking.best(1)[0][0]]

    def take(self, index: int) -> None:
        """Take one that waits in, as if its label were there."""
        rows = self._rows(index)
        self.covariance = condition(self.covariance, rows)
        if self._ranking is not None:
            self._ranking.take_in(rows, self._ranked.index(index))
        self.waiting.remove(index)
        self.taken.append(index)

    @cached_property
    def reference(self) -> Floats:
        forces = np.concatenate([design.forces for design in self._designs])
        gram: Floats = forces.T @ forces / len(forces)
        return gram

    @property
    def rows(self) -> Sequence[Floats]:
        return [self._rows(index) for index in self.waiting]

    @property
    def excess(self) -> Sequence[Floats]:
        """Misfit of the rows beyond the noise, in units of it."""
        return [self._excess(self._designs[index]) for index in self.waiting]

    @property
    def forces(self) -> Sequence[Floats]:
        return [self._designs[index].forces for index in self.waiting]

    @property
    def labelled(self) -> Floats:
        return np.concatenate([self._designs[index].forces for index in self.taken])

    @property
    def descriptors(self) -> Floats:
        means: Floats = self._means[self.waiting]
        return means

    @property
    def known(self) -> Floats:
        means: Floats = self._means[self.taken]
        return means

    @cached_property
    def _means(self) -> Floats:
        means = np.array([design.energy / len(design.site) for design in self._designs])
        spread = means.std(axis=0)
        scaled: Floats = means / np.where(spread > 0.0, spread, 1.0)
        return scaled

    def _rows(self, index: int) -> Floats:
        design, noise = self._designs[index], self._potential.noise
        energy = design.energy[None] / len(design.site)
        # Without stresses among the labels their noise is zero and nothing is learned from them.
        stress = design.stress / noise[2] if noise[2] > 0.0 else design.stress[:0]
        return np.concatenate([energy / noise[0], design.forces / noise[1], stress])

    def _excess(self, design: Design) -> Floats:
        stress = len(design.stress) if self._potential.noise[2] > 0.0 else 0
        return np.concatenate([np.zeros(1), self._potential.force_excess(design.forces), np.zeros(stress)])


def _batch(grounds: _Grounds, policy: Policy, seed: int, count: int, refit_every: int) -> list[int]:
    chosen: list[int] = []
    for _ in range(count):
        index = _next(grounds, policy, seed, refit_every)
        grounds.take(index)
        chosen.append(index)
    return chosen


def _next(grounds: _Grounds, policy: Policy, seed: int, refit_every: int) -> int:
    """Which of those that wait is next."""
    number = len(grounds.taken)
    share = random_share(policy.random_fraction, grounds.fitted, number - grounds.fitted, refit_every)
    if policy.rule == "random" or uniform_for(seed, "rule", number) < share:
        return grounds.waiting[int(uniform_for(seed, "random", number) * len(grounds.waiting))]
    if policy.rule == "i-optimal":
        return grounds.most_informative(policy.misfit_aware)
    if policy.rule == "trusted":
        deviations = np.array([largest_deviation(grounds.covariance, rows) for rows in grounds.forces])
        return grounds.waiting[draw_trusted(deviations, policy.trust, uniform_for(seed, "trusted", number))[0]]
    judged: Grounds = grounds
    return grounds.waiting[rank(policy.rule, judged)[0][0]]
