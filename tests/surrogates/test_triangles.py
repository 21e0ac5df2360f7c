"""The inverse of a triangle by several threads against that of the library."""

import numpy as np
import pytest

from hpcmat.surrogates import triangles
from hpcmat.surrogates.triangles import inverse


@pytest.fixture(params=[16, 101])
def triangle(request, monkeypatch):
    monkeypatch.setattr(triangles, "SMALLEST", 50)
    rows = np.random.default_rng(0).normal(size=(200, request.param))
    return np.linalg.cholesky(rows.T @ rows).T


def test_inverse_is_that_of_the_library(triangle):
    np.testing.assert_allclose(inverse(triangle, 2), np.linalg.inv(triangle), rtol=1e-9, atol=1e-12)


def test_number_of_threads_does_not_show(triangle):
    one, *others = (inverse(triangle, threads) for threads in (1, 2, 3))
    for other in others:
        np.testing.assert_array_equal(one, other)
