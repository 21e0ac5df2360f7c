"""Tasks of a campaign by what is asked of them, kept up with every event.

With it a decision costs the same after a hundred thousand tasks as after ten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from hpcmat.campaign.audits import Audits
from hpcmat.campaign.events import ExploreSummary, LabelSummary, Purpose
from hpcmat.campaign.pool import Pool

if TYPE_CHECKING:
    from hpcmat.campaign.state import Status, TaskState

_STARTABLE: set[str] = {"decided", "waiting"}
_ENDED = {"done", "failed"}


class TaskIndex:
    """Changed by `CampaignState.apply` alone."""

    def __init__(self) -> None:
        self.purposes: dict[Purpose, list[TaskState]] = {}
        """In the order of decision."""
        self.ended: dict[Purpose, list[TaskState]] = {}
        """Done or given up, in the order of ending."""
        self.all_ended: list[TaskState] = []
        """The same for all purposes together."""
        self.given_up: dict[Purpose, list[TaskState]] = {}
        self.open: dict[str, TaskState] = {}
        self.startable: dict[str, TaskState] = {}
        """Decided or waiting."""
        self.fits: list[TaskState] = []
        """Finished ones, oldest first."""
        self.beyond_fit: dict[str, TaskState] = {}
        """Training tasks, not given up, that the newest finished fit has not taken in; in the order of decision."""
        self.beyond_fit_losses = 0
        """How often tasks have left `beyond_fit`: between two such moments it only grows."""
        self.train_since_end = 0
        """Training tasks decided since a task was done or given up."""
        self.explorations_with: Counter[str | None] = Counter()
        """How many explorations were decided on each potential."""
        self.node_hours = 0.0
        self._numbers: Counter[tuple[Purpose, Status]] = Counter()
        self.pool = Pool()
        self.explorations: dict[str, TaskState] = {}
        """By content key."""
        self.audits = Audits()

    def number(self, purposes: Sequence[Purpose], *statuses: Status) -> int:
        """How many tasks for these purposes are in one of these states; in any where none is named."""
        if not statuses:
            return sum(len(self.purposes.get(purpose, ())) for purpose in purposes)
        return sum(self._numbers[purpose, status] for purpose in purposes for status in statuses)

    def beyond_fit_since(self, count: int) -> list[TaskState]:
        """Those of `beyond_fit` behind the first so many, in the order of decision."""
        return list(islice(reversed(self.beyond_fit.values()), len(self.beyond_fit) - count))[::-1]

    def decided(self, task: TaskState) -> None:
        """A new task."""
        self.purposes.setdefault(task.purpose, []).append(task)
        self.open[task.id] = self.startable[task.id] = task
        self._numbers[task.purpose, task.status] += 1
        if task.purpose == "explore":
            self.explorations_with[task.decision.model] += 1
            self.explorations[task.key] = task
            self.pool.expect(task.key)
        if task.purpose == "train":
            self.beyond_fit[task.id] = task
            self.train_since_end += 1
        if task.purpose in {"train", "validation"} and task.decision.candidate is not None:
            self.pool.take(task.decision.candidate)

    def moved(self, task: TaskState, before: Status) -> None:
        """A task that was in state `before` is in another now."""
        self._numbers[task.purpose, before] -= 1
        self._numbers[task.purpose, task.status] += 1
        self.startable.pop(task.id, None)
        if task.status in _STARTABLE:
            self.startable[task.id] = task
        if task.status in _ENDED:
            self.open.pop(task.id, None)
            self.ended.setdefault(task.purpose, []).append(task)
            self.all_ended.append(task)
            self.train_since_end = 0
        if task.status == "failed":
            self.given_up.setdefault(task.purpose, []).append(task)
            self.beyond_fit_losses += self.beyond_fit.pop(task.id, None) is not None
        if task.status == "done":
            self._take_in(task)

    def audited(self, task: TaskState, *, roll_back: bool) -> None:
        """A label is done: what it says of the exploration that found its structure."""
        candidate, summary = task.decision.candidate, task.summary
        if candidate is None or not isinstance(summary, LabelSummary) or summary.audit is None:
            return
        self.audits.take(candidate, summary.audit)
        if roll_back and not summary.audit.passed:
            self.audits.roll_back(candidate, self.pool)

    def _take_in(self, task: TaskState) -> None:
        if task.purpose == "fit":
            self.fits.append(task)
            fitted = set(task.decision.train)
            self.beyond_fit_losses += 1
            self.beyond_fit = {
                each.id: each
                for each in self.purposes.get("train", ())
                if each.status != "failed" and each.key not in fitted
            }
        elif isinstance(task.summary, ExploreSummary):
            self.pool.add(task.summary.candidates)
