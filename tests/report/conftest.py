"""A made-up campaign: journal and store as a driver would leave them, without running anything."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from hpcmat.campaign.events import (
    Candidate,
    Created,
    Decided,
    Decision,
    Ended,
    ExploreSummary,
    Failed,
    Finished,
    FitSummary,
    LabelSummary,
    ReferenceComparison,
    RunStarted,
    Scores,
    Stopping,
    Submitted,
    event_json,
)
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.spec import canonical_spec_json, parse_campaign
from hpcmat.campaign.state import CampaignState
from hpcmat.records import (
    Execution,
    Failure,
    FailureKind,
    Governance,
    Label,
    Method,
    Provenance,
    Record,
    Resources,
    Structure,
    Task,
    encode,
)
from hpcmat.steering.stopping import error_bound
from hpcmat.store.journal import Journal, sqlite_url
from hpcmat.store.results import ResultStore

ORIGIN = 1_790_000_000.0
REMEDIES = {FailureKind.NOT_CONVERGED: ("mixing",), FailureKind.CRASH: (), FailureKind.NODE_LOST: ()}
SPEC = {
    "kind": "potential",
    "name": "si-made-up",
    "system": {"elements": ["Si"], "structures": [{"crystal": "diamond", "element": "Si", "a_ang": 5.431}]},
    "engine": {"name": "teacher"},
    "target": {"force_rmse_ev_per_ang": 0.12},
    "budget": {"labels": 70, "node_hours": 2.0},
    "governance": {"creators": ["A. Researcher"]},
}


@dataclass
class MadeUp:
    """Builds events as if `workers` workers had done one task after another."""

    store: ResultStore
    workers: int = 2
    failure_rate: float = 0.08
    message: str = "energy not converged after 60 steps"
    spec: dict = field(default_factory=lambda: json.loads(json.dumps(SPEC)))
    events: list = field(default_factory=list)

    def __post_init__(self):
        self.rng = np.random.default_rng(5)
        self.free = [ORIGIN + 5.0 + 0.3 * w for w in range(self.workers)]
        self.count = 0
        self.fit_keys: list[str] = []
        self.train: list[str] = []
        self.validation: list[str] = []
        self.candidates: list[Candidate] = []
        self.campaign = parse_campaign(self.spec, Path("made-up.toml"))

    @property
    def state(self) -> CampaignState:
        return CampaignState.of(sorted(self.events, key=lambda pair: pair[1]))

    def begin(self) -> MadeUp:
        created = Created(
            spec=canonical_spec_json(self.campaign), identity="si-made-up 0123", version="0.1.0",
            store=str(self.store.root),
            seeds=(), references=(),
        )  # fmt: skip
        self.add(created, ORIGIN)
        software = (("numpy", "2.3.0"), ("ase", "3.26"))
        self.add(RunStarted("epoch", "host-a", 42, "local", self.workers, 2 * self.workers, software), ORIGIN + 1)
        return self

    def add(self, event, time):
        self.events.append((event, time))

    def run_labels(self, labels: int, fit_every: int = 8, reused: int = 2) -> MadeUp:
        for number in range(7):
            self.label("reference", number, reused=number < reused)
        for number in range(labels):
            if number >= 10 and number % 12 == 10:
                self.explore()
            self.label("validation" if number >= 10 and number % 4 == 1 else "train", number)
            if number % fit_every == fit_every - 1:
                self.fit()
        return self

    def finish(self, sentence="The target was reached: the force RMSE is at most 0.11 eV/Å.") -> MadeUp:
        end = max(self.free) + 1
        self.add(Stopping("target", sentence), end - 1)
        self.add(Ended(True, sentence), end + 1)
        return self

    def label(self, purpose, number, reused=False):
        key = f"{self.count:04x}" + "ab" * 30
        candidate = self.candidates[number % len(self.candidates)] if self.candidates and number >= 10 else None
        decision = self.decision(
            "label", key, purpose, "i-optimal" if candidate else "cold-start",
            "largest reduction of the expected error per predicted second" if candidate else "no potential yet",
            candidate,
        )  # fmt: skip
        self.publish_label(key, number)
        summary = LabelSummary(-4.3, 1.2, 14, 8)
        self.execute(decision, summary, 20.0 * float(self.rng.lognormal(0, 0.5)), reused)
        {"train": self.train, "validation": self.validation}.get(purpose, []).append(key)

    def explore(self):
        key = f"{self.count:04x}" + "ee" * 30
        model = self.fit_keys[-1] if self.fit_keys else None
        found = tuple(
            Candidate(
                exploration=key,
                frame=frame,
                key=f"{frame:02d}" * 32,
                sigma=0.05 * frame,
                reserved=frame % 4 == 0,
                step=20 * frame,
                temperature_k=600.0,
            )
            for frame in range(20)
        )
        self.candidates = list(found)
        decision = self.decision("explore", key, "explore", "pool-low", "few candidates are waiting", None)
        self.execute(decision, ExploreSummary(found, "finished", 400, model), 15.0)

    def fit(self):
        key = f"{self.count:04x}" + "f1" * 30
        decision = self.decision("fit", key, "fit", "refit", "8 new training labels", None)
        rmse = 0.6 * len(self.train) ** -0.5
        summary = self.fit_summary(rmse)
        self.publish_fit(key, rmse)
        self.execute(decision, summary, 6.0)
        self.fit_keys.append(key)

    def fit_summary(self, rmse) -> FitSummary:
        n = len(self.validation)
        mse = tuple(float(x) for x in rmse**2 * self.rng.uniform(0.6, 1.4, n))
        bound = error_bound([mse], 0.95, 1 + len(self.fit_keys))
        energies = tuple(float(x) for x in self.rng.normal(0, 0.003, n))
        z2 = tuple(float(x) for x in self.rng.uniform(0.9, 2.0, n))
        scores = Scores(n, mse, energies, z2, tuple(0.9 for _ in range(n)))
        none = Scores(0, (), (), (), ())
        reference = ReferenceComparison(5.431, 5.440, 108.0, 101.0) if n else None
        return FitSummary(
            len(self.train), 120, 60.0, 0.002, 0.7 * rmse, 0.03, scores, scores if self.fit_keys else none, reference,
            bound.rmse if bound else None, bound.upper if bound else None, bound.lower if bound else None,
        )  # fmt: skip

    def decision(self, kind, key, purpose, rule, reason, candidate) -> Decision:
        self.count += 1
        name = f"{kind}-{self.count:04d}"
        provenance = Provenance("si-made-up", f"d{self.count:04d}", rule)
        task = Task(name, kind, key, "package.module:run", "{}", Resources(), provenance, Governance())
        over = tuple((c.id, 0.1 / (1 + c.frame)) for c in self.candidates[:5]) if candidate else ()
        return Decision(
            f"d{self.count:04d}", purpose, rule, reason, task, candidate,
            self.fit_keys[-1] if self.fit_keys else None, 0.42 if candidate else None,
            len(self.candidates), over, 20.0 if kind == "label" else None,
        )  # fmt: skip

    def execute(self, decision, summary, wall, reused=False):
        worker = int(np.argmin(self.free))
        start = self.free[worker]
        self.add(Decided(decision), start - 0.2)
        remedies: tuple[str, ...] = ()
        attempt = 1
        while self.rng.random() < self.failure_rate and not reused:
            self.add(Submitted(decision.task.id, remedies, attempt - 1), start - 0.1)
            kind = list(REMEDIES)[int(self.rng.integers(len(REMEDIES)))]
            end = start + 0.6 * wall
            tried, remedies = remedies, (REMEDIES[kind] if attempt < 3 else None)
            failure = Failure(kind, self.message, f"step 59\nstep 60 {self.message}")
            self.add(Failed(decision.task.id, failure, self.ran(worker, start, end, attempt), remedies), end)
            start, attempt = end + 0.2, attempt + 1
            if remedies is None:
                self.free[worker] = start
                return
            assert tried is not None
        self.add(Submitted(decision.task.id, remedies, attempt - 1), start - 0.1)
        execution = self.ran(worker, start, start + wall, attempt)
        adopted = "earlier campaign" if reused else ""
        self.add(Finished(decision.task.id, summary, execution, adopted), start + (0.01 if reused else wall))
        self.free[worker] = start + (0.02 if reused else wall + 0.1)

    def ran(self, worker, start, end, attempt) -> Execution:
        return Execution(
            attempt, "host-a", 100 + worker, start, end, f"host-a/{worker}", 0.9 * (end - start), 800.0, 1, 1,
            2 * self.workers,
        )  # fmt: skip

    def publish_label(self, key, number):
        a = 5.431 * (0.94 + 0.02 * (number % 7)) ** (1 / 3)
        structure = Structure(("Si",) * 8, np.zeros((8, 3)), np.eye(3) * a)
        energy = 8 * (-4.33 + 0.4 * ((a / 5.431) ** 3 - 1) ** 2)
        method = Method("teacher", "1.0", "{}", "5" * 64, ("Si.PBE.gz " + "7" * 64,))
        self.publish(key, "label", encode(Label(structure, energy, np.zeros((8, 3)), np.zeros(6), method)))

    def publish_fit(self, key, rmse):
        folder = self.publish(key, "fit", "{}")
        arrays = {}
        for part, frames in (("train", len(self.train)), ("validation", max(len(self.validation), 0))):
            for quantity, n, scale in (("energy", frames, 0.05), ("forces", 24 * frames, 1.0)):
                label = self.rng.normal(-4.3 if quantity == "energy" else 0.0, scale, n)
                error = rmse * (0.03 if quantity == "energy" else 1.0) * self.rng.normal(size=n)
                arrays[f"{quantity}_label_{part}"] = label
                arrays[f"{quantity}_predicted_{part}"] = label + error
                arrays[f"{quantity}_sigma_{part}"] = np.full(n, 0.8 * rmse * (0.03 if quantity == "energy" else 1.0))
        np.savez(folder / "parity.npz", **arrays)

    def publish(self, key, kind, outcome) -> Path:
        attempt = self.store.begin(key)
        execution = Execution(1, "host-a", 1, 0.0, 1.0)
        record = Record(key, kind, "{}", outcome, True, execution, Provenance("c", "d", "r"), Governance())
        self.store.publish(record, attempt.folder)
        return attempt.folder

    def write_journal(self, root: Path) -> CampaignFolder:
        """The events as a journal on disk, with their own times."""
        root.mkdir(parents=True, exist_ok=True)
        folder = CampaignFolder(root)
        journal = Journal(sqlite_url(folder.journal_file), "campaign")
        journal.create()
        ordered = sorted(self.events, key=lambda pair: pair[1])
        with mock.patch("hpcmat.store.journal.time.time", side_effect=[time for _, time in ordered]):
            journal.append([(event.kind, event_json(event)) for event, _ in ordered])
        journal.close()
        return folder


@pytest.fixture
def made_up(tmp_path):
    """Makes builders: `made_up(workers=4)`; each has a store of its own."""
    count = iter(range(100))

    def make(**options) -> MadeUp:
        return MadeUp(ResultStore(tmp_path / f"store-{next(count)}"), **options)

    return make


@pytest.fixture
def finished(made_up) -> MadeUp:
    """A campaign of 60 labels that reached its target, with failures, remedies and reuse."""
    return made_up().begin().run_labels(60).finish()
