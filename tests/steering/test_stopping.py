"""Stopping: the bound holds as often as it says, and a plateau is told from progress."""

import math

import numpy as np
import pytest
from scipy.stats import t as student_t

from hpcmat.steering.chance import reserved_frames, seed_for, uniform_for
from hpcmat.steering.stopping import error_bound, look_rate, looks_at, on_plateau, rate_left

SCALES = np.array([1.0, 3.0, 20.0])
"""Mean squared errors of a cold, a warm and a hot condition."""


def lognormal(sigma):
    return lambda rng, size: np.exp(sigma * rng.normal(size=size) - sigma**2 / 2)


STREAMS = {
    "log-normal": (lognormal(0.8), 1.0),
    "chi-square of few": (lambda rng, size: rng.chisquare(6, size) / 6, 1.0),
    "chi-square of many": (lambda rng, size: rng.chisquare(30, size) / 30, 1.0),
    "one in ten is four times as large": (
        lambda rng, size: lognormal(0.6)(rng, size) * np.where(rng.random(size) < 0.1, 4.0, 1.0),
        1.3,
    ),
}
"""Squared errors relative to those of their condition, and their mean."""


def streams(draw, count, per_condition=12, seed=5):
    errors = draw(np.random.default_rng(seed), (count, len(SCALES), per_condition))
    return errors * SCALES[:, None]


def wrong_at_any_look(stream, truth, bound_of):
    """Ten frames and then more, at the three conditions in turn."""
    frames = range(10, stream.size + 1)
    looks = looks_at(frames, first=10)
    return any(
        bound_of([stream[c, : (frames[place] + 2 - c) // 3] for c in range(3)], look) < truth
        for look, place in enumerate(looks, start=1)
    )


def student(judged, look):
    """Upper bound by the t interval of normal errors, conditions in one heap."""
    mse = np.concatenate(judged)
    return math.sqrt(mse.mean() + student_t.isf(0.05, mse.size - 1) * mse.std(ddof=1) / math.sqrt(mse.size))


@pytest.mark.parametrize("name", STREAMS)
def test_bound_holds_at_all_looks_together_as_often_as_it_says(name):
    draw, mean = STREAMS[name]
    truth = math.sqrt(mean * SCALES.mean())
    found = streams(draw, 200)
    wrong = np.mean([wrong_at_any_look(s, truth, lambda judged, k: error_bound(judged, 0.95, k).upper) for s in found])
    assert wrong <= 0.05


def test_control_the_interval_of_normal_errors_does_not_hold():
    truth = math.sqrt(SCALES.mean())
    found = streams(lognormal(0.8), 200)
    assert np.mean([wrong_at_any_look(stream, truth, student) for stream in found]) > 0.1


def test_frames_of_one_trajectory_are_no_more_evidence_than_one():
    """Three frames that are nearly the same: counted one by one they make a bound that errs too often."""
    rng, truth = np.random.default_rng(11), math.sqrt(SCALES.mean())
    shared = lognormal(0.9)(rng, (400, 3, 4)) * SCALES[:, None]
    by_trajectory, by_frame = (
        np.mean([error_bound(np.repeat(s, times, axis=1), 0.6).upper < truth for s in shared]) for times in (1, 3)
    )
    assert by_frame > 1.5 * by_trajectory


def test_bound_is_not_so_wide_that_no_campaign_ends():
    """Ten frames, as quick campaigns have: an error of 60 % of the target is enough."""
    judged = [np.full(4, 20.0), np.full(3, 3.0), np.full(3, 1.0)]
    bound = error_bound(judged, 0.95)
    assert 1.2 < bound.upper / bound.rmse < 1 / 0.6


def test_bound_narrows_with_frames_and_widens_with_looks_and_confidence():
    few, many = (streams(lognormal(0.6), 1, number)[0] for number in (4, 40))
    ratio = [bound.upper / bound.rmse for bound in (error_bound(few, 0.95), error_bound(many, 0.95))]
    assert ratio[0] > ratio[1] > 1.0
    uppers = [error_bound(few, 0.95, look).upper for look in range(1, 6)]
    assert uppers == sorted(uppers)
    assert error_bound(few, 0.99).upper > error_bound(few, 0.95).upper


@pytest.mark.parametrize("looks", [1, 2, 3, 10, 100])
def test_all_looks_and_the_fit_after_them_spend_what_was_promised(looks):
    spent = sum(look_rate(0.95, look) for look in range(1, looks + 1))
    assert spent + rate_left(0.95, looks) == pytest.approx(0.05)
    assert look_rate(0.95, looks + 1) < rate_left(0.95, looks)
    assert looks > 1 or spent + look_rate(0.95, looks) > 0.05, "control: the first look's own rate once more"


def test_bound_scales_with_the_errors_and_conditions_count_alike():
    found = streams(lognormal(0.6), 1, 4)[0]
    one, ten = error_bound(found, 0.95), error_bound(100.0 * found, 0.95)
    assert (ten.lower, ten.rmse, ten.upper) == pytest.approx((10 * one.lower, 10 * one.rmse, 10 * one.upper))
    assert one.lower < one.rmse < one.upper
    uneven = error_bound([[1.0], [4.0] * 9], 0.95)
    assert uneven.rmse == pytest.approx(math.sqrt(2.5))


def test_exact_frames_and_none():
    assert error_bound([], 0.95) is None
    assert error_bound([[], []], 0.95) is None
    assert error_bound([[0.0, 0.0]], 0.95).upper == 0.0
    assert math.isfinite(error_bound([[0.0, 0.01], [0.02]], 0.95).upper)


def test_looks_come_with_a_fifth_more_frames():
    assert looks_at([3, 9, 10, 10, 11, 12, 13, 15, 15], first=10) == (2, 5, 7)
    assert looks_at([25, 29, 30], first=10) == (0, 2)
    assert looks_at([], first=10) == looks_at([9], first=10) == ()


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
