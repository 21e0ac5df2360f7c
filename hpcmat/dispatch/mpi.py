"""Processes started by mpiexec, as the distributed fit of the surrogates wants them."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn

from mpi4py import MPI

from hpcmat.errors import HpcmatError

PATIENCE_S = 10.0
"""How long a rank with an error waits for the others to have one too."""


class MpiCommunicator:
    """Fulfils `hpcmat.surrogates.communicator.Communicator`; values travel as pickles, of any size."""

    def __init__(self, communicator: MPI.Intracomm = MPI.COMM_WORLD) -> None:
        self._communicator = communicator
        # The others may wait for a message of the work: what is said of errors goes another way.
        self._aside = communicator.Dup()
        # All ranks are here together; later the root may be alone when it asks.
        self._cores = self._share_of_cores()

    @property
    def rank(self) -> int:
        """Number of this process."""
        return int(self._communicator.Get_rank())

    @property
    def size(self) -> int:
        """How many processes there are."""
        return int(self._communicator.Get_size())

    @property
    def cores(self) -> int:
        """Cores of this process: those that it may use, shared out among all ranks of the machine that may."""
        return self._cores

    def _share_of_cores(self) -> int:
        mine = os.sched_getaffinity(0)
        neighbours = self._communicator.Split_type(MPI.COMM_TYPE_SHARED)
        holders = Counter(core for cores in neighbours.allgather(mine) for core in cores)
        return max(1, int(sum(1.0 / holders[core] for core in mine) + 1e-6))

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
        """Do the work of this rank; no error leaves the others waiting.

        An error of the family that all ranks have is raised at the root and ends the others in silence. Any other
        error is told by the rank that has it and ends all.

        Raises
        ------
        HpcmatError
            At the root, where the work of all ranks raised one.
        """
        try:
            work()
        except HpcmatError as error:
            if not self._all_have_one():
                print(f"error: rank {self.rank}: {error}", file=sys.stderr)
                self._abort(error.exit_code)
            if self.rank:
                raise SystemExit(error.exit_code) from None
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the others cannot go on
            traceback.print_exc()
            self._abort(1)

    def _all_have_one(self) -> bool:
        together, end = self._aside.Ibarrier(), time.monotonic() + PATIENCE_S
        while not together.Test():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def _abort(self, exit_code: int) -> NoReturn:
        sys.stderr.flush()
        self._communicator.Abort(exit_code)
        raise SystemExit(exit_code)
