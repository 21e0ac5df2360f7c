"""What each event costs the driver: measured on a small real campaign, and on states of many tasks made by hand."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from hpcmat.campaign.driver import Driver
from hpcmat.campaign.events import (
    Candidate,
    Created,
    Decided,
    Decision,
    ExploreSummary,
    Finished,
    LabelSummary,
    RunStarted,
    Submitted,
)
from hpcmat.campaign.evidence import Evidence
from hpcmat.campaign.planning import Planner
from hpcmat.campaign.scheduling import view_of
from hpcmat.campaign.spec import Campaign, canonical_spec_json
from hpcmat.campaign.state import CampaignState
from hpcmat.campaign.stopping import stopping_reason
from hpcmat.campaign.structures import seed_structures
from hpcmat.dispatch.executor import ParslDispatcher
from hpcmat.records import Execution, Provenance, Resources, Task
from hpcmat.steering.acquisition import condition
from hpcmat.steering.ranking import Ranking
from hpcmat.steering.schedule import Action
from hpcmat.store.journal import Journal

TIMED = {
    "absorption": (Driver, "_settle"),
    "decision": (Driver, "_next_decided"),
    "submission": (ParslDispatcher, "submit"),
    "commit": (Journal, "commit"),
    "stopping": (Driver, "_consider_stopping"),
    "foresight": (Planner, "foresee"),
    "ranking": (Planner, "_rank"),
    "rejudging": (Ranking, "_judged_anew"),
}
"""What is timed under which name; time spent in another of them is that one's."""


class Stopwatch:
    """Exclusive wall time of the driver's parts, s, one entry per call."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.spent: dict[str, list[float]] = defaultdict(list)
        self._inner = [0.0]

    @contextmanager
    def watching(self) -> Iterator[Stopwatch]:
        """Time the parts in `TIMED` while the context lasts."""
        originals = {name: getattr(owner, method) for name, (owner, method) in TIMED.items()}
        for name, (owner, method) in TIMED.items():
            setattr(owner, method, self._timed(name, originals[name]))
        try:
            yield self
        finally:
            for name, (owner, method) in TIMED.items():
                setattr(owner, method, originals[name])

    def _timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            start = self._clock()
            self._inner.append(0.0)
            try:
                return work(*given, **named)
            finally:
                whole = self._clock() - start
                self.spent[name].append(whole - self._inner.pop())
                self._inner[-1] += whole

        return timed


@dataclass(frozen=True, slots=True)
class Costs:
    """Wall time of the driver for each event, s."""

    absorption: float
    """Per result: its record read, checked and summarised."""
    decision: float
    """Per task, in a small campaign."""
    decision_per_task: float
    """More per decision for every task that the campaign has ever decided."""
    submission: float
    """Per task: packed and handed to the dispatcher."""
    commit: float
    """Per transaction of the journal, whatever it holds."""
    pass_: float
    """Per pass of the driver's loop: stopping rules and foresight."""
    pass_per_task: float
    """More per pass for every task ever decided."""
    conditioning: float
    """Per training label in flight, once for each new potential: the posterior takes it in."""


def costs_of(watch: Stopwatch, campaign: Campaign, features: int, sizes: tuple[int, int] = (2_000, 20_000)) -> Costs:
    """Costs from the calls that a stopwatch saw, and their growth from states of two sizes.

    Parameters
    ----------
    features : coefficients of the potential.
    """
    mean = {name: fmean(watch.spent[name]) for name in TIMED if watch.spent[name]}
    decided = len(watch.spent["submission"])
    small, large = (growth_of(campaign, size) for size in sizes)
    per_decision, per_pass = ((b - a) / (sizes[1] - sizes[0]) for a, b in zip(small, large, strict=True))
    return Costs(
        absorption=mean["absorption"],
        # Looks that find nothing to do belong to what they made possible.
        decision=sum(watch.spent["decision"]) / decided,
        decision_per_task=max(0.0, per_decision),
        submission=mean["submission"],
        commit=mean["commit"],
        pass_=mean["stopping"] + mean["foresight"],
        pass_per_task=max(0.0, per_pass),
        conditioning=conditioning_s(features),
    )


def conditioning_s(features: int, atoms: int = 8) -> float:
    """Time to condition a covariance on one label, s."""
    generator = np.random.default_rng(0)
    covariance = np.eye(features)
    rows = generator.normal(size=(3 * atoms + 7, features))
    return _duration(lambda: condition(covariance, rows))


def growth_of(campaign: Campaign, tasks: int) -> tuple[float, float]:
    """Time of a decision's bookkeeping and of the stopping rules, s, in a state of so many finished labels."""
    state = state_of(campaign, tasks)
    assert state.created is not None
    planner = Planner(campaign, Evidence(None), state.created)

    def decide() -> None:
        view_of(state, 0)
        next((t for t in state.startable), None)
        planner.decide(Action.EXPLORE, state)

    return _duration(decide), _duration(lambda: stopping_reason(state, state.last_time))


def state_of(campaign: Campaign, labels: int) -> CampaignState:
    """A campaign with one exploration that found enough for so many finished training labels, and a few more."""
    state = CampaignState()
    seeds = seed_structures(campaign)
    found = tuple(Candidate("explored", frame, f"key-{frame}", 0.1, False) for frame in range(labels + 100))
    state.apply(Created("c-1", canonical_spec_json(campaign), "0", "store", seeds, ()), 0.0)
    state.apply(RunStarted("e", "host", 1, "local", 2, 2, ()), 0.0)
    _perform(state, _decision("explore-0001", "explore"), ExploreSummary(found, "finished", 1, None), 1.0)
    for number in range(labels):
        decision = _decision(f"label-{number:07d}", "train", found[number])
        _perform(state, decision, LabelSummary(-4.0, 1.0, 12, 8), 2.0 + number)
    return state


def _perform(state: CampaignState, decision: Decision, summary: Any, when: float) -> None:
    state.apply(Decided(decision), when)
    state.apply(Submitted(decision.id, (), 0), when)
    state.apply(Finished(decision.id, summary, Execution(1, "host", 1, when, when + 1.0)), when + 1.0)


def _decision(identity: str, purpose: Any, candidate: Candidate | None = None) -> Decision:
    kind = "explore" if purpose == "explore" else "label"
    key = "explored" if kind == "explore" else f"key-{identity}"
    task = Task(identity, kind, key, "m:f", "{}", Resources(), Provenance("c-1", identity, "random"))
    return Decision(identity, purpose, "random", "because", task, candidate=candidate)


def _duration(work: Callable[[], object], repeats: int = 7) -> float:
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)
