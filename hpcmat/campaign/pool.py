"""Candidates that wait to be chosen, in an order that does not depend on which exploration ended first."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from hpcmat.campaign.events import Candidate


class Pool:
    """Candidates for which no label was ever decided: those to train on, and those reserved for validation.

    Explorations come in the order in which they were decided, and their frames in theirs.
    """

    def __init__(self) -> None:
        self._frames: dict[bool, dict[str, dict[int, Candidate]]] = {False: {}, True: {}}
        """By reservation, key of the exploration, frame."""
        self._numbers = {False: 0, True: 0}
        self._taken: set[tuple[str, int]] = set()
        self.labels: set[str] = set()
        """Content keys of the labels of all candidates ever found."""

    def expect(self, exploration: str) -> None:
        """An exploration was decided: its candidates will stand here."""
        for frames in self._frames.values():
            frames.setdefault(exploration, {})

    def add(self, candidates: tuple[Candidate, ...]) -> None:
        """What an exploration found."""
        for candidate in candidates:
            self.labels.add(candidate.key)
            frames = self._frames[candidate.reserved].setdefault(candidate.exploration, {})
            if (candidate.exploration, candidate.frame) not in self._taken and candidate.frame not in frames:
                frames[candidate.frame] = candidate
                self._numbers[candidate.reserved] += 1

    def take(self, candidate: Candidate) -> None:
        """A label of it was decided."""
        self._taken.add((candidate.exploration, candidate.frame))
        explorations = self._frames[candidate.reserved]
        frames = explorations.get(candidate.exploration, {})
        if frames.pop(candidate.frame, None) is not None:
            self._numbers[candidate.reserved] -= 1
            if not frames:
                # Its place is not needed again: an exploration brings its candidates all at once.
                del explorations[candidate.exploration]

    def withdraw(self, exploration: str, first: int) -> int:
        """Candidates to train on of an exploration, from a frame on, wait no longer; returns how many there were."""
        frames = self._frames[False].get(exploration, {})
        gone = [frame for frame in frames if frame >= first]
        for frame in gone:
            del frames[frame]
        self._numbers[False] -= len(gone)
        if gone and not frames:
            del self._frames[False][exploration]
        return len(gone)

    def number(self, *, reserved: bool) -> int:
        """How many there are."""
        return self._numbers[reserved]

    def reserved(self) -> Iterator[Candidate]:
        """Those reserved for validation, oldest first."""
        return chain.from_iterable(frames.values() for frames in self._frames[True].values())

    def newest(self, count: int, *, reserved: bool = False) -> list[Candidate]:
        """The last so many, oldest of them first."""
        explorations = self._frames[reserved]
        backwards = chain.from_iterable(reversed(explorations[key].values()) for key in reversed(explorations))
        return list(islice(backwards, count))[::-1]

    def __len__(self) -> int:
        return sum(self._numbers.values())

    def __iter__(self) -> Iterator[Candidate]:
        """All, oldest exploration first; within one, those to train on come before those reserved."""
        keys = dict.fromkeys(chain(self._frames[False], self._frames[True]))
        for key in keys:
            for reserved in (False, True):
                yield from self._frames[reserved].get(key, {}).values()
