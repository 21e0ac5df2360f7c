"""Candidates by their gain, kept up from one decision to the next by lazy re-evaluation.

To judge all candidates anew after every label would cost more than all else that a decision needs. A gain is judged
again only where it could matter: when its candidate comes out first and the posterior has changed since. If that
candidate still comes out first, it is taken (Minoux, Optimization Techniques, LNCIS 7, 234, 1978). The choice is that
of judging all anew wherever gains only fall, as they do for submodular gains; those of I-optimality may rise, but
seldom do, and by little.

How much the posterior has changed is bounded by the leverage of what it took in. For rows X of one label the largest
eigenvalue of X S Xᵀ is at most l = tr(X S Xᵀ), so that Xᵀ X <= l S⁻¹ in the order of positive matrices, and after
labels with leverages that sum to L the posterior S' obeys S / (1 + L) <= S' <= S. While L is small, gains stand as they
are: among many labels one more changes nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from hpcmat.steering.acquisition import Array, judge

TOLERANCE = 0.05
"""Sum of leverages up to which a gain is not judged again."""


class Ranking:
    """Candidates that wait, best first, on a posterior that takes in what is decided.

    Parameters
    ----------
    covariance : (F, F), posterior that accounts for all labels decided so far.
    candidates : one (R, F) array of rows each, divided by their noise; R may differ.
    reference : (F, F), mean of x xᵀ over the force rows of the reference distribution, (eV/Å)².
    excess : one (R,) array each, see `judge`; zero where absent.
    worth : (C,), what a gain is multiplied by, for its chance and its cost; 1 where absent. Not so a loss, which would
        seem the smaller the more it costs.
    """

    def __init__(
        self,
        covariance: Array,
        candidates: Sequence[Array],
        reference: Array,
        excess: Sequence[Array] | None = None,
        worth: Array | None = None,
    ) -> None:
        self.variance = float((covariance * reference).sum())
        """Mean force variance on what is explored, before anything was taken in, (eV/Å)²."""
        self.change = 0.0
        """Sum of the leverages of what was taken in since."""
        self.taken: set[int] = set()
        """Candidates that no longer wait."""
        self._covariance, self._candidates, self._reference = covariance, candidates, reference
        self._excess, self._worth = excess, np.ones(len(candidates)) if worth is None else worth
        self._renewed = 0.0
        """`change` when the covariance was the newest."""
        gains, self._leverages = judge(covariance, candidates, reference, excess)
        scores = np.where(gains > 0.0, gains * self._worth, gains)
        self._heap = [(-float(score), index, 0.0) for index, score in enumerate(scores)]
        """Negative score, which is gain times worth; candidate; `change` when it was judged. Equal ones as given."""
        heapq.heapify(self._heap)

    def gain(self, candidate: int, score: float) -> float:
        """Gain of a candidate with a score that `best` gave it."""
        return score / float(self._worth[candidate]) if score > 0.0 else score

    def take_in(self, rows: Array, candidate: int | None = None) -> None:
        """A label was decided: of one of the candidates, or of another structure."""
        if candidate is None:
            self.change += float(((rows @ self._covariance) * rows).sum())
        else:
            # Since it was computed it can only have fallen.
            self.change += float(self._leverages[candidate])
            self.taken.add(candidate)

    @property
    def lags(self) -> bool:
        """Whether `renew` has to come before `best`."""
        return self.change - self._renewed > TOLERANCE

    def renew(self, covariance: Array) -> None:
        """Judge from now on by the posterior that accounts for all that was taken in."""
        self._covariance, self._renewed = covariance, self.change

    def best(self, count: int) -> tuple[tuple[int, float], ...]:
        """(candidate, score) of the first so many that wait; of the first one it is up to date."""
        while True:
            _, index, judged = self._heap[0]
            if index in self.taken:
                heapq.heappop(self._heap)
            elif judged < self._renewed and self.change - judged > TOLERANCE:
                heapq.heapreplace(self._heap, (-self._judged_anew(index), index, self._renewed))
            else:
                break
        waiting = ((gain, index) for gain, index, _ in self._heap if index not in self.taken)
        return tuple((index, -gain) for gain, index in heapq.nsmallest(count, waiting))

    def _judged_anew(self, index: int) -> float:
        excess = None if self._excess is None else [self._excess[index]]
        gain = float(judge(self._covariance, [self._candidates[index]], self._reference, excess)[0][0])
        return gain * float(self._worth[index]) if gain > 0.0 else gain
