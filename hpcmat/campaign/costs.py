"""What the tasks of a campaign take and whether its labels succeed, learned as they end and from the result store."""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from hpcmat.campaign.events import ExploreSummary
from hpcmat.campaign.plan import (
    FIT_SECONDS_PER_LABEL,
    MD_SECONDS_PER_ATOM_STEP,
    RECORDS_READ,
    START_SECONDS,
    guess_label_seconds,
    number_of_kpoints,
)
from hpcmat.campaign.state import CampaignState, TaskState
from hpcmat.engines.base import physics_of
from hpcmat.engines.exploration import ExploreRequest
from hpcmat.engines.labelling import LabelRequest
from hpcmat.engines.settings import EngineSettings
from hpcmat.records import Structure, decode
from hpcmat.steering.costs import CostModel, Duration, SuccessModel, guessed_costs, learn_success
from hpcmat.store.results import ResultStore
from hpcmat.surrogates.training import FitRequest

Floats = NDArray[np.float64]

FEATURES = {"label": 4, "explore": 3, "fit": 2}
"""How many features the power law of each kind of task has, the constant included."""
TYPICAL_ATOMS, TYPICAL_CHARGE, TYPICAL_STEPS, TYPICAL_LABELS = 32.0, 14.0, 400.0, 50.0
"""Where the logarithms in the features are zero, so that the constant is what a typical task takes."""
ENDS_KEPT = 2000
"""The newest ends of labels are enough to learn how often they fail."""
FIRST_SETTLED = 4
"""Labels that must have ended before costs decide. A short cold start is enough: what small cells cannot
teach gains less and less by them, while a few labels of the largest may cost more than all others together."""
SETTLED_GROWTH = 1.2
"""What decides is brought up to date each time the ended labels have grown by this factor."""


@dataclass(frozen=True, slots=True, eq=False)
class Size:
    """How large a task is: features of the power law, and the duration guessed before anything was measured."""

    features: Floats
    """[1, log N, ...]; see `hpcmat.steering.costs`."""
    guess_s: float


def label_size(structure: Structure, engine: EngineSettings) -> Size:
    """[1, log atoms, log nuclear charge per atom, log k-points] against typical values.

    The guess scales with atoms and k-points as plane waves do; what is learned corrects its factor and exponents.
    """
    from ase.data import atomic_numbers

    charge = sum(atomic_numbers[symbol] for symbol in structure.symbols) / len(structure)
    kpoints = number_of_kpoints(structure, engine)
    features = _features(len(structure) / TYPICAL_ATOMS, charge / TYPICAL_CHARGE, kpoints)
    return Size(features, guess_label_seconds(structure, engine))


def size_of(kind: str, request: str, steps_run: int | None = None) -> Size:
    """Size of any task from its request; of an exploration that ended, from the steps that it made."""
    if kind == "label":
        label = decode(LabelRequest, request)
        return label_size(label.structure, label.engine)
    if kind == "fit":
        labels = len(decode(FitRequest, request).train)
        return Size(_features(labels / TYPICAL_LABELS), START_SECONDS + FIT_SECONDS_PER_LABEL * labels)
    explore = decode(ExploreRequest, request)
    atoms = len(explore.seed_structure) * math.prod(explore.conditions.repeat)
    steps = explore.conditions.steps if steps_run is None else steps_run
    if explore.model is None:
        steps = explore.n_frames
    guess = START_SECONDS + MD_SECONDS_PER_ATOM_STEP * atoms * steps
    return Size(_features(atoms / TYPICAL_ATOMS, max(steps, 1) / TYPICAL_STEPS), guess)


@dataclass(frozen=True, slots=True, eq=False)
class LabelCosts:
    """What labels take and how often they fail, after so many had ended."""

    ended: int
    duration: CostModel
    success: SuccessModel

    def expected_s(self, size: Size) -> float:
        """Expected duration of a label, s."""
        return self.duration.predict(size.features, size.guess_s).expected_s

    def success_probability(self, size: Size) -> float:
        """Probability that a label of this size gives a result."""
        return 1.0 - self.success.failure(size.features)


