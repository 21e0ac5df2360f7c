"""A campaign on a virtual clock: the real driver, planner and runners in one process that never waits.

Labels, explorations and fits are computed, because decisions rest on them; the engine is a teacher. How long they take
on the machine that is rehearsed, and whether they fail, is drawn from what has been learned of its tasks: a label takes
as long as its like has taken, with whatever that had of a machine. Tasks get nodes and ranks by the rules of placement.
An order is carried out when it begins and its future is done when the virtual clock reaches its end, so that the driver
sees what it would see in real time, in the same order.
"""

from __future__ import annotations

import heapq
import json
import math
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Protocol

import hpcmat
from hpcmat.campaign.costs import CostBook, LabelCosts, Size, label_size, size_of
from hpcmat.campaign.driver import Driver, Observer
from hpcmat.campaign.events import Created, RunStarted
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.spec import Campaign, canonical_spec_json
from hpcmat.campaign.state import CampaignState
from hpcmat.campaign.structures import reference_structures, seed_structures
from hpcmat.dispatch.placement.decision import decide, never
from hpcmat.dispatch.placement.dispatcher import Allocation, PlacementDispatcher
from hpcmat.dispatch.placement.nodes import Share
from hpcmat.dispatch.placement.state import State
from hpcmat.dispatch.worker import Ending, Order
from hpcmat.engines.calculators import ELEMENTS
from hpcmat.engines.labelling import LabelRequest
from hpcmat.engines.settings import DurationSettings, EngineSettings, FaultSettings, TeacherSettings
from hpcmat.errors import InputError
from hpcmat.records import Execution, Failure, FailureKind, Record, Task, decode, encode
from hpcmat.steering.chance import uniform_for
from hpcmat.store.journal import Entry, Journal
from hpcmat.store.results import Attempt, ResultStore

TASK_OVERHEAD_S = 0.2
"""From one task of a worker to the next: handing over, forking, publishing."""


@dataclass(slots=True)
class VirtualClock:
    """Seconds since the campaign began."""

    now: float = 0.0


class Machine(Protocol):
    """How long tasks take and whether they fail."""

    def seconds(self, task: Task, attempt: int, outcome: str) -> float:
        """Duration of one attempt that ended in this outcome (JSON)."""

    def fails(self, task: Task, attempt: int) -> bool:
        """Whether an attempt gives no result."""


@dataclass(frozen=True, slots=True)
class LearnedMachine:
    """Durations and failures drawn from what was learned; the same task always meets the same ones."""

    engine: EngineSettings
    """The engine whose labels take so long, for which the teacher stands in."""
    book: CostBook
    labels: LabelCosts
    seed: int = 0

    @classmethod
    def of(cls, engine: EngineSettings, book: CostBook, seed: int = 0) -> LearnedMachine:
        """A machine as it is known now."""
        return cls(engine, book, book.label_costs(), seed)

    def seconds(self, task: Task, attempt: int, outcome: str) -> float:
        """A draw among tasks of this size, and the time between two tasks."""
        size = self._size(task, json.loads(outcome).get("steps_run"))
        level = min(max(uniform_for(self.seed, "duration", task.key, attempt), 1e-3), 1.0 - 1e-3)
        return TASK_OVERHEAD_S + self.book.model(task.kind).scattered_s(size.features, size.guess_s, level)

    def fails(self, task: Task, attempt: int) -> bool:
        """Labels alone fail, as often as was learned."""
        if task.kind != "label":
            return False
        chance = 1.0 - self.labels.success_probability(self._size(task))
        return uniform_for(self.seed, "failure", task.key, attempt) < chance

    def _size(self, task: Task, steps_run: int | None = None) -> Size:
        if task.kind == "label":
            return label_size(decode(LabelRequest, task.request).structure, self.engine)
        return size_of(task.kind, task.request, steps_run)


@dataclass(order=True, slots=True)
class _Running:
    finished: float
    number: int
    future: Future[str] = field(compare=False)


