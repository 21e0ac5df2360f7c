r"""Noise that is not the same everywhere: a monotone function of how little the posterior knows.

What the features cannot express is not spread evenly: atoms near a crystal's sites are described far better than those
of a melt or a surface, and the same atoms have a larger epistemic variance, because fewer labels are like them. The
noise variance is therefore a function of such variances v_j, in units of the constant noise s₀ of the posterior,

    s²(v) = s₀² exp(Σ_j h_j(log v_j)),

with each h_j linear between knots, constant below the first, never falling, and continued with its last slope above the
last. The knots' values have the greatest penalised likelihood of left-out residuals,

    Σ w [log(s² + e) + ⟨r²⟩ / (s² + e)] / 2 + Σ_j {c Σ_k [d_jk + exp(-d_jk)] / 2 + smoothness ∫ h_j''² / 2},

e the epistemic variance of the residual, d = h - h⁰. The second term, c pseudo-rows at each knot, pulls to h⁰ and wins
where there are few data. h⁰ is 0, the constant noise; but of a quantity that symmetry can hold at zero, as it can a
force, it falls in proportion to the variances where they lie far below the usual ones: an atom held by symmetry has
neither an epistemic variance nor a misfit, since both respect the symmetry. In perfect crystals of silicon its force is
off by 2e-6 eV/Å, and no atom elsewhere is to pay for that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag
from scipy.optimize import minimize

from hpcmat.errors import InputError

Floats = NDArray[np.float64]

KNOT_SPACING = 1.0
"""In log v."""
USUAL_RANGE = 12.0
"""In log v, below the last knot: what lies further down belongs to atoms held by symmetry, or nearly so."""
WIDE_SPACING = 4.0
"""In log v, of the knots down there."""
QUANTILES = (0.02, 0.999)
"""Quantiles of log v at the first and the last knot."""
PSEUDO_ROWS = 0.02
"""Rows at each knot whose mean square residual is s₀² exp(h⁰): they keep the noise from vanishing where a few labels
happen to be exact, since exp(d) stays above about `PSEUDO_ROWS` over the number of rows near the knot. Five-fold, and
with 12 and 25 training structures, 0.01 to 0.03 gave the rms z nearest to 1 on Si, Cu and Li; 0.003 gave 2.0 for 12 of
copper."""
SMOOTHNESS = 1.0
LARGEST_LAST_SLOPE = 1.0
"""Of all terms together: above their last knots the noise variance grows at most like the epistemic one."""
SMALLEST_LOG = float(np.log(1e-12))
"""Least h: noise stays above a millionth of the constant one, about the last digit of a label, also for atoms held by
symmetry."""
LARGEST_LOG = float(np.log(1e6))
NOT_ZERO = 1e-30
"""Least v, for the logarithm."""


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """One h: linear between its knots."""

    knots: Floats
    """(k,) increasing values of log v"""
    values: Floats
    """(k,) h at the knots, not falling"""


@dataclass(frozen=True, slots=True, eq=False)
class GradedNoise:
    """Noise as a function of variances."""

    constant: float
    """s₀ in the unit of the quantity."""
    terms: tuple[Term, ...] = ()
    """One for each argument; none where the noise is constant."""

    def variance(self, arguments: ArrayLike) -> Floats:
        """Noise variance (n,) in the squared unit of `constant`; always positive.

        Parameters
        ----------
        arguments : (n, number of terms or more) v_j ≥ 0, without unit; what no term asks for is ignored.
        """
        v = np.asarray(arguments, dtype=np.float64)
        if not self.terms:
            return np.full(len(v), self.constant**2)
        u = _logarithm(v)
        exponent = sum(_hats(u[:, j], term.knots) @ term.values for j, term in enumerate(self.terms))
        noise: Floats = self.constant**2 * np.exp(np.clip(exponent, SMALLEST_LOG, LARGEST_LOG))
        return noise

    def scaled(self, factor: float) -> GradedNoise:
        """The noise with its standard deviation multiplied by `factor` > 0."""
        if not self.terms:
            return GradedNoise(self.constant * factor)
        first, *others = self.terms
        return GradedNoise(self.constant, (Term(first.knots, first.values + 2.0 * np.log(factor)), *others))


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Left-out residuals, whose noise is sought. All in units of s₀."""

    square: Floats
    """(m,) mean square residual"""
    epistemic: Floats
    """(m,) its epistemic variance"""
    arguments: Floats
    """(m, terms) v_j"""
    weight: float
    """Of each in the likelihood: less than 1 where they are not independent, more where one is a mean over several."""
    symmetric: bool = False
    """Whether symmetry can hold the quantity at zero."""


def fit_graded_noise(observed: Observed, constant: float) -> GradedNoise:
    """Noise with the greatest penalised likelihood.

    Parameters
    ----------
    constant : s₀ > 0, in the unit of the quantity.

    Raises
    ------
    InputError
        Shapes do not match, a number is not finite, a variance is negative or the constant is not positive.
    """
    _check(observed, constant)
    u = _logarithm(observed.arguments)
    if not len(u) or np.ptp(u, axis=0).max() < KNOT_SPACING:
        return GradedNoise(constant)
    return GradedNoise(constant, _most_likely(u, observed))


