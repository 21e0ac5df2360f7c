"""Audits of explorations, and what a failed one takes back: a part of the fold over the journal."""

from __future__ import annotations

from dataclasses import dataclass

from hpcmat.campaign.events import Candidate
from hpcmat.campaign.pool import Pool
from hpcmat.steering.audit import Audit


@dataclass(frozen=True, slots=True)
class RollBack:
    """Frames of one exploration that are no longer trusted."""

    exploration: str
    """Content key."""
    first: int
    """First frame that is not trusted."""
    until: int | None
    """First of those that were not trusted before; None where all were."""
    steps: int
    """Time steps up to which the trajectory still is."""
    withdrawn: int
    """Candidates that left the pool."""


class Audits:
    """What audits found, by exploration. Each takes time in proportion to the frames of its exploration.

    A failed audit takes back what the trajectory found after the last frame that an audit found good, all of it where
    there is none: where between the two it went wrong is not known. Candidates to train on leave the pool unless a
    label of theirs was decided: that is paid for, and what it says is right whatever led to it. Frames reserved for
    validation stay. They, and the bound on the error that rests on them, stand for all that is explored; a stream from
    which frames are taken because the potential erred would state an error that is too small.
    """

    def __init__(self) -> None:
        self.frames: dict[str, dict[int, Audit]] = {}
        """By exploration and frame."""
        self.roll_backs: list[RollBack] = []
        """In the order in which they were made."""
        self._last: dict[str, RollBack] = {}
        self._steps: dict[str, dict[int, int]] = {}
        """Time steps of the frames that passed."""

    def take(self, candidate: Candidate, audit: Audit) -> None:
        """The frame of a candidate was audited."""
        self.frames.setdefault(candidate.exploration, {})[candidate.frame] = audit
        if audit.passed:
            self._steps.setdefault(candidate.exploration, {})[candidate.frame] = candidate.step

    def roll_back(self, candidate: Candidate, pool: Pool) -> None:
        """The audit of this candidate failed."""
        key = candidate.exploration
        good = {frame: step for frame, step in self._steps.get(key, {}).items() if frame < candidate.frame}
        last = max(good, default=-1)
        before = self._last.get(key)
        if before is not None and before.first <= last + 1:
            return
        withdrawn = pool.withdraw(key, last + 1)
        until = before.first if before is not None else None
        self._last[key] = found = RollBack(key, last + 1, until, good.get(last, 0), withdrawn)
        self.roll_backs.append(found)

    def of(self, exploration: str) -> RollBack | None:
        """What of an exploration is not trusted; None where all of it is."""
        return self._last.get(exploration)
