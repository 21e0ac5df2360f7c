"""Tasks for the farm's workers, and the farms that run them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil

SETUP = f"export PYTHONPATH={Path(__file__).parent}:{Path(__file__).parents[1]}:$PYTHONPATH"
_NEVER = threading.Event()


class Stubborn(Exception):
    """Cannot be packed."""

    def __reduce__(self):
        raise TypeError("not to be packed")


def where():
    return os.getpid(), os.environ["PARSL_WORKER_BLOCK_ID"]


def double(array):
    return array * 2


def fail(kind):
    raise kind("no such thing")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def note(ledger, name):
    with open(ledger, "a") as file:
        file.write(f"{name}\n")


def wait_for_gate(folder, name):
    Path(folder, f"{name}.began").write_text(" ".join(map(str, where())))
    until(Path(folder, "gate").exists)
    return name


def size_of_own_world():
    program = "from mpi4py import MPI; print(MPI.COMM_WORLD.size)"
    return int(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60).stdout)


def until(condition):
    while not condition():
        _NEVER.wait(0.01)


def ranks_below(pid, folder=""):
    """Root and managers, in this order, of the farm in a folder that a process started."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            command = process.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if command[:3] == [sys.executable, "-m", "hpcmat.dispatch.farm"] and str(folder) in command[3]:
            found.append(process)
    return found
