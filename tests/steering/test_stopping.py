"""Stopping: the bound holds as often as it says, and a plateau is told from progress."""

import math

import numpy as np
import pytest
from scipy.stats import skew
from scipy.stats import t as student_t

from hpcmat.steering.chance import reserved_frames, seed_for, uniform_for
from hpcmat.steering.stopping import error_bound, on_plateau


def test_bound_is_the_student_interval_of_the_mean_square_widened_by_skewness():
    mse = [0.010, 0.014, 0.008, 0.012, 0.030]
    rate = 0.05 * 6 / math.pi**2
    quantile, unit = student_t.isf(rate, 4), np.std(mse, ddof=1) / math.sqrt(5)
    widened = quantile + skew(mse, bias=False) * (1 + 2 * quantile**2) / (6 * math.sqrt(5))
    bound = error_bound(mse, 0.95)
    assert bound.rmse == pytest.approx(math.sqrt(np.mean(mse)))
    assert bound.upper == pytest.approx(math.sqrt(np.mean(mse) + widened * unit))
    assert bound.lower == pytest.approx(math.sqrt(max(0.0, np.mean(mse) - quantile * unit)))


def test_negative_skewness_narrows_nothing():
    mse = [0.010, 0.011, 0.012, 0.012, 0.001]
    half = student_t.isf(0.05 * 6 / math.pi**2, 4) * np.std(mse, ddof=1) / math.sqrt(5)
    assert error_bound(mse, 0.95).upper == pytest.approx(math.sqrt(np.mean(mse) + half))


def test_bound_errs_less_where_a_few_frames_carry_the_error():
    """Two thirds of the frames are nearly exact and the others log-normal: melts beside crystals."""
    rng = np.random.default_rng(3)
    truth = math.sqrt(math.exp(0.5) / 3)
    streams = rng.lognormal(size=(3000, 12)) * (np.arange(12) % 3 == 0)
    wrong = np.mean([error_bound(stream, 0.95).upper < truth for stream in streams])
    plain = [student_t.isf(0.05 * 6 / math.pi**2, 11) * s.std(ddof=1) / math.sqrt(12) + s.mean() for s in streams]
    assert wrong < 0.1
    assert np.mean(np.array(plain) < truth**2) > 1.4 * wrong, "control: the interval of normal errors errs more"


def test_no_frames_no_bound_and_one_frame_no_certainty():
    assert error_bound([], 0.95) is None
    assert error_bound([0.01], 0.95).upper == math.inf


def test_each_look_costs_confidence_and_all_together_spend_no_more_than_allowed():
    mse = np.random.default_rng(0).gamma(12, 1e-3, size=12)
    uppers = [error_bound(mse, 0.95, look).upper for look in range(1, 6)]
    assert uppers == sorted(uppers)
    assert sum(0.05 * 6 / (math.pi * look) ** 2 for look in range(1, 10_000)) < 0.05


def test_bound_holds_over_repeated_looks_as_often_as_it_says():
    """A stream of frames looked at after each of 10 additions: any look may err in at most 5 % of streams."""
    rng = np.random.default_rng(7)
    truth = math.sqrt(12 * 1e-3)
    streams = rng.gamma(12, 1e-3, size=(2000, 20))
    wrong = sum(
        any(error_bound(stream[:n], 0.95, look).upper < truth for look, n in enumerate(range(10, 21), start=1))
        for stream in streams
    )
    assert wrong / 2000 < 0.05
    unspent = sum(any(error_bound(s[:n], 0.95, 1).upper < truth for n in range(10, 21)) for s in streams)
    assert unspent > wrong, "negative control: without spending, more looks err"


def test_plateau():
    assert not on_plateau([1.0, 0.8, 0.6], fits=3, gain=0.02)
    assert on_plateau([1.0, 0.5, 0.5, 0.499, 0.51], fits=3, gain=0.02)
    assert not on_plateau([1.0, 0.5, 0.5, 0.48, 0.51], fits=3, gain=0.02)
    assert not on_plateau([1.0] * 10, fits=0, gain=0.02)


def test_reserved_frames_are_a_uniform_draw():
    counts = np.zeros(10)
    for trial in range(3000):
        drawn = reserved_frames(10, 0.2, "campaign", trial)
        assert len(drawn) == 2
        counts[list(drawn)] += 1
    assert np.abs(counts / 3000 - 0.2).max() < 0.03
    assert reserved_frames(0, 0.5, "x") == frozenset()
    single = [len(reserved_frames(1, 0.2, "campaign", trial)) for trial in range(3000)]
    assert abs(np.mean(single) - 0.2) < 0.03
    assert len(reserved_frames(2, 0.01, "x")) == 1


def test_draws_depend_on_names_alone():
    assert seed_for(1, "a") == seed_for(1, "a")
    assert len({seed_for(1, "a"), seed_for(1, "b"), seed_for(2, "a"), seed_for("1a"), seed_for("1", "a", "")}) == 5
    assert 0.0 <= uniform_for("x") < 1.0
