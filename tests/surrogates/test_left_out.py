"""Left-out rows against posteriors that were truly computed without the structure."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hpcmat.surrogates.extrapolation import left_out_limits
from hpcmat.surrogates.force_noise import fit_force_noise
from hpcmat.surrogates.left_out import LeftOut, leave_out
from hpcmat.surrogates.posterior import Observations, fit_posterior

N_FEATURES, N_ATOMS = 12, 10
ROWS = 1 + 3 * N_ATOMS


def regression(n_structures=60, seed=0):
    """An energy row and rows of forces per structure, whose size and noise differ between structures."""
    rng = np.random.default_rng(seed)
    size = np.repeat(np.exp(rng.uniform(-2, 2, n_structures)), ROWS)
    rows = size[:, None] * rng.normal(size=(len(size), N_FEATURES))
    kind = np.tile(np.r_[0, np.ones(3 * N_ATOMS, dtype=np.int64)], n_structures)
    sigma = np.where(kind == 0, 0.02, 0.05)
    targets = rows @ rng.normal(size=N_FEATURES) + sigma * size * rng.normal(size=len(size))
    structure = np.repeat(np.arange(n_structures), ROWS)
    return Observations(rows, targets, sigma, kind, structure), size


@pytest.fixture(scope="module")
def case():
    observations, size = regression()
    posterior = fit_posterior(observations, np.ones(N_FEATURES))
    return observations, posterior, size, leave_out(observations, posterior)


@pytest.mark.parametrize("number", [0, 17, 59])
def test_as_if_the_structure_had_never_been_there(case, number):
    observations, posterior, _, found = case
    mine = observations.structure == number
    x = (observations.rows / observations.sigma[:, None])[~mine]
    y = (observations.targets / observations.sigma)[~mine]
    covariance = np.linalg.inv(posterior.alpha[0] * np.eye(N_FEATURES) + posterior.beta * x.T @ x)
    mean = posterior.beta * covariance @ x.T @ y
    rows = observations.rows[mine]
    variance = np.einsum("rf,fg,rg->r", rows, covariance, rows)
    atoms = found.structure == number
    assert_allclose(found.residuals[atoms].ravel(), (observations.targets[mine] - rows @ mean)[1:], rtol=1e-6)
    assert_allclose(found.force_variance[atoms], variance[1:].reshape(-1, 3).mean(axis=1), rtol=1e-6)
    assert found.energy_variance[number] == pytest.approx(variance[0], rel=1e-6)
    # Negative control: with the structure in, the variance is smaller.
    assert (posterior.variance(rows) < variance).all()


def test_noise_follows_left_out_residuals(case):
    observations, posterior, size, left_out = case
    constant = float(posterior.noise[1])
    noise = fit_force_noise(left_out.residuals, left_out.force_variance, left_out.structure, constant)
    exact = 0.05 * size[observations.kind == 1][::3]
    found = np.sqrt(noise.variance(left_out.force_variance))
    # The variance of an atom is that of its size times a random direction, hence the loose bound.
    assert np.median(np.abs(np.log(found / exact))) < 0.3
    # Negative control: one noise for all is off by more.
    assert np.median(np.abs(np.log(constant / exact))) > 0.8


def test_five_per_cent_of_new_structures_lie_beyond_each_limit(case):
    _, posterior, _, left_out = case
    limits = left_out_limits(left_out)
    new, _ = regression(400, seed=1)
    variance = posterior.variance(new.rows)
    energy = np.sqrt(variance[new.kind == 0])
    force = np.sqrt(variance[new.kind == 1].reshape(400, N_ATOMS, 3).mean(axis=2).max(axis=1))
    assert 0.01 < np.mean(energy > limits.energy) < 0.12
    assert 0.01 < np.mean(force > limits.force_max) < 0.12


def test_structures_need_not_be_numbered_from_zero(case):
    left_out = case[3]
    shifted = replace(left_out, structure=left_out.structure + 7)
    assert left_out_limits(shifted) == left_out_limits(left_out)
    alone = LeftOut(np.array([4.0]), np.zeros((2, 3)), np.array([1.0, 9.0]), np.array([3, 3]))
    assert left_out_limits(alone).force_max == 3.0 and left_out_limits(alone).energy == 2.0
