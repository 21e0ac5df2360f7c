"""Cholesky factor and inverse of a triangle by several threads, where the linear algebra library has one.

Both are cut in halves, however many threads there are, so that their number does not show in the last digit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from hpcmat_kernels.threads import in_parallel

Floats = NDArray[np.float64]

PIECES = 8
"""Sets of columns that threads share."""
SMALLEST = 512
"""Rows below which one thread is as fast."""


def cholesky(matrix: Floats, threads: int) -> Floats:
    """Upper R (n, n) with RᵀR = matrix, of which the upper triangle is read.

    Raises
    ------
    LinAlgError
        The matrix is not positive definite.
    """
    n = len(matrix)
    if n < SMALLEST:
        return _cholesky(matrix)
    half, factor = n // 2, np.zeros((n, n), order="F")
    first = _cholesky(matrix[:half, :half])
    factor[:half, :half], rest = first, np.asfortranarray(matrix[half:, half:])
    right = factor[:half, half:]

    def solve(columns: slice) -> None:
        right[:, columns] = blas.dtrsm(1.0, first, matrix[:half, half:][:, columns], trans_a=1)

    def subtract(columns: slice) -> None:
        rest[: columns.stop, columns] -= right[:, : columns.stop].T @ right[:, columns]

    _by_columns(solve, n - half, threads)
    _by_columns(subtract, n - half, threads)
    factor[half:, half:] = _cholesky(rest)
    return factor


def inverse(triangle: Floats, threads: int) -> Floats:
    """Of an upper triangle (n, n)."""
    n = len(triangle)
    if n < SMALLEST:
        return _inverse(triangle)
    half, found = n // 2, np.zeros((n, n), order="F")
    bounds = 0, half, n

    def invert(piece: tuple[int, int]) -> None:
        for number in range(*piece):
            mine = slice(bounds[number], bounds[number + 1])
            found[mine, mine] = _inverse(triangle[mine, mine])

    in_parallel(invert, 2, threads)
    first, last = np.asfortranarray(found[:half, :half]), found[half:, half:]

    def fill(columns: slice) -> None:
        product = triangle[:half, half:][:, : columns.stop] @ last[: columns.stop, columns]
        found[:half, half:][:, columns] = blas.dtrmm(-1.0, first, product)

    _by_columns(fill, n - half, threads)
    return found


def _cholesky(matrix: Floats) -> Floats:
    factor, failure = lapack.dpotrf(matrix)
    if failure:
        raise np.linalg.LinAlgError("the matrix is not positive definite to the digits that it has")
    found: Floats = factor
    return found


def _inverse(triangle: Floats) -> Floats:
    found: Floats = lapack.dtrtri(triangle)[0]
    return found


def _by_columns(work: Callable[[slice], None], n: int, threads: int) -> None:
    bounds = np.linspace(0, n, PIECES + 1).astype(int).tolist()

    def some(piece: tuple[int, int]) -> None:
        for number in range(*piece):
            work(slice(bounds[number], bounds[number + 1]))

    in_parallel(some, PIECES, threads)