class VirtualDispatcher(PlacementDispatcher):
    """Nodes that exist on the virtual clock alone; it is never entered, since it starts nothing."""

    healthy = True
    draining = False
    held = 0

    def __init__(self, allocation: Allocation, clock: VirtualClock, machine: Machine) -> None:
        super().__init__(allocation, Path(), "rehearsal")
        self._policy = replace(self._policy, drains_at=math.inf, lasts_s=math.inf)
        self._clock = clock
        self._machine = machine
        self._virtual = State(clock.now, allocation.nodes)
        self._waiting: dict[int, tuple[Order, Future[str]]] = {}
        self._running: list[_Running] = []

    @property
    def state(self) -> State:
        """Nodes and tasks as of the last decision."""
        return self._virtual

    def submit(self, order: Order) -> Future[str]:
        """Queue an order; its future is done once `advance` reaches its end.

        Raises
        ------
        InputError
            It would never fit.
        """
        request = replace(self._request(order), submitted=self._clock.now)
        if reason := never(request, self._virtual, self._policy):
            raise InputError(f"{order.task.kind}: {reason}")
        future: Future[str] = Future()
        self._waiting[request.id] = (order, future)
        self._virtual = self._virtual.submit(request)
        self._decide()
        return future

    def advance(self) -> None:
        """Let time pass until the next task ends."""
        ended = heapq.heappop(self._running)
        self._clock.now = max(self._clock.now, ended.finished)
        self._virtual = self._virtual.end(ended.number)
        self._decide()
        ended.future.set_result(Ending.DONE)

    def _decide(self) -> None:
        state = replace(self._virtual, now=self._clock.now)
        decision = decide(state, self._policy)
        self._virtual = state.begin(decision.starts, decision.reservation)
        for running in decision.starts:
            order, future = self._waiting.pop(running.request.id)
            finished = self._finish(order, running.shares)
            heapq.heappush(self._running, _Running(finished, running.request.id, future))

    def _finish(self, order: Order, shares: tuple[Share, ...]) -> float:
        """Carry an order out and publish what it gave; when it ends."""
        store = ResultStore(order.store)
        attempt = store.begin(order.task.key)
        if attempt is None:
            # The same structure is being labelled for another purpose; the driver will find its result.
            return self._clock.now
        outcome = self._outcome(order.task, attempt)
        finished = self._clock.now + self._machine.seconds(order.task, attempt.number, outcome)
        execution = Execution(
            attempt=attempt.number,
            host="virtual",
            pid=0,
            started=self._clock.now,
            finished=finished,
            nodes=len(shares),
            cores=sum(share.cores for share in shares),
            cores_per_node=order.cores_per_node,
        )
        store.publish(_record(order.task, outcome, execution), attempt.folder)
        return finished

    def _outcome(self, task: Task, attempt: Attempt) -> str:
        if self._machine.fails(task, attempt.number):
            return encode(Failure(FailureKind.CRASH, "drawn to fail"))
        module, _, function = task.runner.partition(":")
        text: str = getattr(import_module(module), function)(task.request, attempt.folder, attempt.number)
        return text


def _record(task: Task, outcome: str, execution: Execution) -> Record:
    accepted = json.loads(outcome)["kind"] != "failure"
    return Record(task.key, task.kind, task.request, outcome, accepted, execution, task.provenance, task.governance)


