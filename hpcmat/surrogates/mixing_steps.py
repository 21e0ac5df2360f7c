r"""One Gauss-Newton step of the channel mixing.

From rows X, their slopes J by W and residuals r, all over the target errors, it is

    (C + Λ) δW = β Jᵀ r,     C = β Jᵀ J - β² Jᵀ X S Xᵀ J

The first step multiplies C out, which takes as long as all else together. The steps after it are near: there conjugate
gradients with the first C + Λ as preconditioner need C times a few vectors only, through X and J that stay in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, cho_factor, cho_solve
from scipy.sparse.linalg import LinearOperator, cg

from hpcmat.records import Label
from hpcmat.surrogates.ace import AceBasis, cell_volume
from hpcmat.surrogates.communicator import Communicator
from hpcmat.surrogates.label_rows import LabelRows
from hpcmat.surrogates.posterior import Posterior
from hpcmat.surrogates.rows import leaves_of, stacked
from hpcmat.surrogates.tsqr import owned, reduce_tree
from hpcmat_kernels.ace import Coefficients, split_coefficients
from hpcmat_kernels.mixing import mixing_rows
from hpcmat_kernels.threads import in_parallel

Floats = NDArray[np.float64]

DAMPING = 0.03
"""Λ in units of the curvature: a step moves W by about its own size."""
LEAST_CURVATURE = 1e-3
"""Λ is that of directions with at least this fraction of the median curvature."""
ITERATIONS = 12
"""Of conjugate gradients: on acetylacetone they gain nine tenths of what C, multiplied out anew, would. Their number is
fixed, so that all ranks do the same."""
COLUMNS_AT_ONCE = 512
"""Columns of J that one thread multiplies at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class _Leaf:
    """Rows of some structures."""

    x: Floats
    """X (m, F)"""
    residual: Floats
    """y - Xθ (m,)"""
    jacobian: Floats
    """J (m, G) by the G numbers in W."""

    def slope(self) -> Floats:
        """Jᵀ r (G,)."""
        slope: Floats = self.jacobian.T @ self.residual
        return slope


@dataclass(frozen=True, slots=True, eq=False)
class _Products:
    """Sums over rows."""

    square: Floats
    """Jᵀ J (G, G), above the diagonal."""
    cross: Floats
    """Xᵀ J (F, G)"""

    def add(self, other: _Products) -> _Products:
        """The same object, with another's sums in it."""
        for mine, theirs in ((self.square, other.square), (self.cross, other.cross)):
            mine += theirs
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Damped:
    """C + Λ of one step, for the steps after it."""

    factor: tuple[Floats, bool] | None
    """As of `cho_factor`; at the root."""
    damping: Floats
    """Λ (G,), everywhere."""

    def inverse_times(self, step: Floats) -> Floats | None:
        """(C + Λ)⁻¹ times (G,), at the root."""
        return None if self.factor is None else cho_solve(self.factor, step)


