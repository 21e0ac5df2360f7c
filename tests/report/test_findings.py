from dataclasses import replace

import numpy as np
import pytest

from hpcmat.report.data import report_data
from hpcmat.report.findings import findings
from hpcmat.report.learning import conformal_95
from hpcmat.report.schema import Calibration


@pytest.fixture
def report(finished):
    return report_data(finished.state, finished.store)


def titles(report):
    return {finding.title: finding for finding in findings(report)}


def test_overconfident_error_bars_are_a_warning_with_the_factor(report):
    bad = Calibration("validation", 12, 1.6, (1.4, 1.8), 0.78, (0.7, 0.85))
    found = titles(replace(report, calibration=(bad,)))["Error bars too small on validation frames"]
    assert found.severity == "warning" and "1.6" in found.detail and "1.6" in found.next_step
    # Negative control: the same rms z with an interval that includes 1 proves nothing.
    unsure = replace(bad, rms_z_interval=(0.7, 2.2))
    assert "Error bars too small on validation frames" not in titles(replace(report, calibration=(unsure,)))


def test_conformal_factor_holds_whatever_the_distribution():
    rng = np.random.default_rng(0)
    frames = np.exp(1.5 * rng.normal(size=(400, 30)))
    held = [new <= conformal_95(list(others)) ** 2 for *others, new in frames]
    assert 0.93 <= np.mean(held) < 1.0
    # Negative control: the interval of a normal distribution does not hold.
    assert np.mean(frames[:, -1] <= 1.96**2) < 0.85
    assert conformal_95([1.0] * 18) is None and conformal_95([1.0] * 19) == pytest.approx(1.0)


def test_report_shows_the_conformal_factor(report):
    for row in report.calibration:
        assert (row.conformal_95 is None) == (row.frames < 19)


def test_missed_target_is_a_problem_once_the_campaign_is_complete(report):
    missed = replace(report, validation_force_rmse_ev_per_ang=0.3, target_reached=False)
    assert titles(missed)["Target not reached"].severity == "problem"
    assert titles(replace(missed, phase="running"))["Target not reached yet"].severity == "note"
    assert "Target not reached" not in titles(report)


def test_target_met_but_bound_above_it(report):
    found = titles(replace(report, target_reached=False, validation_force_rmse_bound_ev_per_ang=0.13))
    assert "Target met, but not yet shown" in found


def test_failures_name_the_cure_of_the_most_frequent_kind(report):
    found = titles(replace(report, tasks_given_up=2))["Failures cost labels or time"]
    assert report.failures_by_kind[0].kind in found.detail and found.next_step
    assert "Failures cost labels or time" not in titles(replace(report, failures=0))


def test_crystal_out_of_tolerance(report):
    assert "The crystal is right" in titles(report)
    assert "The crystal differs from the engine's" in titles(replace(report, lattice_constant_relative_difference=0.01))


def test_most_severe_first_and_each_with_a_next_step(report):
    found = findings(replace(report, validation_force_rmse_ev_per_ang=0.3, target_reached=False))
    order = ["problem", "warning", "note", "good"]
    ranks = [order.index(finding.severity) for finding in found]
    assert ranks == sorted(ranks) and len(set(ranks)) > 1
    assert all(finding.next_step for finding in found)
