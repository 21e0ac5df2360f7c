"""Costs and success: exact posteriors, calibrated on synthetic machines, sensible where nothing is known."""

import numpy as np
import pytest

from hpcmat.steering.costs import (
    USUAL_FAILURE,
    CostModel,
    guessed_costs,
    learn_success,
    worth,
)


def learn_costs(features, seconds, guesses_s):
    return guessed_costs(features.shape[1]).updated(features, seconds, guesses_s)


def tasks(rng, number):
    """Sizes between 8 and 200 atoms, and k-points that shrink with them."""
    atoms = rng.uniform(np.log(8), np.log(200), number)
    kpoints = np.log(np.maximum(1, np.round(300 / np.exp(atoms))))
    return np.stack([np.ones(number), atoms - np.log(40), kpoints], axis=1)


def machine(rng):
    """A law drawn from the prior."""
    scatter = np.sqrt(0.18 / rng.gamma(2.0))
    return rng.normal(size=3) * [1.1, 0.5, 0.5] * scatter / 0.3, scatter


def test_without_measurements_the_guess_stands_and_is_doubted():
    predicted = guessed_costs(3).predict(np.array([1.0, 0.0, 0.0]), 100.0)
    assert predicted.median_s == pytest.approx(100.0)
    assert predicted.quantile_s(0.9) > 300.0
    assert predicted.quantile_s(0.1) < 34.0


def test_posterior_is_the_regression_with_the_prior_as_rows():
    rng = np.random.default_rng(1)
    x = tasks(rng, 12)
    y = x @ [0.5, 2.0, 1.0] + 0.2 * rng.normal(size=12)
    prior = np.diag(0.3 / np.array([1.1, 0.5, 0.5]))
    mean = np.linalg.lstsq(np.concatenate([x, prior]), np.concatenate([y, np.zeros(3)]), rcond=None)[0]
    learned = learn_costs(x, np.exp(y), np.ones(12))
    np.testing.assert_allclose(learned.mean, mean, rtol=1e-8)
    residual = np.concatenate([y, np.zeros(3)]) - np.concatenate([x, prior]) @ mean
    assert learned.rate == pytest.approx(0.18 + 0.5 * residual @ residual)
    assert learned.shape == 2.0 + 6.0


def test_tasks_may_come_in_any_pieces_and_order():
    rng = np.random.default_rng(6)
    x = tasks(rng, 9)
    y = np.exp(rng.normal(size=9))
    whole = learn_costs(x, y, np.ones(9))
    parts = guessed_costs(3)
    for piece in ([7, 8, 0], [], [3], [1, 2, 4, 5, 6]):
        parts = parts.updated(x[piece], y[piece], np.ones(len(piece)))
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-9)
    np.testing.assert_allclose(parts.precision, whole.precision, rtol=1e-9)
    assert (parts.rate, parts.shape, parts.number) == (pytest.approx(whole.rate), whole.shape, 9)


def test_predictions_are_calibrated_on_machines_of_all_kinds():
    rng = np.random.default_rng(2)
    inside = {0.5: 0, 0.9: 0}
    for _ in range(600):
        law, scatter = machine(rng)
        x = tasks(rng, int(rng.integers(1, 15)) + 1)
        seconds = np.exp(x @ law + scatter * rng.normal(size=len(x)))
        predicted = learn_costs(x[:-1], seconds[:-1], np.ones(len(x) - 1)).predict(x[-1], 1.0)
        for level in inside:
            low, high = (predicted.quantile_s(0.5 + sign * level / 2) for sign in (-1, 1))
            inside[level] += low <= seconds[-1] <= high
    assert inside[0.5] / 600 == pytest.approx(0.5, abs=0.06)
    assert inside[0.9] / 600 == pytest.approx(0.9, abs=0.04)


def test_the_mean_is_that_of_the_durations_and_above_the_median():
    rng = np.random.default_rng(3)
    x = tasks(rng, 400)
    seconds = np.exp(x @ [3.0, 2.0, 1.0] + 0.8 * rng.normal(size=400))
    learned = learn_costs(x, seconds, np.ones(400))
    at = np.array([1.0, 0.0, np.log(8.0)])
    expected = 8.0 * np.exp(3.0 + 0.8**2 / 2)
    assert learned.predict(at, 1.0).expected_s == pytest.approx(expected, rel=0.15)
    assert learned.predict(at, 1.0).median_s < 0.85 * expected, "control: the median is another number"


def test_an_unknown_spread_makes_no_task_endless():
    doubtful = CostModel(np.zeros(1), np.eye(1), shape=1.0, rate=50.0)
    assert doubtful.predict(np.ones(1), 1.0).expected_s < 10.0


def test_scaling_with_size_is_learned():
    rng = np.random.default_rng(4)
    x = tasks(rng, 40)
    learned = learn_costs(x, np.exp(x @ [1.0, 3.0, 1.0] + 0.1 * rng.normal(size=40)), np.ones(40))
    small, large = (learned.predict(np.array(at), 1.0).median_s for at in ([1.0, 0, 2.0], [1.0, 1.0, 1.0]))
    assert np.log(large / small) == pytest.approx(2.0, abs=0.15)


def test_failures_are_calibrated_by_size():
    rng = np.random.default_rng(5)
    x = tasks(rng, 3000)
    truth = 1.0 / (1.0 + np.exp(-(x @ [-2.0, 1.0, 0.0])))
    learned = learn_success(x, rng.random(3000) < truth)
    predicted = np.array([learned.failure(row) for row in x])
    for low in (0.0, 0.1, 0.3):
        among = (predicted >= low) & (predicted < low + 0.2)
        assert predicted[among].mean() == pytest.approx(truth[among].mean(), abs=0.03)


def test_without_failures_known_the_usual_rate_is_expected_and_evidence_moves_it():
    at = np.array([1.0, 0.0, 0.0])
    none = learn_success(np.zeros((0, 3)), np.zeros(0, dtype=bool))
    assert USUAL_FAILURE < none.failure(at) < 3 * USUAL_FAILURE
    x = np.tile(at, (20, 1))
    assert learn_success(x, np.zeros(20, dtype=bool)).failure(at) < USUAL_FAILURE
    assert learn_success(x, np.ones(20, dtype=bool)).failure(at) > 0.7


def test_worth_asks_for_gain_for_what_it_costs():
    gains, hours, success = np.array([2.0, 1.5, 2.0]), np.array([30.0, 1.0, 30.0]), np.array([0.9, 0.9, 0.3])
    assert worth(gains, hours, success, 0.0).argmax() == 0
    assert worth(gains, hours, success, 1.0).argmax() == 1
    assert worth(gains, hours, success, 1.0).argmin() == 2


def test_many_tasks_scatter_around_the_median_however_little_is_known_of_it():
    """What a campaign of guessed durations takes is the guess, not the mean of a distribution of unknown medians."""
    x, levels = np.array([1.0, 0.0, 0.0]), (np.arange(1000) + 0.5) / 1000
    costs = guessed_costs(3)
    drawn = [costs.scattered_s(x, 100.0, level) for level in levels]
    assert np.median(drawn) == pytest.approx(100.0, rel=0.01)
    assert np.mean(drawn) == pytest.approx(105.0, rel=0.02)
    alone = [costs.predict(x, 100.0).quantile_s(level) for level in levels]
    assert np.mean(alone) > 300.0, "negative control: drawn anew for each task, doubt adds up"
