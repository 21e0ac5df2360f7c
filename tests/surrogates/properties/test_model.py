"""Surrogate of a property: one distribution behind intervals, scores and draws, whatever the values are like."""

import numpy as np
import pytest

from hpcmat.surrogates.properties.gaussian_process import Points
from hpcmat.surrogates.properties.model import fit_fidelities, fit_property

GROUPS = np.array([0, 0, 1])


def points(n, seed):
    return Points(np.random.default_rng(seed).standard_normal((n, 3)), np.zeros(n))


def heavy(some, seed=9):
    """Positive values over decades, with scatter."""
    noise = np.random.default_rng(seed).standard_normal(len(some))
    return np.exp(some.values[:, 0] - 0.5 * some.values[:, 1] + 0.7 * noise)


def test_scores_at_the_ends_of_intervals_are_those_of_a_normal_distribution():
    train, asked = points(15, 0), points(40, 1)
    model = fit_property(train, heavy(train) ** 0.2, GROUPS)
    median, lower, upper = model.intervals(asked)
    assert len({part.warp for part in model.parts}) > 1, "a mixture of warps is what is to be tested"
    np.testing.assert_allclose(model.scores(asked, median), 0.0, atol=0.06)
    np.testing.assert_allclose(model.scores(asked, lower), -1.96, atol=0.06)
    np.testing.assert_allclose(model.scores(asked, upper), 1.96, atol=0.06)


def test_draws_have_the_distributions_that_intervals_come_from():
    train, asked = points(15, 0), points(5, 1)
    model = fit_property(train, heavy(train), GROUPS)
    draws = model.sample(asked, 20000, np.random.default_rng(2))
    for level in (0.05, 0.5, 0.95):
        shares = (draws < model.quantiles(asked, np.array([level]))).mean(axis=0)
        np.testing.assert_allclose(shares, level, atol=0.01)


def test_what_is_negated_is_predicted_as_its_mirror_image():
    train, asked = points(30, 0), points(20, 1)
    median, lower, upper = fit_property(train, heavy(train), GROUPS).intervals(asked)
    mirrored = fit_property(train, -heavy(train), GROUPS).intervals(asked)
    np.testing.assert_allclose(mirrored, (-median, -upper, -lower), rtol=0.02)


def test_zeros_in_the_pool_are_possible_after_positive_values_alone():
    """Band gaps of a pool: the first few may all be positive."""
    train, asked = points(20, 0), points(50, 1)
    scores = fit_property(train, heavy(train), GROUPS).scores(asked, np.zeros(50))
    assert np.isfinite(scores).all() and np.abs(scores).max() < 10.0


def test_heavy_tails_are_covered_and_an_outlier_does_not_widen_the_rest_to_its_size():
    train, asked = points(60, 0), points(400, 1)
    values, truth = heavy(train), heavy(asked, 10)
    _, lower, upper = fit_property(train, values, GROUPS).intervals(asked)
    assert 0.91 < np.mean((lower < truth) & (truth < upper)) < 0.985
    values[0] = 1e4 * values.max()
    _, _, with_outlier = fit_property(train, values, GROUPS).intervals(asked)
    assert np.median(with_outlier) < 1e-3 * values[0]


def test_twins_with_different_values_are_predicted_with_their_scatter():
    """Twice the same crystal, from two sources that differ: no interpolation, and no interval narrower than that."""
    once = points(30, 0)
    twice = Points(np.vstack([once.values, once.values]), np.zeros(60))
    rng = np.random.default_rng(4)
    values = twice.values[:, 0] + 0.5 * rng.standard_normal(60)
    median, lower, upper = fit_property(twice, values, GROUPS).intervals(once, level=0.68)
    assert np.median(upper - lower) / 2 == pytest.approx(0.5, rel=0.3)
    assert np.corrcoef(median, once.values[:, 0])[0, 1] > 0.9


def two_fidelities(cheap_of, dear=14, cheap=60):
    """Values with much that descriptors do not tell, some of them dear; what a model of both says of the rest."""
    some, rng = points(cheap, 0), np.random.default_rng(3)
    truth = 5.0 + some.values[:, 0] + rng.standard_normal(cheap)
    both = Points(
        np.vstack([some.values[:dear], some.values]), np.repeat([1.0, 0.0], [dear, cheap]), np.r_[:dear, :cheap]
    )
    model = fit_fidelities(both, np.concatenate([truth[:dear], cheap_of(truth, rng)]), GROUPS)
    alone = fit_property(some.part(slice(dear)), truth[:dear], GROUPS)
    return model, alone, some.part(slice(dear, None)), truth[dear:]


def test_a_cheap_value_says_of_its_own_crystal_what_descriptors_cannot():
    """Also when it is wrong by a factor and an offset."""
    model, alone, rest, truth = two_fidelities(
        lambda dear, rng: 3.0 + 0.5 * dear + 0.1 * rng.standard_normal(len(dear))
    )
    asked = Points(rest.values, np.ones(len(rest)), np.arange(14, 60))
    assert model.paired
    median, lower, upper = model.intervals(asked)
    assert np.std(median - truth) < 0.4
    assert np.std(alone.intervals(rest)[0] - truth) > 0.7, "negative control: dear values alone"
    assert np.mean((lower < truth) & (truth < upper)) > 0.85
    assert np.mean(upper - lower) < 0.5 * np.mean(np.subtract(*alone.intervals(rest)[:0:-1]))


def test_cheap_values_that_say_nothing_are_as_if_they_were_not_there():
    model, alone, rest, _ = two_fidelities(lambda dear, rng: rng.permutation(dear))
    assert not model.paired
    np.testing.assert_array_equal(model.intervals(rest), alone.intervals(rest))


@pytest.mark.parametrize(
    "values",
    [np.zeros(12), np.r_[np.zeros(11), 1.0], np.r_[np.zeros(11), 1e12], 1e9 + np.arange(12.0), np.arange(12.0) % 2],
    ids=["zeros", "one of many", "huge outlier", "offset", "two values"],
)
def test_no_pool_of_values_breaks_the_surrogate(values):
    some = Points(np.repeat(points(4, 0).values, 3, axis=0), np.zeros(12))
    model = fit_property(some, values, GROUPS)
    draws = model.sample(points(30, 1), 64, np.random.default_rng(0))
    lower, middle, upper = model.quantiles(points(30, 1), np.array([0.025, 0.5, 0.975]))
    assert np.isfinite(draws).all() and (lower <= middle).all() and (middle <= upper).all()
