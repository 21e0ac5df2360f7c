"""Where a campaign stands, from its journal alone: for a glance in a terminal, and for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from hpcmat.campaign.events import Purpose
from hpcmat.campaign.state import CampaignState, TaskState
from hpcmat.errors import InputError
from hpcmat.records import encode
from hpcmat.report import audits, learning, tasks
from hpcmat.report.outcome import outcome, phase_now, target_reached
from hpcmat.report.schema import AuditCount, DecisionRow, FailedAttemptRow, Forecast, LabelCount, Phase
from hpcmat.report.statistics import Interval
from hpcmat.report.text import duration, number, plural, span

LAST_FAILURES = 5


@dataclass(frozen=True, slots=True)
class RunningTask:
    """A task that has been handed to a worker."""

    task: str
    purpose: Purpose
    rule: str
    attempt: int
    elapsed_s: float
    """Since it was submitted."""
    predicted_s: float | None


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a campaign on one screen."""

    name: str
    phase: Phase
    outcome: str
    elapsed_s: float
    """Since the first driver started, until now or until the end."""
    labels: tuple[LabelCount, ...]
    labels_done: int
    labels_budget: int
    fits: int
    candidates_waiting: int
    validation_force_rmse_ev_per_ang: float | None
    validation_force_rmse_ev_per_ang_interval: Interval | None
    validation_force_rmse_bound_ev_per_ang: float | None
    validation_frames: int
    target_force_rmse_ev_per_ang: float
    target_reached: bool
    node_hours: float
    node_hours_budget: float | None
    nodes_busy: float
    """Nodes that running tasks hold or wait for, at most all of them."""
    nodes: int
    """Nodes of the last allocation, or this machine."""
    running: tuple[RunningTask, ...]
    audits: AuditCount
    failures: int
    tasks_given_up: int
    last_failures: tuple[FailedAttemptRow, ...]
    forecast: Forecast | None

    def as_json(self) -> dict[str, Any]:
        """Return the same as JSON data."""
        data: dict[str, Any] = json.loads(encode(self))
        return data


def status_of(state: CampaignState, now: float, driver_runs: bool) -> Status:
    """Where the campaign stands.

    Parameters
    ----------
    state : fold of its journal.
    now : seconds since the epoch.
    driver_runs : whether a driver holds the campaign; a journal cannot tell that its driver was killed.
    """
    phase = phase_now(state, driver_runs)
    curve = learning.learning_curve(state)
    last = curve[-1] if curve else None
    failures = tasks.failed_attempts(state)
    return Status(
        name=state.campaign.name,
        phase=phase,
        outcome=outcome(state, phase),
        elapsed_s=(now if phase == "running" else state.last_time) - state.walltime_origin,
        labels=tasks.label_counts(state),
        labels_done=len(state.done("train", "validation")),
        labels_budget=state.campaign.budget.labels,
        fits=len(curve),
        candidates_waiting=len(state.pool),
        validation_force_rmse_ev_per_ang=last.validation_force_rmse_ev_per_ang if last else None,
        validation_force_rmse_ev_per_ang_interval=last.validation_force_rmse_ev_per_ang_interval if last else None,
        validation_force_rmse_bound_ev_per_ang=last.validation_force_rmse_bound_ev_per_ang if last else None,
        validation_frames=last.validation_frames if last else 0,
        target_force_rmse_ev_per_ang=state.campaign.target.force_rmse_ev_per_ang,
        target_reached=target_reached(state, last),
        node_hours=state.node_hours,
        node_hours_budget=state.campaign.budget.node_hours,
        nodes_busy=_nodes_busy(state) if phase == "running" else 0.0,
        nodes=_nodes(state),
        running=tuple(_running(task, now) for task in state.tasks.values() if task.status == "running"),
        audits=audits.audit_count(state),
        failures=len(failures),
        tasks_given_up=sum(task.status == "failed" for task in state.tasks.values()),
        last_failures=failures[-LAST_FAILURES:],
        forecast=learning.forecast(state, curve),
    )


def _nodes(state: CampaignState) -> int:
    return state.runs[-1].started.nodes if state.runs else 0


def _nodes_busy(state: CampaignState) -> float:
    asked = sum(task.nodes for task in state.open_tasks if task.status == "running")
    return min(asked, float(_nodes(state)))


def _running(task: TaskState, now: float) -> RunningTask:
    submitted = task.submitted if task.submitted is not None else task.decided
    return RunningTask(
        task=task.id,
        purpose=task.purpose,
        rule=task.decision.rule,
        attempt=len(task.failures) + 1,
        elapsed_s=now - submitted,
        predicted_s=task.decision.predicted_s,
    )