class VirtualJournal(Journal):
    """Events with the time of the virtual clock; nothing outlives the rehearsal."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._number = 0

    def stage(self, kind: str, payload: str) -> Entry:
        """One event, now."""
        self._number += 1
        return Entry(self._number, self._clock.now, kind, payload, "")

    def commit(self) -> None:
        """Nothing is written."""


class RehearsalDriver(Driver):
    """The driver with another clock, on which nobody waits."""

    def __init__(
        self,
        folder: CampaignFolder,
        state: CampaignState,
        dispatcher: VirtualDispatcher,
        clock: VirtualClock,
        cores_per_node: int,
        observer: Observer,
    ) -> None:
        super().__init__(folder, VirtualJournal(clock), state, dispatcher, cores_per_node, observer)
        self._virtual = dispatcher
        self._clock = clock

    def _now(self) -> float:
        return self._clock.now

    def _wait(self) -> None:
        self._virtual.advance()


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Where a campaign is rehearsed."""

    machine: Machine
    allocation: Allocation
    """Nodes, and what tasks get of them."""
    cores_per_node: int
    root: Path
    """An empty folder for results; it may be thrown away afterwards."""


def rehearse(
    campaign: Campaign, rehearsal: Rehearsal, observer: Observer = lambda _event, _state: None
) -> CampaignState:
    """Run a campaign of the teacher to its end on a virtual clock.

    Parameters
    ----------
    campaign : its engine is a teacher, which here takes no time and has no faults: those are the machine's.
    observer : told of each event.

    Returns
    -------
    CampaignState
        As of a real campaign, in virtual seconds from 0.
    """
    assert isinstance(campaign.engine, TeacherSettings), "only a teacher answers at once"
    quick = {"duration": DurationSettings(), "faults": FaultSettings(), "ledger": None}
    campaign = campaign.model_copy(update={"engine": campaign.engine.model_copy(update=quick)})
    clock, state = VirtualClock(), CampaignState()
    dispatcher = VirtualDispatcher(rehearsal.allocation, clock, rehearsal.machine)
    state.apply(_created(campaign, rehearsal.root / "store"), clock.now)
    state.apply(_started(dispatcher, rehearsal.cores_per_node), clock.now)
    folder = CampaignFolder(rehearsal.root)
    RehearsalDriver(folder, state, dispatcher, clock, rehearsal.cores_per_node, observer).run()
    return state


def _started(dispatcher: VirtualDispatcher, cores_per_node: int) -> RunStarted:
    return RunStarted(
        epoch="rehearsal",
        host="virtual",
        pid=0,
        site="virtual",
        workers=dispatcher.workers,
        cores_per_node=cores_per_node,
        software=(),
        nodes=dispatcher.nodes,
        cores=dispatcher.cores,
    )


def _created(campaign: Campaign, store: Path) -> Created:
    return Created(
        identity=f"{campaign.name}-rehearsal",
        spec=canonical_spec_json(campaign),
        version=hpcmat.__version__,
        store=str(store),
        seeds=seed_structures(campaign),
        references=reference_structures(campaign),
    )


def with_teacher(campaign: Campaign, calculator: str | None = None) -> Campaign:
    """The campaign with a teacher in the place of its engine.

    Parameters
    ----------
    calculator : name of the teacher's calculator; the engine itself where that is one, else the first that knows the
        elements.

    Raises
    ------
    InputError
        No calculator knows all elements, or the one that is named does not.
    """
    if isinstance(campaign.engine, TeacherSettings) and calculator is None:
        return campaign
    elements = set(campaign.system.elements)
    able = [name for name in reversed(ELEMENTS) if elements <= ELEMENTS[name]]
    if not able or (calculator is not None and calculator not in able):
        known = "; ".join(f"{name}: {', '.join(sorted(ELEMENTS[name]))}" for name in ELEMENTS)
        who = f"'{calculator}' is not one that knows" if calculator and able else "none knows"
        remedy = f"name {' or '.join(able)}" if able else "rehearse with a similar system of these elements"
        raise InputError(f"no teacher for {', '.join(sorted(elements))}: {who} all of them ({known}); {remedy}")
    # stillinger-weber comes before tersoff: it is ten times as fast.
    name = calculator or ("stillinger-weber" if "stillinger-weber" in able else able[0])
    teacher = TeacherSettings.model_validate({"calculator": name})
    return campaign.model_copy(update={"engine": teacher})
