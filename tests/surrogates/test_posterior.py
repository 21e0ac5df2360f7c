"""The Gaussian posterior against dense formulas and synthetic data."""

from dataclasses import replace

import numpy as np
import pytest

from hpcmat.errors import InputError
from hpcmat.surrogates import left_out, posterior
from hpcmat.surrogates.communicator import SERIAL
from hpcmat.surrogates.evidence import LARGEST_LOSS, Prior, Scales, solve
from hpcmat.surrogates.posterior import Observations, fit_coefficients, fit_posterior, leave_one_structure_out
from hpcmat.surrogates.rows import InMemory, gram_of, root_of


def synthetic(n_structures=60, n_features=25, noise=0.3, seed=0):
    """Structures of 1 energy, 6 forces and 2 stresses with known coefficients; target errors 0.1, 1, 2."""
    rng = np.random.default_rng(seed)
    kind = np.tile([0, 1, 1, 1, 1, 1, 1, 2, 2], n_structures)
    sigma = np.array([0.1, 1.0, 2.0])[kind]
    theta = rng.normal(size=n_features) * 2
    rows = rng.normal(size=(len(kind), n_features))
    targets = rows @ theta + noise * sigma * rng.normal(size=len(kind))
    structure = np.repeat(np.arange(n_structures), 9)
    return Observations(rows, targets, sigma, kind, structure), theta, np.ones(n_features)


def subset(observations, keep):
    fields = ("rows", "targets", "sigma", "kind", "structure")
    return Observations(**{name: getattr(observations, name)[keep] for name in fields})


def test_recovers_known_coefficients_and_scales():
    observations, theta, prior = synthetic()
    posterior = fit_posterior(observations, prior)
    z = (posterior.mean - theta) / np.sqrt(np.sum(posterior.factor**2, axis=1))
    assert abs(posterior.mean - theta).max() < 0.2
    assert 0.5 < np.mean(z**2) < 1.7
    assert posterior.beta**-0.5 == pytest.approx(0.3, rel=0.1)
    assert posterior.alpha[0] ** -0.5 == pytest.approx(2.0, rel=0.4)
    np.testing.assert_allclose(posterior.noise, [0.03, 0.3, 0.6], rtol=0.3)


def test_equals_the_dense_formula():
    observations, _, _ = synthetic(n_structures=5)
    prior = np.random.default_rng(1).uniform(0.1, 10, 25)
    posterior = fit_posterior(observations, prior)
    weights = posterior.beta / observations.sigma**2
    precision = posterior.alpha[0] * np.diag(prior) + (observations.rows.T * weights) @ observations.rows
    covariance = np.linalg.inv(precision)
    np.testing.assert_allclose(posterior.factor @ posterior.factor.T, covariance, rtol=1e-8, atol=1e-10)
    mean = covariance @ (observations.rows.T * weights) @ observations.targets
    np.testing.assert_allclose(posterior.mean, mean, rtol=1e-8, atol=1e-10)
    expected = np.einsum("rf,fg,rg->r", observations.rows, covariance, observations.rows)
    np.testing.assert_allclose(posterior.variance(observations.rows), expected, rtol=1e-8)


def test_evidence_is_greatest_at_its_fixed_point():
    observations, _, prior = synthetic(n_structures=20)
    best = fit_posterior(observations, prior)

    def evidence(alpha, beta):
        """Log density of the targets, marginal over the coefficients."""
        x, y = observations.rows / observations.sigma[:, None], observations.targets / observations.sigma
        covariance = x @ x.T / alpha + np.eye(len(y)) / beta
        return -0.5 * (np.linalg.slogdet(2 * np.pi * covariance)[1] + y @ np.linalg.solve(covariance, y))

    alpha = best.alpha[0]
    top = evidence(alpha, best.beta)
    assert best.log_evidence == pytest.approx(top, rel=1e-8)
    for factor in (0.7, 1.4):
        assert evidence(alpha * factor, best.beta) < top + 1e-3
        assert evidence(alpha, best.beta * factor) < top - 1.0


def test_predictions_are_calibrated():
    z = []
    for seed in range(6):
        train, theta, prior = synthetic(n_structures=4, seed=seed)
        posterior = fit_posterior(train, prior)
        fresh, _, _ = synthetic(n_structures=20, seed=100 + seed)
        rng = np.random.default_rng(seed)
        targets = fresh.rows @ theta + 0.3 * fresh.sigma * rng.normal(size=len(fresh.targets))
        sigma = np.sqrt(posterior.variance(fresh.rows) + posterior.noise[fresh.kind] ** 2)
        z.append((targets - fresh.rows @ posterior.mean) / sigma)
    z = np.concatenate(z)[np.tile(fresh.kind, 6) == 1]
    assert 0.6 < np.mean(z**2) < 1.5
    assert 0.9 < np.mean(abs(z) < 1.96) < 0.99
    assert np.mean(abs(z / 0.4) < 1.96) < 0.7