def _check(observed: Observed, constant: float) -> None:
    m = len(observed.square)
    if observed.square.shape != (m,) or observed.epistemic.shape != (m,) or len(observed.arguments) != m:
        raise InputError("residuals (m,), variances (m,) and arguments (m, terms) do not match; pass as many of each")
    arrays = (observed.square, observed.epistemic, observed.arguments)
    if not all(np.isfinite(array).all() for array in (*arrays, constant)):
        raise InputError("residuals and variances must be finite; remove the damaged label")
    if constant <= 0 or any(array.size and array.min() < 0 for array in arrays):
        raise InputError("the constant noise must be positive and no variance negative; check the posterior")


def _logarithm(variance: Floats) -> Floats:
    logarithm: Floats = np.log(np.maximum(variance, NOT_ZERO))
    return logarithm


def _knots(u: Floats, symmetric: bool) -> Floats:
    """Evenly spaced over the usual range of u (m,); further apart below it, where symmetry may hold the quantity."""
    first, last = np.quantile(u, QUANTILES)
    bottom = max(first, last - USUAL_RANGE)
    last = max(last, bottom + KNOT_SPACING)
    usual = np.linspace(bottom, last, max(3, round((last - bottom) / KNOT_SPACING) + 1))
    n_below = round((bottom - first) / WIDE_SPACING) if symmetric else 0
    below = np.linspace(first, bottom, n_below + 1)[:-1] if n_below else np.empty(0)
    knots: Floats = np.concatenate([below, usual])
    return knots


def _bend(knots: Floats) -> Floats:
    """B (k - 2, k) with |B h|² = ∫ h''² for h linear between knots, its kinks spread over the spacing."""
    left, right = np.diff(knots)[:-1], np.diff(knots)[1:]
    inner, bend = np.arange(len(left)), np.zeros((len(left), len(knots)))
    width = np.sqrt((left + right) / 2)
    bend[inner, inner], bend[inner, inner + 2] = 1 / (left * width), 1 / (right * width)
    bend[inner, inner + 1] = -bend[inner, inner] - bend[inner, inner + 2]
    return bend


def _hats(u: Floats, knots: Floats) -> Floats:
    """Weights (m, k) of the knots' values: linear between knots, constant below, continued above."""
    left = np.clip(np.searchsorted(knots, u) - 1, 0, len(knots) - 2)
    t = np.maximum((u - knots[left]) / (knots[left + 1] - knots[left]), 0.0)
    weights, rows = np.zeros((len(u), len(knots))), np.arange(len(u))
    weights[rows, left], weights[rows, left + 1] = 1.0 - t, t
    return weights


def _most_likely(u: Floats, observed: Observed) -> tuple[Term, ...]:
    """Terms; the unknowns of each are its first value and its steps, which keeps it from falling."""
    knots = [_knots(column, observed.symmetric) for column in u.T]
    steps = block_diag(*(np.tril(np.ones((len(k), len(k)))) for k in knots))
    hats = np.concatenate([_hats(column, k) for column, k in zip(u.T, knots, strict=True)], axis=1) @ steps
    bend = block_diag(*(_bend(k) for k in knots))
    expected = np.concatenate([np.minimum(k - (k[-1] - USUAL_RANGE), 0.0) / len(knots) for k in knots])
    penalty = SMOOTHNESS * steps.T @ bend.T @ bend @ steps

    def cost(x: Floats) -> tuple[float, Floats]:
        noise = np.exp(np.clip(hats @ x, SMALLEST_LOG, LARGEST_LOG))
        total = noise + observed.epistemic
        likelihood = float(np.sum(np.log(total) + observed.square / total))
        slope = hats.T @ ((1.0 - observed.square / total) / total * noise)
        d = steps @ x - expected
        inverse = np.exp(-d)
        value = observed.weight * likelihood + PSEUDO_ROWS * float(np.sum(d + inverse)) + float(x @ penalty @ x)
        gradient = 0.5 * observed.weight * slope + 0.5 * PSEUDO_ROWS * steps.T @ (1.0 - inverse) + penalty @ x
        return 0.5 * value, gradient

    start, bounds = np.zeros(len(steps)), [bound for k in knots for bound in _bounds(k, len(knots))]
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500})
    values = np.split(steps @ found.x, np.cumsum([len(k) for k in knots])[:-1])
    return tuple(Term(k, value) for k, value in zip(knots, values, strict=True))


def _bounds(knots: Floats, n_terms: int) -> list[tuple[float, float]]:
    last = LARGEST_LAST_SLOPE / n_terms * (knots[-1] - knots[-2])
    return [(SMALLEST_LOG, LARGEST_LOG), *[(0.0, np.inf)] * (len(knots) - 2), (0.0, last)]
