"""The other ranks of the farm, as one rank sees them. The only module of the farm that calls MPI."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from mpi4py import MPI

from hpcmat.dispatch.farm.layout import FarmLayout, children_of, parent_of


class Ranks:
    """Messages to and from the rank above and those below; nothing here waits.

    Raises
    ------
    SystemExit
        The launcher made another number of ranks than was asked for, as happens where it and the MPI library do not
        belong together: every process is then alone in a world of its own.
    """

    def __init__(self, layout: FarmLayout) -> None:
        self._world = MPI.COMM_WORLD
        self.rank = int(self._world.Get_rank())
        if self._world.Get_size() != layout.ranks:
            found = f"{self._world.Get_size()} ranks where {layout.ranks} were asked for"
            raise SystemExit(f"{found}: use the launcher of the MPI library that mpi4py loads")
        self.parent = parent_of(self.rank, layout.fanout)
        self.children = children_of(self.rank, layout)
        self._sent: list[MPI.Request] = []

    def send(self, rank: int, message: Any) -> None:
        """Begin to send."""
        self._sent.append(self._world.isend(message, dest=rank))
        self._sent = [request for request in self._sent if not request.Test()]

    def receive(self) -> Iterator[tuple[int, Any]]:
        """(rank, message) of all that has arrived."""
        status = MPI.Status()
        while (message := self._world.improbe(status=status)) is not None:
            yield status.Get_source(), message.recv()

    def finish(self) -> None:
        """Wait until everything is sent and all ranks have come to this point."""
        MPI.Request.Waitall(self._sent)
        MPI.Finalize()

    def abort(self, reason: str) -> NoReturn:
        """End all ranks."""
        print(f"rank {self.rank}: {reason}", file=sys.stderr, flush=True)
        self._world.Abort(1)
        raise SystemExit(1)
