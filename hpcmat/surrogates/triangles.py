"""The inverse of a triangle by several threads, where the linear algebra library has one.

It is cut in halves, however many threads there are, so that their number does not show in the last digit.
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


def inverse(triangle: Floats, threads: int) -> Floats:
    """The inverse (n, n) of an upper triangle."""
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


def _inverse(triangle: Floats) -> Floats:
    found: Floats = lapack.dtrtri(triangle)[0]
    return found


def _by_columns(work: Callable[[slice], None], n: int, threads: int) -> None:
    bounds = np.linspace(0, n, PIECES + 1).astype(int).tolist()

    def some(piece: tuple[int, int]) -> None:
        for number in range(*piece):
            work(slice(bounds[number], bounds[number + 1]))

    in_parallel(some, PIECES, threads)
