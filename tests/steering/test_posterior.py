"""Posterior from sums over labels, against the definition, where the numbers span what real ones do."""

import numpy as np
import pytest

from hpcmat.steering.acquisition import condition
from hpcmat.steering.posterior import Observations

F = 15
TURN = np.linalg.qr(np.random.default_rng(5).normal(size=(F, F)))[0]
NOISE = np.array([1e-3, 2e-2, 1e-3])


def labels(rng, count):
    """Rows of energies, forces and stresses that say nothing of two directions."""
    scales = 10.0 ** np.linspace(2.0, -3.0, F)
    return [
        [rng.normal(size=(r, F)) * scales * (np.arange(F) < F - 2) @ TURN for r in (1, 24, 6)] for _ in range(count)
    ]


def weighted(parts):
    return np.concatenate([rows / sigma for rows, sigma in zip(parts, NOISE, strict=True)])


@pytest.fixture
def posteriors():
    """Factors of a posterior after a few labels and after many, with the labels that follow."""
    rng = np.random.default_rng(0)
    known = [weighted(parts) for parts in labels(rng, 30)]
    return factor_after(known[:3]), factor_after(known), labels(rng, 40)


def factor_after(known):
    """Of the posterior of a wide prior: triangles, since covariances of such a span have no root in these numbers."""
    return np.linalg.inv(np.linalg.qr(np.concatenate([1e-2 * np.eye(F), *known]))[1])


def test_sums_give_the_posterior_of_any_later_fit(posteriors):
    first, later, flying = posteriors
    seen = Observations(first)
    for parts in flying:
        seen.add(parts)
    for factor in (first, later):
        expected = factor @ factor.T
        for parts in flying:
            expected = condition(expected, weighted(parts))
        found = seen.posterior(factor, NOISE)
        assert np.linalg.norm(found - expected) <= 1e-9 * np.linalg.norm(expected)


def test_sums_in_the_basis_as_it_is_would_not(posteriors):
    """Negative control: squared before they are scaled, rows lose the directions of which they say little."""
    factor, _, flying = posteriors
    stacked = np.concatenate([weighted(parts) for parts in flying])
    expected = condition(factor @ factor.T, stacked)
    middle = np.eye(F) + factor.T @ (stacked.T @ stacked) @ factor
    plain = factor @ np.linalg.inv(middle) @ factor.T
    assert np.linalg.norm(plain - expected) > 1e-9 * np.linalg.norm(expected)


def test_labels_go_as_they_came(posteriors):
    factor, later, flying = posteriors
    kept, both = Observations(factor), Observations(factor)
    for number, parts in enumerate(flying):
        both.add(parts)
        if number % 2:
            kept.add(parts)
    for parts in flying[::2]:
        both.add(parts, sign=-1)
    expected = kept.posterior(later, NOISE)
    assert np.linalg.norm(both.posterior(later, NOISE) - expected) <= 1e-9 * np.linalg.norm(expected)


def test_fit_of_other_coefficients_is_told_apart(posteriors):
    factor, later, _ = posteriors
    assert Observations(factor).serves(later)
    assert not Observations(factor).serves(np.where(np.arange(F)[:, None] == 3, 0.0, later))
