"""Which branch of the tree gets which task: decisions of one rank, without any communication."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from hpcmat.dispatch.farm.messages import TaskMessage

Branch = TypeVar("Branch", bound=Hashable)


class Router(Generic[Branch]):
    """Tasks that wait at a rank, and the places that its branches have offered.

    A branch never holds more tasks than places: it offers a place for each task it could take, and again with each
    result. That is the back pressure: what finds no place stays with the sender.
    """

    def __init__(self) -> None:
        self._waiting: deque[TaskMessage] = deque()
        self._places: dict[Branch, int] = {}

    @property
    def waiting(self) -> int:
        """Tasks without a place."""
        return len(self._waiting)

    def offer(self, branch: Branch, places: int = 1) -> None:
        """A branch can take so many tasks more."""
        self._places[branch] = self._places.get(branch, 0) + places

    def withdraw(self, branch: Branch) -> None:
        """A branch takes no more."""
        self._places.pop(branch, None)

    def accept(self, tasks: Iterable[TaskMessage]) -> None:
        """Tasks from above, in the order in which they are to begin."""
        self._waiting.extend(tasks)

    def deal(self) -> dict[Branch, list[TaskMessage]]:
        """Tasks for each branch now; the one with the most places comes first, which keeps idle workers fewest."""
        if not self._waiting:
            return {}
        heap = [(-places, order, branch) for order, (branch, places) in enumerate(self._places.items()) if places > 0]
        heapq.heapify(heap)
        dealt: dict[Branch, list[TaskMessage]] = {}
        while heap and self._waiting:
            negative, order, branch = heap[0]
            dealt.setdefault(branch, []).append(self._waiting.popleft())
            self._places[branch] -= 1
            if negative == -1:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (negative + 1, order, branch))
        return dealt
