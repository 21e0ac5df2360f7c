"""What a driver that was killed leaves behind, and its end.

Managers and workers outlive a killed driver. Every process that a driver starts carries the driver's epoch in its
environment; a warden beside the driver, and the next driver, end them by that mark.
Running tasks are spared: they finish by themselves, and the next driver adopts their results.

Run as `python -m hpcmat.dispatch.orphans EPOCH`, the module is that warden: it waits for its standard input to close,
which happens however the driver ends.
"""

from __future__ import annotations

import os
import subprocess
import sys

import psutil

from hpcmat.dispatch.marks import CAMPAIGN_VARIABLE, EPOCH_VARIABLE, SHEPHERD_NAME, TASK_PROCESS_NAME

__all__ = ["CAMPAIGN_VARIABLE", "EPOCH_VARIABLE", "end_orphans", "end_warden", "start_warden"]

_SPARED = {TASK_PROCESS_NAME, SHEPHERD_NAME}
_WARDEN_VARIABLE = "HPCMAT_WARDEN"
"""Marks wardens, which must not end with the processes that they are to end."""
_WARDEN_S = 30.0
"""Longest time that cleaning up takes."""


def end_orphans(*, epoch: str | None = None, campaign: str | None = None, spare: str | None = None) -> int:
    """Kill the processes started under an epoch, or under any epoch of a campaign but `spare`; returns how many."""
    victims = [process for process in psutil.process_iter() if _is_orphan(process, epoch, campaign, spare)]
    for process in victims:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(victims, timeout=5)
    return len(victims)


def _is_orphan(process: psutil.Process, epoch: str | None, campaign: str | None, spare: str | None) -> bool:
    try:
        if process.pid == os.getpid() or process.name() in _SPARED:
            return False
        environment = process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    if epoch is not None:
        return bool(environment.get(EPOCH_VARIABLE) == epoch)
    # A warden that was stopped outlives its driver, with all that it should have ended.
    mark = environment.get(EPOCH_VARIABLE, environment.get(_WARDEN_VARIABLE))
    return mark not in {None, spare} and bool(environment.get(CAMPAIGN_VARIABLE) == campaign)


def start_warden(epoch: str) -> subprocess.Popen[bytes]:
    """Start the warden of this driver; it ends with the driver, after cleaning up behind it."""
    environment = {name: value for name, value in os.environ.items() if name != EPOCH_VARIABLE}
    environment[_WARDEN_VARIABLE] = epoch
    return subprocess.Popen(
        [sys.executable, "-m", "hpcmat.dispatch.orphans", epoch],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )


def end_warden(warden: subprocess.Popen[bytes]) -> None:
    """Let the warden clean up and take its end in; one that does not answer, being stopped, is killed."""
    if warden.stdin is not None:
        warden.stdin.close()
    try:
        warden.wait(_WARDEN_S)
    except subprocess.TimeoutExpired:
        warden.kill()
        warden.wait()


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end_orphans(epoch=sys.argv[1])
