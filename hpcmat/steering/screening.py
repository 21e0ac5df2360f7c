r"""Which candidates of a pool to compute next, from draws of what all of them would give.

Draws (S, n) come from the joint posterior of a surrogate. They hold whatever the posterior knows: correlations between
candidates, skewed distributions, constraints. Candidates in flight are drawn with the rest, and each draw counts their
values as known: that is conditioning on what is pending, with the integral over its outcomes done by the draws.

All objectives are to be maximised; turn the sign of what is to be minimised.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pick:
    """A candidate to compute next."""

    index: int
    score: float


def expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """E max(0, y - best) of Gaussian y: (n,) (Jones, Schonlau & Welch, J. Global Optim. 13 (1998) 455)."""
    u = (mean - best) / deviation
    gains: Floats = (mean - best) * ndtr(u) + deviation * np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi)
    return np.maximum(gains, 0.0)


def top_probability(draws: Floats, known: Floats, count: int) -> Floats:
    """Probability that each candidate is among the best `count` of all, those known included.

    To compute the most probable ones is the one-step optimal search for members of that set (Garnett et al., ICML
    2012), also in batches, since their expected number is a sum.

    Parameters
    ----------
    draws : (S, n); candidates that must not count in a draw, since they break a constraint, have -inf there.
    known : (k,) values already computed.
    """
    everything = np.hstack([draws, np.broadcast_to(known, (len(draws), len(known)))])
    place = max(everything.shape[1] - count, 0)
    least = np.partition(everything, place, axis=1)[:, place]
    probabilities: Floats = ((draws >= least[:, None]) & np.isfinite(draws)).mean(axis=0)
    return probabilities


def thompson_batch(draws: Floats, free: Flags, size: int) -> list[Pick]:
    """The best free candidate of each draw that is not yet in the batch; the score is its share of the draws."""
    left, picks = np.flatnonzero(free), list[Pick]()
    if not len(left):
        return picks
    wins = np.bincount(left[draws[:, left].argmax(axis=1)], minlength=len(free)) / len(draws)
    for draw in draws[: min(size, len(left))]:
        # Among those left alone: a draw that breaks a constraint everywhere is -inf for them as for the others.
        index = int(left[draw[left].argmax()])
        left = left[left != index]
        picks.append(Pick(index, float(wins[index])))
    return picks


def best_batch(scores: Floats, free: Flags, size: int) -> list[Pick]:
    """Candidates of the largest scores; of equal ones, the first."""
    order = np.argsort(np.where(free, -scores, np.inf), kind="stable")[: min(size, int(free.sum()))]
    return [Pick(int(index), float(scores[index])) for index in order]


def improvement_batch(draws: Floats, known: Floats, pending: Ints, size: int) -> list[Pick]:
    """Greedy batch of largest joint expected improvement over the best known or pending.

    Parameters
    ----------
    draws : (S, n)
    known : (k,) k ≥ 1.
    pending : indices of candidates in flight.
    """
    best = np.full(len(draws), known.max())
    if len(pending):
        best = np.maximum(best, draws[:, pending].max(axis=1))

    def gain(index: int) -> float:
        return float(np.maximum(draws[:, index] - best, 0.0).mean())

    def take(index: int) -> None:
        np.maximum(best, draws[:, index], out=best)

    gains = np.maximum(draws - best[:, None], 0.0).mean(axis=0)
    return _lazy_greedy(gains, _free(draws, pending), size, Greedy(gain, take))


def hypervolume_batch(draws: Floats, known: Floats, pending: Ints, reference: Floats, size: int) -> list[Pick]:
    """Greedy batch of largest joint expected hypervolume improvement over what is known or pending.

    Daulton, Balandat & Bakshy, NeurIPS 2020, with the integral over outcomes done by draws of all candidates and the
    improvement of each point exact, by boxes.

    Parameters
    ----------
    draws : (S, n, m) values of m objectives; -inf where a constraint is broken.
    known : (k, m)
    pending : indices of candidates in flight.
    reference : (m,) point that all that counts must exceed.
    """
    fronts = [np.vstack([known, draw[pending]]) for draw in draws]
    cells = [boxes(front, reference) for front in fronts]

    def gain(index: int) -> float:
        return float(np.mean([box_gains(cell, draw[index]) for cell, draw in zip(cells, draws, strict=True)]))

    def take(index: int) -> None:
        for number, draw in enumerate(draws):
            if (draw[index] > reference).all():
                fronts[number] = np.vstack([fronts[number], draw[index]])
                cells[number] = boxes(fronts[number], reference)

    gains = np.mean([box_gains(cell, draw) for cell, draw in zip(cells, draws, strict=True)], axis=0)
    return _lazy_greedy(gains, _free(draws, pending), size, Greedy(gain, take))


@dataclass(frozen=True, slots=True)
class Greedy:
    """What a candidate adds to those taken, and how it is taken."""

    gain: Callable[[int], float]
    take: Callable[[int], None]


def _free(draws: Floats, pending: Ints) -> Ints:
    return np.setdiff1d(np.arange(draws.shape[1]), pending)


def _lazy_greedy(gains: Floats, free: Ints, size: int, greedy: Greedy) -> list[Pick]:
    """Greedy choice for gains that only fall as others are taken (Minoux 1978), from those before any was."""
    queue = [(-float(gains[index]), int(index), 0) for index in free]
    heapq.heapify(queue)
    picks: list[Pick] = []
    while queue and len(picks) < size:
        score, index, at = heapq.heappop(queue)
        if at < len(picks):
            heapq.heappush(queue, (-greedy.gain(index), index, len(picks)))
            continue
        picks.append(Pick(index, -score))
        greedy.take(index)
    return picks


def boxes(front: Floats, reference: Floats) -> Floats:
    """Disjoint boxes (b, 2, m), lower and upper corners, of all that exceeds `reference` and no point dominates.

    By slabs between the levels of the last objective (Lacour, Klamroth & Fonseca, Comput. Oper. Res. 79 (2017) 347,
    in its plain form); meant for two or three objectives.

    Parameters
    ----------
    front : (k, m); dominated points and points below the reference do no harm.
    reference : (m,)
    """
    points = front[(front > reference).all(axis=1)]
    if points.shape[1] == 1:
        lower = points.max(initial=reference[0])
        return np.array([[[lower], [np.inf]]])
    levels = np.concatenate([[reference[-1]], np.unique(points[:, -1]), [np.inf]])
    cells = []
    for low, high in pairwise(levels):
        flat = boxes(points[points[:, -1] >= high, :-1], reference[:-1])
        slab = np.broadcast_to(np.array([[low], [high]]), (len(flat), 2, 1))
        cells.append(np.concatenate([flat, slab], axis=2))
    return np.concatenate(cells)


def box_gains(cells: Floats, points: Floats) -> Floats:
    """(n,) hypervolume that each of the points (n, m) adds to the front whose `boxes` these are."""
    gains = np.ones((*points.shape[:-1], len(cells)))
    for objective in range(points.shape[-1]):
        lower, upper = cells[:, 0, objective], cells[:, 1, objective]
        gains *= np.maximum(np.minimum(points[..., objective, None], upper) - lower, 0.0)
    total: Floats = gains.sum(axis=-1)
    return total


def hypervolume(front: Floats, reference: Floats) -> float:
    """Volume that is dominated by the points (k, m) and exceeds the reference (m,)."""
    points = front[(front > reference).all(axis=1)]
    if len(points) == 0:
        return 0.0
    if points.shape[1] == 1:
        return float(points.max() - reference[0])
    levels = np.concatenate([[reference[-1]], np.unique(points[:, -1])])
    volume = 0.0
    for low, high in pairwise(levels.tolist()):
        volume += (high - low) * hypervolume(points[points[:, -1] >= high, :-1], reference[:-1])
    return volume


def feasible_draws(draws: Floats, broken: Flags) -> Floats:
    """Draws with -inf wherever a constraint is broken: such a candidate is worth nothing there."""
    mask = broken if draws.ndim == broken.ndim else broken[..., None]
    return np.where(mask, -np.inf, draws)


def regret_bound(draws: Floats, best: float, confidence: float) -> float:
    """What the best candidate not yet computed may exceed `best` by, with this confidence; not below 0."""
    if draws.shape[1] == 0:
        return 0.0
    return max(0.0, float(np.quantile(draws.max(axis=1), confidence)) - best)
