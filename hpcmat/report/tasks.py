"""What happened to each task: labels, failures and their remedies, decisions, who worked when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpcmat.campaign.events import Decision, Purpose
from hpcmat.campaign.state import CampaignState, FailedAttempt, TaskState
from hpcmat.records import Execution
from hpcmat.report.audits import audit_words
from hpcmat.report.schema import (
    DecisionRow,
    Ending,
    FailedAttemptRow,
    FailureGroup,
    LabelCount,
    Span,
)

PURPOSES: tuple[Purpose, ...] = ("train", "validation", "reference", "explore", "fit")


def executions(task: TaskState) -> Iterator[tuple[int, Execution, str | None]]:
    """Attempts this campaign ran itself: (number, execution, failure or None); those without a record are left out."""
    for number, attempt in enumerate(task.failures, start=1):
        if attempt.execution is not None:
            yield number, attempt.execution, attempt.failure.failure.value
    if task.execution is not None and not task.reused:
        yield len(task.failures) + 1, task.execution, None


def label_counts(state: CampaignState) -> tuple[LabelCount, ...]:
    """Labels by purpose."""
    return tuple(_label_count(state, purpose) for purpose in PURPOSES[:3])


def _label_count(state: CampaignState, purpose: Purpose) -> LabelCount:
    tasks = state.of_purpose(purpose)
    status = [task.status for task in tasks]
    return LabelCount(
        purpose=purpose,
        done=status.count("done"),
        running=status.count("running"),
        waiting=status.count("waiting") + status.count("decided"),
        given_up=status.count("failed"),
        reused=sum(task.reused for task in tasks),
    )


def failed_attempts(state: CampaignState) -> tuple[FailedAttemptRow, ...]:
    """Every failed attempt, in order of time."""
    rows = [
        _failed_attempt(task, number, attempt)
        for task in state.tasks.values()
        for number, attempt in enumerate(task.failures)
    ]
    return tuple(sorted(rows, key=lambda row: row.time))


def _failed_attempt(task: TaskState, number: int, attempt: FailedAttempt) -> FailedAttemptRow:
    execution = attempt.execution
    return FailedAttemptRow(
        task=task.id,
        purpose=task.purpose,
        attempt=number + 1,
        time=attempt.time,
        kind=attempt.failure.failure.value,
        free=attempt.failure.failure.free,
        message=attempt.failure.message,
        log_tail=attempt.failure.log_tail,
        worker=execution.worker if execution else "",
        host=execution.host if execution else "",
        wall_s=execution.wall_s if execution else None,
        tried=attempt.remedies,
        next_remedies=_next_remedies(task, number),
        ending=ending(task),
    )


def _next_remedies(task: TaskState, number: int) -> tuple[str, ...] | None:
    if number + 1 < len(task.failures):
        return task.failures[number + 1].remedies
    return None if task.status == "failed" else task.remedies


def ending(task: TaskState) -> Ending:
    """What became of a task that failed at least once."""
    if task.open:
        return "open"
    return "cured" if task.status == "done" else "given up"


def failure_groups(state: CampaignState) -> tuple[FailureGroup, ...]:
    """Failures by kind, the most frequent first."""
    by_kind: dict[str, list[tuple[TaskState, int]]] = {}
    for task in state.tasks.values():
        for number, attempt in enumerate(task.failures):
            by_kind.setdefault(attempt.failure.failure.value, []).append((task, number))
    groups = [_failure_group(kind, hits) for kind, hits in by_kind.items()]
    return tuple(sorted(groups, key=lambda group: (-group.attempts, group.kind)))


def _failure_group(kind: str, hits: Sequence[tuple[TaskState, int]]) -> FailureGroup:
    tasks = list({task.id: task for task, _ in hits}.values())
    attempts = [task.failures[number] for task, number in hits]
    remedies = [_added(task, number) for task, number in hits]
    endings = [ending(task) for task in tasks]
    return FailureGroup(
        kind=kind,
        free=attempts[0].failure.failure.free,
        attempts=len(attempts),
        tasks=len(tasks),
        cured=endings.count("cured"),
        given_up=endings.count("given up"),
        open=endings.count("open"),
        node_hours=sum(a.execution.node_hours for a in attempts if a.execution),
        remedies=tuple(dict.fromkeys(name for names in remedies for name in names)),
    )


def _added(task: TaskState, number: int) -> tuple[str, ...]:
    """Remedies of the next attempt that the failed one had not tried."""
    tried = task.failures[number].remedies
    return tuple(name for name in _next_remedies(task, number) or () if name not in tried)


def decisions(state: CampaignState) -> tuple[DecisionRow, ...]:
    """Every decision, in order, with what it led to."""
    return tuple(_decision(state, task) for task in state.tasks.values())


def _decision(state: CampaignState, task: TaskState) -> DecisionRow:
    decision = task.decision
    return DecisionRow(
        id=decision.id,
        task=task.id,
        hours=(task.decided - state.walltime_origin) / 3600.0,
        purpose=decision.purpose,
        rule=decision.rule,
        reason=decision.reason,
        status=status_words(task),
        candidate=_candidate(state, decision),
        sigma_ev_per_ang=decision.candidate.sigma if decision.candidate else None,
        score=decision.score,
        pool_size=decision.pool_size,
        passed_over=decision.passed_over,
        model=decision.model,
        predicted_s=decision.predicted_s,
        actual_s=task.execution.wall_s if task.execution else None,
        node_hours=task.node_hours,
        fidelity=decision.fidelity,
        audit=audit_words(state, task),
    )


def _candidate(state: CampaignState, decision: Decision) -> str | None:
    if decision.crystal is not None and state.created is not None:
        return state.created.names[decision.crystal]
    return decision.candidate.id if decision.candidate else None


def status_words(task: TaskState) -> str:
    """Return the status of a task as people say it."""
    if task.status == "done":
        return "reused" if task.reused else "done"
    return {"decided": "queued", "waiting": "to be repeated", "failed": "given up"}.get(task.status, task.status)


def timeline(state: CampaignState) -> tuple[Span, ...]:
    """Every attempt with a record, in order of start; times in seconds since the first driver started."""
    spans = [
        Span(
            worker=execution.worker or f"{execution.host}:{execution.pid}",
            start_s=execution.started - state.walltime_origin,
            end_s=execution.finished - state.walltime_origin,
            task=task.id,
            purpose=task.purpose,
            attempt=number,
            failure=failure,
        )
        for task in state.tasks.values()
        for number, execution, failure in executions(task)
    ]
    return tuple(sorted(spans, key=lambda span: (span.start_s, span.worker)))
