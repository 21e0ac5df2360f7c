"""The inner core of the cluster expansion: where it starts and ends, derivatives, agreement of all evaluators."""

import jax
import numpy as np
import pytest

from hpcmat_kernels.ace import ace_model, evaluate, split_coefficients
from hpcmat_kernels.design import design_rows
from hpcmat_kernels.jax.ace import ace_parameters, energies_forces
from hpcmat_kernels.jax.batch import pad_batch
from hpcmat_kernels.jax.sites import AceShape
from hpcmat_kernels.lammps.yace import yace_text
from hpcmat_kernels.neighbors import neighbor_list
from hpcmat_kernels.radial import NO_CORE, radial_functions
from hpcmat_kernels.reference import yace
from hpcmat_kernels.reference.ace import site_energies

PERIODIC = (True, True, True)
CUTOFF = 4.0
CORE = (1.1, 2.6)
CELL = np.array([[4.1, 0.2, 0.0], [0.0, 4.4, 0.3], [-0.5, 0.0, 4.7]])
GRID = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.25, 0.25, 0.25]])
POSITIONS = GRID @ CELL + 0.1 * np.random.default_rng(2).normal(size=(5, 3))
SPECIES = np.array([0, 1, 0, 1, 1])


def make_model(core=CORE):
    mixing = np.random.default_rng(0).normal(size=(2, 4, 8, 3))
    return ace_model(mixing, CUTOFF, 1.0, (3, 2), core=core)


VECTOR = np.random.default_rng(1).normal(size=make_model().n_features) * 0.1


def run(model, positions=POSITIONS, cell=CELL, pbc=PERIODIC, species=SPECIES):
    pairs = neighbor_list(positions, cell, pbc, model.cutoff)
    return evaluate(model, split_coefficients(model, VECTOR), pairs, species)


def dimer(model, distance):
    positions = np.array([[0.0, 0, 0], [0, 0, distance]])
    return run(model, positions, np.zeros((3, 3)), (False,) * 3, np.array([0, 1]))


def step(distances, core):
    """The step by its definition: the integral of the symmetric quartic 30 t² (1 - t)²."""
    density = np.polynomial.Polynomial([0, 0, 30, -60, 30])
    return density.integ()(np.clip((distances - core[0]) / (core[1] - core[0]), 0, 1))


def test_radial_functions_are_those_without_core_times_the_step():
    r = np.linspace(0.5, 3.9, 50)
    values = radial_functions(r, 5, CUTOFF, 1.0, CORE)[0]
    plain = radial_functions(r, 5, CUTOFF, 1.0)[0]
    np.testing.assert_allclose(values, plain * step(r, CORE)[:, None], atol=1e-13)
    assert (values[r <= CORE[0]] == 0).all()
    np.testing.assert_array_equal(values[r >= CORE[1]], plain[r >= CORE[1]])
    assert abs(values - plain)[r < 2].max() > 0.1


def test_radial_slopes_equal_finite_differences():
    r = np.array([0.9, 1.1, 1.3, 1.85, 2.4, 2.6, 3.0])
    h = 1e-4

    def at(step):
        return radial_functions(r + step, 5, CUTOFF, 1.0, CORE)[0]

    numeric = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    slopes = radial_functions(r, 5, CUTOFF, 1.0, CORE)[1]
    np.testing.assert_allclose(slopes, numeric, atol=1e-9)
    assert abs(radial_functions(r, 5, CUTOFF, 1.0)[1] - numeric).max() > 0.1


def test_radial_functions_are_twice_differentiable_at_both_ends():
    h = 1e-4
    for radius in CORE:
        slopes = radial_functions([radius - 2 * h, radius - h, radius + h, radius + 2 * h], 5, CUTOFF, 1.0, CORE)[1]
        below, above = (slopes[1] - slopes[0]) / h, (slopes[3] - slopes[2]) / h
        # The third derivative jumps, so the second changes by some 60 h / (r_1 - r_0)³ times g.
        assert abs(above - below).max() < 2e-2
    # A step that is only once differentiable would show: 3 t² - 2 t³ has second derivatives of ±6 / (r_1 - r_0)².
    curvature = 6 / (CORE[1] - CORE[0]) ** 2 * abs(radial_functions([CORE[1]], 5, CUTOFF, 1.0)[0]).max()
    assert curvature > 2e-2


def test_energy_and_force_are_smooth_through_the_core():
    model, h = make_model(), 1e-4
    for distance in (1.1, 1.1 + 2e-3, 1.6, 2.2, 2.6, 2.6 - 1e-3):
        energies = [dimer(model, distance + k * h).site_energies.sum() for k in (-2, -1, 1, 2)]
        numeric = (8 * (energies[2] - energies[1]) - (energies[3] - energies[0])) / (12 * h)
        assert dimer(model, distance).forces[1, 2] == pytest.approx(-numeric, abs=1e-8)
    inside = dimer(model, 1.05)
    constants = VECTOR[[0, model.n_features_per_species]]
    assert (inside.forces == 0).all()
    np.testing.assert_array_equal(inside.site_energies, constants)
    assert abs(dimer(make_model(NO_CORE), 1.05).forces).max() > 1e-2


