"""Committees and deviations: one pass against one by one, features and covariances against design rows."""

import numpy as np
import pytest

from hpcmat_kernels.ace import ace_model, evaluate, evaluate_committee, split_coefficients
from hpcmat_kernels.design import design_rows
from hpcmat_kernels.neighbors import neighbor_list
from hpcmat_kernels.uncertainty import energy_spread, force_spread, site_deviations, site_features

PERIODIC = (True, True, True)
CELL = np.array([[4.1, 0.2, 0.0], [0.0, 4.4, 0.3], [-0.5, 0.0, 4.7]])
GRID = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.25, 0.25, 0.25]])
POSITIONS = GRID @ CELL + 0.1 * np.random.default_rng(2).normal(size=(5, 3))
PAIRS = neighbor_list(POSITIONS, CELL, PERIODIC, 4.0)
SIZES = [
    (1, 6, 3, 8, (3, 2)),
    (2, 4, 3, 3, (3, 2)),
    (3, 3, 2, 9, (2, 1)),
    (1, 4, 2, 2, (-1, -1)),
]


def make_model(n_species=2, n_radial=4, l_max=3, n_channels=3, degrees=(3, 2)):
    shape = (n_species, l_max + 1, n_species * n_radial, n_channels)
    return ace_model(np.random.default_rng(0).normal(size=shape), 4.0, 1.0, degrees, core=(0.9, 1.9))


def make_committee(model, members):
    vectors = np.random.default_rng(3).normal(size=(members, model.n_features)) * 0.1
    return vectors, [split_coefficients(model, vector) for vector in vectors]


def species_of(model):
    return np.arange(5) % model.n_species


@pytest.mark.parametrize("size", SIZES)
def test_committee_has_the_bits_of_its_members(size):
    model = make_model(*size)
    _, committee = make_committee(model, 4)
    energies, forces, virials = evaluate_committee(model, committee, PAIRS, species_of(model))
    for number, member in enumerate(committee):
        alone = evaluate(model, member, PAIRS, species_of(model))
        assert alone.site_energies.tobytes() == energies[number].tobytes()
        assert alone.forces.tobytes() == forces[number].tobytes()
        assert alone.virial.tobytes() == virials[number].tobytes()
    assert abs(forces[0] - forces[1]).max() > 1e-3


def test_committee_equals_design_rows():
    model = make_model()
    vectors, committee = make_committee(model, 3)
    energies, forces, virials = evaluate_committee(model, committee, PAIRS, species_of(model), threads=2)
    rows = design_rows(model, PAIRS, species_of(model))
    np.testing.assert_allclose(energies, vectors @ rows.site.T, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(forces.reshape(3, -1), vectors @ rows.forces.T, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(virials, vectors @ rows.virial.T, rtol=1e-10, atol=1e-10)
    assert abs(energies[::-1] - vectors @ rows.site.T).max() > 1e-3


def test_many_draws_have_the_spread_of_the_posterior():
    model = make_model(n_species=1, n_radial=3, l_max=1, n_channels=2, degrees=(1, 0))
    rng = np.random.default_rng(5)
    root = rng.normal(size=(model.n_features, model.n_features)) * 0.05
    draws = [split_coefficients(model, root @ rng.normal(size=model.n_features)) for _ in range(2000)]
    energies, forces, _ = evaluate_committee(model, draws, PAIRS, np.zeros(5, dtype=int))
    rows = design_rows(model, PAIRS, np.zeros(5, dtype=int))
    exact = np.sqrt(((rows.forces @ root) ** 2).sum(axis=1).reshape(-1, 3).sum(axis=1))
    # The relative error of a deviation from 2000 normal numbers is 1 / sqrt(4000) = 0.016.
    np.testing.assert_allclose(force_spread(forces), exact, rtol=0.08)
    deviations = site_deviations(model, site_features(model, PAIRS, np.zeros(5, dtype=int)), np.zeros(5), root)
    np.testing.assert_allclose(energies.std(axis=0), deviations, rtol=0.08)
    assert abs(force_spread(forces[:4]) / exact - 1).max() > 0.08


def test_gradient_of_the_energy_spread_is_its_derivative():
    model = make_model()
    _, committee = make_committee(model, 5)

    def spread(positions):
        pairs = neighbor_list(positions, CELL, PERIODIC, 4.0)
        energies, forces, _ = evaluate_committee(model, committee, pairs, species_of(model))
        return *energy_spread(energies, forces), energies, forces

    value, gradient, energies, forces = spread(POSITIONS)
    assert value == pytest.approx(energies.sum(axis=1).std())
    step = 1e-5
    for atom, axis in np.ndindex(5, 3):
        move = np.zeros((5, 3))
        move[atom, axis] = step
        numeric = (spread(POSITIONS + move)[0] - spread(POSITIONS - move)[0]) / (2 * step)
        assert gradient[atom, axis] == pytest.approx(numeric, rel=1e-6, abs=1e-8)
    assert (abs(gradient) <= forces.std(axis=0) * (1 + 1e-12)).all(), "no more than the spread of the force"
    same = energy_spread(energies[[0, 0]], forces[[0, 0]])
    assert same[0] == 0.0 and not same[1].any()


@pytest.mark.parametrize("size", SIZES)
def test_features_and_deviations_equal_design_rows(size):
    model = make_model(*size)
    species = species_of(model)
    features = site_features(model, PAIRS, species, threads=2)
    site = design_rows(model, PAIRS, species).site
    for i, kind in enumerate(species):
        block = slice(kind * model.n_features_per_species, (kind + 1) * model.n_features_per_species)
        np.testing.assert_allclose(features[i], site[i, block], rtol=1e-10, atol=1e-12)
    root = np.random.default_rng(6).normal(size=(model.n_features, 7))
    deviations = site_deviations(model, features, species, root)
    np.testing.assert_allclose(deviations**2, np.einsum("nf,fg,ng->n", site, root @ root.T, site), rtol=1e-10)
    cut = site_deviations(model, features, species, root[:, :4])
    assert (cut < deviations).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, z: evaluate_committee(m, [], PAIRS, z), "at least one member"),
        (lambda m, z: evaluate_committee(m, make_committee(m, 2)[1], PAIRS, z, threads=0), "thread"),
        (lambda m, z: site_features(m, PAIRS, z, threads=0), "thread"),
        (lambda m, z: site_deviations(m, site_features(m, PAIRS, z), z, np.zeros((3, 3))), "fit again"),
        (lambda m, z: site_deviations(m, np.zeros((5, 2)), z, np.zeros((m.n_features, 3))), "site_features"),
        (lambda m, z: force_spread(np.zeros((1, 5, 3))), "whole committee"),
        (lambda m, z: energy_spread(np.zeros((2, 5)), np.zeros((3, 5, 3))), "give a committee"),
    ],
)
def test_refuses_what_cannot_be_right(call, message):
    model = make_model()
    with pytest.raises(ValueError, match=message):
        call(model, species_of(model))
