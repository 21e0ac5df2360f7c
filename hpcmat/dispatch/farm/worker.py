"""A worker of the farm: a plain process that runs one task at a time for its manager."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection

from parsl.app.errors import RemoteExceptionWrapper
from parsl.serialize import serialize, unpack_apply_message

from hpcmat.dispatch.launchers.request import WORLD_SIZE_VARIABLE

READY, RESULT, ERROR = b"", b"r", b"e"
_MPI_MARKS = ("PMI_", "PMIX_", "PALS_", "HYDI_", "HYDRA_", "MPIR_", "OMPI_", "PRTE_", "MPI_LOCAL", WORLD_SIZE_VARIABLE)
"""Beginnings of the variables by which a process knows that mpiexec started it."""


def work(connection: Connection, name: tuple[int, int]) -> None:
    """Run tasks until the manager is gone.

    Parameters
    ----------
    name : rank of the manager and number of the worker at it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _forget_mpi()
    # What a task forks may outlive this worker, and would keep the pipe open by which its death is noticed.
    os.register_at_fork(after_in_child=connection.close)
    os.environ["PARSL_WORKER_BLOCK_ID"], os.environ["PARSL_WORKER_RANK"] = map(str, name)
    try:
        connection.send_bytes(READY)
        while True:
            connection.send_bytes(_perform(connection.recv_bytes()))
    except (EOFError, ConnectionError):
        return


def _forget_mpi() -> None:
    """A task may start MPI itself, alone or by mpiexec; taken for a rank of this job, it would disturb it."""
    for variable in [v for v in os.environ if v.startswith(_MPI_MARKS)]:
        del os.environ[variable]


def _perform(payload: bytes) -> bytes:
    try:
        function, arguments, named = unpack_apply_message(payload)
        return RESULT + bytes(serialize(function(*arguments, **named), buffer_threshold=sys.maxsize))
    except Exception:  # noqa: BLE001 - whatever a task raises belongs to whoever submitted it
        return ERROR + _packed_exception()


def _packed_exception() -> bytes:
    kind, error, trace = sys.exc_info()
    try:
        return bytes(serialize(RemoteExceptionWrapper(kind, error, trace), buffer_threshold=sys.maxsize))
    except Exception:  # noqa: BLE001 - an exception that cannot be packed is told in words
        told = RuntimeError(f"{type(error).__name__}: {error}"[:2000])
        return bytes(serialize(RemoteExceptionWrapper(RuntimeError, told, None)))
