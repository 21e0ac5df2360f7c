"""Radial functions, harmonics and couplings against definitions and identities."""

import numpy as np
import pytest

from hpcmat_kernels.couplings import evaluate_polynomial, gaunt, monomial_table, product_paths
from hpcmat_kernels.harmonics import lm_index, spherical_harmonics
from hpcmat_kernels.radial import radial_functions
from hpcmat_kernels.reference.ace import real_harmonic

EXACT = 1e-12


def unit_vectors(n, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, 3))
    return vectors / np.linalg.norm(vectors, axis=1)[:, None]


def rotation(seed=1):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def test_harmonics_equal_their_definition_by_angles():
    directions = unit_vectors(20)
    values, _ = spherical_harmonics(directions, 5)
    for degree in range(6):
        for order in range(-degree, degree + 1):
            expected = [real_harmonic(degree, order, d) for d in directions]
            np.testing.assert_allclose(values[:, lm_index(degree, order)], expected, atol=EXACT)


def test_harmonics_at_the_poles_are_finite():
    values, gradient = spherical_harmonics([[0, 0, 1.0], [0, 0, -1.0]], 4)
    np.testing.assert_allclose(values[0, [lm_index(2, 0), lm_index(2, 1)]], [np.sqrt(5), 0], atol=EXACT)
    assert np.isfinite(gradient).all()


def test_tangential_gradient_equals_finite_differences():
    d = unit_vectors(5)
    _, gradient = spherical_harmonics(d, 4)
    tangent = np.cross(d, unit_vectors(5, seed=9))
    h = 1e-5

    def at(step):
        moved = d + step * tangent
        return spherical_harmonics(moved / np.linalg.norm(moved, axis=1)[:, None], 4)[0]

    numeric = (at(h) - at(-h)) / (2 * h)
    np.testing.assert_allclose(np.einsum("pla,pa->pl", gradient, tangent), numeric, atol=1e-8)


def test_addition_theorem_makes_degrees_invariant():
    d = unit_vectors(2)
    values, _ = spherical_harmonics(d, 4)
    turned, _ = spherical_harmonics(d @ rotation(), 4)
    for degree in range(5):
        part = slice(degree**2, (degree + 1) ** 2)
        assert values[0, part] @ values[1, part] == pytest.approx(turned[0, part] @ turned[1, part], abs=EXACT)
        assert values[0, part] @ values[0, part] == pytest.approx(2 * degree + 1, rel=EXACT)


def test_harmonics_refuse_vectors_that_are_not_unit():
    with pytest.raises(ValueError, match="unit vectors"):
        spherical_harmonics([[1.0, 1.0, 0.0]], 2)


def test_radial_functions_vanish_to_third_order_at_the_cutoff():
    distances = 5.0 - np.array([1e-2, 1e-3, 0.0, -0.3])
    values, slopes = radial_functions(distances, 6, 5.0, 1.0)
    assert abs(values[0]).max() < 1.2 * (1e-2 / 5) ** 3
    assert abs(values[1]).max() < 1.2 * (1e-3 / 5) ** 3
    assert (values[2:] == 0).all()
    assert (slopes[2:] == 0).all()


def test_radial_slopes_equal_finite_differences():
    r = np.linspace(0.5, 4.9, 30)
    h = 1e-5
    numeric = (radial_functions(r + h, 8, 5.0, 1.0)[0] - radial_functions(r - h, 8, 5.0, 1.0)[0]) / (2 * h)
    slopes = radial_functions(r, 8, 5.0, 1.0)[1]
    np.testing.assert_allclose(slopes, numeric, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("bad", [(1, 5.0, 1.0), (6, 0.0, 0.0), (6, 5.0, 5.0), (6, 5.0, -1.0), (6, np.nan, 1.0)])
def test_radial_functions_refuse_bad_settings(bad):
    with pytest.raises(ValueError, match="correct the settings"):
        radial_functions([2.0], *bad)


def test_gaunt_tensor_couples_products_of_harmonics():
    values, _ = spherical_harmonics(unit_vectors(300), 4)
    product = values[:, 4:9, None] * values[:, None, 1:4]
    coupled = np.einsum("abc,pab->pc", gaunt(2, 1, 3), product)
    ratio = coupled / values[:, 9:16]
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-8)
    assert not gaunt(1, 1, 1).any()


@pytest.mark.parametrize(("degrees", "counts"), [((4, 2), (14, 9)), ((3, 1), (8, 3)), ((3, -1), (8, 0))])
def test_number_of_independent_products(degrees, counts):
    paths = product_paths(*degrees)
    assert tuple(sum(path.order == order for path in paths) for order in (3, 4)) == counts


def test_products_are_invariant_and_independent():
    """A random density expanded on harmonics of random directions, before and after a rotation or inversion."""
    paths = product_paths(4, 2)
    d, weights = unit_vectors(6), np.random.default_rng(3).normal(size=(6, 200))
    values = [evaluate_all(paths, spherical_harmonics(m, 4)[0].T @ weights) for m in (d, d @ rotation(), -d)]
    np.testing.assert_allclose(values[1], values[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(values[2], values[0], rtol=1e-9, atol=1e-9)
    assert np.linalg.matrix_rank(values[0] / np.linalg.norm(values[0], axis=1)[:, None], tol=1e-6) == len(paths)


def test_a_single_component_is_not_invariant():
    d = unit_vectors(6)
    assert abs(spherical_harmonics(d, 2)[0] - spherical_harmonics(d @ rotation(), 2)[0]).max() > 0.1


def evaluate_all(paths, density):
    return np.array([evaluate_polynomial(dict(path.monomials), density) for path in paths])


def test_monomial_table_holds_every_path():
    paths = product_paths(3, 2)
    table = monomial_table(paths)
    density = np.random.default_rng(0).normal(size=(16,))
    padded = np.append(density, 1.0)
    terms = table.coefficients * np.prod(padded[table.factors], axis=1)
    sums = np.add.reduceat(terms, table.starts[:-1])
    np.testing.assert_allclose(sums, evaluate_all(paths, density[:, None])[:, 0], rtol=EXACT)
