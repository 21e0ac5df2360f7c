"""State of a campaign: a fold over its journal, the same for the driver, for `status` and for the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Literal

from hpcmat.campaign.events import (
    Amended,
    Candidate,
    Created,
    Decided,
    Decision,
    Ended,
    Event,
    ExploreSummary,
    Failed,
    Fidelity,
    Finished,
    FitSummary,
    Purpose,
    RunStarted,
    Stopping,
    Submitted,
    Summary,
)
from hpcmat.campaign.index import TaskIndex
from hpcmat.campaign.pool import Pool
from hpcmat.campaign.screen.spec import ScreenCampaign
from hpcmat.campaign.spec import Campaign
from hpcmat.campaign.specification import Specification, read_specification
from hpcmat.records import Execution, Failure

Status = Literal["decided", "running", "waiting", "done", "failed"]
"""`waiting`: an attempt failed, or was given back before it began, and the next one has not been submitted yet."""
OPEN: tuple[Status, ...] = ("decided", "running", "waiting")


@dataclass(slots=True)
class FailedAttempt:
    """One attempt that gave no result, and what was done about it."""

    failure: Failure
    execution: Execution | None
    remedies: tuple[str, ...]
    """What this attempt had tried."""
    time: float


@dataclass(slots=True)
class TaskState:
    """One task from its decision to its end."""

    decision: Decision
    decided: float
    """Seconds since the epoch."""
    status: Status = "decided"
    submitted: float | None = None
    finished: float | None = None
    remedies: tuple[str, ...] = ()
    attempts_before: int = 0
    nodes: float = 0.0
    """Nodes that its last submission asked for, a fraction for a part of one."""
    failures: list[FailedAttempt] = field(default_factory=list)
    execution: Execution | None = None
    adopted: str = ""
    summary: Summary | None = None

    @property
    def id(self) -> str:
        """Task id."""
        return self.decision.task.id

    @property
    def key(self) -> str:
        """Content key."""
        return self.decision.task.key

    @property
    def purpose(self) -> Purpose:
        """What it is for."""
        return self.decision.purpose

    @property
    def open(self) -> bool:
        """Whether it has neither result nor been given up."""
        return self.status not in {"done", "failed"}

    @property
    def reused(self) -> bool:
        """Whether another campaign or another task had paid for its result."""
        return self.adopted in {"earlier campaign", "other task"}

    @property
    def node_hours(self) -> float:
        """Node-hours of all its attempts in this campaign; a result that was paid for elsewhere is free."""
        paid = [a.execution for a in self.failures if a.execution is not None]
        if self.execution is not None and not self.reused:
            paid.append(self.execution)
        return sum(execution.node_hours for execution in paid)


@dataclass(slots=True)
class Run:
    """One driver's spell."""

    started: RunStarted
    time: float
    ended: float | None = None


