"""A driver with thousands of workers, which are not there: what a pass of its loop costs when many tasks end at once.

The driver, its journal, result store, planner and arrays are the product's. In place of workers, results are written
into the store between two passes, outside the clock: labels without a calculation, explorations whose frames and rows
are mixed from those of a real one, and potentials with the posterior that so many labels like these would leave.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpcmat.campaign.driver import Driver
from hpcmat.campaign.events import (
    Created,
    Decided,
    Decision,
    Finished,
    FitSummary,
    RunStarted,
    Submitted,
)
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.outcomes import summarise
from hpcmat.campaign.spec import Campaign, canonical_spec_json
from hpcmat.campaign.state import CampaignState
from hpcmat.campaign.structures import seed_structures
from hpcmat.dispatch.dispatcher import Dispatcher
from hpcmat.dispatch.worker import Order
from hpcmat.engines.exploration import ROWS_NAME, ExploreResult
from hpcmat.engines.labelling import LabelRequest
from hpcmat.records import Execution, Label, Provenance, Record, Resources, Task, decode, encode
from hpcmat.steering.posterior import Observations
from hpcmat.store.results import ResultStore
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.training import MODEL_FILE


@dataclass(frozen=True, slots=True)
class Material:
    """Results of a small campaign from which others are made."""

    store: ResultStore
    exploration: str
    """Key of an exploration with a potential."""
    fit: str
    label: str
    summary: FitSummary

    @classmethod
    def of(cls, state: CampaignState) -> Material:
        """The last results of a finished campaign."""
        assert state.created is not None and state.model is not None
        explorations = [task.key for task in state.done("explore") if task.decision.model is not None]
        summary = state.model.summary
        assert isinstance(summary, FitSummary)
        store = ResultStore(state.created.store)
        return cls(store, explorations[-1], state.model.key, state.done("train")[-1].key, summary)


class Absent(Dispatcher):
    """Workers that answer when told to: the dispatcher of a driver that is watched."""

    healthy = True

    def __init__(self, store: ResultStore, material: Material, workers: int, known: int, seed: int = 0) -> None:
        super().__init__(store.root, "absent", workers)
        self.labels: deque[tuple[Order, Future[str]]] = deque()
        self.others: deque[tuple[Order, Future[str]]] = deque()
        self._store, self._random = store, np.random.default_rng(seed)
        self._records = {
            kind: material.store.read(key)
            for kind, key in (("explore", material.exploration), ("fit", material.fit), ("label", material.label))
        }
        explored = decode(ExploreResult, self._records["explore"].outcome)
        with np.load(material.store.folder(material.exploration) / ROWS_NAME) as archive:
            self._rows = {name: archive[name] for name in archive.files}
        self._frames = explored.frames
        self._label = decode(Label, self._records["label"].outcome)
        self._potential = self._after(Potential.load(material.store.folder(material.fit) / MODEL_FILE), known)

    def submit(self, order: Order) -> Future[str]:
        """Keep the order."""
        future: Future[str] = Future()
        (self.labels if order.task.kind == "label" else self.others).append((order, future))
        return future

    def _start(self) -> None:
        """Nothing runs."""

    def _stop(self) -> None:
        """Nothing ran."""

    def answer(self, labels: int) -> None:
        """End so many labels, oldest first, and all explorations and fits."""
        due = [*self.others, *(self.labels.popleft() for _ in range(min(labels, len(self.labels))))]
        self.others.clear()
        for order, future in due:
            self.publish(order.task)
            future.set_result("done")

    def publish(self, task: Task) -> Record:
        """Write a result as a worker would have, without the calculation."""
        folder = self._store.root / task.key[:2] / task.key / "attempt-1"
        folder.mkdir(parents=True)
        if task.kind == "explore":
            outcome = self._explore(folder)
        elif task.kind == "fit":
            self._potential.save(folder / MODEL_FILE)
            outcome = self._records["fit"].outcome
        else:
            outcome = encode(replace(self._label, structure=decode(LabelRequest, task.request).structure))
        template = self._records[task.kind]
        record = replace(template, key=task.key, request=task.request, outcome=outcome, provenance=task.provenance)
        self._store.publish(record, folder)
        return record

    def _explore(self, folder: Path) -> str:
        """Frames like the real ones, each with rows mixed from those of two of them."""
        count = len(self._frames)
        first, second = self._random.integers(count, size=(2, count))
        share = self._random.uniform(size=(count, 1)).astype(np.float32)
        mixed = {}
        for kind, rows in self._rows.items():
            weight = share.reshape(-1, *(1,) * (rows.ndim - 1))
            mixed[kind] = weight * rows[first] + (1 - weight) * rows[second]
        np.savez(folder / ROWS_NAME, allow_pickle=False, **mixed)
        frames = []
        for frame in self._frames:
            positions = frame.structure.positions
            moved = positions + self._random.normal(scale=0.05, size=positions.shape)
            frames.append(replace(frame, structure=replace(frame.structure, positions=moved)))
        return encode(ExploreResult(tuple(frames), "finished", 1000))

    def _after(self, potential: Potential, labels: int) -> Potential:
        """The potential with the posterior that so many labels more would leave."""
        rows = {kind: rows.astype(np.float64) for kind, rows in self._rows.items()}
        rows["energy"] *= 3.0 / rows["forces"].shape[1]
        features = rows["energy"].shape[1]
        scale = np.sqrt(labels / len(self._frames))
        seen = Observations(potential.covariance_factor)
        seen.add([scale * rows[kind].reshape(-1, features) for kind in ("energy", "forces", "stress")])
        covariance = seen.posterior(potential.covariance_factor, potential.noise)
        return replace(
            potential, covariance_factor=np.linalg.cholesky(covariance + 1e-12 * np.diag(np.diag(covariance)))
        )


class Watched(Driver):
    """A driver that meets a given number of ends in each pass, and leaves after so many passes."""

    def watch(self, passes: int, ends: int) -> None:
        """Run it; what it costs is for a stopwatch to tell."""
        self._ends = iter([ends] * passes)
        with suppress(StopIteration):
            self.run()

    def _wait(self) -> None:
        self._dispatcher.answer(next(self._ends))

    def leverage(self, known: int) -> float:
        """Largest leverage of a candidate, in units of the mean over all labels, features / labels."""
        ranking = self._kind._planner._chooser._ranked.ranking
        return float(ranking._leverages.max()) * known / len(ranking._covariance)


def busy_driver(campaign: Campaign, material: Material, root: Path, workers: int, known: int) -> Watched:
    """A driver in the middle of a campaign, with a label in flight for each worker.

    Parameters
    ----------
    campaign : of the material; its schedule is adapted to the number of workers.
    known : labels that the potential has taken in.
    """
    root.mkdir()
    # Fits have a price of their own; candidates are found as fast as they are used.
    steering = campaign.steering.model_copy(update={"refit_every": 10**6, "pool_min": 1000})
    budget = campaign.budget.model_copy(update={"labels": 10**7})
    campaign = campaign.model_copy(update={"steering": steering, "budget": budget})
    store = ResultStore(root / "store")
    absent = Absent(store, material, workers, known)
    folder = CampaignFolder(root / "campaign")
    folder.root.mkdir()
    journal = folder.journal()
    journal.create()
    state = _begun(campaign, store, workers)
    _explored(state, absent, 1.25 * workers + 1250)
    fit = _task("fit-0001", "fit", "busy-fit")
    absent.publish(fit)
    _happen(state, Decision(fit.id, "fit", "refit", "", fit), material.summary)
    for number in range(workers):
        _in_flight(state, absent, number)
    return Watched(folder, journal, state, absent, 2, lambda *_: None)


def _begun(campaign: Campaign, store: ResultStore, workers: int) -> CampaignState:
    state = CampaignState()
    created = Created("busy-1", canonical_spec_json(campaign), "0", str(store.root), seed_structures(campaign), ())
    state.apply(created, 0.0)
    state.apply(RunStarted("e", "host", 1, "local", workers, 1, ()), time.time())
    return state


def _explored(state: CampaignState, absent: Absent, candidates: float) -> None:
    number = 0
    while len(state.pool) < candidates:
        number += 1
        task = _task(f"explore-{number:07d}", "explore", f"{number:02x}-explored")
        decision = Decision(task.id, "explore", "molecular dynamics", "", task, model="busy-fit")
        _happen(state, decision, None, absent.publish(task))


def _happen(state: CampaignState, decision: Decision, summary: FitSummary | None, record: Record | None = None) -> None:
    state.apply(Decided(decision), time.time())
    state.apply(Submitted(decision.id, (), 0), time.time())
    found = summary if record is None else summarise(record, decision, state, ())
    state.apply(Finished(decision.id, found, Execution(1, "host", 1, 0.0, 1.0)), time.time())


def _in_flight(state: CampaignState, absent: Absent, number: int) -> None:
    purpose = "validation" if number % 5 == 4 else "train"
    candidate = next(state.pool.reserved()) if purpose == "validation" else state.pool.newest(1)[0]
    task = _task(f"label-{number:07d}", "label", candidate.key)
    # What it is about matters to nobody but the record that answers it.
    frame = absent._frames[0].structure
    task = replace(task, request=encode(LabelRequest(frame, state.campaign.engine)))
    state.apply(Decided(Decision(task.id, purpose, "i-optimal", "", task, candidate=candidate)), time.time())
    state.apply(Submitted(task.id, (), 0), time.time())


def _task(identity: str, kind: str, key: str) -> Task:
    return Task(identity, kind, key, "m:f", "{}", Resources(), Provenance("busy-1", identity, "random"))
