"""Labels that contradict all others: found by what the fit without them says, dropped, the fit repeated.

A label is absurd where the others miss it by far more than they miss each other, the fit with it misses it too, the
miss is large beside what the others expect there, and no sound label comes near. A label from a region that no other
covers fails the second: its own rows determine what it needs. A hot or compressed structure fails the third: its
forces are large, and so may be errors. A label of a kind that is hard to fit fails the last: there are others of its
kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcmat.surrogates.communicator import Communicator
from hpcmat.surrogates.evidence import Prior, Scales
from hpcmat.surrogates.label_rows import LabelRows
from hpcmat.surrogates.left_out import LeftOut
from hpcmat.surrogates.posterior import Posterior, fit_source

Floats = NDArray[np.float64]

ABSURD = 20.0
"""Robust standard deviations, and target errors at least, by which the others miss an absurd label."""
ABSORBED = 5.0
"""The same for the fit with it: below, the label is unusual and not absurd."""
OUT_OF_PROPORTION = 5.0
"""Miss of an absurd force or stress over the root mean square of those that the others expect in the structure."""
STANDS_OUT = 2.0
"""Miss of an absurd label over that of the next which is not: the misses of sound labels thin out without a gap."""
LARGEST_SHARE = 0.03
"""Of labels that may be dropped (one at least): where more seem absurd, the potential is what is wrong."""
LEAST_LABELS = 20
"""Fewer do not tell what is usual."""
MAX_ROUNDS = 4
NORMAL_MEDIAN = 0.6745
"""Median of |z|"""
QUANTITIES = (("energy", "eV/atom"), ("force", "eV/Å"), ("stress", "eV/Å³"))


@dataclass(frozen=True, slots=True)
class Dropped:
    """A label that was left out of the fit."""

    label: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class SoundFit:
    """A fit without absurd labels."""

    rows: LabelRows
    posterior: Posterior
    scores: tuple[LeftOut, ...]
    """Each label under the posterior without it."""
    dropped: tuple[Dropped, ...] = ()

    @property
    def fitted(self) -> tuple[LeftOut, ...]:
        """What was not dropped."""
        return tuple(score for score in self.scores if self.rows.included[score.structure])

    @property
    def telling(self) -> tuple[LeftOut, ...]:
        """What tells how wrong predictions of new structures are: labels that were fitted, by a basis new to them."""
        honest = self.rows.included & self.rows.telling
        return tuple(score for score in self.scores if honest[score.structure])


def fit_sound(
    source: LabelRows, prior: Prior, communicator: Communicator, near: Scales | None = None, rough: bool = False
) -> SoundFit:
    """The fit without absurd labels; `near`, `rough` and errors as of `fit_source`.

    What is dropped is judged again by the fit without it, and comes back where an absurd neighbour made it suspect.
    """
    posterior, scores = fit_source(source, prior, communicator, near, rough)
    with_all = SoundFit(source, posterior, scores)
    allowed = max(1, int(LARGEST_SHARE * len(scores)))
    sound = source
    for _ in range(MAX_ROUNDS):
        suspects = absurd_labels(scores)
        dropped = frozenset(suspect.label for suspect in suspects[:allowed])
        if dropped == sound.dropped:
            return SoundFit(sound, posterior, scores, suspects) if len(suspects) <= allowed else with_all
        sound = source.without(dropped)
        posterior, scores = fit_source(sound, prior, communicator, near, rough)
    return with_all


def absurd_labels(scores: tuple[LeftOut, ...]) -> tuple[Dropped, ...]:
    """Absurd labels, the worst first."""
    if len(scores) < LEAST_LABELS:
        return ()
    found = sorted((found for kind in range(3) for found in _absurd_of_kind(scores, kind)), key=lambda pair: -pair[0])
    reasons: dict[int, str] = {}
    for _, label, reason in found:
        reasons.setdefault(label, reason)
    return tuple(Dropped(label, reason) for label, reason in reasons.items())


def _absurd_of_kind(scores: tuple[LeftOut, ...], kind: int) -> list[tuple[float, int, str]]:
    """(robust standard deviations, label, reason) of each absurd energy, force or stress."""
    having = [score for score in scores if (score.kind == kind).any()]
    if len(having) < LEAST_LABELS:
        return []
    missed = _worst([score.residual[score.kind == kind] for score in having])
    kept = _worst([score.fitted[score.kind == kind] for score in having])
    # One energy per atom has nothing to be in proportion to: its zero is that of the baseline.
    usual = np.array([_rms(score.expected[score.kind == kind]) if kind else 0.0 for score in having])
    times, times_kept = (worst / max(float(np.median(worst)) / NORMAL_MEDIAN, 1.0) for worst in (missed, kept))
    suspect = (times_kept > ABSORBED) & (missed > OUT_OF_PROPORTION * usual)
    return [
        (float(times[index]), having[index].structure, _reason(having[index], kind, missed[index], times[index]))
        for index in _standing_out(np.where(suspect, times, 0.0))
    ]


def _standing_out(times: Floats) -> list[int]:
    """Indices of the largest, above a gap."""
    order = np.argsort(-times, kind="stable")
    ranked = np.append(times[order], 0.0)
    above_gap = (ranked[:-1] > ABSURD) & (ranked[:-1] >= STANDS_OUT * ranked[1:])
    ends = np.flatnonzero(above_gap)
    return order[: ends[-1] + 1].tolist() if len(ends) else []


def _worst(residuals: list[Floats]) -> Floats:
    # One absurd energy moves the baseline of all, which their median takes off again.
    shift = np.median(np.concatenate(residuals))
    return np.array([np.max(np.abs(residual - shift)) for residual in residuals])


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _reason(score: LeftOut, kind: int, missed: float, times: float) -> str:
    name, unit = QUANTITIES[kind]
    error = missed * float(score.sigma[score.kind == kind][0])
    return (
        f"left out of the fit: its {name} is {error:.3g} {unit} from what the other labels say, "
        f"{times:.0f} times the usual; compute it again or remove it"
    )
