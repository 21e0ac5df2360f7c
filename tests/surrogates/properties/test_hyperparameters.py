"""Averages over hyperparameters: their evidence against Monte Carlo, their intervals with few values."""

import numpy as np
import pytest

from hpcmat.surrogates.properties.gaussian_process import Kernel, Points, condition_process, prior_mean, prior_width
from hpcmat.surrogates.properties.hyperparameters import fit_plausible

GROUPS = np.array([0, 0, 1])


def problem(n, rng):
    """A linear trend, a wave and noise of unknown sizes: n values to learn from, 50 to predict."""
    x = rng.standard_normal((n + 50, 3))
    slopes, wave, noise = rng.standard_normal(3), rng.uniform(0.0, 1.5), rng.uniform(0.05, 0.8)
    y = x @ slopes + wave * np.sin(1.5 * x[:, 0] + x[:, 1]) + noise * rng.standard_normal(n + 50)
    y = (y - y[:n].mean()) / y[:n].std()
    return Points(x[:n], np.zeros(n)), y[:n], Points(x[n:], np.zeros(50)), y[n:]


def test_the_evidence_is_the_mean_likelihood_under_the_prior():
    points, values, _, _ = problem(8, np.random.default_rng(3))
    draws = np.random.default_rng(0).standard_normal((3000, 6))
    logs = []
    for draw in draws:
        kernel = Kernel(GROUPS, prior_mean(GROUPS) + prior_width(GROUPS) * draw)
        logs.append(condition_process(kernel, points, values).log_evidence + 0.5 * draw @ draw)
    exact = np.log(np.mean(np.exp(np.array(logs) - max(logs)))) + max(logs)
    fit = fit_plausible(points, values, GROUPS)
    assert fit.log_evidence == pytest.approx(exact, abs=0.5)
    assert fit.best.log_evidence > exact + 1.0


def test_hyperparameters_spread_around_the_most_probable_ones_and_less_with_more_values():
    rng, spreads = np.random.default_rng(5), []
    for n in (8, 120):
        points, values, _, _ = problem(n, rng)
        fit = fit_plausible(points, values, GROUPS)
        places = np.array([process.kernel.parameters for process in fit.processes])
        np.testing.assert_allclose(places.mean(axis=0), fit.best.kernel.parameters, atol=0.6)
        spreads.append(np.sqrt(((places - fit.best.kernel.parameters) ** 2).mean(axis=0)))
    assert spreads[1][-2] < 0.4 * spreads[0][-2]
    # Nothing is said of fidelities: there the posterior is the prior.
    assert spreads[1][-1] == pytest.approx(prior_width(GROUPS)[-1], rel=0.05)


def test_with_few_values_intervals_hold_on_average_and_those_of_the_best_alone_do_not():
    rng = np.random.default_rng(1)
    inside = {"best": [], "all": []}
    for _ in range(60):
        points, values, asked, truth = problem(8, rng)
        fit = fit_plausible(points, values, GROUPS)
        for name, processes in (("best", (fit.best,)), ("all", fit.processes)):
            inside[name].append(covered(processes, asked, truth))
    assert np.mean(inside["all"]) > 0.92 > np.mean(inside["best"]) + 0.02


def covered(processes, asked, truth):
    """Share of the truth within the central 95 % of the mixture of the processes."""
    from scipy.special import ndtr

    below = np.zeros(len(truth))
    for process in processes:
        mean, variance = process.predict(asked)
        below += ndtr((truth - mean) / np.sqrt(variance + process.kernel.noise)) / len(processes)
    return np.mean((below > 0.025) & (below < 0.975))