@dataclass
class CampaignState:
    """Everything known of a campaign; changed by `apply` alone."""

    spec: Specification | None = None
    created: Created | None = None
    created_time: float = 0.0
    last_time: float = 0.0
    runs: list[Run] = field(default_factory=list)
    tasks: dict[str, TaskState] = field(default_factory=dict)
    """By task id, in the order of decision."""
    stopping: Stopping | None = None
    ended: Ended | None = None
    index: TaskIndex = field(default_factory=TaskIndex, repr=False, compare=False)

    def apply(self, event: Event, time: float) -> None:
        """Take one event of the journal in."""
        self.last_time = time
        match event:
            case Created():
                self.created, self.created_time = event, time
                self.spec = read_specification(event.spec)
            case Amended():
                self.spec = read_specification(event.spec)
                self.stopping = self.ended = None
            case RunStarted():
                self.runs.append(Run(event, time))
                self.ended = None
                if self.stopping is not None and self.stopping.resumable:
                    self.stopping = None
            case Decided():
                self.tasks[event.decision.task.id] = task = TaskState(event.decision, time)
                self.index.decided(task)
            case Stopping():
                self.stopping = event
            case Ended():
                self.ended = event
                self.runs[-1].ended = time
                self._take_back()
            case _:
                self._apply_to_task(event, time)

    def _apply_to_task(self, event: Submitted | Finished | Failed, time: float) -> None:
        task = self.tasks[event.task_id]
        before, paid = task.status, task.node_hours
        match event:
            case Submitted():
                task.status, task.submitted = "running", time
                task.remedies, task.attempts_before = event.remedies, event.attempts_before
                task.nodes = event.nodes
            case Finished():
                task.status, task.finished, task.summary = "done", time, event.summary
                task.execution, task.adopted = event.execution, event.adopted
            case Failed():
                task.failures.append(FailedAttempt(event.failure, event.execution, task.remedies, time))
                task.status = "failed" if event.remedies is None else "waiting"
                task.finished = time if event.remedies is None else None
                task.remedies = event.remedies or ()
        self.index.node_hours += task.node_hours - paid
        self.index.moved(task, before)
        if task.purpose == "validation" and task.status == "done":
            self.index.audited(task, roll_back=self.campaign.steering.roll_back)

    def _take_back(self) -> None:
        """A driver leaves when all that began has ended: the rest was given back to the queue."""
        for task in self.open_tasks:
            if task.status == "running":
                task.status = "waiting"
                self.index.moved(task, "running")

    @classmethod
    def of(cls, events: Iterable[tuple[Event, float]]) -> CampaignState:
        """State after all these (event, time) pairs."""
        state = cls()
        for event, time in events:
            state.apply(event, time)
        return state

    @property
    def specification(self) -> Specification:
        """The campaign file, of either kind, with all defaults."""
        assert self.spec is not None, "a journal begins with its Created event"
        return self.spec

    @property
    def campaign(self) -> Campaign:
        """The campaign file of a potential, with all defaults."""
        assert isinstance(self.spec, Campaign), "only campaigns of kind 'potential' come here"
        return self.spec

    @property
    def screen(self) -> ScreenCampaign:
        """The campaign file of a screening, with all defaults."""
        assert isinstance(self.spec, ScreenCampaign), "only campaigns of kind 'screen' come here"
        return self.spec

    def of_purpose(self, *purposes: Purpose) -> list[TaskState]:
        """Tasks for these purposes, in the order of decision."""
        if len(purposes) == 1:
            return list(self.index.purposes.get(purposes[0], ()))
        return [task for task in self.tasks.values() if task.purpose in purposes]

    def done(self, *purposes: Purpose) -> list[TaskState]:
        """Finished tasks for these purposes, in the order of decision."""
        return [task for task in self.of_purpose(*purposes) if task.status == "done"]

    @property
    def open_tasks(self) -> list[TaskState]:
        """Tasks without an end."""
        return list(self.index.open.values())

    @property
    def startable(self) -> Iterable[TaskState]:
        """Tasks that could be handed to a worker now."""
        return self.index.startable.values()

    @property
    def models(self) -> list[TaskState]:
        """Finished fits, oldest first."""
        return list(self.index.fits)

    @property
    def model(self) -> TaskState | None:
        """The newest fit."""
        return self.index.fits[-1] if self.index.fits else None

    @property
    def candidates(self) -> list[Candidate]:
        """All frames of all explorations, in the order in which the explorations were decided."""
        found: list[Candidate] = []
        for task in self.done("explore"):
            assert isinstance(task.summary, ExploreSummary)
            found.extend(task.summary.candidates)
        return found

    @property
    def pool(self) -> Pool:
        """Candidates for which no label was ever decided."""
        return self.index.pool

    @property
    def node_hours(self) -> float:
        """Spent so far, over all attempts."""
        return self.index.node_hours

    @property
    def failures(self) -> list[tuple[TaskState, FailedAttempt]]:
        """Every failed attempt with its task, in order of time."""
        pairs = [(task, attempt) for task in self.tasks.values() for attempt in task.failures]
        return sorted(pairs, key=lambda pair: pair[1].time)

    @cached_property
    def walltime_origin(self) -> float:
        """When the first driver started, seconds since the epoch."""
        return self.runs[0].time if self.runs else self.created_time


def fit_summaries(state: CampaignState) -> list[FitSummary]:
    """Summaries of the finished fits, oldest first."""
    return [task.summary for task in state.models if isinstance(task.summary, FitSummary)]


def last_ended(state: CampaignState, count: int, *purposes: Purpose, fidelity: Fidelity = "dear") -> list[TaskState]:
    """The last so many tasks for these purposes that are done or were given up, in the order of ending."""
    ended: list[TaskState] = []
    for purpose in purposes:
        newest = reversed(state.index.ended.get(purpose, []))
        ended.extend(reversed([*islice((task for task in newest if task.decision.fidelity == fidelity), count)]))
    return sorted(ended, key=lambda task: task.finished or 0.0)[-count:]
