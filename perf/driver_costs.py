"""What each event costs the driver: measured on a small real campaign, and on states of many tasks made by hand."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from hpcmat.campaign import outcomes
from hpcmat.campaign.choosing import Chooser
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
    event_json,
)
from hpcmat.campaign.evidence import Evidence
from hpcmat.campaign.planning import Planner
from hpcmat.campaign.scheduling import view_of
from hpcmat.campaign.spec import Campaign, canonical_spec_json
from hpcmat.campaign.state import CampaignState
from hpcmat.campaign.stopping import stopping_reason
from hpcmat.campaign.structures import seed_structures
from hpcmat.dispatch.executor import ParslDispatcher, Workers
from hpcmat.dispatch.sites import Site
from hpcmat.dispatch.worker import Order
from hpcmat.engines.labelling import LabelRequest
from hpcmat.records import Execution, Provenance, Resources, Task, encode
from hpcmat.steering.posterior import Observations
from hpcmat.steering.ranking import Ranking
from hpcmat.steering.schedule import Action
from hpcmat.store.claims import Process
from hpcmat.store.journal import Journal

TIMED: dict[str, tuple[Any, str]] = {
    "absorption": (Driver, "_settle"),
    "exploration": (outcomes, "_of_exploration"),
    "decision": (Driver, "_next_decided"),
    "submission": (ParslDispatcher, "submit"),
    "commit": (Journal, "commit"),
    "stopping": (Driver, "_consider_stopping"),
    "foresight": (Planner, "foresee"),
    "ranking": (Chooser, "_rank"),
    "reading": (Evidence, "_read_exploration"),
    "upkeep": (Chooser, "_outdated"),
    "judging": (Ranking, "best"),
    "start": (Driver, "_start"),
}
"""What is timed under which name; time spent in another of them is that one's."""


class Stopwatch:
    """Exclusive time of the driver's parts, s, one entry per call.

    Processor time, which does not depend on what else the machine does; wall time of transactions, which wait.
    """

    def __init__(self) -> None:
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
            start, began = time.thread_time(), time.perf_counter()
            self._inner.append(0.0)
            try:
                return work(*given, **named)
            finally:
                whole, wall = time.thread_time() - start, time.perf_counter() - began
                own = whole - self._inner.pop()
                self.spent[name].append(wall if name == "commit" else own)
                self._inner[-1] += whole

        return timed


@dataclass(frozen=True, slots=True)
class Costs:
    """Time of the driver for each event, s."""

    absorption: float
    """Per result: its record read, checked and summarised."""
    exploration: float
    """More per exploration: a key for each of its frames."""
    decision: float
    """Per task, with what keeps a ranking up from one choice to the next."""
    decision_per_task: float
    """More per decision for every task that the campaign has ever decided."""
    ranking: float
    """All candidates judged, with what was explored since."""
    submission: float
    """Per task: looked up in the store, announced, packed, and handed over; with the work of Parsl's threads."""
    commit: float
    """Per transaction of the journal; it waits for the disk."""
    pass_: float
    """Per pass of the driver's loop: stopping rules and foresight."""
    pass_per_task: float
    """More per pass for every task ever decided."""
    counting: float
    """Per label that a new potential has taken in, or per label beyond it where these are fewer."""
    fit: float
    """Per label of a fit: its decision written and its end taken in."""


def costs_of(watch: Stopwatch, campaign: Campaign, features: int, sizes: tuple[int, int] = (2_000, 20_000)) -> Costs:
    """Costs from the calls that a stopwatch saw, and their growth from states of two sizes.

    Parameters
    ----------
    features : coefficients of the potential.
    """
    mean = {name: fmean(watch.spent[name]) if watch.spent[name] else 0.0 for name in TIMED}
    decided = len(watch.spent["start"])
    small, large = (growth_of(campaign, size) for size in sizes)
    per_decision, per_pass, per_label = ((b - a) / (sizes[1] - sizes[0]) for a, b in zip(small, large, strict=True))
    return Costs(
        absorption=mean["absorption"],
        exploration=mean["exploration"],
        # Looks that find nothing to do belong to what they made possible.
        decision=sum(map(sum, (watch.spent[name] for name in ("decision", "upkeep", "judging")))) / decided,
        decision_per_task=max(0.0, per_decision),
        # The first one reads all that was explored before it was watched.
        ranking=fmean(watch.spent["ranking"][1:] or watch.spent["ranking"]),
        submission=mean["start"] + mean["submission"],
        commit=mean["commit"],
        pass_=mean["stopping"] + mean["foresight"],
        pass_per_task=max(0.0, per_pass),
        # Each label beyond has to be read again, with the frames found beside it.
        counting=counting_s(features) + mean["reading"] / campaign.explore.cold_start,
        fit=max(0.0, per_label),
    )


def counting_s(features: int, atoms: int = 8, labels: int = 16) -> float:
    """Time to count a label of those in flight, s."""
    generator = np.random.default_rng(0)
    rows = [generator.normal(size=(labels * size, features)) for size in (1, 3 * atoms, 6)]
    seen = Observations(np.eye(features))
    return _duration(lambda: seen.add(rows)) / labels


def dispatch_s(campaign: Campaign, site: Site, folder: Path, tasks: int = 500) -> float:
    """Processor time of this process, Parsl's threads included, for a task handed over and its answer, s.

    The orders name a driver that is dead, so that workers decline them at once.
    """
    dead = replace(Process.current(), started=0)
    request = encode(LabelRequest(seed_structures(campaign)[0], campaign.engine))
    task = replace(_decision("label-0000001", "train").task, request=request)
    with ParslDispatcher(Workers(site.workers), folder, "costs") as dispatcher:
        order = Order(task, str(folder), dead, 1)
        dispatcher.submit(order).result(60)
        before = time.process_time()
        for future in [dispatcher.submit(order) for _ in range(tasks)]:
            future.result(120)
        return (time.process_time() - before) / tasks


def growth_of(campaign: Campaign, tasks: int) -> tuple[float, float, float]:
    """Time of a decision's bookkeeping, of the stopping rules, and of a fit, s, in a state of so many labels."""
    state = state_of(campaign, tasks)
    assert state.created is not None
    planner = Planner(campaign, Evidence(None), state.created)

    def decide() -> None:
        view_of(state, 0, planner.cut_short(state))
        next((t for t in state.startable), None)
        planner.decide(Action.EXPLORE, state)

    def fit() -> None:
        event_json(Decided(planner.decide(Action.FIT, state)))

    return _duration(decide), _duration(lambda: stopping_reason(state, state.last_time)), _duration(fit, 3)


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
