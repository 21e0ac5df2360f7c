"""Noise learned from residuals of known distribution."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hpcmat.errors import InputError
from hpcmat.surrogates.graded_noise import GradedNoise, Observed, fit_graded_noise

CONSTANT = 0.05


def made_up(noise, n_structures=100, n_atoms=50, seed=0):
    """Epistemic variances (n, 1) in units of the constant, and mean square residuals of three components."""
    rng = np.random.default_rng(seed)
    epistemic = np.exp(rng.uniform(-8, 0, n_structures * n_atoms))
    residuals = rng.normal(size=(len(epistemic), 3)) * np.sqrt(noise(epistemic) + epistemic)[:, None]
    return Observed((residuals**2).mean(axis=1), epistemic, epistemic[:, None], 6.0 / n_atoms)


def power_law(v):
    return 3.0 * v**0.5


def rms_z(noise, observed, part=slice(None)):
    total = noise.variance(observed.arguments) / CONSTANT**2 + observed.epistemic
    return np.sqrt(np.mean((observed.square / total)[part]))


def test_known_law_is_found():
    noise = fit_graded_noise(made_up(power_law), CONSTANT)
    v = np.exp(np.linspace(-7, -1, 13))
    assert_allclose(noise.variance(v[:, None]), CONSTANT**2 * power_law(v), rtol=0.25)


def test_new_residuals_have_unit_z_wherever_they_lie():
    noise, new = fit_graded_noise(made_up(power_law), CONSTANT), made_up(power_law, seed=1)
    for part in np.array_split(np.argsort(new.epistemic), 4):
        assert rms_z(noise, new, part) == pytest.approx(1.0, abs=0.07)
    # Negative control: one noise for all atoms is far off at the ends.
    assert rms_z(GradedNoise(CONSTANT), new, np.argsort(new.epistemic)[:1000]) < 0.6


def test_two_arguments_are_told_apart():
    rng = np.random.default_rng(0)
    arguments = np.exp(rng.uniform(-6, 0, (4000, 2)))
    law = 2.0 * arguments[:, 0] ** 0.3 * arguments[:, 1] ** 0.6
    square = law * (rng.normal(size=(4000, 3)) ** 2).mean(axis=1)
    both = fit_graded_noise(Observed(square, np.zeros(4000), arguments, 0.5), CONSTANT)
    assert len(both.terms) == 2
    assert np.std(np.log(both.variance(arguments) / (CONSTANT**2 * law))) < 0.15
    # Negative control: one of them does not explain it.
    one = fit_graded_noise(Observed(square, np.zeros(4000), arguments[:, :1], 0.5), CONSTANT)
    assert np.std(np.log(one.variance(arguments) / (CONSTANT**2 * law))) > 0.5


def test_constant_noise_is_kept():
    noise = fit_graded_noise(made_up(np.ones_like), CONSTANT)
    assert_allclose(noise.variance(np.exp(np.linspace(-8, -2, 9))[:, None]), CONSTANT**2, rtol=0.15)


def test_few_data_are_pulled_to_the_constant():
    # At a low variance the law lies a factor of 11 below the constant.
    v = np.array([[np.exp(-7)]])
    law = CONSTANT**2 * power_law(v)[:, 0]
    some = fit_graded_noise(made_up(power_law, n_structures=10), CONSTANT).variance(v)
    many = fit_graded_noise(made_up(power_law, n_structures=300), CONSTANT).variance(v)
    assert abs(np.log(many / law))[0] < abs(np.log(some / law))[0] < np.log(11)


def test_never_falls_and_stays_positive_beyond_what_was_seen():
    observed = made_up(power_law)
    held = np.arange(0, len(observed.square), 5)
    for array in (observed.square, observed.epistemic, observed.arguments):
        array[held] = 0.0
    noise = fit_graded_noise(observed, CONSTANT)
    found = noise.variance(np.concatenate([[0.0], np.geomspace(1e-30, 1e6, 200)])[:, None])
    assert found.min() >= 0.9e-12 * CONSTANT**2 and np.isfinite(found).all()
    assert np.diff(np.log(found)).min() > -1e-9
    # Above, it goes on growing, but no faster than the epistemic variance.
    slope = np.diff(np.log(noise.variance(np.exp([[3.0], [4.0]]))))[0]
    assert 0.2 < slope <= 1.0 + 1e-9


def test_scaled_noise():
    noise, v = fit_graded_noise(made_up(power_law), CONSTANT), np.array([[1e-3], [1.0]])
    assert_allclose(noise.scaled(1.5).variance(v), 1.5**2 * noise.variance(v))
    assert GradedNoise(CONSTANT).scaled(2.0).variance(v) == pytest.approx(4 * CONSTANT**2)


@pytest.mark.parametrize(
    ("change", "constant", "match"),
    [
        (lambda o: (o.square[:-1], o.epistemic, o.arguments), CONSTANT, "do not match"),
        (lambda o: (o.square, o.epistemic, o.arguments[:-1]), CONSTANT, "do not match"),
        (lambda o: (np.full_like(o.square, np.nan), o.epistemic, o.arguments), CONSTANT, "finite"),
        (lambda o: (o.square, -o.epistemic, o.arguments), CONSTANT, "negative"),
        (lambda o: (o.square, o.epistemic, o.arguments), 0.0, "positive"),
    ],
)
def test_what_cannot_be_right_is_refused(change, constant, match):
    with pytest.raises(InputError, match=match):
        fit_graded_noise(Observed(*change(made_up(power_law, 10, 5)), 1.0), constant)
