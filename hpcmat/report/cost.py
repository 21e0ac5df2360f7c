"""What a campaign used: node-hours by purpose, utilisation of the workers, efficiency of the processors."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from statistics import median

from hpcmat.campaign.events import Purpose, RunStarted
from hpcmat.campaign.state import CampaignState, Run, TaskState
from hpcmat.records import Execution
from hpcmat.report.schema import Cost, PurposeCost
from hpcmat.report.tasks import PURPOSES, executions


def cost(state: CampaignState) -> Cost:
    """All that was used, over all attempts of this campaign."""
    ran = [execution for task in state.tasks.values() for _, execution, _ in executions(task)]
    by_purpose = tuple(_purpose_cost(state, purpose) for purpose in PURPOSES)
    busy, available = occupation(state.runs, ran)
    reused = [task for task in state.done("train", "validation", "reference") if task.reused]
    return Cost(
        node_hours=state.node_hours,
        node_hours_budget=state.campaign.budget.node_hours,
        failed_node_hours=sum(entry.failed_node_hours for entry in by_purpose),
        by_purpose=by_purpose,
        wall_hours=sum(_spell(state, run) for run in state.runs) / 3600.0,
        workers=state.runs[-1].started.workers if state.runs else 0,
        busy_worker_hours=busy / 3600.0,
        available_worker_hours=available / 3600.0,
        idle_worker_hours=max(available - busy, 0.0) / 3600.0,
        utilisation=busy / available if available > 0 else None,
        cpu_efficiency=_cpu_efficiency(ran),
        peak_memory_mib=max((execution.peak_memory_mib for execution in ran), default=None),
        labels_reused=len(reused),
        node_hours_saved=sum(task.execution.node_hours for task in reused if task.execution),
        median_wait_s=_median_wait(state),
    )


def _purpose_cost(state: CampaignState, purpose: Purpose) -> PurposeCost:
    ran = [(execution, failure) for task in state.of_purpose(purpose) for _, execution, failure in executions(task)]
    good = [execution.wall_s for execution, failure in ran if failure is None]
    return PurposeCost(
        purpose=purpose,
        node_hours=sum(execution.node_hours for execution, _ in ran),
        failed_node_hours=sum(execution.node_hours for execution, failure in ran if failure is not None),
        executions=len(ran),
        median_wall_s=median(good) if good else None,
    )


def occupation(runs: Sequence[Run], ran: Sequence[Execution]) -> tuple[float, float]:
    """Busy and available worker-seconds.

    Available are, for each run of a driver, its workers times the time between the first start and the last end of
    what was executed in it; nights between two runs do not count. Utilisation is the ratio of the two. Where tasks hold
    several cores, each counts as the share of all cores that it holds, in workers.
    """
    if not runs:
        return 0.0, 0.0
    starts = [run.time for run in runs]
    by_run: dict[int, list[Execution]] = {}
    for execution in ran:
        by_run.setdefault(max(bisect_right(starts, execution.started) - 1, 0), []).append(execution)
    busy = sum(_weight(e, runs[number].started) * e.wall_s for number, group in by_run.items() for e in group)
    available = sum(
        runs[number].started.workers * (max(e.finished for e in group) - min(e.started for e in group))
        for number, group in by_run.items()
    )
    return busy, available


def _weight(execution: Execution, run: RunStarted) -> float:
    return execution.cores * run.workers / run.cores if run.cores else 1.0


def _spell(state: CampaignState, run: Run) -> float:
    """Seconds a driver was at work; one that was killed is counted up to the last event before the next began."""
    if run.ended is not None:
        return run.ended - run.time
    position = next(number for number, other in enumerate(state.runs) if other is run)
    later = state.runs[position + 1].time if position + 1 < len(state.runs) else state.last_time
    times = [time for task in state.tasks.values() for time in _times(task) if run.time <= time <= later]
    return max(times, default=run.time) - run.time


def _times(task: TaskState) -> list[float]:
    marks = [task.decided, task.submitted, task.finished, *(attempt.time for attempt in task.failures)]
    return [time for time in marks if time is not None]


def _cpu_efficiency(ran: Sequence[Execution]) -> float | None:
    known = [execution for execution in ran if execution.cpu_s > 0]
    held = sum(execution.cores * execution.wall_s for execution in known)
    return sum(execution.cpu_s for execution in known) / held if held > 0 else None


def _median_wait(state: CampaignState) -> float | None:
    waits = [
        task.execution.started - task.submitted
        for task in state.tasks.values()
        if task.execution and task.submitted and not task.adopted
    ]
    return max(median(waits), 0.0) if waits else None
