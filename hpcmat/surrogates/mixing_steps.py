r"""One Gauss-Newton step of the channel mixing.

From rows X, their slopes J by W and residuals r, all over the target errors, it is

    (C + Λ) δW = β Jᵀ r,     C = β Jᵀ M J,     M = 1 - β X S Xᵀ

C is never multiplied out: that would take as long as all else together, and conjugate gradients need it times a few
vectors only, through X and J that stay in memory. What θ can follow is nearly all of JᵀJ, one part in 1e5 remains on
acetylacetone, so that Λ and the preconditioner are of what is left: with random signs z the mean square of β½ JᵀM z is
the diagonal of β JᵀM²J, two thirds of that of C.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
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
Singles = NDArray[np.float32]

DAMPING = 0.2
"""Λ in units of that diagonal. With a quarter of it steps on acetylacetone are so long that from the second on they
gain half of what they promise; with three times as much they are too short."""
LEAST_CURVATURE = 1e-3
"""Λ is that of directions with at least this fraction of the median curvature."""
ITERATIONS = 16
"""Of conjugate gradients: on acetylacetone they gain 97 % of what the exact step does. Their number is fixed, so that
all ranks do the same."""
KEPT = 0.8
"""Share of the step before at which they begin (Martens, Proc. 27th Int. Conf. Mach. Learn. (2010) 735): directions of
small curvature, which a few of them do not reach, are sought on from step to step."""
PROBES = 32
"""Vectors of random signs: they tell the curvature of each number in W to a quarter, which serves as well as its digits
would."""


@dataclass(frozen=True, slots=True, eq=False)
class _Leaf:
    """Rows of some structures."""

    x: Floats
    """X (m, F)"""
    residual: Floats
    """y - Xθ (m,)"""
    jacobian: Singles
    """J (m, G) by the G numbers in W, in half the memory: its products take most of the time of a step."""

    def times(self, step: Floats) -> Floats:
        """J δW (m,)."""
        return (self.jacobian @ step.astype(np.float32)).astype(np.float64)

    def back(self, vectors: Floats) -> Floats:
        """Jᵀ v (G, ..) of vectors over rows (m, ..)."""
        return (self.jacobian.T @ vectors.astype(np.float32)).astype(np.float64)

    def signs(self, seed: int) -> Floats:
        """Vectors of random signs (m, PROBES)."""
        return np.random.default_rng(seed).choice([-1.0, 1.0], size=(len(self.residual), PROBES))


@dataclass(frozen=True, slots=True, eq=False)
class Linearised:
    """Rows and slopes of this rank's leaves, at one W and the posterior there."""

    posterior: Posterior
    leaves: dict[int, _Leaf]
    number: int
    """Of leaves of all ranks."""
    threads: int
    communicator: Communicator

    def step(self, before: Floats, iterations: int = ITERATIONS) -> Floats:
        """δW (G,) after the step `before`, which may be zero."""
        slope, curvature = self.slope(), self.curvature()
        damping = damping_of(curvature)
        shape = len(slope), len(slope)
        damped = LinearOperator(shape, lambda step: self.curvature_times(step) + damping * step)
        nearly = LinearOperator(shape, lambda step: step / (curvature + damping))
        found: Floats = cg(damped, slope, KEPT * before, rtol=0.0, maxiter=iterations, M=nearly)[0]
        return found

    def slope(self) -> Floats:
        """β Jᵀ r (G,)."""
        return self.posterior.beta * self._total(lambda index: self.leaves[index].back(self.leaves[index].residual))

    def curvature(self) -> Floats:
        """β JᵀM²J, its diagonal (G,)."""
        curvature: Floats = np.mean(self._left(lambda index: self.leaves[index].signs(index)) ** 2, axis=1)
        return self.posterior.beta * curvature

    def curvature_times(self, step: Floats) -> Floats:
        """C δW."""
        return self.posterior.beta * self._left(lambda index: self.leaves[index].times(step))

    def _left(self, of_leaf: Callable[[int], Floats]) -> Floats:
        """JᵀM v of vectors v over rows, those of one leaf at a time."""
        beta, factor, vectors = self.posterior.beta, self.posterior.factor, dict[int, Floats]()

        def seen_by_x(index: int) -> Floats:
            vectors[index] = of_leaf(index)
            return self.leaves[index].x.T @ vectors[index]

        followed = beta * (factor @ (factor.T @ self._total(seen_by_x)))

        def left(index: int) -> Floats:
            leaf = self.leaves[index]
            return leaf.back(vectors[index] - leaf.x @ followed)

        return self._total(left)

    def _total(self, of_leaf: Callable[[int], Floats]) -> Floats:
        """Sum over the leaves of all ranks, everywhere."""
        total = reduce_tree(self.number, of_leaf, np.add, self.communicator, self.threads)
        found: Floats = self.communicator.broadcast(total)
        return found


def damping_of(curvature: Floats) -> Floats:
    """Λ (G,) from the diagonal of β JᵀM²J."""
    damping: Floats = DAMPING * np.maximum(curvature, LEAST_CURVATURE * np.median(curvature))
    return damping


def linearised(rows: LabelRows, posterior: Posterior, communicator: Communicator) -> Linearised:
    """The rows of the posterior and their slopes by W."""
    leaves, each, made = leaves_of(rows.counts, len(posterior.mean)), rows.alone(), dict[int, _Leaf]()
    mine = owned(len(leaves), communicator)

    def work(piece: tuple[int, int]) -> None:
        made.update({index: _leaf(each, posterior, leaves[index]) for index in mine[slice(*piece)]})

    in_parallel(work, len(mine), rows.threads)
    return Linearised(posterior, made, len(leaves), rows.threads, communicator)


def slopes(basis: AceBasis, coefficients: Coefficients, label: Label, out: Floats) -> None:
    """∂(Xθ)/∂W of one label into (m, G), for one step of the W of all elements; rows as of `LabelRows`."""
    structure, forces = label.structure, 1 + 3 * len(label.structure)
    pairs, species = basis.neighbors(structure), basis.species(structure.symbols)
    rows = mixing_rows(basis.model, coefficients, pairs, species, virial=len(out) > forces)
    out[0], out[1:forces] = rows.energy / len(structure), rows.forces
    if len(out) > forces:
        out[forces:] = rows.virial / cell_volume(structure)


def _leaf(source: LabelRows, posterior: Posterior, structures: list[int]) -> _Leaf:
    rows = stacked(source, structures, len(posterior.mean))
    basis, edges = source.basis, np.append(0, np.cumsum(source.counts[structures]))
    coefficients = split_coefficients(basis.model, basis.whole(posterior.mean[1:]))
    jacobian = np.empty((len(rows), basis.model.mixing[0].size), dtype=np.float32)
    for index, start, stop in zip(structures, edges[:-1], edges[1:], strict=True):
        mine = np.empty((stop - start, jacobian.shape[1]))
        slopes(basis, coefficients, source.labels[index], mine)
        jacobian[start:stop] = mine / source.sigma(index)[:, None]
    return _Leaf(rows[:, :-1], rows[:, -1] - rows[:, :-1] @ posterior.mean, jacobian)
