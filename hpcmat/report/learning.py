"""What the campaign learned: error of each fit, calibration, forecast, equation of state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from hpcmat.campaign.events import FitSummary, ReferenceComparison, Scores
from hpcmat.campaign.state import CampaignState, TaskState
from hpcmat.report.schema import Calibration, CurvePoint, Forecast
from hpcmat.report.statistics import fit_power_law, mean_interval, root_mean, root_mean_interval
from hpcmat.surrogates.calibration import conformal_factor


def finite(value: float | None) -> float | None:
    """Return the value, or None where it is missing or infinite (the bound from a single frame is)."""
    return value if value is not None and math.isfinite(value) else None


def learning_curve(state: CampaignState) -> tuple[CurvePoint, ...]:
    """One point per finished fit, oldest first."""
    spent = _SpentBy(state)
    return tuple(_curve_point(state, task, spent) for task in state.models)


class _SpentBy:
    """Node-hours of all attempts that had ended by a given time."""

    def __init__(self, state: CampaignState) -> None:
        ends = [
            (attempt.time, attempt.execution.node_hours)
            for task in state.tasks.values()
            for attempt in task.failures
            if attempt.execution is not None
        ]
        ends += [
            (task.finished, task.execution.node_hours)
            for task in state.tasks.values()
            if task.execution is not None and task.finished is not None and not task.reused
        ]
        ends.sort()
        self._times = [time for time, _ in ends]
        self._sums = list(accumulate(hours for _, hours in ends))

    def __call__(self, time: float) -> float:
        from bisect import bisect_right

        position = bisect_right(self._times, time)
        return self._sums[position - 1] if position else 0.0


def _curve_point(state: CampaignState, task: TaskState, spent: _SpentBy) -> CurvePoint:
    fit = fit_of(task)
    time = task.finished or task.decided
    confidence = state.campaign.target.confidence
    squares = [error * error for error in fit.validation.energy_errors]
    mse = fit.validation.forces_mse
    return CurvePoint(
        fit=task.id,
        hours=(time - state.walltime_origin) / 3600.0,
        train_labels=fit.n_train,
        validation_frames=fit.validation.n_frames,
        node_hours=spent(time),
        validation_force_rmse_ev_per_ang=fit.force_rmse if fit.force_rmse is not None else root_mean(mse),
        validation_force_rmse_ev_per_ang_interval=root_mean_interval(mse, confidence),
        validation_force_rmse_bound_ev_per_ang=finite(fit.force_rmse_bound),
        validation_energy_rmse_ev_per_atom=root_mean(squares),
        validation_energy_rmse_ev_per_atom_interval=root_mean_interval(squares, confidence),
        train_force_rmse_ev_per_ang=fit.train_forces_rmse,
        train_energy_rmse_ev_per_atom=fit.train_energy_rmse,
        noise_forces_ev_per_ang=fit.noise_forces,
        features=fit.n_features,
        effective_parameters=fit.effective_parameters,
        prequential_force_rmse_ev_per_ang=root_mean(fit.prequential.forces_mse),
        rms_z=root_mean(fit.validation.forces_z2),
    )


def fit_of(task: TaskState) -> FitSummary:
    """Return the summary of a finished fit."""
    assert isinstance(task.summary, FitSummary), f"{task.id} is no finished fit"
    return task.summary


def calibration(state: CampaignState) -> tuple[Calibration, ...]:
    """Trust in the predicted uncertainty: newest model on validation frames, and each model on what came next.

    The prequential row pools all fits: every label is scored by the model that had not seen it yet, and thereby
    tells whether the uncertainty holds where the campaign went, not only where it has been.
    """
    confidence = state.campaign.target.confidence
    fits = [fit_of(task) for task in state.models]
    rows = [
        _calibration("validation", [fits[-1].validation] if fits else [], confidence),
        _calibration("prequential", [fit.prequential for fit in fits], confidence),
    ]
    return tuple(row for row in rows if row is not None)


def _calibration(on: str, scores: Sequence[Scores], confidence: float) -> Calibration | None:
    z2 = [value for score in scores for value in score.forces_z2]
    coverage = [value for score in scores for value in score.coverage_95]
    rms = root_mean(z2)
    if rms is None or not coverage:
        return None
    return Calibration(
        on="validation" if on == "validation" else "prequential",
        frames=len(z2),
        rms_z=rms,
        rms_z_interval=root_mean_interval(z2, confidence),
        coverage_95=sum(coverage) / len(coverage),
        coverage_95_interval=_within_unit(mean_interval(coverage, confidence)),
        conformal_95=conformal_95(z2),
    )


def conformal_95(z2: Sequence[float]) -> float | None:
    """Factor on the rms predicted force error of a new frame that its rms error exceeds in 5 % of frames at most.

    From mean squared errors over predicted variances of other frames, of which it is taken to be one more; None where
    they are too few, 18 or less, to promise it.
    """
    rms_z = [math.sqrt(value) for value in z2]
    return finite(conformal_factor(rms_z, [1.0] * len(rms_z), range(len(rms_z)), 0.95))


def _within_unit(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if interval is None else (max(interval[0], 0.0), min(interval[1], 1.0))


def reference_comparison(state: CampaignState) -> ReferenceComparison | None:
    """Equation of state as the newest fit that has one saw it."""
    found = [fit_of(task).reference for task in state.models]
    return next((reference for reference in reversed(found) if reference is not None), None)


def forecast(state: CampaignState, curve: Sequence[CurvePoint]) -> Forecast | None:
    """When the upper bound of the error will meet the target, by a power law through the later fits.

    None once the target is met, with fewer than four fits to go by, or where the error does not fall.
    """
    points = [p for p in curve if p.validation_force_rmse_bound_ev_per_ang and p.train_labels]
    points = points[-max(4, 2 * len(points) // 3) :]
    bounds = [p.validation_force_rmse_bound_ev_per_ang or math.inf for p in points]
    target = state.campaign.target.force_rmse_ev_per_ang
    law = fit_power_law([p.train_labels for p in points], bounds)
    if law is None or bounds[-1] <= target:
        return None
    solved = law.solve(target, state.campaign.target.confidence)
    return None if solved is None else _forecast(state, points, *solved)


def _forecast(
    state: CampaignState, points: Sequence[CurvePoint], labels: float, interval: tuple[float, float]
) -> Forecast:
    last = points[-1]
    total = last.train_labels + last.validation_frames
    more = max(labels - last.train_labels, 1.0) * total / last.train_labels
    per_label = last.node_hours / total
    hours = last.hours / total * more if last.hours > 0 else None
    return Forecast(
        train_labels=labels,
        train_labels_interval=interval,
        more_labels=more,
        more_node_hours=more * per_label,
        more_wall_hours=hours,
        sentence=_forecast_sentence(state, more, more * per_label, interval),
    )


def _forecast_sentence(state: CampaignState, more: float, node_hours: float, interval: tuple[float, float]) -> str:
    if interval[1] > 100.0 * interval[0]:
        return "The error falls too slowly or too unevenly to say when the target will be met."
    left = state.campaign.budget.labels - len(state.done("train", "validation"))
    fits = "within the budget" if more <= left else f"but the budget leaves {max(left, 0)}"
    return (
        f"About {math.ceil(more)} more labels and {node_hours:.2g} node-hours to the target, {fits} "
        f"(power law through the later fits; {interval[0]:.0f} to {interval[1]:.0f} training labels in all)."
    )
