"""Where each candidate of a screening stands: a fold over its tasks, those of each fidelity apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hpcmat.campaign.events import Fidelity, ScreenSummary
from hpcmat.campaign.state import CampaignState, TaskState

CrystalStatus = Literal["waiting", "running", "done", "failed"]


@dataclass(slots=True)
class CrystalState:
    """One candidate at one fidelity."""

    number: int
    name: str
    status: CrystalStatus = "waiting"
    properties: dict[str, float] = field(default_factory=dict)
    """By name; empty until its recipe has ended."""
    reason: str = ""
    """Why it failed."""
    finished: float | None = None
    """When its properties were known, seconds since the epoch."""
    tasks: list[TaskState] = field(default_factory=list)
    """Its labels, in the order of decision."""
    fidelity: Fidelity = "dear"

    @property
    def labels(self) -> int:
        """Labels that are done."""
        return sum(task.status == "done" for task in self.tasks)

    @property
    def node_hours(self) -> float:
        """Spent on it."""
        return sum(task.node_hours for task in self.tasks)

    @property
    def effort(self) -> float:
        """Node-hours that its labels took, whoever paid for them; those of other candidates' tasks left out."""
        done = [t.execution for t in self.tasks if t.execution is not None and t.adopted != "other task"]
        return sum(execution.node_hours for execution in done)


def crystal_states(state: CampaignState, fidelity: Fidelity = "dear") -> list[CrystalState]:
    """All candidates at one fidelity, in the order of the campaign file."""
    assert state.created is not None, "a journal begins with its Created event"
    found = [CrystalState(number, name, fidelity=fidelity) for number, name in enumerate(state.created.names)]
    for task in state.of_purpose("screen"):
        if task.decision.crystal is not None and task.decision.fidelity == fidelity:
            _take_in(found[task.decision.crystal], task)
    return found


def _take_in(crystal: CrystalState, task: TaskState) -> None:
    crystal.tasks.append(task)
    summary = task.summary
    if task.status == "failed":
        failure = task.failures[-1].failure
        crystal.status, crystal.reason = "failed", f"{failure.failure}: {failure.message}"
    elif isinstance(summary, ScreenSummary) and summary.refused:
        crystal.status, crystal.reason = "failed", summary.refused
    elif isinstance(summary, ScreenSummary) and summary.properties and crystal.status != "failed":
        crystal.status, crystal.properties, crystal.finished = "done", dict(summary.properties), task.finished
    elif crystal.status == "waiting":
        crystal.status = "running"
