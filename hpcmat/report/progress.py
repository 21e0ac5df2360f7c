"""What a running campaign tells: a live line in a terminal, plain lines in a batch log."""

from __future__ import annotations

import sys
import time
from itertools import islice
from types import TracebackType

from rich.console import Console
from rich.status import Status

from hpcmat.campaign.events import (
    Amended,
    Ended,
    Event,
    ExploreSummary,
    Failed,
    Finished,
    FitSummary,
    LabelSummary,
    RunStarted,
    ScreenSummary,
    Stopping,
)
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.screen.spec import ScreenCampaign
from hpcmat.campaign.state import CampaignState
from hpcmat.campaign.stopping import labels_done
from hpcmat.report.screening import recipe_line, screening_line

_NAMED = 6
"""So many running tasks are named in the live line."""


class Progress:
    """Observer of a driver; a context manager.

    Everything goes to standard error, so that standard output holds the result alone.
    """

    def __init__(self, folder: CampaignFolder, *, quiet: bool = False) -> None:
        self._folder = folder
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal and not self._quiet:
            self._status = self._console.status("starting workers")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, event: Event, state: CampaignState) -> None:
        """Tell of one event."""
        if self._quiet:
            return
        line = event_line(event, state)
        if line is not None:
            self._console.print(f"{time.strftime('%H:%M:%S')}  {line}", markup=False)
        if self._status is not None:
            self._status.update(live_line(state))


def live_line(state: CampaignState) -> str:
    """One line on where the campaign is."""
    open_tasks = state.index.open.values()
    running = ", ".join(f"{task.id} ({task.purpose})" for task in islice(open_tasks, _NAMED)) or "nothing"
    if len(open_tasks) > _NAMED:
        running += f" and {len(open_tasks) - _NAMED} more"
    if isinstance(state.spec, ScreenCampaign):
        return f"{screening_line(state)}; running {running}"
    labels = labels_done(state)
    return f"{labels} of {state.campaign.budget.labels} labels, {state.node_hours:.3f} node-hours; running {running}"


def event_line(event: Event, state: CampaignState) -> str | None:
    """One line for an event worth a line, else None."""
    match event:
        case RunStarted():
            return f"{event.workers} workers on {event.host}, site {event.site}"
        case Amended():
            return f"campaign file changed: {', '.join(event.changes)}"
        case Finished():
            return _finished_line(event, state)
        case Failed():
            done = "given up" if event.remedies is None else _next_try(event.remedies)
            return f"{event.task_id}: {event.failure.failure}: {event.failure.message}; {done}"
        case Stopping():
            return f"stopping: {event.sentence}"
        case Ended():
            return ("complete: " if event.complete else "stopped: ") + event.sentence
        case _:
            return None


def _next_try(remedies: tuple[str, ...]) -> str:
    return f"trying again with {', '.join(remedies)}" if remedies else "trying again"


def _finished_line(event: Finished, state: CampaignState) -> str:
    task = state.tasks[event.task_id]
    origin = f", from {'an' if event.adopted else ''} {event.adopted}" if event.adopted else ""
    took = f"{event.execution.wall_s:.1f} s{origin}"
    match event.summary:
        case LabelSummary() as label:
            what = f"{label.energy_per_atom:.4f} eV/atom, largest force {label.max_force:.2f} eV/Å"
            return f"{task.id} {task.purpose} ({task.decision.rule}): {what}, {took}"
        case ExploreSummary() as exploration:
            what = (
                f"{len(exploration.candidates)} candidates, {exploration.stopped} after {exploration.steps_run} steps"
            )
            return f"{task.id} ({task.decision.rule}): {what}, {took}"
        case ScreenSummary() as label:
            return f"{task.id} ({task.decision.rule}): {recipe_line(label, task, state)}, {took}"
        case FitSummary() as fit:
            return f"{task.id}: {_fit_line(fit)}, {took}"


def _fit_line(fit: FitSummary) -> str:
    trained = f"{fit.n_train} labels, training force RMSE {fit.train_forces_rmse:.4f} eV/Å"
    if fit.force_rmse is None:
        return trained
    bound = f" (bound {fit.force_rmse_bound:.4f})" if fit.force_rmse_bound is not None else ""
    return f"{trained}, validation {fit.force_rmse:.4f}{bound} eV/Å on {fit.validation.n_frames} frames"
