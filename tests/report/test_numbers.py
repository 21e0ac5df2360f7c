import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from hpcmat.campaign.events import RunStarted
from hpcmat.campaign.state import CampaignState, Run
from hpcmat.records import Execution
from hpcmat.report.cost import occupation
from hpcmat.report.data import report_data
from hpcmat.report.statistics import (
    fit_power_law,
    mean_interval,
    relative_difference,
    root_mean_interval,
    student_quantile,
)
from hpcmat.report.text import MISSING, duration, number, percent, summary_line

MSE = [0.010, 0.014, 0.008, 0.020, 0.011]


def run_of(time, workers):
    return Run(RunStarted("e", "h", 1, "local", workers, 4, ()), time)


def ran(start, end, worker="w"):
    return Execution(1, "h", 1, start, end, worker)


def test_interval_is_the_t_interval_of_scipy_on_mean_squares():
    low, high = stats.t.interval(0.9, len(MSE) - 1, loc=np.mean(MSE), scale=stats.sem(MSE))
    assert mean_interval(MSE, 0.9) == pytest.approx((low, high), rel=1e-12)
    assert root_mean_interval(MSE, 0.9) == pytest.approx((math.sqrt(low), math.sqrt(high)), rel=1e-12)
    # Negative controls: neither the normal quantile nor the one-sided t interval gives the same.
    normal = stats.norm.interval(0.9, loc=np.mean(MSE), scale=stats.sem(MSE))
    assert mean_interval(MSE, 0.9) != pytest.approx(normal, rel=1e-3)
    assert student_quantile(0.9, 4) != pytest.approx(stats.t.ppf(0.9, 4), rel=1e-3)


def test_interval_needs_two_frames_and_never_goes_below_zero():
    assert mean_interval([0.3], 0.95) is None
    assert root_mean_interval([], 0.95) is None
    low, high = root_mean_interval([0.0, 1.0], 0.95)
    assert low == 0.0 < high


def test_utilisation_of_hand_made_spans():
    spans = [ran(10, 20, "a"), ran(22, 30, "a"), ran(12, 30, "b")]
    busy, available = occupation([run_of(0, 2)], spans)
    assert (busy, available) == (36.0, 40.0)
    assert occupation([run_of(0, 3)], spans)[1] == 60.0


def test_the_night_between_two_runs_is_not_idle_time():
    spans = [ran(0, 10, "a"), ran(1000, 1010, "a")]
    assert occupation([run_of(-1, 1), run_of(999, 1)], spans) == (20.0, 20.0)
    # Negative control: in one run the gap counts.
    assert occupation([run_of(-1, 1)], spans) == (20.0, 1010.0)


def test_node_hours_count_failed_attempts_and_leave_reused_labels_out(finished):
    state = finished.state
    report = report_data(state, finished.store)
    expected = sum(
        execution.cores / execution.cores_per_node * execution.wall_s / 3600
        for task in state.tasks.values()
        for execution in [a.execution for a in task.failures] + ([] if task.adopted else [task.execution])
        if execution is not None
    )
    assert report.node_hours == pytest.approx(expected, rel=1e-12)
    assert sum(entry.node_hours for entry in report.cost.by_purpose) == pytest.approx(expected, rel=1e-12)
    assert report.failures > 0 and report.cost.failed_node_hours > 0
    assert report.cost.labels_reused == 2 and report.cost.node_hours_saved > 0
    assert not {"label-0001", "label-0002"} & {span.task for span in report.timeline}


def test_learning_curve_rises_in_labels_and_node_hours(finished):
    curve = report_data(finished.state, finished.store).learning_curve
    assert len(curve) == 7
    assert [p.train_labels for p in curve] == sorted(p.train_labels for p in curve)
    assert all(a.node_hours < b.node_hours for a, b in pairwise(curve))
    last = curve[-1]
    low, high = last.validation_force_rmse_ev_per_ang_interval
    assert low < last.validation_force_rmse_ev_per_ang < high < last.validation_force_rmse_bound_ev_per_ang


def test_reference_check_is_relative_to_the_engine(finished):
    report = report_data(finished.state, finished.store)
    assert report.lattice_constant_relative_difference == pytest.approx(5.440 / 5.431 - 1)
    assert report.bulk_modulus_relative_difference == pytest.approx(101 / 108 - 1)
    assert relative_difference(None, 1.0) is None


