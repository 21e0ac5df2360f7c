"""Processes started by mpiexec, as the distributed fit of the surrogates wants them."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from mpi4py import MPI


class MpiCommunicator:
    """Fulfils `hpcmat.surrogates.communicator.Communicator`; values travel as pickles, of any size."""

    def __init__(self, communicator: MPI.Intracomm = MPI.COMM_WORLD) -> None:
        self._communicator = communicator

    @property
    def rank(self) -> int:
        """Number of this process."""
        return int(self._communicator.Get_rank())

    @property
    def size(self) -> int:
        """How many processes there are."""
        return int(self._communicator.Get_size())

    def send(self, value: Any, to: int) -> None:
        """Hand a value to another rank; may return before it is received."""
        self._communicator.send(value, dest=to)

    def receive(self, origin: int) -> Any:
        """Wait for the next value from another rank."""
        return self._communicator.recv(source=origin)

    def gather(self, value: Any) -> list[Any]:
        """Values of all ranks by rank, at the root; an empty list elsewhere."""
        return self._communicator.gather(value, root=0) or []

    def broadcast(self, value: Any) -> Any:
        """The root's value, everywhere."""
        return self._communicator.bcast(value, root=0)

    def run(self, work: Callable[[], None]) -> None:
        """Do the work of this rank; an error nobody expected ends all ranks, which else would wait for ever."""
        try:
            work()
        except Exception:  # noqa: BLE001 - whatever it is, the others cannot go on
            traceback.print_exc()
            self._abort()

    def _abort(self) -> NoReturn:
        sys.stderr.flush()
        self._communicator.Abort(1)
        raise SystemExit(1)
