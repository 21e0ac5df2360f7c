r"""Which candidate to compute next and at which fidelity: the course of the most finds per cost, and its first step.

A dear calculation finds a member of the best with the probability p of its candidate. A cheap one finds nothing and
changes probabilities. The dear value of a candidate, as a standard normal z, is u + v, where u is what a set of cheap
values will tell of it, with the variance R² that the joint posterior gives. Then

    p(u) = Φ((u - τ) / √(1 - R²)),   τ = Φ⁻¹(1 - p),   u ~ N(0, R²)

with u of all candidates drawn jointly, so that the mean of p(u) is p. A course is m cheap calculations and then the j
dear ones that look best after them; it is worth

    E[Σ of the j largest p(u)] / (j + m c),

finds per dear calculation where a cheap one costs c. Courses without cheap calculations are worth their largest p.

Cheap values in flight count as known in every course, with the integral over their outcomes done by the draws: what is
in flight is not bought again, and what is decided does not depend on what it will turn out to be. Dear calculations in
flight are in the probabilities.

The bound τ is held while cheap values come in; it moves little where many candidates compete. For a goal that is one
value u tells less of p than this says, which errs towards cheap calculations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_CHEAP = 64
"""Cheap calculations in the longest course."""
_DRAWS = 128
"""Of u; each with its mirror image, so that what is linear in them is exact."""
_LEAST_GAIN = 1.01
"""Factor by which cheap calculations must raise the finds per cost: less may be the scatter of the draws."""
_WORTH_OF_WAITING = 0.97
"""Share of the finds per cost for which a cheap calculation more is begun rather than waited for those in flight."""
_LARGEST_SHARE = 0.9999
"""Of R², where cheap values tell all."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """Candidates that a dear calculation may take up, and cheap values that may help to choose."""

    rows: Ints
    """(r,) numbers of the candidates."""
    chances: Floats
    """(r,) probabilities p to be among the best."""
    variance: Floats
    """(r,) of the dear values."""
    cheap: Floats
    """(q + k, q + k) covariance of the cheap values: first those in flight, then those that could be asked for."""
    shared: Floats
    """(r, q + k) covariance of dear and cheap values."""
    subjects: Ints
    """(k,) the row of the candidate that each cheap value to ask for is of."""

    @property
    def flying(self) -> int:
        """Cheap values in flight, q."""
        return len(self.cheap) - len(self.subjects)


@dataclass(frozen=True, slots=True)
class Step:
    """What to begin."""

    kind: Literal["dear", "cheap", "wait"]
    """To wait for cheap values in flight is worth it where the best choice after them is that much better."""
    candidate: int
    """Its number."""
    rate: float
    """Expected finds for the cost of one dear calculation."""
    dear_rate: float
    """The same without further cheap calculations."""
    cheap: int = 0
    """Cheap calculations of the course."""


def best_step(outlook: Outlook, cost: float, rng: np.random.Generator) -> Step:
    """First step of the best course.

    Parameters
    ----------
    outlook : r ≥ 1 candidates.
    cost : c of a cheap calculation, in dear ones.
    rng : of the draws.
    """
    order = _most_telling(outlook)
    rates = _rates(outlook, order, cost, rng)
    dear = rates.pop(0)
    best = int(outlook.chances.argmax())
    waits = outlook.flying > 0 and dear > _LEAST_GAIN * (1.0 + cost) * outlook.chances[best]
    size = max(rates, key=rates.__getitem__, default=0)
    if size and rates[size] > (_WORTH_OF_WAITING if waits else _LEAST_GAIN) * dear:
        return Step("cheap", int(outlook.rows[outlook.subjects[order[0]]]), rates[size], dear, size)
    if waits:
        return Step("wait", int(outlook.rows[best]), dear, dear)
    return Step("dear", int(outlook.rows[best]), float(outlook.chances[best]), dear)


def _rates(outlook: Outlook, order: Ints, cost: float, rng: np.random.Generator) -> dict[int, float]:
    """Expected finds per cost of the best course with m cheap calculations, by m."""
    told = _told(outlook, order)
    draws = rng.standard_normal((_DRAWS, told.shape[1]))
    draws = np.concatenate([draws, -draws])
    rates: dict[int, float] = {}
    for size in (0, *(2**n for n in range(MOST_CHEAP.bit_length()) if 2**n <= len(order))):
        finds = _finds(outlook.chances, told[:, : outlook.flying + size], draws)
        rates[size] = float((finds / (np.arange(1, len(finds) + 1) + size * cost)).max())
    return rates


def _most_telling(outlook: Outlook) -> Ints:
    """Cheap values to ask for, those first that are expected to change most in the probability of their candidate."""
    rows, columns = outlook.subjects, outlook.flying + np.arange(len(outlook.subjects))
    share = outlook.shared[rows, columns] ** 2 / (outlook.variance[rows] * outlook.cheap[columns, columns])
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    places = np.sqrt(np.minimum(share, _LARGEST_SHARE))[:, None] * nodes
    after = _after(outlook.chances[rows][:, None], places, share[:, None])
    change = (after**2) @ weights / weights.sum() - outlook.chances[rows] ** 2
    order: Ints = np.argsort(-change, kind="stable")[:MOST_CHEAP]
    return order


def _told(outlook: Outlook, order: Ints) -> Floats:
    """(r, q + m) what each cheap value tells of the dear ones beyond those before it, by standard normal news."""
    columns = np.concatenate([np.arange(outlook.flying), outlook.flying + order]).astype(np.int64)
    factor = np.linalg.cholesky(outlook.cheap[np.ix_(columns, columns)])
    told = solve_triangular(factor, outlook.shared[:, columns].T, lower=True).T
    scaled: Floats = told / np.sqrt(outlook.variance)[:, None]
    return scaled


def _finds(chances: Floats, told: Floats, draws: Floats) -> Floats:
    """(r,) expected finds of the j dear calculations that look best after these cheap values, j = 1 .. r."""
    after = _after(chances, draws[:, : told.shape[1]] @ told.T, (told**2).sum(axis=1))
    largest = -np.sort(-after, axis=1)
    finds: Floats = np.cumsum(largest, axis=1).mean(axis=0)
    return finds


def _after(chances: Floats, places: Floats, share: Floats) -> Floats:
    """The p(u) at u = places, where cheap values tell the share R² of the variance."""
    rest = np.sqrt(1.0 - np.minimum(share, _LARGEST_SHARE))
    probabilities: Floats = ndtr((places + ndtri(chances)) / rest)
    return probabilities
