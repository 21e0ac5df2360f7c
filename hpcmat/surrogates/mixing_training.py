r"""Training of the channel mixing W by variable projection (Golub & Pereyra, SIAM J. Numer. Anal. 10 (1973) 413).

The energies are linear in the coefficients θ and polynomial in W. With rows X(W) of the labels and J = ∂(Xθ)/∂W at the
best θ, all divided by the target errors, a Gauss-Newton step over both at once gives

    δW = [β Jᵀ J - β² Jᵀ X S Xᵀ J + Λ]⁻¹ β Jᵀ (y - Xθ)

with S, β the posterior for the present W: what θ can follow is projected out of the curvature. Each step is followed by
the exact posterior of the new basis and kept where its evidence is higher. W learns from some of the structures only;
the others have not been seen by it, so that their left-out residuals still tell the truth.

With several elements one step serves the W of every central element, so that each of its unknowns is learnt from all
atoms: W^z_{l,(z'k),c} of different z begin apart and keep their difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, cho_factor, cho_solve

from hpcmat.records import Label
from hpcmat.surrogates.ace import AceBasis, cell_volume
from hpcmat.surrogates.communicator import SERIAL, Communicator, at_root
from hpcmat.surrogates.cutoff import sampled_scales
from hpcmat.surrogates.evidence import Scales
from hpcmat.surrogates.fitting import prior_of, rows_of
from hpcmat.surrogates.label_rows import LabelRows
from hpcmat.surrogates.outliers import fit_sound
from hpcmat.surrogates.posterior import Posterior, fit_coefficients
from hpcmat.surrogates.rows import leaves_of, parts_of, stacked
from hpcmat.surrogates.tsqr import reduce_tree
from hpcmat_kernels.ace import Coefficients, split_coefficients
from hpcmat_kernels.mixing import mixing_rows
from hpcmat_kernels.threads import in_parallel

Floats = NDArray[np.float64]

STEPS = 4
"""More steps lower the error on the labels seen and hardly that on others."""
DAMPING = 0.03
"""Λ in units of the curvature: a step moves W by about its own size."""
LEAST_CURVATURE = 1e-3
"""Λ is that of directions with at least this fraction of the median curvature."""
SHARE = 0.6
"""Share of the structures that W learns from."""
FEWEST_STRUCTURES = 40
"""With fewer labels than this the random W stays."""
COLUMNS_AT_ONCE = 512
"""Columns of J that one thread multiplies at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """Rows in one basis, with the posterior of its coefficients."""

    rows: LabelRows
    posterior: Posterior

    @property
    def basis(self) -> AceBasis:
        return self.rows.basis


def chosen_for_mixing(n_structures: int, seed: int) -> NDArray[np.bool_]:
    """Which structures W learns from (n,); none where there are too few."""
    chosen = np.zeros(n_structures, dtype=bool)
    if n_structures >= FEWEST_STRUCTURES:
        order = np.random.default_rng(seed).permutation(n_structures)
        chosen[order[: round(SHARE * n_structures)]] = True
    return chosen


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Over rows of some structures, in units of the target errors."""

    square: Floats
    """Jᵀ J (G, G) of the G numbers in W, above the diagonal."""
    cross: Floats
    """Xᵀ J (F, G)"""
    slope: Floats
    """Jᵀ (y - Xθ) (G,)"""

    def add(self, other: _Sums) -> _Sums:
        """The same object, with another's sums in it."""
        for mine, theirs in ((self.square, other.square), (self.cross, other.cross), (self.slope, other.slope)):
            mine += theirs
        return self


def train_mixing(
    labels: tuple[Label, ...],
    start: AceBasis,
    threads: int = 1,
    tell: Callable[[str], None] = lambda _line: None,
    communicator: Communicator = SERIAL,
) -> tuple[AceBasis, Scales]:
    """The basis with W trained on these labels, and the scales of its coefficients.

    Ranks that give the same labels share the work and get the same.

    Parameters
    ----------
    start : the basis with the W to begin with.
    tell : is given one line per step.
    """
    best = _first(labels, start, threads, communicator)
    labels = best.rows.labels
    for step in range(STEPS):
        basis = start.with_mixing(best.basis.model.mixing + _gauss_newton(best, communicator))
        # Two sets of rows at a time would be twice the memory.
        best.rows.kept.clear()
        new = _judge(rows_of(labels, basis, threads), communicator, best.posterior.scales)
        gain = new.posterior.log_evidence - best.posterior.log_evidence
        tell(f"channel mixing, step {step + 1} of {STEPS}: log evidence {gain:+.0f}")
        if gain <= 0:
            break
        best = new
    return best.basis, best.posterior.scales


def _first(labels: tuple[Label, ...], basis: AceBasis, threads: int, communicator: Communicator) -> _Judged:
    """The start, without labels that contradict all others: W would follow them."""
    near = at_root(lambda: sampled_scales(labels, basis, threads), communicator)
    fit = fit_sound(rows_of(labels, basis, threads), prior_of(basis), communicator, near, rough=True)
    if not fit.dropped:
        return _Judged(fit.rows, fit.posterior)
    sound = tuple(label for label, included in zip(labels, fit.rows.included, strict=True) if included)
    return _judge(rows_of(sound, basis, threads), communicator, fit.posterior.scales)


