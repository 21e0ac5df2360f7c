"""The launcher of one task as a process, and the end of all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import psutil

from hpcmat.dispatch.launchers.dialects import collect
from hpcmat.dispatch.launchers.request import Launch
from hpcmat.dispatch.marks import LAUNCH_VARIABLE
from hpcmat.mpi_environment import outside_mpi


@dataclass(frozen=True, slots=True)
class Exit:
    """How a launcher ended."""

    code: int | None
    """Negative for a signal; None where it could not be started."""
    wall_s: float
    problem: str = ""


class LaunchProcess:
    """One launch; `run` belongs to one thread, `stop` and `kill` to any other."""

    def __init__(self, launch: Launch, stop_signal: signal.Signals, marks: Mapping[str, str]) -> None:
        self._launch = launch
        self._stop_signal = stop_signal
        self._mark = marks[LAUNCH_VARIABLE]
        self._environment = outside_mpi(os.environ) | dict(launch.environment) | dict(marks)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted: signal.Signals | None = None

    def run(self) -> Exit:
        """Start, wait for the end, leave nothing behind, gather the output."""
        begun = time.monotonic()
        try:
            code = self._wait(self._start())
            collect(self._launch.output, self._launch.folder)
        except OSError as error:
            return Exit(None, time.monotonic() - begun, f"{self._launch.command[0]}: {error.strerror or error}")
        return Exit(code, time.monotonic() - begun)

    def stop(self) -> None:
        """Ask the launcher to end its ranks, those on other nodes included."""
        self._signal(self._stop_signal)

    def kill(self) -> None:
        """End the launcher and its group at once; `run` then ends what is left of the task on this machine."""
        self._signal(signal.SIGKILL)

    def _start(self) -> subprocess.Popen[bytes]:
        launch = self._launch
        for file in launch.files:
            file.path.write_text(file.text)
        with ExitStack() as files:
            stdin = files.enter_context(launch.stdin.open("rb")) if launch.stdin else subprocess.DEVNULL
            process = subprocess.Popen(
                launch.command,
                stdin=stdin,
                stdout=files.enter_context(launch.output.stdout.open("wb")),
                stderr=files.enter_context(launch.output.stderr.open("wb")),
                cwd=launch.folder,
                env=self._environment,
                start_new_session=True,
            )
        with self._lock:
            self._process = process
            if self._wanted is not None:
                os.killpg(process.pid, self._wanted)
        return process

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        # The number of a process that was not yet waited for cannot be given to another one: the group is still ours.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            self._process = None
            code = process.wait()
        if self._wanted is not None:
            kill_marked(self._mark)
        return code

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            self._wanted = number
            if self._process is not None:
                os.killpg(self._process.pid, number)


def kill_marked(mark: str) -> int:
    """Kill the processes of one task on this machine; returns how many there were."""
    victims = [process for process in psutil.process_iter() if _mark_of(process) == mark]
    for process in victims:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(victims, timeout=5)
    return len(victims)


def _mark_of(process: psutil.Process) -> str | None:
    try:
        mark: str | None = process.environ().get(LAUNCH_VARIABLE)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return mark