def test_leave_one_out_equals_fits_without_each_structure():
    observations, _, prior = synthetic(n_structures=6)
    posterior = fit_posterior(observations, prior)
    x, y = observations.rows / observations.sigma[:, None], observations.targets / observations.sigma
    left_out = leave_one_structure_out(observations, x, y - x @ posterior.mean, posterior.factor, posterior.beta)
    for number, (rows, residual, variance) in enumerate(left_out):
        rest = observations.structure != number
        precision = posterior.alpha[0] * np.diag(prior) + posterior.beta * x[rest].T @ x[rest]
        covariance = np.linalg.inv(precision)
        mean = posterior.beta * covariance @ x[rest].T @ y[rest]
        np.testing.assert_allclose(residual, y[rows] - x[rows] @ mean, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(variance, np.einsum("rf,fg,rg->r", x[rows], covariance, x[rows]), rtol=1e-7)
        assert abs(residual).sum() > abs(y[rows] - x[rows] @ posterior.mean).sum()


def test_groups_find_their_own_scales():
    rng = np.random.default_rng(3)
    observations, _, prior = synthetic(n_structures=40, n_features=60)
    groups = np.repeat([0, 1], 30)
    theta = rng.normal(size=60) * np.where(groups == 0, 5.0, 0.05)
    targets = observations.rows @ theta + 0.3 * observations.sigma * rng.normal(size=len(observations.targets))
    observations = replace(observations, targets=targets)
    grouped, common = (fit_posterior(observations, prior, g) for g in (groups, None))
    np.testing.assert_allclose(grouped.alpha**-0.5, [5.0, 0.05], rtol=0.4)
    assert grouped.log_evidence > common.log_evidence + 10
    assert np.linalg.norm(grouped.mean - theta) < np.linalg.norm(common.mean - theta)


def test_an_idle_group_is_damped_and_stays_finite():
    observations, _, prior = synthetic(n_structures=10)
    rows = observations.rows.copy()
    rows[:, 20:] = 0.0
    posterior = fit_posterior(replace(observations, rows=rows), prior, (np.arange(25) >= 20).astype(int))
    assert np.isfinite(posterior.factor).all()
    assert abs(posterior.mean[20:]).max() < 1e-9


def test_more_features_than_rows_stays_finite():
    observations, _, _ = synthetic(n_structures=2, n_features=200)
    posterior = fit_posterior(observations, np.ones(200))
    assert np.isfinite(posterior.mean).all()
    assert np.isfinite(posterior.factor).all()
    assert (posterior.noise > 0).all()
    assert posterior.effective_parameters < 18


def test_labels_without_noise_leave_a_small_noise():
    observations, _, prior = synthetic(n_structures=60, noise=0.0)
    noise = fit_posterior(observations, prior).noise
    assert (noise > 0).all()
    assert (noise[1:] < 0.3 * np.array([1.0, 2.0])).all()


def test_one_structure_and_one_kind_are_enough():
    observations, _, prior = synthetic(n_structures=1)
    posterior = fit_posterior(subset(observations, observations.kind == 1), prior)
    assert np.isfinite(posterior.mean).all()
    assert posterior.noise[0] == 0 and posterior.noise[1] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o, p: (subset(o, slice(0, 0)), p), "nothing to fit"),
        (lambda o, p: (replace(o, targets=np.full_like(o.targets, np.nan)), p), "not finite"),
        (lambda o, p: (replace(o, sigma=0 * o.sigma), p), "positive"),
        (lambda o, p: (o, 0 * p), "positive"),
    ],
)
def test_refuses_what_cannot_be_right(change, message):
    observations, _, prior = synthetic(n_structures=2)
    with pytest.raises(InputError, match=message):
        fit_posterior(*change(observations, prior))


def all_left_out(observations, posterior):
    x, y = observations.rows / observations.sigma[:, None], observations.targets / observations.sigma
    parts = leave_one_structure_out(observations, x, y - x @ posterior.mean, posterior.factor, posterior.beta)
    return [np.concatenate(values) for values in zip(*[part[1:] for part in parts], strict=True)]


def test_left_out_is_the_same_by_eigenvectors(monkeypatch):
    observations, _, prior = synthetic(n_structures=6)
    posterior = fit_posterior(observations, prior)
    by_factor = all_left_out(observations, posterior)
    monkeypatch.setattr(left_out, "SMALLEST_PIVOT", np.inf)
    by_vectors = all_left_out(observations, posterior)
    np.testing.assert_allclose(by_factor, by_vectors, rtol=1e-8, atol=1e-10)
    assert not np.array_equal(by_factor, by_vectors)