def _judge(rows: LabelRows, communicator: Communicator, near: Scales) -> _Judged:
    return _Judged(rows, fit_coefficients(rows, prior_of(rows.basis), communicator, near, rough=True))


def _gauss_newton(judged: _Judged, communicator: Communicator) -> Floats:
    """δW (1, l, Q, C), the same for all central elements."""
    leaves = leaves_of(judged.rows.counts, len(judged.posterior.mean))
    sums = reduce_tree(len(leaves), lambda index: _sums(judged, leaves[index]), _Sums.add, communicator)
    step: Floats = communicator.broadcast(None if sums is None else _step(judged, sums))
    return step.reshape(1, *judged.basis.model.mixing.shape[1:])


def _sums(judged: _Judged, structures: list[int]) -> _Sums:
    mean, n_g = judged.posterior.mean, judged.basis.model.mixing[0].size
    square, cross, slope = np.zeros((n_g, n_g)), np.zeros((len(mean), n_g)), np.zeros(n_g)
    for part in parts_of(judged.rows.counts[structures]):
        rows, jacobian = stacked(judged.rows, structures[part], len(mean)), _jacobian(judged, structures[part])
        x, y = rows[:, :-1], rows[:, -1]
        slope += jacobian.T @ (y - x @ mean)
        _by_columns(partial(_add_products, x, jacobian, (square, cross)), judged)
    return _Sums(square, cross, slope)


def _step(judged: _Judged, sums: _Sums) -> Floats:
    beta, square = judged.posterior.beta, sums.square
    _by_columns(partial(_follow, sums.cross, judged), judged)
    _by_columns(partial(_subtract, square, sums.cross, beta), judged)
    diagonal = np.diag(square).copy()
    square[np.diag_indices_from(square)] += DAMPING * np.maximum(diagonal, LEAST_CURVATURE * np.median(diagonal))
    step: Floats = cho_solve(cho_factor(square), beta * sums.slope)
    return step


def _by_columns(work: Callable[[slice], None], judged: _Judged) -> None:
    """Call `work` with sets of columns of W, by all threads; the sets do not depend on their number."""
    n_g = judged.basis.model.mixing[0].size
    bounds = [*range(0, n_g, COLUMNS_AT_ONCE), n_g]

    def some(piece: tuple[int, int]) -> None:
        for number in range(*piece):
            work(slice(bounds[number], bounds[number + 1]))

    in_parallel(some, len(bounds) - 1, judged.rows.threads)


def _add_products(x: Floats, jacobian: Floats, products: tuple[Floats, Floats], columns: slice) -> None:
    """Add to some columns of JᵀJ, above its diagonal, and of XᵀJ."""
    square, cross = products
    square[: columns.stop, columns] += jacobian[:, : columns.stop].T @ jacobian[:, columns]
    cross[:, columns] += x.T @ jacobian[:, columns]


def _follow(cross: Floats, judged: _Judged, columns: slice) -> None:
    """β Rᵀ XᵀJ in place of XᵀJ."""
    cross[:, columns] = blas.dtrmm(judged.posterior.beta, judged.posterior.factor, cross[:, columns], trans_a=1)


def _subtract(square: Floats, followed: Floats, beta: float, columns: slice) -> None:
    """β JᵀJ - β² JᵀX S XᵀJ in place of JᵀJ."""
    above = slice(columns.stop), columns
    square[above] = beta * square[above] - followed[:, above[0]].T @ followed[:, columns]


def _jacobian(judged: _Judged, structures: list[int]) -> Floats:
    """J of some structures over the target errors, for one step of the W of all elements; rows as of their labels."""
    basis, source = judged.basis, judged.rows
    coefficients = split_coefficients(basis.model, basis.whole(judged.posterior.mean[1:]))
    edges = np.append(0, np.cumsum(source.counts[structures]))
    jacobian = np.empty((edges[-1], basis.model.mixing[0].size))

    def work(piece: tuple[int, int]) -> None:
        for place in range(*piece):
            mine = jacobian[edges[place] : edges[place + 1]]
            _fill(mine, basis, coefficients, source.labels[structures[place]])
            mine /= source.sigma(structures[place])[:, None]

    in_parallel(work, len(structures), source.threads)
    return jacobian


def _fill(jacobian: Floats, basis: AceBasis, coefficients: Coefficients, label: Label) -> None:
    """∂(Xθ)/∂W of one label (m, G)."""
    structure, forces = label.structure, 1 + 3 * len(label.structure)
    rows = mixing_rows(basis.model, coefficients, basis.neighbors(structure), basis.species(structure.symbols))
    jacobian[0], jacobian[1:forces] = rows.energy / len(structure), rows.forces
    if len(jacobian) > forces:
        jacobian[forces:] = rows.virial / cell_volume(structure)
