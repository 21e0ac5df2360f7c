"""The cluster expansion: limits, agreement with the design rows, order of coefficients, refusals."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from hpcmat_kernels.ace import Coefficients, ace_model, densities, evaluate, split_coefficients
from hpcmat_kernels.design import design_rows
from hpcmat_kernels.neighbors import neighbor_list

PERIODIC = (True, True, True)


def make_model(n_species=2, n_radial=4, l_max=3, n_channels=3, degrees=(3, 2)):
    shape = (n_species, l_max + 1, n_species * n_radial, n_channels)
    return ace_model(np.random.default_rng(0).normal(size=shape), 4.0, 1.0, degrees)


def make_vector(model, seed=1):
    return np.random.default_rng(seed).normal(size=model.n_features) * 0.1


@dataclass(frozen=True)
class System:
    positions: np.ndarray
    cell: np.ndarray
    pbc: tuple[bool, bool, bool]
    species: np.ndarray

    def neighbors(self, cutoff):
        return neighbor_list(self.positions, self.cell, self.pbc, cutoff)


def crystal(seed=2):
    rng = np.random.default_rng(seed)
    cell = np.array([[4.1, 0.2, 0.0], [0.0, 4.4, 0.3], [-0.5, 0.0, 4.7]])
    grid = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.25, 0.25, 0.25]])
    positions = grid @ cell + 0.1 * rng.normal(size=(5, 3))
    return System(positions, cell, PERIODIC, np.array([0, 1, 0, 1, 1]))


def cluster():
    return replace(crystal(), cell=np.zeros((3, 3)), pbc=(False, False, False))


def slab():
    return replace(crystal(), pbc=(True, True, False), cell=np.diag([4.1, 4.4, 30.0]))


SYSTEMS = [crystal(), cluster(), slab()]


def run(model, vector, system):
    return evaluate(model, split_coefficients(model, vector), system.neighbors(model.cutoff), system.species)


@pytest.mark.parametrize("system", SYSTEMS, ids=["crystal", "cluster", "slab"])
def test_design_rows_times_coefficients_equal_the_kernel(system):
    model = make_model()
    vector = make_vector(model)
    rows = design_rows(model, system.neighbors(model.cutoff), system.species)
    result = run(model, vector, system)
    np.testing.assert_allclose(rows.site @ vector, result.site_energies, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose((rows.forces @ vector).reshape(-1, 3), result.forces, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(rows.virial @ vector, result.virial, rtol=1e-10, atol=1e-10)
    assert abs(rows.site @ make_vector(model, seed=9) - result.site_energies).max() > 1e-3
    without = design_rows(model, system.neighbors(model.cutoff), system.species, virial=False)
    np.testing.assert_allclose(without.forces, rows.forces, rtol=1e-12, atol=1e-12)
    assert without.virial.shape == (0, model.n_features)


def test_repeated_cell_has_the_same_site_energies():
    model, system = make_model(), crystal()
    vector = make_vector(model)
    double = System(
        np.concatenate([system.positions, system.positions + system.cell[0]]),
        system.cell * [[2], [1], [1]],
        PERIODIC,
        np.tile(system.species, 2),
    )
    once = run(model, vector, system).site_energies
    np.testing.assert_allclose(run(model, vector, double).site_energies, np.tile(once, 2), rtol=1e-10)


def test_energy_and_force_are_smooth_at_the_cutoff():
    model = make_model()
    vector = make_vector(model)

    def dimer(distance):
        positions = np.array([[0.0, 0, 0], [0, 0, distance]])
        return run(model, vector, System(positions, np.zeros((3, 3)), (False,) * 3, np.array([0, 1])))

    outside, inside = dimer(model.cutoff + 1e-9), dimer(model.cutoff - 1e-3)
    assert abs(inside.forces).max() < 1e-4
    assert abs(inside.site_energies - outside.site_energies).max() < 1e-7
    assert (outside.forces == 0).all()
    assert abs(dimer(2.5).forces).max() > 1e-2


def test_pairs_beyond_the_cutoff_contribute_nothing():
    model, system = make_model(), crystal()
    coefficients = split_coefficients(model, make_vector(model))
    tight = evaluate(model, coefficients, system.neighbors(model.cutoff), system.species)
    wide = evaluate(model, coefficients, system.neighbors(model.cutoff + 0.7), system.species)
    np.testing.assert_allclose(wide.forces, tight.forces, atol=1e-12)
    np.testing.assert_allclose(wide.site_energies, tight.site_energies, atol=1e-12)


def test_evaluation_repeats_bit_for_bit():
    model, system = make_model(), crystal()
    first, second = (run(model, make_vector(model), system) for _ in range(2))
    assert (first.forces == second.forces).all()
    assert (first.site_energies == second.site_energies).all()


def test_lone_atom_has_its_constant_energy():
    model = make_model()
    vector = make_vector(model)
    result = run(model, vector, System(np.zeros((1, 3)), np.zeros((3, 3)), (False,) * 3, np.array([1])))
    assert result.site_energies[0] == pytest.approx(vector[model.n_features_per_species])
    assert (result.forces == 0).all()


def test_densities_are_separate_by_species_of_the_neighbour():
    model, system = make_model(), crystal()
    density = densities(model, system.neighbors(model.cutoff), system.species)
    without_second = densities(model, system.neighbors(model.cutoff), np.zeros(5, dtype=int))
    k = model.n_radial
    np.testing.assert_allclose(density[..., :k] + density[..., k:], without_second[..., :k], atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: run(m, make_vector(m), replace(crystal(), species=np.array([0, 1, 0, 1, 2]))), "Species must be"),
        (lambda m: run(m, make_vector(m), replace(crystal(), species=np.array([0, 1, 0, 1, -1]))), "Species must be"),
        (lambda m: run(m, make_vector(m), replace(crystal(), species=np.array([0, 1]))), "one per atom"),
        (lambda m: split_coefficients(m, np.zeros(3)), "coefficients"),
        (lambda m: split_coefficients(m, np.full(m.n_features, np.nan)), "finite"),
        (lambda m: ace_model(m.mixing, 4.0, 1.0, (9, 1)), "degree"),
        (lambda m: ace_model(m.mixing, -1.0, 0.0, (3, 1)), "cutoff"),
        (lambda m: ace_model(np.zeros((2, 4, 3, 1)), 4.0, 1.0, (3, 1)), "mixing"),
    ],
)
def test_refuses_what_cannot_be_right(call, message):
    with pytest.raises(ValueError, match=message):
        call(make_model())


def test_coefficients_are_cut_in_the_documented_order():
    model = make_model(n_species=1, n_radial=2, l_max=1, n_channels=2, degrees=(1, -1))
    blocks: Coefficients = split_coefficients(model, np.arange(model.n_features, dtype=float))
    assert blocks.constant[0] == 0
    assert blocks.linear[0].tolist() == [1, 2]
    assert blocks.pair[0].tolist() == [[[3, 4], [4, 5]], [[6, 7], [7, 8]]]
    assert blocks.product[0].tolist() == [[9, 10], [11, 12]]
