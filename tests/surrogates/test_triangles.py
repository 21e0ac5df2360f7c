"""Factors and inverses by several threads against those of the library."""

import numpy as np
import pytest

from hpcmat.surrogates import triangles
from hpcmat.surrogates.triangles import cholesky, inverse


@pytest.fixture(params=[16, 101])
def matrix(request, monkeypatch):
    monkeypatch.setattr(triangles, "SMALLEST", 50)
    rows = np.random.default_rng(0).normal(size=(200, request.param))
    return np.asfortranarray(rows.T @ rows)


def test_cholesky_factor_is_that_of_the_library_whatever_lies_below_the_diagonal(matrix):
    factor = cholesky(np.triu(matrix), 2)
    np.testing.assert_allclose(factor, np.linalg.cholesky(matrix).T, rtol=1e-10, atol=1e-10)


def test_inverse_is_that_of_the_library(matrix):
    triangle = np.linalg.cholesky(matrix).T
    np.testing.assert_allclose(inverse(triangle, 2), np.linalg.inv(triangle), rtol=1e-9, atol=1e-12)


def test_number_of_threads_does_not_show(matrix):
    factors = [cholesky(matrix, threads) for threads in (1, 2, 3)]
    inverses = [inverse(factors[0], threads) for threads in (1, 2, 3)]
    for other in (1, 2):
        np.testing.assert_array_equal(factors[0], factors[other])
        np.testing.assert_array_equal(inverses[0], inverses[other])


def test_matrix_that_is_not_positive_definite_is_refused_in_either_half(matrix):
    for place in (0, len(matrix) - 1):
        wrong = matrix.copy()
        wrong[place, place] = -1.0
        with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
            cholesky(wrong, 2)