class CostBook:
    """Durations and successes learned so far, one model for each kind of task."""

    def __init__(self) -> None:
        self._models = {kind: guessed_costs(number) for kind, number in FEATURES.items()}
        self._ends: deque[tuple[Floats, bool]] = deque(maxlen=ENDS_KEPT)
        self._sizes: dict[str, Size] = {}
        """Of labels that were decided here and have not ended, by task."""
        self._ended = 0
        self._taken_in = 0
        self.settled: LabelCosts | None = None
        """What choices among candidates rest on: as of certain numbers of ended labels, so that choices in a row can
        share a ranking and the same journal gives the same ones."""

    def model(self, kind: str) -> CostModel:
        """What is known of the durations of one kind of task."""
        return self._models[kind]

    def expected(self, kind: str, size: Size) -> Duration:
        """Predicted duration of one attempt."""
        return self._models[kind].predict(size.features, size.guess_s)

    def expect(self, task: str, size: Size) -> None:
        """Remember the size of a label that was decided, so that its request need not be read again."""
        self._sizes[task] = size

    def label_costs(self) -> LabelCosts:
        """What is known of labels now."""
        features = np.array([end[0] for end in self._ends]).reshape(-1, FEATURES["label"])
        failed = np.array([end[1] for end in self._ends], dtype=bool)
        return LabelCosts(self._ended, self._models["label"], learn_success(features, failed))

    def take_in(self, kind: str, size: Size, seconds: float | None) -> None:
        """One task that ended: with a result after so long, or without one."""
        if seconds is not None and seconds > 0.0:
            news = size.features[None], np.array([seconds]), np.array([size.guess_s])
            self._models[kind] = self._models[kind].updated(*news)
        if kind == "label":
            self._ended += 1
            self._ends.append((size.features, seconds is None))
            before = self.settled.ended if self.settled else 0
            if self._ended >= max(FIRST_SETTLED, SETTLED_GROWTH * before):
                self.settled = self.label_costs()

    def catch_up(self, state: CampaignState) -> None:
        """Take in what ended since the last call, in the order of ending: a driver that comes back learns the same."""
        for task in state.index.all_ended[self._taken_in :]:
            self._take_in_task(task)
        self._taken_in = len(state.index.all_ended)

    def _take_in_task(self, task: TaskState) -> None:
        """Nothing is learned from what was run for another task, nor from a failure of the machine."""
        machine_failed = task.status == "failed" and task.failures[-1].failure.failure.free
        if task.reused or machine_failed:
            return
        seconds = task.execution.wall_s if task.status == "done" and task.execution is not None else None
        size = self._sizes.pop(task.id, None) or _size_or_none(task)
        if size is not None:
            self.take_in(task.decision.task.kind, size, seconds)


def learned_from(store: Path, engine: EngineSettings) -> CostBook:
    """Costs by the newest records of a result store: labels of these engine settings, all explorations and fits."""
    book, results = CostBook(), ResultStore(store)
    folders = sorted(store.glob("??/*"), key=lambda folder: folder.stat().st_mtime, reverse=True)[:RECORDS_READ]
    for folder in reversed(folders):
        record = results.read(folder.name)
        if record is None or (record.task_kind == "label" and not _same_physics(record.request, engine)):
            continue
        steps = json.loads(record.outcome).get("steps_run")
        book.take_in(record.task_kind, size_of(record.task_kind, record.request, steps), record.execution.wall_s)
    return book


def _size_or_none(task: TaskState) -> Size | None:
    """None for a request that this version does not read: a campaign goes on without learning from it."""
    steps = task.summary.steps_run if isinstance(task.summary, ExploreSummary) else None
    try:
        return size_of(task.decision.task.kind, task.decision.task.request, steps)
    except ValidationError:
        return None


def _same_physics(request: str, engine: EngineSettings) -> bool:
    return physics_of(decode(LabelRequest, request).engine) == physics_of(engine)


def _features(*sizes: float) -> Floats:
    return np.array([1.0, *(math.log(size) for size in sizes)])
