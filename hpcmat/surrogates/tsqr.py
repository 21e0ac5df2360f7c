r"""Tall and skinny QR: the triangle R of X = Q R from rows that are never all in memory, on any number of processes.

    Rᵀ R = Xᵀ X,     R of [R₁; R₂] from the triangles of two sets of rows

(Demmel, Grigori, Hoemmen and Langou, SIAM J. Sci. Comput. 34 (2012) A206). R keeps the digits that Xᵀ X loses when the
condition of X is above 1e8. Leaves are sets of rows, joined along a binary tree that depends on the number of leaves
alone: each process works on its own leaves, and however many there are, the same triangles are joined in the same
order, so that the result is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from hpcmat.surrogates.communicator import Communicator
from hpcmat_kernels.threads import in_parallel

Floats = NDArray[np.float64]
T = TypeVar("T")

PANEL = 48
"""Columns per block of the blocked QR; 32 to 64 are equally fast between 200 and 6000 columns."""


def triangle_of(rows: Floats) -> Floats:
    """R (n, n) of rows (m, n), which are overwritten where they lie in Fortran order; m may be smaller than n."""
    m, n = rows.shape
    if m == 0:
        return np.zeros((n, n), order="F")
    packed = lapack.dgeqrt(min(PANEL, m, n), rows, overwrite_a=1)[0]
    triangle = np.zeros((n, n), order="F")
    triangle[: min(m, n)] = np.triu(packed[: min(m, n)])
    return triangle


def join(upper: Floats, lower: Floats) -> Floats:
    """R of two triangles (n, n) on top of each other; both may be overwritten."""
    n = len(upper)
    joined: Floats = lapack.dtpqrt(n, min(PANEL, n), upper, lower, overwrite_a=1, overwrite_b=1)[0]
    return joined


def shortened(rows: Floats) -> Floats:
    """The triangle (n, n) of rows (m, n), or the rows where they are fewer: those are short already.

    Rows may be overwritten where they lie in Fortran order.
    """
    return rows if len(rows) < rows.shape[1] else triangle_of(rows)


def join_shortened(left: Floats, right: Floats) -> Floats:
    """What `shortened` makes of both sets of rows together, from what it made of each; both may be overwritten."""
    n = left.shape[1]
    short, long = sorted((left, right), key=len)
    if len(long) < n:
        return shortened(np.asfortranarray(np.concatenate([left, right])))
    if len(short) == n:
        return join(left, right)
    if not len(short):
        return long
    joined: Floats = lapack.dtpqrt(0, min(PANEL, n), long, short, overwrite_a=1, overwrite_b=1)[0]
    return joined


def reduce_tree(
    leaves: int, leaf: Callable[[int], T], merge: Callable[[T, T], T], communicator: Communicator, threads: int = 1
) -> T | None:
    """Merge leaves 0 .. pairwise along a binary tree; the result at the root, None elsewhere.

    `leaf` is called with the leaves of this rank alone, with threads > 1 by several at a time. Between ranks the right
    half goes to the owner of the left.
    """
    tree = _Tree(leaves, leaf, merge, communicator, {})

    def prepare(piece: tuple[int, int]) -> None:
        tree.ready.update({branch: tree.node(*branch) for branch in branches[slice(*piece)]})

    if threads > 1:
        branches = [branch for branch in _branches(0, leaves, threads) if tree.is_mine(*branch)]
        in_parallel(prepare, len(branches), threads)
    return tree.node(0, leaves)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, eq=False)
class _Tree:
    """Not a function that calls itself: that would refer to itself, and keep all that its leaves hold."""

    leaves: int
    leaf: Callable[[int], Any]
    merge: Callable[[Any, Any], Any]
    communicator: Communicator
    ready: dict[tuple[int, int], Any]
    """Branches that are merged already."""

    def owner(self, number: int) -> int:
        """Rank of a leaf."""
        return number * self.communicator.size // self.leaves

    def is_mine(self, start: int, stop: int) -> bool:
        """Whether all leaves of a branch are of this rank."""
        return self.owner(start) == self.owner(stop - 1) == self.communicator.rank

    def node(self, start: int, stop: int) -> Any:
        """A branch, merged, at the owner of its first leaf; None elsewhere."""
        mine, rank, middle = self.owner(start), self.communicator.rank, (start + stop) // 2
        if (start, stop) in self.ready:
            return self.ready.pop((start, stop))
        if stop - start == 1:
            return self.leaf(start) if mine == rank else None
        other = self.owner(middle)
        left, right = self.node(start, middle), self.node(middle, stop)
        if mine == other == rank:
            return self.merge(left, right)
        if other == rank:
            self.communicator.send(right, mine)
        elif mine == rank:
            return self.merge(left, self.communicator.receive(other))
        return None


def _branches(start: int, stop: int, number: int) -> list[tuple[int, int]]:
    """At least so many neighbouring branches of the tree, or all its leaves."""
    if number <= 1 or stop - start == 1:
        return [(start, stop)]
    middle, half = (start + stop) // 2, (number + 1) // 2
    return _branches(start, middle, half) + _branches(middle, stop, half)


def owned(leaves: int, communicator: Communicator) -> range:
    """Leaves that `reduce_tree` asks of this rank."""
    bounds = [-(-rank * leaves // communicator.size) for rank in (communicator.rank, communicator.rank + 1)]
    return range(*bounds)
