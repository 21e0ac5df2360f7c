"""What a choice rests on, as arrays: posterior covariance, design rows of candidates, reference distribution."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpcmat.campaign.events import BIASED, Candidate, ExploreSummary
from hpcmat.campaign.state import CampaignState, TaskState
from hpcmat.engines.exploration import ExploreResult
from hpcmat.records import Label, Structure, decode
from hpcmat.steering.acquisition import condition
from hpcmat.steering.posterior import Observations
from hpcmat.store.results import ResultStore
from hpcmat.surrogates.potential import Potential

Floats = NDArray[np.float64]


class _Rows(NamedTuple):
    """Design rows of one frame, as stored."""

    energy: NDArray[np.float32]
    """(F,)"""
    forces: NDArray[np.float32]
    """(3n, F)"""
    stress: NDArray[np.float32]
    """(6, F)"""

    @property
    def parts(self) -> tuple[Floats, Floats, Floats]:
        """Rows of the energy per atom (1, F), forces and stress."""
        energy, forces, stress = (rows.astype(np.float64) for rows in self)
        return energy[None] * (3.0 / len(forces)), forces, stress


class _Grams:
    """Sums of x xᵀ over force rows, and their numbers, by condition."""

    def __init__(self) -> None:
        self._sums: dict[object, tuple[Floats, int]] = {}

    def add(self, condition: object, frames: Sequence[_Rows]) -> None:
        """More frames of a condition."""
        if frames:
            _, forces, _ = _stacked(frames)
            total, rows = self._sums.get(condition, (0.0, 0))
            self._sums[condition] = total + forces.T @ forces, rows + len(forces)

    def means_without(self, others: _Grams) -> dict[object, Floats]:
        """Means over all rows but some of them; none for a condition of which all are left out."""
        left = dict(self._sums)
        for name, (total, rows) in others._sums.items():
            left[name] = left[name][0] - total, left[name][1] - rows
        return {name: total / rows for name, (total, rows) in left.items() if rows}


class Evidence:
    """Reads and remembers the arrays that steering judges candidates by."""

    def __init__(self, store: ResultStore) -> None:
        self._store = store
        self._explored = lru_cache(maxsize=64)(self._read_exploration)
        self._potential = lru_cache(maxsize=2)(self._read_potential)
        self._reached = _Grams()
        """Of ended explorations, by condition."""
        self._taken_back = _Grams()
        """Of those frames among them that audits took back; apart, so that another driver finds the very same sums."""
        self._average: Floats = np.zeros((0, 0))
        self._seen = 0, 0
        """How many ended explorations these hold, and how many roll-backs."""
        self._share = "", self._seen, 0.0
        """Model, `_seen` and what `misfit_share` was then."""
        self._squares: tuple[str, dict[str, float]] = "", {}
        """Model, and what `expected_square` is by it, by key of the label."""
        self._in_flight = Observations(np.zeros((0, 0)))
        self._counted: dict[str, Candidate | None] = {}
        """What `_in_flight` holds, by task."""
        self._basis = ("", 0)
        """Model, and how often tasks had left those beyond it, when `_in_flight` was last counted afresh."""
        self._covariance: Floats = np.zeros((0, 0))

    def structure(self, candidate: Candidate) -> Structure:
        """The candidate's structure."""
        return self._explored(candidate.exploration)[0][candidate.frame]

    def covariance(self, state: CampaignState, model: TaskState) -> Floats:
        """Posterior covariance given the model's labels, and all training labels decided since (F, F).

        A label in flight counts as if it were there: the covariance does not depend on its value. One that fails
        drops out by itself, because it is no longer among the decided ones. The model must be the newest.
        """
        basis = (model.key, state.index.beyond_fit_losses)
        if basis == self._basis:
            new = _candidates(state.index.beyond_fit_since(len(self._counted)))
            self._count(new)
            rows = [self.rows(candidate, model) for candidate in new.values() if candidate is not None]
            if sum(map(len, rows)) < len(self._covariance):
                self._covariance = condition(self._covariance, np.concatenate(rows)) if rows else self._covariance
                return self._covariance
        else:
            self._recount(_candidates(state.index.beyond_fit.values()), self._potential(model.key).covariance_factor)
            self._basis = basis
        factor = self._potential(model.key).covariance_factor
        self._covariance = self._in_flight.posterior(factor, self._noise(model))
        return self._covariance

    def rows(self, candidate: Candidate, model: TaskState) -> Floats:
        """Design rows of a candidate divided by the model's noise (3n + 7, F)."""
        parts, noise = self._rows(candidate).parts, self._noise(model)
        return np.concatenate([rows / sigma for rows, sigma in zip(parts, noise, strict=True)])

    def _noise(self, model: TaskState) -> Floats:
        """Noise of energies, forces and stresses; infinite where no label had any, and none will come with others."""
        noise = self._potential(model.key).noise
        return np.where(noise > 0.0, noise, np.inf)

    def parts(self, candidate: Candidate) -> tuple[Floats, Floats, Floats]:
        """Design rows of a candidate: energy per atom (1, F), forces (3n, F), stress."""
        return self._rows(candidate).parts

    def excess(self, candidate: Candidate, model: TaskState) -> Floats:
        """By how much the misfit of each of its rows exceeds the constant noise, in units of it (3n + 7,).

        The noise that was graded by left-out labels says it for forces; those of energy and stress, seven rows in all,
        are taken to be as usual.
        """
        energy, forces, stress = self._rows(candidate).parts
        excess = self._potential(model.key).force_excess(forces)
        return np.concatenate([np.zeros(len(energy)), excess, np.zeros(len(stress))])

    def expected_square(self, candidate: Candidate, model: TaskState) -> float:
        """Squared error expected of its force components by a model: variance and misfit, mean, (eV/Å)²."""
        if self._squares[0] != model.key:
            self._squares = model.key, {}
        known = self._squares[1]
        if candidate.key not in known:
            _, forces, _ = self._rows(candidate).parts
            known[candidate.key] = float(np.mean(self._potential(model.key).force_variances(forces)))
        return known[candidate.key]

    def misfit_share(self, state: CampaignState, model: TaskState) -> float:
        """Share of the misfit in the mean force variance on what is explored, the rest being not yet known."""
        reference, potential = self.reference(state), self._potential(model.key)
        if self._share[:2] != (model.key, self._seen):
            factor, misfit = potential.covariance_factor, potential.noise_forces**2
            unknown = float(((reference @ factor) * factor).sum())
            self._share = model.key, self._seen, misfit / (misfit + unknown)
        return self._share[2]

    def errors(self, candidate: Candidate, potential: str, label: Label) -> tuple[Floats, Floats]:
        """Errors of a potential on a candidate's label, and the variances that it states (n, 3), in eV/Å.

        From the design rows, which do without the core: where atoms came closer than any that were fitted, dynamics had
        nuclear repulsion instead.
        """
        rows, model = self._rows(candidate).parts[1], self._potential(potential)
        errors = rows @ model.coefficients - np.asarray(label.forces).ravel()
        return errors.reshape(-1, 3), model.force_variances(rows).reshape(-1, 3)

    def reference(self, state: CampaignState) -> Floats:
        """Mean of x xᵀ over the force rows of what is explored with a potential, each condition alike (F, F).

        Of everything explored where there was no potential yet. Trajectories that end early would otherwise hide that
        their condition is as much asked for as the others. Frames that an audit took back do not count, nor does what a
        bias led to.
        """
        ended, roll_backs = state.index.ended.get("explore", []), state.index.audits.roll_backs
        seen = len(ended), len(roll_backs)
        if seen == self._seen:
            return self._average
        for task in ended[self._seen[0] :]:
            if task.decision.rule == BIASED:
                continue
            if task.status == "done" and isinstance(task.summary, ExploreSummary) and task.summary.candidates:
                self._reached.add(_where(task), self._explored(task.key)[1])
        for each in roll_backs[self._seen[1] :]:
            frames = self._explored(each.exploration)[1][each.first : each.until]
            self._taken_back.add(_where(state.index.explorations[each.exploration]), frames)
        self._seen = seen
        means = self._reached.means_without(self._taken_back)
        with_potential = [mean for condition, mean in means.items() if condition != "cold start"]
        self._average = np.mean(with_potential or list(means.values()), axis=0)
        return self._average

    def _recount(self, now: dict[str, Candidate | None], factor: Floats) -> None:
        """Bring what is in flight to these tasks: by what has come and gone where that is less than all of them."""
        gone = {task: candidate for task, candidate in self._counted.items() if task not in now}
        if 2 * len(gone) > len(now) or not self._in_flight.serves(factor):
            gone, self._counted, self._in_flight = {}, {}, Observations(factor)
        come = {task: candidate for task, candidate in now.items() if task not in self._counted}
        self._count(gone, sign=-1)
        self._count(come)
        self._counted = now

    def _count(self, tasks: dict[str, Candidate | None], sign: int = 1) -> None:
        by_exploration: dict[str, list[_Rows]] = defaultdict(list)
        for candidate in tasks.values():
            if candidate is not None:
                by_exploration[candidate.exploration].append(self._rows(candidate))
        for rows in by_exploration.values():
            self._in_flight.add(_stacked(rows), sign)
        self._counted |= tasks

    def _rows(self, candidate: Candidate) -> _Rows:
        return self._explored(candidate.exploration)[1][candidate.frame]

    def _read_exploration(self, key: str) -> tuple[tuple[Structure, ...], tuple[_Rows, ...]]:
        attempt = self._store.accepted(key)
        assert attempt is not None and attempt.record is not None, "a finished exploration has an accepted record"
        structures = tuple(frame.structure for frame in decode(ExploreResult, attempt.record.outcome).frames)
        with np.load(attempt.folder / "rows.npz") as archive:
            kinds = [archive[kind] for kind in _Rows._fields]
        return structures, tuple(_Rows(*rows) for rows in zip(*kinds, strict=True))

    def _read_potential(self, key: str) -> Potential:
        return Potential.load(self._store.folder(key) / "potential.npz")


def _candidates(tasks: Iterable[TaskState]) -> dict[str, Candidate | None]:
    return {task.id: task.decision.candidate for task in tasks}


def _where(task: TaskState) -> object:
    """The condition as which an exploration counts."""
    return task.decision.condition if task.decision.model is not None else "cold start"


def _stacked(frames: Sequence[_Rows]) -> tuple[Floats, Floats, Floats]:
    energy, forces, stress = zip(*(rows.parts for rows in frames), strict=True)
    return np.concatenate(energy), np.concatenate(forces), np.concatenate(stress)
