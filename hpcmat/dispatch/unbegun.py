"""Orders that are out and that nobody carries out.

A worker that dies while it takes an order from the queue that it shares with others, or puts an answer into it, takes
the lock of that queue with it: all others wait for ever, and every process of theirs looks well. Only the result store
tells, in which no attempt at the order is running.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass

from hpcmat.dispatch.worker import Order
from hpcmat.store.results import ResultStore

LOOK_S = 30.0
"""Time between two looks at first; orders are in vain that neither run nor are answered at two looks in a row."""


@dataclass(slots=True)
class _Out:
    """An order that was handed over."""

    order: Order
    in_vain: int = 0


class Unbegun:
    """Watches orders for which there is a worker each, so that none of them waits for long."""

    def __init__(self) -> None:
        self._out: dict[Future[str], _Out] = {}
        self._pause = LOOK_S
        self._next = 0.0

    def add(self, order: Order, future: Future[str]) -> None:
        """An order was handed over."""
        if not self._out:
            self._next = time.monotonic() + self._pause
        self._out[future] = _Out(order)

    @property
    def pending(self) -> bool:
        """Whether any order is unanswered."""
        return any(not future.done() for future in self._out)

    def overdue(self) -> bool:
        """Whether an order is in vain; each time that is so, the next one is waited for twice as long."""
        self._out = {future: out for future, out in self._out.items() if not future.done()}
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self._pause
        for out in self._out.values():
            running = ResultStore(out.order.store).running(out.order.task.key) is not None
            out.in_vain = 0 if running else out.in_vain + 1
            if running:
                self._pause = LOOK_S
        if not any(out.in_vain >= 2 for out in self._out.values()):
            return False
        # Workers may be slow to start for once, and starting them anew again and again would help nobody.
        self._pause *= 2.0
        return True

    def lose(self, error: Exception) -> None:
        """Nobody carries any of the orders out any more: their futures say so, unless they have an answer."""
        for future in self._out:
            with suppress(InvalidStateError):
                future.set_exception(error)
        self._out = {}
