"""What a choice rests on, as arrays: posterior covariance, design rows of candidates, reference distribution."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hpcmat.campaign.events import Candidate, ExploreSummary
from hpcmat.campaign.state import CampaignState, TaskState
from hpcmat.engines.exploration import ExploreResult
from hpcmat.records import Structure, decode
from hpcmat.steering.acquisition import condition
from hpcmat.store.results import ResultStore
from hpcmat.surrogates.potential import Potential

Floats = NDArray[np.float64]


class Evidence:
    """Reads and remembers the arrays that steering judges candidates by."""

    def __init__(self, store: ResultStore) -> None:
        self._store = store
        self._rows = lru_cache(maxsize=64)(self._read_rows)
        self._gram = lru_cache(maxsize=None)(self._force_gram)
        self._frames = lru_cache(maxsize=256)(self._read_frames)
        self._potential = lru_cache(maxsize=2)(self._read_potential)
        self._reference: tuple[int, Floats] = (0, np.zeros((0, 0)))
        """Number of finished explorations, and what they amount to."""
        self._conditioned: tuple[str, tuple[str, ...], Floats] = ("", (), np.zeros((0, 0)))
        """Model, training tasks taken in, and the covariance: the next decision adds one task to them."""

    def structure(self, candidate: Candidate) -> Structure:
        """The candidate's structure."""
        return self._frames(candidate.exploration)[candidate.frame]

    def covariance(self, state: CampaignState, model: TaskState) -> Floats:
        """Posterior covariance given the model's labels, and all training labels decided since (F, F).

        A label in flight counts as if it were there: the covariance does not depend on its value. One that fails
        drops out by itself, because it is no longer among the decided ones. The model must be the newest.
        """
        tasks = state.index.beyond_fit
        known, conditioned, covariance = self._conditioned
        if (known, *tuple(tasks)[: len(conditioned)]) != (model.key, *conditioned):
            factor = self._potential(model.key).covariance_factor
            conditioned, covariance = (), factor @ factor.T
        for task in list(tasks.values())[len(conditioned) :]:
            if task.decision.candidate is not None:
                covariance = condition(covariance, self.rows(task.decision.candidate, model))
        self._conditioned = (model.key, tuple(tasks), covariance)
        return covariance

    def rows(self, candidate: Candidate, model: TaskState) -> Floats:
        """Design rows of a candidate divided by the model's noise (3n + 7, F); 3n + 1 rows if labels have no stress."""
        energy, forces, stress = self._rows(candidate.exploration)[candidate.frame]
        noise = self._potential(model.key).noise
        per_atom = 3.0 / len(forces)
        # The noise is zero where no label had a stress: none will come with this candidate either.
        stresses = [stress / noise[2]] if noise[2] > 0.0 else []
        return np.concatenate([energy[None] * per_atom / noise[0], forces / noise[1], *stresses])

    def reference(self, state: CampaignState) -> Floats:
        """Mean of x xᵀ over the force rows of everything explored with a potential (F, F); of all without one."""
        number = state.index.number(("explore",), "done")
        if self._reference[0] != number:
            explored = [task for task in state.done("explore") if _has_candidates(task)]
            with_potential = [task for task in explored if task.decision.model is not None]
            grams = [self._gram(task.key) for task in with_potential or explored]
            total: Floats = sum((gram for gram, _ in grams), np.zeros_like(grams[0][0]))
            self._reference = (number, total / sum(count for _, count in grams))
        return self._reference[1]

    def _force_gram(self, exploration: str) -> tuple[Floats, int]:
        rows = np.concatenate([forces for _, forces, _ in self._rows(exploration)])
        return rows.T @ rows, len(rows)

    def _read_rows(self, exploration: str) -> tuple[tuple[Floats, Floats, Floats], ...]:
        with np.load(self._store.folder(exploration) / "rows.npz") as archive:
            arrays = {name: archive[name].astype(np.float64) for name in archive.files}
        count = sum(name.startswith("energy_") for name in arrays)
        return tuple((arrays[f"energy_{q}"], arrays[f"forces_{q}"], arrays[f"stress_{q}"]) for q in range(count))

    def _read_frames(self, exploration: str) -> tuple[Structure, ...]:
        record = self._store.read(exploration)
        assert record is not None, "a finished exploration has an accepted record"
        return tuple(frame.structure for frame in decode(ExploreResult, record.outcome).frames)

    def _read_potential(self, key: str) -> Potential:
        return Potential.load(self._store.folder(key) / "potential.npz")


def _has_candidates(task: TaskState) -> bool:
    return isinstance(task.summary, ExploreSummary) and bool(task.summary.candidates)
