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

    A failed audit takes back what the trajectory found from the failed frame on. It may have gone wrong earlier, but a
    label is right whatever led to its structure, and those just before a failure teach much. In a trial in which all
    reserved frames were audited for nothing (Stillinger-Weber silicon, five seeds), 8.6 labels led to the target on
    average, 8.1 without any roll-back, and 13.2 where all behind the last frame known good was withdrawn.

    Candidates to train on leave the pool unless a label of theirs was decided: that is paid for. Frames reserved for
    validation stay. They, and the bound on the error that rests on them, stand for all that is explored; a stream from
    which frames are taken because the potential erred would state an error that is too small.
    """

    def __init__(self) -> None:
        self.frames: dict[str, dict[int, Audit]] = {}
        """By exploration and frame."""
        self.roll_backs: list[RollBack] = []
        """In the order in which they were made."""
        self._last: dict[str, RollBack] = {}

    def take(self, candidate: Candidate, audit: Audit) -> None:
        """The frame of a candidate was audited."""
        self.frames.setdefault(candidate.exploration, {})[candidate.frame] = audit

    def roll_back(self, candidate: Candidate, pool: Pool) -> None:
        """The audit of this candidate failed."""
        key, first, before = candidate.exploration, candidate.frame, self._last.get(candidate.exploration)
        if before is not None and before.first <= first:
            return
        until = before.first if before is not None else None
        self._last[key] = found = RollBack(key, first, until, candidate.step - 1, pool.withdraw(key, first))
        self.roll_backs.append(found)

    def of(self, exploration: str) -> RollBack | None:
        """What of an exploration is not trusted; None where all of it is."""
        return self._last.get(exploration)