def test_reliability_matches_the_gaussian_it_was_drawn_from(finished):
    # The builder predicts 0.8 of the true standard deviation.
    points = report_data(finished.state, finished.store).reliability
    for point in points:
        z = 0.8 * stats.norm.ppf(0.5 + point.predicted_fraction / 2)
        assert point.observed_fraction == pytest.approx(2 * stats.norm.cdf(z) - 1, abs=0.09)
    middle = next(p for p in points if p.predicted_fraction == 0.5)
    assert middle.observed_fraction < 0.47


def test_failures_are_followed_to_their_end(finished):
    report = report_data(finished.state, finished.store)
    assert report.failures == len(report.failed_attempts) == sum(g.attempts for g in report.failures_by_kind)
    for row in report.failed_attempts:
        task = finished.state.tasks[row.task]
        assert row.ending == ("cured" if task.status == "done" else "given up")
        if row.kind == "not converged" and row.next_remedies is not None:
            assert row.next_remedies == ("mixing",)


def test_given_up_task_is_reported(made_up):
    builder = made_up(failure_rate=1.0).begin()
    builder.label("train", 0)
    report = report_data(builder.state, builder.store)
    assert (report.failures, report.tasks_given_up, report.labels) == (3, 1, 0)
    assert [row.ending for row in report.failed_attempts] == ["given up"] * 3
    assert report.failed_attempts[-1].next_remedies is None


def test_power_law_is_found_again_and_a_rising_error_gives_no_forecast():
    x = [10.0, 20.0, 40.0, 80.0]
    law = fit_power_law(x, [2.0 * v**-0.5 for v in x])
    solved, (low, high) = law.solve(0.1, 0.95)
    assert solved == pytest.approx(400.0) and low == pytest.approx(400.0) and high == pytest.approx(400.0)
    assert fit_power_law(x, [0.1 * v for v in x]).solve(0.1, 0.95) is None
    assert fit_power_law(x[:3], [1.0, 0.5, 0.2]) is None


def test_forecast_of_an_unfinished_campaign(made_up):
    def forecast(target):
        builder = made_up()
        builder.spec["target"]["force_rmse_ev_per_ang"] = target
        builder.__post_init__()
        return report_data(builder.begin().run_labels(60).state, builder.store).forecast

    found = forecast(0.05)
    assert found is not None and found.more_labels > 1 and "node-hours" in found.sentence
    # Negative control: where the target is met there is nothing to forecast.
    assert forecast(0.5) is None


@pytest.mark.parametrize("labels", [0, 1, 9])
def test_unfinished_campaigns_have_a_report(made_up, labels):
    builder = made_up().begin()
    if labels:
        builder.run_labels(labels)
    report = report_data(builder.state, builder.store)
    assert report.phase == "running"
    assert report.labels == labels - report.tasks_given_up
    assert not report.target_reached and report.validation_force_rmse_ev_per_ang is None
    assert summary_line(report).startswith("no validation error yet")


def test_campaign_created_but_never_run(made_up):
    builder = made_up().begin()
    state = CampaignState.of(builder.events[:1])
    report = report_data(state, builder.store)
    assert report.phase == "not started" and report.cost.utilisation is None


def test_summary_line_says_error_interval_labels_failures_and_node_hours(finished):
    report = report_data(finished.state, finished.store)
    line = summary_line(report)
    low, high = report.validation_force_rmse_ev_per_ang_interval
    for part in (number(report.validation_force_rmse_ev_per_ang), number(low), number(high), "95 % interval"):
        assert part in line
    assert f"{report.labels} labels" in line and f"{report.failures} failures" in line and "node-hours" in line
    assert "\n" not in line


def test_numbers_read_well():
    assert [number(x) for x in (0.123456, 12.3456, 123456.0, None, math.nan)] == [
        "0.123", "12.3", "123456", MISSING, MISSING,
    ]  # fmt: skip
    assert number(1.5e-7) == "1.50e-07"
    assert [duration(x) for x in (0.02, 3.21, 75, 3700, 200000)] == [
        "20 ms", "3.2 s", "1 min 15 s", "1 h 01 min", "2 d 7 h",
    ]  # fmt: skip
    assert percent(0.00123, signed=True) == "+0.12 %"
