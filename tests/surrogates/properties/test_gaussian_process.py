"""Gaussian process: its formulas against direct ones, its uncertainty against data it never saw."""

import numpy as np
import pytest
from scipy.optimize import check_grad

from hpcmat.errors import InputError
from hpcmat.surrogates.properties.gaussian_process import (
    Kernel,
    Points,
    condition_process,
)
from hpcmat.surrogates.properties.hyperparameters import fit_plausible, objective
from hpcmat.surrogates.properties.model import fit_property
from hpcmat.surrogates.properties.warp import warps_for

GROUPS = np.array([0, 0, 1])


def points(n, seed=0, fidelity=None):
    x = np.random.default_rng(seed).standard_normal((n, 3))
    return Points(x, np.zeros(n) if fidelity is None else fidelity)


def smooth(x):
    return np.sin(1.5 * x[:, 0]) + 0.5 * x[:, 1] * x[:, 2]


def test_the_gradient_of_the_evidence_is_that_of_finite_differences():
    some = points(25, fidelity=np.arange(25) % 2.0)
    values = smooth(some.values)
    start = np.array([0.3, 0.8, -0.2, -0.7, -1.5, -0.4])

    def cost(parameters):
        return objective(Kernel(GROUPS, parameters), some, values)

    error = check_grad(lambda p: cost(p)[0], lambda p: cost(p)[1], start)
    assert error < 1e-4 * np.linalg.norm(cost(start)[1])


def test_the_gradient_is_right_where_crystals_are_told_apart():
    some = Points(np.tile(points(12).values, (2, 1)), np.arange(24) // 12 * 1.0, np.tile(np.arange(12), 2))
    values = smooth(some.values) + 0.3 * np.random.default_rng(1).standard_normal(24)
    start = np.array([0.3, 0.8, -0.2, -0.7, -0.5, -0.4, -0.3])

    def cost(parameters):
        return objective(Kernel(GROUPS, parameters), some, values)

    error = check_grad(lambda p: cost(p)[0], lambda p: cost(p)[1], start)
    assert error < 1e-4 * np.linalg.norm(cost(start)[1])


def test_each_value_left_out_is_predicted_as_by_a_process_without_it():
    some, kernel = points(12), Kernel(GROUPS, np.array([0.5, 0.5, 0.0, -1.0, -1.0, -1.0]))
    values = smooth(some.values)
    rest = np.arange(12) != 4
    mean, variance = condition_process(kernel, some.part(rest), values[rest]).predict(some.part(np.array([4])))
    score = (values[4] - mean[0]) / np.sqrt(variance[0] + kernel.noise)
    assert condition_process(kernel, some, values).left_out()[4] == pytest.approx(score, rel=1e-8)


def test_intervals_hold_what_they_promise_on_data_never_seen():
    train, test = points(60), points(400, seed=1)
    rng = np.random.default_rng(2)
    values = smooth(train.values) + 0.1 * rng.standard_normal(60)
    truth = smooth(test.values) + 0.1 * rng.standard_normal(400)
    model = fit_property(train, values, GROUPS)
    _, lower, upper = model.intervals(test)
    assert 0.90 <= np.mean((lower < truth) & (truth < upper)) <= 0.99
    narrow = model.intervals(test, level=0.5)
    assert np.mean((narrow[1] < truth) & (truth < narrow[2])) < 0.75


def test_the_curved_process_learns_what_a_line_cannot_and_a_line_extrapolates():
    train, test = points(80), points(200, seed=1)
    errors = {}
    for curved in (True, False):
        model = fit_property(train, smooth(train.values), GROUPS, curved)
        errors[curved] = np.std(model.intervals(test)[0] - smooth(test.values))
    assert errors[True] < 0.4 * errors[False]
    far = Points(np.array([[8.0, 0.0, 0.0]]), np.zeros(1))
    line = fit_property(train, 3.0 * train.values[:, 0] + 1.0, GROUPS, curved=False)
    assert line.intervals(far)[0][0] == pytest.approx(25.0, rel=0.02)


def test_draws_have_the_moments_and_the_correlations_of_the_posterior():
    train, some = points(20), points(4, seed=3)
    twins = Points(np.vstack([some.values, some.values[:1]]), np.zeros(5))
    model = fit_property(train, smooth(train.values), GROUPS)
    draws = model.sample(twins, 4000, np.random.default_rng(0))
    median = model.intervals(twins)[0]
    np.testing.assert_allclose(np.median(draws, axis=0), median, atol=4 * draws.std(axis=0).max() / 60)
    shared = np.corrcoef(draws.T)
    assert shared[0, 4] > 0.5 > abs(shared[0, 1])


def test_cheap_values_help_to_predict_dear_ones():
    """Dear values are the cheap ones and a smooth correction; without the cheap ones little is known."""
    cheap, dear, test = points(60, seed=5), points(8, seed=6), points(200, seed=7)

    def high(x):
        return smooth(x) + 0.5 + 0.2 * x[:, 0]

    both = Points(np.vstack([cheap.values, dear.values]), np.repeat([0.0, 1.0], [60, 8]))
    values = np.concatenate([smooth(cheap.values), high(dear.values)])
    asked = Points(test.values, np.ones(200))
    together = fit_plausible(both, values, GROUPS).best.predict(asked)[0]
    alone = fit_plausible(Points(dear.values, np.ones(8)), high(dear.values), GROUPS).best.predict(asked)[0]
    error = [np.sqrt(np.mean((mean - high(test.values)) ** 2)) for mean in (together, alone)]
    assert error[0] < 0.5 * error[1]


def test_heavy_tails_are_taken_by_a_logarithm_and_plain_values_are_left_alone():
    some = points(80)
    assert fit_property(some, np.exp(3 * smooth(some.values)), GROUPS).warp.form == "logarithm"
    assert fit_property(some, np.sinh(4 * smooth(some.values)), GROUPS).warp.form == "asinh"
    assert fit_property(some, smooth(some.values), GROUPS).warp.form == "identity"


def test_warps_lead_back_and_their_slopes_are_derivatives():
    values = np.random.default_rng(0).lognormal(sigma=2.0, size=30)
    for warp in warps_for(values):
        np.testing.assert_allclose(warp.backward(warp.forward(values)), values, rtol=1e-10)
        step = 1e-6 * values
        slopes = (warp.forward(values + step) - warp.forward(values - step)) / (2 * step)
        assert warp.log_slopes(values) == pytest.approx(np.log(slopes).sum(), rel=1e-6)
    assert {warp.form for warp in warps_for(values - 1.0)} == {"identity", "asinh"}


def test_one_value_or_equal_values_give_a_surrogate_and_none_or_nan_are_refused():
    some = points(3)
    for values in (np.array([2.0, 2.0, 2.0]), np.array([2.0])):
        model = fit_property(some.part(slice(len(values))), values, GROUPS)
        assert all(np.isfinite(bound).all() for bound in model.intervals(some))
    for bad in (np.array([]), np.array([1.0, np.nan, 2.0])):
        with pytest.raises(InputError, match="finite"):
            fit_property(some.part(slice(len(bad))), bad, GROUPS)