def test_forces_and_virial_are_derivatives():
    model, h = make_model(), 1e-3
    result = run(model)
    direction = np.random.default_rng(7).normal(size=POSITIONS.shape)

    def moved(step):
        return run(model, POSITIONS + step * direction).site_energies.sum()

    def strained(step):
        return run(model, POSITIONS * (1 + step), CELL * (1 + step)).site_energies.sum()

    def slope(energy):
        return (8 * (energy(h) - energy(-h)) - (energy(2 * h) - energy(-2 * h))) / (12 * h)

    assert float((result.forces * direction).sum()) == pytest.approx(-slope(moved), rel=1e-6)
    assert result.virial[:3].sum() == pytest.approx(slope(strained), rel=1e-6)
    assert run(make_model(NO_CORE)).virial[:3].sum() != pytest.approx(slope(strained), rel=1e-2)


def test_all_evaluators_agree():
    model = make_model()
    coefficients = split_coefficients(model, VECTOR)
    pairs = neighbor_list(POSITIONS, CELL, PERIODIC, CUTOFF)
    distances = np.linalg.norm(pairs.vectors, axis=1)
    assert ((distances > CORE[0]) & (distances < CORE[1])).any()
    result = run(model)
    expected = site_energies(model, coefficients, POSITIONS, CELL, PERIODIC, SPECIES)
    np.testing.assert_allclose(result.site_energies, expected, rtol=1e-10, atol=1e-10)
    rows = design_rows(model, pairs, SPECIES)
    np.testing.assert_allclose(rows.site @ VECTOR, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose((rows.forces @ VECTOR).reshape(-1, 3), result.forces, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(rows.virial @ VECTOR, result.virial, rtol=1e-10, atol=1e-10)
    with jax.enable_x64(True):
        batch = pad_batch(model, [(pairs, SPECIES)])
        traced = energies_forces(ace_parameters(model, VECTOR), AceShape.of(model), batch)
    assert float(traced.energies[0]) == pytest.approx(expected.sum(), rel=1e-10)
    np.testing.assert_allclose(traced.forces[:5], result.forces, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(traced.virials[0], result.virial, rtol=1e-10, atol=1e-10)
    assert abs(run(make_model(NO_CORE)).site_energies - expected).max() > 1e-2


OF_PAIRS = np.array([[CORE, (0.9, 2.9)], [(0.9, 2.9), NO_CORE]])
"""A core for each pair of species; the second has none with itself."""


def test_each_pair_of_species_has_its_core():
    model = make_model(OF_PAIRS)
    coefficients = split_coefficients(model, VECTOR)
    result, pairs = run(model), neighbor_list(POSITIONS, CELL, PERIODIC, CUTOFF)
    expected = site_energies(model, coefficients, POSITIONS, CELL, PERIODIC, SPECIES)
    np.testing.assert_allclose(result.site_energies, expected, rtol=1e-10, atol=1e-10)
    rows = design_rows(model, pairs, SPECIES)
    np.testing.assert_allclose(rows.site @ VECTOR, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose((rows.forces @ VECTOR).reshape(-1, 3), result.forces, rtol=1e-10, atol=1e-10)
    text = yace.parse(yace_text(model, coefficients, ["Si", "Ge"]))
    np.testing.assert_allclose(yace.site_energies(text, pairs, SPECIES), expected, rtol=1e-9, atol=1e-9)
    assert abs(run(make_model()).site_energies - expected).max() > 1e-2
    with pytest.raises(ValueError, match="one core"):
        AceShape.of(model)


def test_refuses_a_core_that_depends_on_the_order_of_a_pair():
    with pytest.raises(ValueError, match="symmetric"):
        make_model(np.array([[CORE, (0.9, 2.9)], [(0.8, 2.9), CORE]]))


def test_a_core_below_all_distances_changes_nothing():
    plain, tiny = run(make_model(NO_CORE)), run(make_model((0.0, 0.5)))
    np.testing.assert_allclose(tiny.site_energies, plain.site_energies, rtol=1e-13)
    np.testing.assert_allclose(tiny.forces, plain.forces, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "core", [(1.0, 1.0), (2.0, 1.0), (-0.5, 1.0), (1.0, 4.0), (np.nan, 1.0), (0.0, np.inf), (1.0,)]
)
def test_refuses_a_core_that_cannot_be_right(core):
    with pytest.raises(ValueError, match=r"r_0.*correct the settings"):
        make_model(core)
