"""Figures of calibration on errors of known distribution, and on a potential."""

from dataclasses import replace

import numpy as np
import pytest

from hpcmat.errors import InputError
from hpcmat.surrogates.calibration import calibrate, calibration, conformal_factor, rank_ceiling, rank_correlation


def errors(scale=1.0, seed=0, n=40000):
    """Gaussian errors, their σ wrong by 1 / scale, and structures of 50 rows."""
    rng = np.random.default_rng(seed)
    sigma = np.exp(rng.normal(size=n))
    return scale * sigma * rng.normal(size=n), sigma, np.repeat(np.arange(n // 50), 50)


def test_right_bars():
    found = calibration(*errors())
    assert found.rms_z == pytest.approx(1.0, abs=0.02)
    assert found.coverage_68 == pytest.approx(0.683, abs=0.01)
    assert found.coverage_95 == pytest.approx(0.95, abs=0.005)
    assert found.ence < 0.05
    assert max(abs(point.observed - point.predicted) for point in found.reliability) < 0.01
    assert (found.n, found.n_structures) == (40000, 800)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_wrong_bars_are_found(scale):
    found = calibration(*errors(scale))
    assert found.rms_z == pytest.approx(scale, rel=0.02)
    assert found.ence == pytest.approx(abs(scale - 1), rel=0.05)
    assert abs(found.coverage_95 - 0.95) > 0.04


def test_bars_right_on_average_alone_are_found():
    error, sigma, structure = errors()
    same = np.full_like(sigma, np.sqrt(np.mean(error**2)))
    # One σ for all has unit rms z, yet its intervals hold too much. Bins in σ see nothing: only coverage tells.
    found = calibration(error, same, structure)
    assert found.rms_z == pytest.approx(1.0) and found.coverage_68 > 0.75


def test_rank_correlation_reaches_what_is_attainable_when_sigma_is_right():
    rng = np.random.default_rng(0)
    sigma = np.exp(0.8 * rng.normal(size=(5000, 1))) * np.ones(3)
    error = sigma * rng.normal(size=sigma.shape)
    right = rank_correlation(error, sigma)
    assert right.observed == pytest.approx(right.attainable, abs=0.02) and 0.7 < right.observed < 0.95
    # Negative control: σ of other atoms.
    assert abs(rank_correlation(error, rng.permutation(sigma)).observed) < 0.05
    # The less σ differs, the less can be attained by anybody.
    assert rank_correlation(error, sigma**0.2).attainable < 0.5
    assert rank_correlation(error, np.ones_like(error)).observed == 0.0


def test_standard_errors_know_that_rows_of_a_structure_hang_together():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        scale = np.repeat(np.exp(0.5 * rng.normal(size=30)), 40)
        found.append(calibration(scale * rng.normal(size=1200), np.ones(1200), np.repeat(np.arange(30), 40)))
    spread = np.std([f.rms_z for f in found])
    assert np.mean([f.rms_z_error for f in found]) == pytest.approx(spread, rel=0.2)
    assert np.mean([f.coverage_95_error for f in found]) == pytest.approx(
        np.std([f.coverage_95 for f in found]), rel=0.2
    )
    # Negative control: counting each row for itself promises too much.
    alone = calibration(scale * rng.normal(size=1200), np.ones(1200), np.arange(1200))
    assert alone.rms_z_error < 0.5 * spread
    assert np.isinf(calibration([1.0, 2.0], [1.0, 1.0], [0, 0]).rms_z_error)


@pytest.mark.parametrize("spread", [0.2, 0.8])
def test_ceiling_of_the_rank_correlation_is_found_without_knowing_sigma(spread):
    rng = np.random.default_rng(0)
    sigma = np.exp(spread * rng.normal(size=(5000, 1))) * np.ones(3)
    error = sigma * rng.normal(size=sigma.shape)
    assert rank_ceiling(error) == pytest.approx(rank_correlation(error, sigma).observed, abs=0.04)
    # What is known of σ does not change it, and it reaches 1 where errors are not random.
    assert rank_correlation(error, np.ones_like(error)).ceiling == rank_ceiling(error)
    assert rank_ceiling(np.exp(6 * rng.normal(size=(5000, 1))) * np.ones(3)) > 0.95
    assert rank_ceiling(np.zeros((3, 3))) == 0.0


def test_ceiling_has_the_error_that_other_sets_show():
    def drawn(seed):
        rng = np.random.default_rng(seed)
        # Structures differ as a whole, so that there are far fewer independent σ than atoms.
        sigma = np.repeat(np.exp(0.6 * rng.normal(size=30)), 20)[:, None] * np.ones(3)
        return sigma * rng.normal(size=sigma.shape), sigma

    error, sigma = drawn(0)
    found = rank_correlation(error, sigma, np.repeat(np.arange(30), 20))
    others = np.std([rank_ceiling(drawn(seed)[0]) for seed in range(1, 13)])
    assert 0.4 < found.ceiling_error / others < 2.5
    # Negative control: atoms taken for independent promise too much.
    assert rank_correlation(error, sigma).ceiling_error < 0.7 * others


def coverage_of_new_structures(method, n_trials=300):
    """Mean coverage of a new structure when whole structures are hard or easy, and hard ones are small."""
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(n_trials):
        hard = rng.random(31) < 0.3
        sizes = np.where(hard, 3, 60)
        owner = np.repeat(np.arange(31), sizes)
        error = np.where(hard, 5.0, 1.0)[owner] * rng.standard_t(3, size=len(owner))
        seen = owner < 30
        factor = method(error[seen], np.ones(seen.sum()), owner[seen], 0.9)
        inside.append(np.mean(np.abs(error[~seen]) <= factor))
    return np.mean(inside)


def test_conformal_intervals_cover_new_structures():
    assert 0.89 < coverage_of_new_structures(conformal_factor) < 0.95
    # Negative control: the plain quantile of all rows forgets the few rows of hard structures.
    assert coverage_of_new_structures(lambda e, s, o, f: np.quantile(np.abs(e), f)) < 0.86


def test_conformal_factor_of_few_structures_is_infinite():
    error, sigma, owner = errors(n=500)
    assert np.isinf(conformal_factor(error, sigma, owner, 0.95))
    assert np.isfinite(conformal_factor(error, sigma, owner, 0.68))
    one_each = conformal_factor(np.arange(1.0, 20.0), np.ones(19), np.arange(19), 0.95)
    assert one_each == 19.0


def test_calibration_of_a_potential(potential, test_labels):
    found = calibrate(potential, test_labels)
    assert 0.7 < found.forces.components.rms_z < 1.3
    assert found.forces.components.n == 3 * sum(len(label.structure) for label in test_labels)
    assert found.energy.n == len(test_labels) and found.stress.n == 6 * len(test_labels)
    assert 0.5 < found.stress.rms_z < 1.5
    # Negative control: a potential that claims a tenth of its noise is caught.
    bold = replace(
        potential, noise=potential.noise / 10, covariance_factor=potential.covariance_factor / 10, label_noise=None
    )
    assert calibrate(bold, test_labels).forces.components.rms_z > 5 * found.forces.components.rms_z


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        (([], [], []), "n > 0"),
        (([1.0], [1.0, 2.0], [0, 0]), "of one n"),
        (([1.0], [0.0], [0]), "positive"),
        (([np.nan], [1.0], [0]), "finite"),
    ],
)
def test_what_cannot_be_judged_is_refused(arrays, match):
    with pytest.raises(InputError, match=match):
        calibration(*arrays)


def test_nothing_to_judge_by_is_refused(potential):
    with pytest.raises(InputError, match="at least one label"):
        calibrate(potential, ())
    with pytest.raises(InputError, match="between 0 and 1"):
        conformal_factor([1.0], [1.0], [0], 1.0)
