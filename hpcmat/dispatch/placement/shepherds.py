"""Shepherds: processes beside the driver, each of which watches over one task on the nodes that it was given.

They are forked from a server that has imported what they need, so that one costs milliseconds, and need neither the
server nor the driver to go on: a task that runs is finished and published whatever becomes of these.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from hpcmat.dispatch.dispatcher import LostWorker
from hpcmat.dispatch.launchers.dialects import Blame
from hpcmat.dispatch.launchers.place import LaunchEnd, Place
from hpcmat.dispatch.marks import SHEPHERD_NAME
from hpcmat.dispatch.placement.outcome import Ended, StopReason
from hpcmat.dispatch.worker import Order, carry_out
from hpcmat.records import decode, encode

_SERVER = multiprocessing.get_context("forkserver")
_POLL_S = 0.5


def start_server(modules: Sequence[str]) -> None:
    """Start the server, which imports these modules once; it ends with this process, however that ends."""
    _SERVER.set_forkserver_preload([__name__, *modules])
    forkserver.ensure_running()


class Shepherd:
    """One shepherd, as the placer sees it. It cannot be stopped: it ends its task at the walltime by itself."""

    def __init__(self, order: Order, place: Place, variables: dict[str, str]) -> None:
        self._order, self._variables = replace(order, place=place), variables
        self._left = threading.Event()

    def run(self, stopped: Callable[[], StopReason | None]) -> Ended:
        """Wait for what the shepherd has to say."""
        reader, writer = _SERVER.Pipe(duplex=False)
        with reader:
            starter = _SERVER.Process(target=_begin, args=(encode(self._order), self._variables, writer), daemon=True)
            try:
                starter.start()
            except (OSError, EOFError) as error:
                return Ended(error=LostWorker(f"the server of shepherds was lost: {type(error).__name__}: {error}"))
            finally:
                writer.close()
            starter.join()
            return self._heard(reader)

    def stop(self) -> None:
        """Leave it to itself."""
        self._left.set()

    kill = stop

    def _heard(self, reader: Connection) -> Ended:
        try:
            while not reader.poll(_POLL_S):
                if self._left.is_set():
                    return Ended(error=LostWorker("the driver left its task to itself"))
            ending, ends = reader.recv()
        except EOFError:
            return Ended(error=LostWorker("its shepherd was lost"))
        if isinstance(ending, BaseException):
            return Ended(error=ending)
        return Ended(ending, blame=_blame(ends))


def _blame(ends: tuple[LaunchEnd, ...]) -> Blame:
    certain = {name for end in ends for name in end.certain}
    suspected = {name for end in ends[-1:] for name in end.suspected}
    return Blame(tuple(sorted(certain)), tuple(sorted(suspected - certain)))


def _begin(text: str, variables: dict[str, str], writer: Connection) -> None:
    """Fork the shepherd and end: whoever asked for it need not wait for it when leaving."""
    if os.fork() == 0:
        _watch_over(text, variables, writer)


def _watch_over(text: str, variables: dict[str, str], writer: Connection) -> NoReturn:
    try:
        os.setsid()
        Path("/proc/self/comm").write_text(SHEPHERD_NAME)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.environ.update(variables)
        answer = _carried_out(text)
        with suppress(OSError):
            # The driver may have left.
            writer.send(answer)
    except BaseException:  # noqa: BLE001 - a forked child must never return into its parent's stack
        traceback.print_exc()
    finally:
        os._exit(0)


def _carried_out(text: str) -> tuple[Any, tuple[LaunchEnd, ...]]:
    try:
        return carry_out(decode(Order, text))
    except Exception as error:  # noqa: BLE001 - the driver judges it
        return error, ()
