"""Weighted rows of structures, on demand and in sets that several ranks can share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from hpcmat.errors import InputError
from hpcmat.surrogates.communicator import Communicator
from hpcmat.surrogates.evidence import Gram, Root
from hpcmat.surrogates.tsqr import join_shortened, owned, reduce_tree, shortened, triangle_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

How = tuple[Callable[[Floats], Floats], Callable[[Floats, Floats], Floats]]

LEAST_LEAVES = 8
"""Sets of rows, at least, that ranks can share."""
LEAF_ROWS = 2
"""Rows per feature of a set, at most: joining its triangle then costs a fifth of making it."""

ROWS_AT_ONCE = 1500
"""About, of neighbouring structures that are multiplied together: enough for a product of matrices to be fast."""


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """Rows of the design matrix with their labels."""

    rows: Floats
    """(m, F)"""
    targets: Floats
    """(m,)"""
    sigma: Floats
    """(m,) target error of each row, in the unit of its target."""
    kind: Ints
    """(m,) kind of each row: 0 energy per atom, 1 force, 2 stress."""
    structure: Ints
    """(m,) structure each row belongs to; rows of one structure are adjacent."""


class Source(Protocol):
    """Rows of structures 0 .. , on demand."""

    @property
    def counts(self) -> Ints:
        """Number of rows of each structure, known before any is computed."""

    @property
    def included(self) -> NDArray[np.bool_]:
        """Structures that are fitted; the others are only scored."""

    @property
    def telling(self) -> NDArray[np.bool_]:
        """Structures whose left-out residuals tell the noise."""

    @property
    def threads(self) -> int:
        """How many may ask for blocks at a time, each of which then makes them alone."""

    def alone(self) -> Source:
        """The same rows, each block of which is made by the thread that asks for it."""

    def blocks(self, structures: list[int]) -> list[Observations]:
        """Rows of some structures; the same at every call."""


@dataclass(frozen=True, eq=False)
class InMemory:
    """Rows that are at hand."""

    observations: Observations

    @cached_property
    def edges(self) -> Ints:
        """Row at which each structure begins, and the end."""
        return np.flatnonzero(np.diff(self.observations.structure, prepend=-1, append=-1))

    @property
    def counts(self) -> Ints:
        """Rows of each structure."""
        return np.diff(self.edges)

    @property
    def included(self) -> NDArray[np.bool_]:
        """All."""
        return np.ones(len(self.counts), dtype=bool)

    @property
    def telling(self) -> NDArray[np.bool_]:
        """All."""
        return self.included

    @property
    def threads(self) -> int:
        """One."""
        return 1

    def alone(self) -> InMemory:
        """Itself."""
        return self

    def blocks(self, structures: list[int]) -> list[Observations]:
        """Views of them."""
        o, parts = self.observations, [slice(*self.edges[s : s + 2]) for s in structures]
        return [Observations(o.rows[p], o.targets[p], o.sigma[p], o.kind[p], o.structure[p]) for p in parts]


def weighted(block: Observations) -> tuple[Floats, Floats]:
    """Rows and targets over their target errors."""
    return block.rows / block.sigma[:, None], block.targets / block.sigma


def leaves_of(counts: Ints, n_features: int) -> list[list[int]]:
    """Neighbouring structures in sets of about equal numbers of rows; they depend on nothing but the counts."""
    total = int(counts.sum())
    number = min(len(counts), max(LEAST_LEAVES, total // (LEAF_ROWS * n_features)))
    middle = np.cumsum(counts) - 0.5 * counts
    leaf = (middle * number / max(total, 1)).astype(int)
    return [np.flatnonzero(leaf == index).tolist() for index in range(number)]


def root_of(source: Source, n_features: int, communicator: Communicator) -> Root | InputError | None:
    """Triangle of all weighted rows that are included, at the root; an error of any rank in its place."""
    rows = _condensed(source, n_features, communicator, (shortened, join_shortened))
    if not isinstance(rows, np.ndarray):
        return rows
    return Root(rows if len(rows) > n_features else triangle_of(rows), _n_included(source), source.threads)


def gram_of(source: Source, n_features: int, communicator: Communicator) -> Gram | InputError | None:
    """Products of all weighted rows that are included, as `root_of`: a quarter of its time, half of its digits."""
    products = _condensed(source, n_features, communicator, (_products, _sum))
    return Gram(products, _n_included(source), source.threads) if isinstance(products, np.ndarray) else products


def structures_of(source: Source, n_features: int, communicator: Communicator) -> list[list[int]]:
    """Structures of this rank, in the sets in which `root_of` asks for them."""
    leaves = leaves_of(source.counts, n_features)
    return [leaves[index] for index in owned(len(leaves), communicator)]


def _n_included(source: Source) -> int:
    return int(source.counts[source.included].sum())


def _condensed(source: Source, n_features: int, communicator: Communicator, how: How) -> Floats | InputError | None:
    """What is kept of the rows of a leaf, and of two such; at the root."""
    leaves, each = leaves_of(source.counts, n_features), source.alone()
    of_rows, of_both = how

    def leaf(index: int) -> Floats | InputError:
        try:
            return of_rows(stacked(each, [s for s in leaves[index] if source.included[s]], n_features))
        except InputError as error:
            return error

    def merge(left: Floats | InputError, right: Floats | InputError) -> Floats | InputError:
        if isinstance(left, InputError):
            return left
        return right if isinstance(right, InputError) else of_both(left, right)

    return reduce_tree(len(leaves), leaf, merge, communicator, source.threads)


def stacked(source: Source, structures: list[int], n_features: int) -> Floats:
    """Weighted rows and, in the last column, targets (m, F + 1) of some structures.

    Raises
    ------
    InputError
        A row or a target is not finite.
    """
    rows = np.empty((int(source.counts[structures].sum()), n_features + 1))
    start = 0
    for block in source.blocks(structures):
        stop = start + len(block.targets)
        np.divide(block.rows, block.sigma[:, None], out=rows[start:stop, :-1])
        np.divide(block.targets, block.sigma, out=rows[start:stop, -1])
        start = stop
    if not np.isfinite(rows).all():
        raise InputError("rows or labels are not finite; remove the damaged label")
    return rows


def parts_of(counts: Ints) -> list[slice]:
    """Neighbouring structures in sets of about equal numbers of rows, few enough to hold several times."""
    total = int(counts.sum())
    number = max(1, round(total / ROWS_AT_ONCE))
    part = ((np.cumsum(counts) - 0.5 * counts) * number / max(total, 1)).astype(int)
    edges = np.flatnonzero(np.diff(part, prepend=-1, append=-1))
    return [slice(int(start), int(stop)) for start, stop in pairwise(edges)]


def _products(rows: Floats) -> Floats:
    """XᵀX (n, n) of rows X (m, n), above its diagonal."""
    n = rows.shape[1]
    products: Floats = blas.dsyrk(1.0, rows.T) if len(rows) else np.zeros((n, n), order="F")
    return products


def _sum(left: Floats, right: Floats) -> Floats:
    left += right
    return left