@dataclass(frozen=True, slots=True, eq=False)
class Linearised:
    """Rows and slopes of this rank's leaves, at one W and the posterior there."""

    posterior: Posterior
    leaves: dict[int, _Leaf]
    number: int
    """Of leaves of all ranks."""
    threads: int
    communicator: Communicator

    def damped(self) -> Damped:
        """C + Λ, multiplied out."""
        sums = reduce_tree(self.number, self._products, _Products.add, self.communicator)
        factor = damping = None
        if sums is not None:
            square = self._curvature(sums)
            diagonal = np.diag(square).copy()
            damping = DAMPING * np.maximum(diagonal, LEAST_CURVATURE * np.median(diagonal))
            square[np.diag_indices_from(square)] += damping
            factor = cho_factor(square, overwrite_a=True)
        return Damped(factor, self.communicator.broadcast(damping))

    def step(self, near: Damped, iterations: int) -> Floats:
        """δW (G,) by conjugate gradients, of which one is enough where `near` is the curvature here."""
        slope = self.slope()
        shape = len(slope), len(slope)
        curvature = LinearOperator(shape, lambda step: self.curvature_times(step) + near.damping * step)
        inverse = LinearOperator(shape, lambda step: self.communicator.broadcast(near.inverse_times(step)))
        found: Floats = cg(curvature, slope, rtol=0.0, maxiter=iterations, M=inverse)[0]
        return found

    def slope(self) -> Floats:
        """β Jᵀ r (G,)."""
        return self.posterior.beta * self._total(lambda index: self.leaves[index].slope())

    def curvature_times(self, step: Floats) -> Floats:
        """C δW."""
        beta, factor, moved = self.posterior.beta, self.posterior.factor, dict[int, Floats]()

        def seen_by_x(index: int) -> Floats:
            moved[index] = self.leaves[index].jacobian @ step
            return self.leaves[index].x.T @ moved[index]

        followed = beta * (factor @ (factor.T @ self._total(seen_by_x)))

        def left(index: int) -> Floats:
            leaf = self.leaves[index]
            return leaf.jacobian.T @ (moved[index] - leaf.x @ followed)

        return beta * self._total(left)

    def _total(self, of_leaf: Callable[[int], Floats]) -> Floats:
        """Sum over the leaves of all ranks, everywhere."""
        total = reduce_tree(self.number, of_leaf, np.add, self.communicator, self.threads)
        found: Floats = self.communicator.broadcast(total)
        return found

    def _products(self, index: int) -> _Products:
        leaf = self.leaves[index]
        n_g = leaf.jacobian.shape[1]
        products = _Products(np.zeros((n_g, n_g)), np.zeros((leaf.x.shape[1], n_g)))
        self._by_columns(partial(_multiply, leaf, products), n_g)
        return products

    def _curvature(self, sums: _Products) -> Floats:
        """C in place of JᵀJ."""
        n_g = len(sums.square)
        self._by_columns(partial(_follow, sums.cross, self.posterior), n_g)
        self._by_columns(partial(_subtract, sums.square, sums.cross, self.posterior.beta), n_g)
        return sums.square

    def _by_columns(self, work: Callable[[slice], None], n_g: int) -> None:
        """Call `work` with sets of columns of W, by all threads; the sets do not depend on their number."""
        bounds = [*range(0, n_g, COLUMNS_AT_ONCE), n_g]

        def some(piece: tuple[int, int]) -> None:
            for number in range(*piece):
                work(slice(bounds[number], bounds[number + 1]))

        in_parallel(some, len(bounds) - 1, self.threads)


def linearised(rows: LabelRows, posterior: Posterior, communicator: Communicator) -> Linearised:
    """The rows of the posterior and their slopes by W."""
    leaves = leaves_of(rows.counts, len(posterior.mean))
    mine = {index: _leaf(rows, posterior, leaves[index]) for index in owned(len(leaves), communicator)}
    return Linearised(posterior, mine, len(leaves), rows.threads, communicator)


def slopes(basis: AceBasis, coefficients: Coefficients, label: Label, out: Floats) -> None:
    """∂(Xθ)/∂W of one label into (m, G), for one step of the W of all elements; rows as of `LabelRows`."""
    structure, forces = label.structure, 1 + 3 * len(label.structure)
    rows = mixing_rows(basis.model, coefficients, basis.neighbors(structure), basis.species(structure.symbols))
    out[0], out[1:forces] = rows.energy / len(structure), rows.forces
    if len(out) > forces:
        out[forces:] = rows.virial / cell_volume(structure)


def _leaf(source: LabelRows, posterior: Posterior, structures: list[int]) -> _Leaf:
    rows = stacked(source, structures, len(posterior.mean))
    basis, edges = source.basis, np.append(0, np.cumsum(source.counts[structures]))
    coefficients = split_coefficients(basis.model, basis.whole(posterior.mean[1:]))
    jacobian = np.empty((len(rows), basis.model.mixing[0].size))

    def work(piece: tuple[int, int]) -> None:
        for place in range(*piece):
            mine = jacobian[edges[place] : edges[place + 1]]
            slopes(basis, coefficients, source.labels[structures[place]], mine)
            mine /= source.sigma(structures[place])[:, None]

    in_parallel(work, len(structures), source.threads)
    return _Leaf(rows[:, :-1], rows[:, -1] - rows[:, :-1] @ posterior.mean, jacobian)


def _multiply(leaf: _Leaf, products: _Products, columns: slice) -> None:
    """Some columns of JᵀJ, above its diagonal, and of XᵀJ."""
    some = leaf.jacobian[:, columns]
    products.square[: columns.stop, columns] = leaf.jacobian[:, : columns.stop].T @ some
    products.cross[:, columns] = leaf.x.T @ some


def _follow(cross: Floats, posterior: Posterior, columns: slice) -> None:
    """β Rᵀ XᵀJ in place of XᵀJ."""
    cross[:, columns] = blas.dtrmm(posterior.beta, posterior.factor, cross[:, columns], trans_a=1)


def _subtract(square: Floats, followed: Floats, beta: float, columns: slice) -> None:
    """β JᵀJ - β² JᵀX S XᵀJ in place of JᵀJ."""
    above = slice(columns.stop), columns
    square[above] = beta * square[above] - followed[:, above[0]].T @ followed[:, columns]
