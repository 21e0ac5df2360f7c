"""Which nodes are no longer trusted, by what launches on them reported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hpcmat.dispatch.launchers.dialects import Blame

STRIKES = 2
"""So often in a row may a node be among the suspects."""


@dataclass(frozen=True, slots=True)
class Fences:
    """Nodes that get no more tasks, and suspicions against others."""

    fenced: frozenset[str] = frozenset()
    strikes: tuple[tuple[str, int], ...] = ()

    def judge(self, blame: Blame) -> Fences:
        """After a failed launch: named nodes are fenced at once, suspects when it happens again."""
        counted = dict(self.strikes)
        for name in blame.suspected:
            counted[name] = counted.get(name, 0) + 1
        guilty = {*blame.certain, *(name for name, count in counted.items() if count >= STRIKES)}
        return Fences(self.fenced | guilty, tuple((n, c) for n, c in counted.items() if n not in guilty))

    def clear(self, names: Iterable[str]) -> Fences:
        """After a launch that was not a node's fault: nothing is held against its nodes any more."""
        well = set(names)
        return Fences(self.fenced, tuple((name, count) for name, count in self.strikes if name not in well))
