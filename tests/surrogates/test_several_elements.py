"""Fits of several elements: molecules of three, by a classical teacher and by the road that a user takes."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from scipy.spatial.transform import Rotation

from hpcmat.surrogates.ace import AceBasis, AceSettings, mixing_shape
from hpcmat.surrogates.dataset import Dataset, Frame, LabelKeys
from hpcmat.surrogates.fitting import fit_potential
from hpcmat.surrogates.mixing_steps import slopes
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.trainer import FitOptions, fit_dataset, settings_for


def acid(make, seed):
    """Label of a distorted molecule of acetic acid."""
    atoms = molecule("CH3COOH")
    atoms.positions += 0.05 * np.random.default_rng(seed).normal(size=(8, 3))
    return make.label(atoms, EMT(), offset=0.0)


@pytest.fixture(scope="module")
def acids(make):
    """Labels to fit, labels unseen, the potential."""
    labels = tuple(acid(make, seed) for seed in range(60))
    frames = tuple(Frame(index, label, "") for index, label in enumerate(labels))
    train = Dataset("acids.xyz", "", LabelKeys("energy", "forces"), frames, (), ("H", "C", "O"), n_read=len(frames))
    potential = fit_dataset(train, FitOptions("small"))
    return SimpleNamespace(train=train, labels=labels, unseen=acid(make, 1000), potential=potential)


def rmse(potential, labels):
    return np.sqrt(np.mean([(potential.predict(label.structure).forces - label.forces) ** 2 for label in labels]))


def test_rotation_turns_the_forces_and_leaves_the_energy(acids):
    structure, turn = acids.unseen.structure, Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()
    before, after = (
        acids.potential.predict(replace(structure, positions=x))
        for x in (structure.positions, structure.positions @ turn.T)
    )
    assert after.energy == pytest.approx(before.energy, abs=1e-9)
    np.testing.assert_allclose(after.forces, before.forces @ turn.T, atol=1e-8)


def exchanged(structure, i, j):
    positions = np.array(structure.positions)
    positions[[i, j]] = positions[[j, i]]
    return replace(structure, positions=positions)


def test_exchange_of_like_atoms_leaves_the_energy_and_of_unlike_ones_does_not(acids):
    structure = acids.unseen.structure
    of = {symbol: [i for i, s in enumerate(structure.symbols) if s == symbol] for symbol in ("H", "C", "O")}
    energy = acids.potential.predict(structure).energy
    for like in of.values():
        same = acids.potential.predict(exchanged(structure, like[0], like[-1])).energy
        assert same == pytest.approx(energy, abs=1e-9)
    other = acids.potential.predict(exchanged(structure, of["C"][0], of["O"][0])).energy
    assert abs(other - energy) > 1e-3


def test_forces_are_the_slope_of_the_energy(acids):
    structure, h = acids.unseen.structure, 1e-4
    forces = acids.potential.predict(structure).forces

    def energy(atom, step):
        positions = np.array(structure.positions)
        positions[atom, 1] += step
        return acids.potential.predict(replace(structure, positions=positions)).energy

    slopes = [-(energy(atom, h) - energy(atom, -h)) / (2 * h) for atom in range(8)]
    np.testing.assert_allclose(forces[:, 1], slopes, atol=1e-5)


def test_errors_are_small_and_would_not_be_with_elements_mistaken(acids, make):
    unseen = [acid(make, 1000 + seed) for seed in range(10)]
    spread = np.sqrt(np.mean([label.forces**2 for label in unseen]))
    assert rmse(acids.potential, unseen) < 0.1 * spread
    mistaken = [
        replace(label, structure=replace(label.structure, symbols=tuple(np.roll(label.structure.symbols, 1))))
        for label in unseen
    ]
    assert rmse(acids.potential, mistaken) > 0.5 * spread


def test_training_moves_the_mixing_of_all_elements_alike(acids):
    start = start_of(acids).model.mixing
    moved = acids.potential.mixing - start
    assert abs(moved).max() > 0.01
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:1], moved.shape), atol=1e-12)
    assert abs(start[0] - start[1]).max() > 0.1


def start_of(acids):
    structures = tuple(label.structure for label in acids.labels)
    return AceBasis(acids.potential.settings, ground=(*structures, *structures[:1] * 3))


def test_rows_of_the_mixing_are_the_slope_of_the_energy_when_all_elements_move(acids):
    basis, label, h = acids.potential.basis, acids.unseen, 1e-5
    theta = acids.potential.coefficients
    step = np.random.default_rng(0).normal(size=(1, *basis.model.mixing.shape[1:]))
    rows = np.empty((1 + 3 * len(label.structure), step.size))
    slopes(basis, acids.potential.kernel_coefficients, label, rows)
    up, down = (
        basis.with_mixing(basis.model.mixing + sign * h * step).design(label.structure).energy @ theta
        for sign in (1, -1)
    )
    assert rows[0] @ step.ravel() * len(label.structure) == pytest.approx((up - down) / (2 * h), rel=1e-5, abs=1e-7)
    alone = step * np.array([1.0, 0, 0])[:, None, None, None]
    one = basis.with_mixing(basis.model.mixing + h * alone).design(label.structure).energy @ theta
    assert abs((one - basis.design(label.structure).energy @ theta) / h - (up - down) / (2 * h)) > 1e-3


def test_rough_pairs_of_several_elements_are_not_fitted_and_all_of_one_are(acids):
    basis = acids.potential.basis
    assert len(basis.fitted) < basis.n_features
    idle = np.setdiff1d(np.arange(basis.n_features), basis.fitted)
    assert not acids.potential.coefficients[idle].any()
    assert acids.potential.covariance_factor.shape == (basis.n_features, len(basis.fitted))
    assert set(basis.orders[idle]) == {2}
    one = AceBasis(AceSettings(("Si",)))
    assert len(one.fitted) == one.n_features


def test_potential_survives_its_file(acids, tmp_path):
    acids.potential.save(tmp_path / "acid.npz")
    again = Potential.load(tmp_path / "acid.npz")
    structure = acids.unseen.structure
    np.testing.assert_array_equal(again.predict(structure).forces, acids.potential.predict(structure).forces)
    np.testing.assert_array_equal(again.force_sigma(structure), acids.potential.force_sigma(structure))
    assert (again.force_sigma(structure) > 0).all()


@pytest.mark.parametrize(("elements", "inner"), [(("H", "C", "O"), 0.31), (("Si",), 1.0), (("Cu", "Au"), 1.0)])
def test_radial_functions_begin_below_the_shortest_bond(acids, elements, inner):
    assert settings_for(replace(acids.train, elements=elements), FitOptions()).inner_ang == pytest.approx(inner)


@pytest.mark.parametrize("size", ["small", "medium", "large"])
def test_several_elements_have_more_channels_than_one(size):
    one, two, three = (mixing_shape(AceSettings(z, size=size))[3] for z in (("H",), ("H", "C"), ("H", "C", "O")))
    assert one < two == three


def test_elements_that_never_meet_have_a_prior(make):
    labels = tuple(make.label(molecule(name), EMT(), offset=0.0) for name in ("H2", "O2"))
    settings = AceSettings(("H", "O"))
    basis = AceBasis(settings, ground=tuple(label.structure for label in labels))
    assert np.isfinite(basis.prior_precision).all() and (basis.prior_precision > 0).all()
    assert np.isfinite(basis.model.mixing).all()
    water = make.label(molecule("H2O"), EMT(), offset=0.0).structure
    met, apart = (
        fit_potential(labels, form).potential.force_sigma(structure).max()
        for form, structure in ((basis, labels[0].structure), (basis, water))
    )
    assert apart > met
