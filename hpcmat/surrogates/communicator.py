"""What a distributed fit asks of its processes: to know each other, to hand on, to collect, to tell all.

There is no sum over processes here: its order, and with it the last digits, would depend on their number.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from hpcmat.errors import DispatchError, HpcmatError

T = TypeVar("T")


class Communicator(Protocol):
    """Ranks 0 .. size - 1 that run the same program; rank 0 is the root."""

    @property
    def rank(self) -> int:
        """Number of this process."""

    @property
    def size(self) -> int:
        """How many processes there are."""

    @property
    def cores(self) -> int:
        """Cores that the threads of this process may use."""

    def send(self, value: Any, to: int) -> None:
        """Hand a value to another rank, which receives values of one rank in the order in which they were sent."""

    def receive(self, origin: int) -> Any:
        """Wait for the next value from another rank."""

    def gather(self, value: Any) -> list[Any]:
        """Values of all ranks by rank, at the root; an empty list elsewhere."""

    def broadcast(self, value: Any) -> Any:
        """The root's value, everywhere; what the others give is ignored."""


@dataclass(frozen=True, slots=True)
class Serial:
    """One process."""

    rank: int = 0
    size: int = 1

    @property
    def cores(self) -> int:
        """All that this process may use."""
        return len(os.sched_getaffinity(0))

    def send(self, value: Any, to: int) -> None:
        """Never called: there is nobody else."""
        raise DispatchError("one process has nobody to send to; give the communicator of the other processes")

    def receive(self, origin: int) -> Any:
        """Never called: there is nobody else."""
        raise DispatchError("one process has nobody to hear from; give the communicator of the other processes")

    def gather(self, value: Any) -> list[Any]:
        """The value alone."""
        return [value]

    def broadcast(self, value: Any) -> Any:
        """The value itself."""
        return value


SERIAL = Serial()


def at_root(work: Callable[[], T], communicator: Communicator) -> T:
    """What the work gives that the root alone does, everywhere; an error of the family is raised on all ranks."""
    done: T | HpcmatError = communicator.broadcast(_outcome(work) if communicator.rank == 0 else None)
    return _result(done)


def dealt_out(work: Callable[[int], T], n: int, communicator: Communicator) -> list[T]:
    """Results of pieces 0 .. n - 1 of the work, each done by one rank, everywhere and in order; errors as `at_root`."""
    mine = _outcome(lambda: [work(piece) for piece in range(communicator.rank, n, communicator.size)])
    parts = communicator.gather(mine)
    return at_root(lambda: _in_turn([_result(part) for part in parts]), communicator)


def _outcome(work: Callable[[], T]) -> T | HpcmatError:
    try:
        return work()
    except HpcmatError as error:
        return error


def _result(outcome: T | HpcmatError) -> T:
    if isinstance(outcome, HpcmatError):
        raise outcome
    return outcome


def _in_turn(parts: list[list[T]]) -> list[T]:
    n = sum(map(len, parts))
    return [parts[piece % len(parts)][piece // len(parts)] for piece in range(n)]
