"""Noise learned from residuals of known distribution."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hpcmat.errors import InputError, StorageError
from hpcmat.surrogates.force_noise import (
    FEWEST_STRUCTURES,
    ForceNoise,
    constant_noise,
    fit_force_noise,
)
from hpcmat.surrogates.potential import Potential

CONSTANT = 0.05


def made_up(noise, n_structures=100, n_atoms=50, seed=0):
    """Residuals whose noise variance is a given function of the epistemic variance."""
    rng = np.random.default_rng(seed)
    epistemic = CONSTANT**2 * np.exp(rng.uniform(-8, 0, n_structures * n_atoms))
    residuals = rng.normal(size=(len(epistemic), 3)) * np.sqrt(noise(epistemic) + epistemic)[:, None]
    return residuals, epistemic, np.repeat(np.arange(n_structures), n_atoms)


def power_law(v):
    return CONSTANT**2 * 3.0 * (v / CONSTANT**2) ** 0.5


def rms_z(noise, residuals, epistemic):
    return np.sqrt(np.mean(residuals**2 / (noise.variance(epistemic) + epistemic)[:, None]))


def test_known_law_is_found():
    noise = fit_force_noise(*made_up(power_law), CONSTANT)
    v = CONSTANT**2 * np.exp(np.linspace(-7, -1, 13))
    assert_allclose(noise.variance(v), power_law(v), rtol=0.25)


def test_new_residuals_have_unit_z_wherever_they_lie():
    noise = fit_force_noise(*made_up(power_law), CONSTANT)
    residuals, epistemic, _ = made_up(power_law, seed=1)
    for part in np.array_split(np.argsort(epistemic), 4):
        assert rms_z(noise, residuals[part], epistemic[part]) == pytest.approx(1.0, abs=0.07)
    # Negative control: one noise for all atoms is far off at the ends.
    low = np.argsort(epistemic)[:1000]
    assert rms_z(constant_noise(CONSTANT), residuals[low], epistemic[low]) < 0.6


def test_constant_noise_is_kept():
    noise = fit_force_noise(*made_up(lambda v: np.full_like(v, CONSTANT**2)), CONSTANT)
    v = CONSTANT**2 * np.exp(np.linspace(-8, -2, 9))
    assert_allclose(noise.variance(v), CONSTANT**2, rtol=0.15)


def test_few_structures_revert_to_the_constant():
    few = made_up(power_law, n_structures=FEWEST_STRUCTURES - 1)
    assert_allclose(fit_force_noise(*few, CONSTANT).variance([0.0, 1e-4, 1.0]), CONSTANT**2)
    # The pull weakens with data: at a low variance the law lies a factor of 11 below the constant.
    v = np.array([CONSTANT**2 * np.exp(-7)])
    some = fit_force_noise(*made_up(power_law, n_structures=10), CONSTANT).variance(v)
    many = fit_force_noise(*made_up(power_law, n_structures=300), CONSTANT).variance(v)
    assert abs(np.log(many / power_law(v)))[0] < abs(np.log(some / power_law(v)))[0] < np.log(11)


def test_never_falls_and_stays_positive_beyond_what_was_seen():
    residuals, epistemic, structure = made_up(power_law)
    held = np.arange(0, len(epistemic), 5)
    residuals[held], epistemic[held] = 0.0, 0.0
    noise = fit_force_noise(residuals, epistemic, structure, CONSTANT)
    v = np.concatenate([[0.0], np.geomspace(1e-30, 1e6, 200)])
    found = noise.variance(v)
    assert found.min() >= 0.9e-6 * CONSTANT**2 and np.isfinite(found).all()
    assert np.diff(np.log(found)).min() > -1e-9
    # Above, it goes on growing, but no faster than the epistemic variance.
    slope = np.diff(np.log(noise.variance(CONSTANT**2 * np.exp([3.0, 4.0]))))[0]
    assert 0.2 < slope <= 1.0 + 1e-9


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda r, v, s: (r[:-1], v, s, CONSTANT), "do not match"),
        (lambda r, v, s: (r, v, s[:-1], CONSTANT), "do not match"),
        (lambda r, v, s: (np.full_like(r, np.nan), v, s, CONSTANT), "finite"),
        (lambda r, v, s: (r, -v, s, CONSTANT), "negative"),
        (lambda r, v, s: (r, v, s, 0.0), "positive"),
    ],
)
def test_what_cannot_be_right_is_refused(change, match):
    with pytest.raises(InputError, match=match):
        fit_force_noise(*change(*made_up(power_law, 10, 5)))


@pytest.fixture
def uneven(potential):
    """The potential with a noise that grows with the epistemic variance."""
    noise = ForceNoise(potential.noise_forces, np.array([-8.0, -4.0, 0.0]), np.array([-4.0, -1.0, 2.0]))
    return replace(potential, force_noise=noise)


def test_potential_with_uneven_noise_keeps_it_in_its_file(uneven, structure, tmp_path):
    uneven.save(tmp_path / "p.npz")
    loaded = Potential.load(tmp_path / "p.npz")
    assert_allclose(loaded.force_sigma(structure), uneven.force_sigma(structure), rtol=0)
    assert loaded.force_noise.constant == uneven.noise_forces


def test_file_without_it_is_read_as_before(potential, uneven, structure, tmp_path):
    replace(potential, force_noise=None).save(tmp_path / "old.npz")
    with np.load(tmp_path / "old.npz") as archive:
        assert not [name for name in archive.files if "force_noise" in name]
    old = Potential.load(tmp_path / "old.npz")
    assert old.force_noise is None
    expected = np.sqrt(old.epistemic_force_sigma(structure) ** 2 + old.noise_forces**2)
    assert_allclose(old.force_sigma(structure), expected)
    # Negative control: it does make a difference.
    assert np.abs(np.log(uneven.force_sigma(structure) / expected)).max() > 0.1


@pytest.mark.parametrize(
    "change",
    [
        {"force_noise_values": np.zeros(2)},
        {"force_noise_values": np.array([0.0, np.nan, 1.0])},
        {"force_noise_knots": np.array([1.0, 0.0, 2.0])},
    ],
)
def test_damaged_noise_is_refused(uneven, change, tmp_path):
    uneven.save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(tmp_path / "bad.npz", **(arrays | change))
    with pytest.raises(StorageError, match="noise of forces"):
        Potential.load(tmp_path / "bad.npz")


def test_noise_belongs_to_an_atom_and_not_to_an_axis(uneven, structure):
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = replace(structure, positions=structure.positions @ turn.T, cell=structure.cell @ turn.T)
    assert_allclose(uneven.force_sigma(turned), uneven.force_sigma(structure), rtol=1e-6)
