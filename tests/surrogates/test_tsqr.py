"""The triangle of rows against exact arithmetic, where the normal equations lose their digits."""

import gc
import weakref
from fractions import Fraction

import numpy as np
import pytest

from hpcmat.surrogates.communicator import SERIAL
from hpcmat.surrogates.evidence import Prior, solve
from hpcmat.surrogates.posterior import Observations, fit_posterior
from hpcmat.surrogates.rows import ROWS_AT_ONCE, InMemory, leaves_of, parts_of, root_of
from hpcmat.surrogates.tsqr import join, join_shortened, reduce_tree, shortened, triangle_of


def nearly_singular(n_features=8, n_structures=10, likeness=1e-7):
    """Features that differ by 1e-7 of their size; labels with little noise."""
    rng = np.random.default_rng(5)
    structure = np.repeat(np.arange(n_structures), 5)
    common = rng.normal(size=(len(structure), 1))
    rows = common + likeness * rng.normal(size=(len(structure), n_features))
    targets = rows @ rng.normal(size=n_features) + 1e-6 * rng.normal(size=len(structure))
    kind = np.tile([0, 1, 1, 1, 2], n_structures)
    return Observations(rows, targets, np.ones(len(structure)), kind, structure)


def exact_mean(observations, weights, beta):
    """θ of (diag(weights) + β XᵀX) θ = β Xᵀy in rational numbers."""
    x = [[Fraction(value) for value in row] for row in observations.rows.tolist()]
    y = [Fraction(value) for value in observations.targets.tolist()]
    n, scale = len(weights), Fraction(beta)
    columns = list(zip(*x, strict=True))
    matrix = [
        [scale * sum(a * b for a, b in zip(columns[i], columns[j], strict=True)) for j in range(n)] for i in range(n)
    ]
    right = [scale * sum(a * b for a, b in zip(column, y, strict=True)) for column in columns]
    for i in range(n):
        matrix[i][i] += Fraction(weights[i])
    for i in range(n):
        for k in range(i + 1, n):
            factor = matrix[k][i] / matrix[i][i]
            matrix[k] = [a - factor * b for a, b in zip(matrix[k], matrix[i], strict=True)]
            right[k] -= factor * right[i]
    for i in reversed(range(n)):
        right[i] = (right[i] - sum(matrix[i][j] * right[j] for j in range(i + 1, n))) / matrix[i][i]
    return np.array([float(value) for value in right])


def relative(found, truth):
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


def test_nearly_singular_rows_keep_their_digits():
    observations = nearly_singular()
    alpha, beta = 1e-6, 1e10
    prior = Prior(np.ones(8), np.zeros(8, dtype=int))
    root = root_of(InMemory(observations), 8, SERIAL)
    solution = solve(root, prior, np.array([alpha]), beta)
    truth = exact_mean(observations, [alpha] * 8, beta)
    assert relative(solution.scale * solution.mean, truth) < 1e-7
    x, y = observations.rows, observations.targets
    normal = np.linalg.lstsq(alpha * np.eye(8) + beta * x.T @ x, beta * x.T @ y, rcond=None)[0]
    assert relative(normal, truth) > 1e-2


def test_a_fit_of_nearly_singular_rows_is_exact_for_its_scales():
    observations = nearly_singular(likeness=1e-5)
    prior = np.linspace(0.5, 2.0, 8)
    posterior = fit_posterior(observations, prior)
    truth = exact_mean(observations, (posterior.alpha[0] * prior).tolist(), posterior.beta)
    assert relative(posterior.mean, truth) < 1e-8
    np.testing.assert_allclose(posterior.factor, np.triu(posterior.factor))


@pytest.mark.parametrize("m", [0, 3, 40])
def test_joined_triangles_are_the_triangle_of_all_rows(m):
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(m, 7)), rng.normal(size=(30, 7))
    joined = join(triangle_of(np.asfortranarray(one)), triangle_of(np.asfortranarray(other)))
    np.testing.assert_allclose(joined.T @ joined, one.T @ one + other.T @ other, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(joined, np.triu(joined))


def test_sets_of_structures_are_whole_and_even():
    counts = np.random.default_rng(0).integers(7, 331, 262)
    for n_features, number in ((925, counts.sum() // 1850), (10000, 8)):
        leaves = leaves_of(counts, n_features)
        assert len(leaves) == number
        assert [s for leaf in leaves for s in leaf] == list(range(262))
        sizes = [counts[leaf].sum() for leaf in leaves]
        assert max(sizes) < counts.sum() / number + 331
    assert leaves_of(np.array([5, 5]), 100) == [[0], [1]]


@pytest.mark.parametrize(("m", "n"), [(0, 3), (3, 2), (3, 5), (3, 30), (30, 3), (30, 40), (7, 30)])
def test_short_sets_of_rows_are_kept_until_they_are_enough_for_a_triangle(m, n):
    rng = np.random.default_rng(2)
    one, other = rng.normal(size=(m, 7)), rng.normal(size=(n, 7))
    joined = join_shortened(*(shortened(np.array(rows, order="F")) for rows in (one, other)))
    assert len(joined) == min(m + n, 7)
    np.testing.assert_allclose(joined.T @ joined, one.T @ one + other.T @ other, rtol=1e-12, atol=1e-12)
    if m + n >= 7:
        np.testing.assert_array_equal(joined, np.triu(joined))


def test_structures_multiplied_together_are_all_of_them_in_sets_of_about_equal_size():
    counts = np.random.default_rng(0).integers(1, 200, 300)
    parts = parts_of(counts)
    assert [place for part in parts for place in range(300)[part]] == list(range(300))
    sizes = [counts[part].sum() for part in parts]
    assert max(sizes) < min(sizes) + 2 * counts.max() < 2 * ROWS_AT_ONCE
    assert parts_of(counts[:1]) == [slice(0, 1)]


def test_reduction_keeps_nothing_of_its_leaves():
    held = np.zeros(3)
    alive = weakref.ref(held)
    gc.disable()
    try:
        total = reduce_tree(5, lambda index, held=held: held + index, np.add, SERIAL)
        del held
        assert alive() is None
    finally:
        gc.enable()
    np.testing.assert_array_equal(total, 10.0)
