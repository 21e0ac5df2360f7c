r"""Training of the channel mixing W by variable projection (Golub & Pereyra, SIAM J. Numer. Anal. 10 (1973) 413).

The energies are linear in the coefficients θ and polynomial in W. With rows X(W) of the labels and J = ∂(Xθ)/∂W at the
best θ, all divided by the target errors, a Gauss-Newton step over both at once gives

    δW = [β Jᵀ J - β² Jᵀ X S Xᵀ J + Λ]⁻¹ β Jᵀ (y - Xθ)

with S, β the posterior for the present W: what θ can follow is projected out of the curvature. Each step is followed by
the posterior of the new basis and kept where its evidence is higher. W learns from some of the structures only;
the others have not been seen by it, so that their left-out residuals still tell the truth.

With several elements one step serves the W of every central element, so that each of its unknowns is learnt from all
atoms: W^z_{l,(z'k),c} of different z begin apart and keep their difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcmat.records import Label
from hpcmat.surrogates.ace import AceBasis
from hpcmat.surrogates.communicator import SERIAL, Communicator, at_root
from hpcmat.surrogates.cutoff import sampled_scales
from hpcmat.surrogates.evidence import Scales
from hpcmat.surrogates.fitting import prior_of, rows_of
from hpcmat.surrogates.label_rows import LabelRows
from hpcmat.surrogates.mixing_steps import linearised
from hpcmat.surrogates.outliers import fit_sound
from hpcmat.surrogates.posterior import Posterior, fit_coefficients

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEPS = 4
"""Each lowers the error on labels unseen by less than the one before, and takes as long."""
SHARE = 0.75
"""Share of the structures that W learns from: the more they are, the less of what it learns holds for them alone. The
others tell the noise."""
FEWEST_STRUCTURES = 40
"""With fewer labels than this the random W stays."""
LARGEST_BYTES = 1_500_000_000
"""Memory of the rows and slopes that W learns from: more of them tell little that is new."""


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """Rows in one basis, with the posterior of its coefficients."""

    rows: LabelRows
    posterior: Posterior

    @property
    def basis(self) -> AceBasis:
        return self.rows.basis


def chosen_for_mixing(counts: Ints, n_columns: int, seed: int) -> NDArray[np.bool_]:
    """Which structures W learns from (n,); none where there are too few.

    Parameters
    ----------
    counts : (n,) rows of each structure.
    n_columns : of rows and slopes together.
    """
    chosen = np.zeros(len(counts), dtype=bool)
    if len(counts) >= FEWEST_STRUCTURES:
        order = np.random.default_rng(seed).permutation(len(counts))[: round(SHARE * len(counts))]
        chosen[order[8 * n_columns * np.cumsum(counts[order]) <= LARGEST_BYTES]] = True
    return chosen


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
    labels, change = best.rows.labels, np.zeros((1, *start.model.mixing.shape[1:]))
    for step in range(STEPS):
        change = _gauss_newton(best, change, communicator)
        basis = start.with_mixing(best.basis.model.mixing + change)
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


def _gauss_newton(judged: _Judged, before: Floats, communicator: Communicator) -> Floats:
    """δW (1, l, Q, C), the same for all central elements, after the step before."""
    equations = linearised(judged.rows, judged.posterior, communicator)
    # Rows of one basis twice, or of two, would be twice the memory.
    judged.rows.kept.clear()
    return equations.step(before.ravel()).reshape(before.shape)