def status_text(status: Status) -> str:
    """Return the status for people: facts, labels by purpose, what runs, what failed last."""
    blocks = [_facts(status), _label_table(status), _running_table(status), _failure_table(status)]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _facts(status: Status) -> list[str]:
    budget = f" of {number(status.node_hours_budget)}" if status.node_hours_budget else ""
    rows = [
        ("campaign", f"{status.name}: {status.phase}, {duration(status.elapsed_s)}"),
        ("", status.outcome),
        ("labels", f"{status.labels_done} of {status.labels_budget}"),
        ("force RMSE", _error(status)),
        ("node-hours", f"{number(status.node_hours)}{budget}"),
        ("nodes", f"{number(status.nodes_busy)} of {status.nodes} busy"),
        ("fits", f"{status.fits}; {plural(status.candidates_waiting, 'candidate')} waiting"),
        ("failures", f"{plural(status.failures, 'attempt')}, {plural(status.tasks_given_up, 'task')} given up"),
    ]
    if status.audits.frames:
        rows.append(("audits", audits.count_words(status.audits)))
    if status.forecast is not None:
        rows.append(("forecast", status.forecast.sentence))
    return [f"{name:<11} {words}" for name, words in rows]


def _error(status: Status) -> str:
    verdict = "reached" if status.target_reached else "not reached"
    goal = f"target {status.target_force_rmse_ev_per_ang:g} eV/Å {verdict}"
    if status.validation_force_rmse_ev_per_ang is None:
        return f"not known yet; {goal}"
    return (
        f"{number(status.validation_force_rmse_ev_per_ang)} eV/Å, interval "
        f"{span(status.validation_force_rmse_ev_per_ang_interval)}, upper bound "
        f"{number(status.validation_force_rmse_bound_ev_per_ang)}, {goal} "
        f"({plural(status.validation_frames, 'validation frame')})"
    )


def _label_table(status: Status) -> list[str]:
    head = ("purpose", "done", "running", "waiting", "given up", "reused")
    rows = [(c.purpose, c.done, c.running, c.waiting, c.given_up, c.reused) for c in status.labels]
    return columns([head, *(tuple(str(cell) for cell in row) for row in rows)])


def _running_table(status: Status) -> list[str]:
    rows = [
        (t.task, t.purpose, t.rule, f"attempt {t.attempt}", duration(t.elapsed_s), _predicted(t))
        for t in status.running
    ]
    return columns([("running", "purpose", "rule", "", "elapsed", ""), *rows]) if rows else []


def _predicted(task: RunningTask) -> str:
    return f"of about {duration(task.predicted_s)}" if task.predicted_s is not None else ""


def _failure_table(status: Status) -> list[str]:
    rows = [(row.task, row.kind, what_was_done(row), one_line(row.message)) for row in status.last_failures]
    return columns([("last failures", "kind", "then", "message"), *rows]) if rows else []


def what_was_done(row: FailedAttemptRow) -> str:
    """Return what followed a failed attempt."""
    if row.next_remedies is None:
        return "given up"
    return f"with {', '.join(row.next_remedies)}" if row.next_remedies else "repeated unchanged"


def one_line(message: str, length: int = 100) -> str:
    """Return a message without line breaks and control characters, shortened: logs and terminals stay readable."""
    words = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    return words if len(words) <= length else words[: length - 1] + "…"


def columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows as left-aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def decision_of(state: CampaignState, name: str) -> DecisionRow:
    """Return one decision, by its id or by the id of its task.

    Raises
    ------
    InputError
        There is none of that name.
    """
    rows = tasks.decisions(state)
    found = next((row for row in rows if name in {row.id, row.task}), None)
    if found is None:
        known = [word for row in rows for word in (row.id, row.task)]
        close = get_close_matches(name, known, n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "`hpcmat report` lists them all"
        raise InputError(f"no decision or task '{name}' in this campaign; {hint}")
    return found


def decision_text(row: DecisionRow) -> str:
    """Return why something was done, for people."""
    return "\n".join(f"{name:<12} {words}" for name, words in _decision_facts(row) if words)


def _decision_facts(row: DecisionRow) -> Iterator[tuple[str, str]]:
    yield "decision", f"{row.id}, {duration(3600.0 * row.hours)} after the start"
    yield "task", f"{row.task} ({row.purpose}): {row.status}"
    yield "rule", row.rule
    yield "reason", row.reason
    sigma = "" if row.sigma_ev_per_ang is None else f", largest force uncertainty {number(row.sigma_ev_per_ang)} eV/Å"
    yield "candidate", (row.candidate + sigma) if row.candidate else ""
    yield "fidelity", "cheap" if row.fidelity == "cheap" else ""
    yield "audit", row.audit
    yield "score", "" if row.score is None else number(row.score)
    yield "chosen from", plural(row.pool_size, "candidate") if row.pool_size else ""
    yield "passed over", ", ".join(f"{name} ({number(score)})" for name, score in row.passed_over)
    yield "potential", row.model or ""
    yield "predicted", "" if row.predicted_s is None else duration(row.predicted_s)
    yield "took", "" if row.actual_s is None else f"{duration(row.actual_s)}, {number(row.node_hours)} node-hours"
