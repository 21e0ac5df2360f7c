"""What a distributed fit asks of its processes: to know each other, to hand on, to collect, to tell all.

There is no sum over processes here: its order, and with it the last digits, would depend on their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from hpcmat.errors import DispatchError


class Communicator(Protocol):
    """Ranks 0 .. size - 1 that run the same program; rank 0 is the root."""

    @property
    def rank(self) -> int:
        """Number of this process."""

    @property
    def size(self) -> int:
        """How many processes there are."""

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