def grouped_problem():
    observations, _, prior = synthetic(n_structures=40, n_features=60)
    return observations, Prior(prior, np.repeat([0, 1, 2], 20))


def test_rough_fit_is_the_exact_one_at_its_scales():
    observations, prior = grouped_problem()
    source, near = InMemory(observations), Scales(1.0, np.array([0.5, 1.0, 2.0]), 3.0)
    rough = fit_coefficients(source, prior, SERIAL, near, rough=True)
    exact = solve(root_of(source, 60, SERIAL), prior, rough.alpha, rough.beta)
    np.testing.assert_allclose(rough.mean, exact.scale * exact.mean, rtol=1e-8, atol=1e-10)
    factor = exact.scale[:, None] * exact.inverse
    np.testing.assert_allclose(rough.factor @ rough.factor.T, factor @ factor.T, rtol=1e-8, atol=1e-12)
    assert rough.log_evidence == pytest.approx(exact.log_evidence, abs=1e-6)


def test_rough_fits_from_each_other_end_at_the_scales_of_the_exact_one():
    observations, prior = grouped_problem()
    source = InMemory(observations)
    exact = fit_coefficients(source, prior, SERIAL)
    scales = Scales(exact.scales.common, 30.0 * exact.alpha, 0.1 * exact.beta)
    for _ in range(12):
        scales = fit_coefficients(source, prior, SERIAL, scales, rough=True).scales
    np.testing.assert_allclose(scales.alpha, exact.alpha, rtol=0.05)
    assert scales.beta == pytest.approx(exact.beta, rel=0.01)


def test_rough_fit_is_exact_where_products_of_rows_lose_all_digits():
    observations, prior = grouped_problem()
    rows = observations.rows[:, :1] + 1e-9 * observations.rows
    source, near = InMemory(replace(observations, rows=rows)), Scales(1e-12, np.full(3, 1e-12), 1e8)
    rough = fit_coefficients(source, prior, SERIAL, near, rough=True)
    exact = fit_coefficients(source, prior, SERIAL, near)
    np.testing.assert_array_equal(rough.mean, exact.mean)
    with pytest.raises(np.linalg.LinAlgError):
        solve(gram_of(source, 60, SERIAL), prior, near.alpha, near.beta)


def test_scales_from_nearby_lead_to_the_same_posterior():
    observations, prior = grouped_problem()
    source = InMemory(observations)
    cold = fit_coefficients(source, prior, SERIAL)
    start = Scales(cold.scales.common, cold.alpha * [0.5, 1.0, 2.0], 0.7 * cold.beta)
    warm = fit_coefficients(source, prior, SERIAL, start)
    np.testing.assert_allclose(warm.alpha, cold.alpha, rtol=0.05)
    np.testing.assert_allclose(warm.mean, cold.mean, rtol=1e-3, atol=1e-3)
    assert warm.log_evidence == pytest.approx(cold.log_evidence, abs=0.01)
    assert (warm.noise == 0).all()


def test_fit_near_its_scales_is_by_products_and_the_exact_one(monkeypatch):
    observations, prior = grouped_problem()
    source, near = InMemory(observations), Scales(1.0, np.array([0.5, 1.0, 2.0]), 3.0)
    root = root_of(source, 60, SERIAL)
    monkeypatch.setattr(posterior, "root_of", lambda *_: pytest.fail("the triangle was asked for"))
    found = fit_coefficients(source, prior, SERIAL, near)
    exact = solve(root, prior, found.alpha, found.beta)
    np.testing.assert_allclose(found.mean, exact.scale * exact.mean, rtol=1e-8, atol=1e-10)
    with pytest.raises(pytest.fail.Exception):
        fit_coefficients(source, prior, SERIAL)


def test_fit_near_its_scales_is_by_the_triangle_where_products_lose_too_many_digits():
    """They are still positive definite, and a rough fit makes do with them."""
    observations, prior = grouped_problem()
    source = InMemory(replace(observations, rows=observations.rows[:, :1] + 1e-4 * observations.rows))
    near = Scales(1e-7, np.full(3, 1e-7), 1e4)
    found, rough = (fit_coefficients(source, prior, SERIAL, near, rough) for rough in (False, True))
    for fit, least, most in ((found, 0.0, 1e-9), (rough, 1e-7, np.inf)):
        exact = solve(root_of(source, 60, SERIAL), prior, fit.alpha, fit.beta)
        error = np.linalg.norm(fit.mean / exact.scale - exact.mean) / np.linalg.norm(exact.mean)
        assert least <= error <= most
    assert solve(gram_of(source, 60, SERIAL), prior, found.alpha, found.beta).loss > LARGEST_LOSS
