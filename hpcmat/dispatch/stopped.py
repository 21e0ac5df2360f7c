"""Processes of a campaign that were stopped and that nobody wakes: ended, so that they count as dead.

A stopped worker, manager or interchange is there and answers nothing: whoever waits for its answer or for its end
waits for ever. Its death is noticed and made good like any other. A short stop is left alone; one of the whole
allocation (a suspended job) stops the watch too, and a look counts only while it runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import suppress

import psutil

from hpcmat.dispatch.marks import CAMPAIGN_VARIABLE

LOOK_S = 2.0
PATIENCE_LOOKS = 15
"""Looks in a row at which a process must be found stopped: half a minute."""


class StoppedWatch:
    """Looks again and again in a thread of its own, from `start` to `close`.

    Parameters
    ----------
    campaign : whose processes are watched, on this machine: those of earlier drivers too.
    others : numbers of processes of it that do not bear its mark.
    """

    def __init__(self, campaign: str, others: Callable[[], Collection[int]]) -> None:
        self._campaign = campaign
        self._others = others
        self._looks: dict[psutil.Process, int] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stopped-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        self._thread.join()

    def look(self) -> int:
        """Kill what was stopped at each of the last looks, this one included; returns how many."""
        stopped = self._stopped()
        self._looks = {process: self._looks.get(process, 0) + 1 for process in stopped}
        victims = [process for process, looks in self._looks.items() if looks >= PATIENCE_LOOKS]
        _kill(victims)
        return len(victims)

    def end_all(self) -> None:
        """Kill what is stopped now, and wait for its end: for one who is about to ask the others."""
        victims = self._stopped()
        _kill(victims)
        psutil.wait_procs(victims, timeout=5)

    def _watch(self) -> None:
        while not self._closing.wait(LOOK_S):
            self.look()

    def _stopped(self) -> list[psutil.Process]:
        others = self._others()
        return [p for p in psutil.process_iter() if _is_stopped(p) and (p.pid in others or self._is_ours(p))]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return bool(process.environ().get(CAMPAIGN_VARIABLE) == self._campaign)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def _kill(processes: Collection[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
