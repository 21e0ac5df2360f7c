"""The processes of a campaign, by what they are."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil
from harness import Trial

LAUNCHERS = {"mpiexec", "mpirun", "mpiexec.hydra", "hydra_pmi_proxy", "srun", "prterun"}
"""Names of programs that start ranks."""


def command(process: psutil.Process) -> list[str]:
    """Its words; none where it is gone."""
    try:
        words: list[str] = process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
    return words


def drivers(trial: Trial) -> list[psutil.Process]:
    """Interpreters that run `hpcmat run` on this campaign."""
    marks = {"hpcmat", "run", str(trial.folder.root)}
    return [p for p in psutil.process_iter() if marks <= set(command(p))]


def workers(trial: Trial) -> list[psutil.Process]:
    """Those that wait for a task."""
    return trial.busy_workers()


def tasks(trial: Trial) -> list[psutil.Process]:
    """Those that execute one."""
    return trial.tasks()


def managers(trial: Trial) -> list[psutil.Process]:
    """Parsl's pool of workers and the shell that started it, without the workers."""
    pools = [p for p in trial.processes() if any(w.endswith("process_worker_pool.py") for w in command(p))]
    known = {pool.pid for pool in pools}
    return [pool for pool in pools if _parent(pool) not in known]


def interchanges(trial: Trial) -> list[psutil.Process]:
    """Parsl's interchange, which renames itself and loses its environment with that."""
    children = [child for driver in drivers(trial) for child in _children(driver)]
    return [child for child in children if "nterchange" in " ".join([_name(child), *command(child)])]


def wardens(trial: Trial) -> list[psutil.Process]:
    """Those that clean up behind a driver."""
    return [p for p in trial.processes() if "hpcmat.dispatch.orphans" in command(p)]


def servers(trial: Trial) -> list[psutil.Process]:
    """Those from which the processes that watch over tasks are forked."""
    return [p for p in trial.processes() if "multiprocessing.forkserver" in " ".join(command(p)) and not _is_ours(p)]


def guards(trial: Trial) -> list[psutil.Process]:
    """Those between a task and the launcher of its ranks."""
    return [p for p in trial.processes() if "hpcmat.dispatch.launchers.guard" in command(p)]


def launchers(trial: Trial) -> list[psutil.Process]:
    """Programs that started the ranks of a task."""
    return [p for p in trial.processes() if _name(p) in LAUNCHERS]


def left(trial: Trial) -> list[psutil.Process]:
    """Everything of a campaign that lives: what bears its mark, drives it, or holds one of its files open."""
    found = {*trial.processes(), *drivers(trial), *(p for p in psutil.process_iter() if _holds(p, trial.folder.root))}
    return [process for process in found if is_alive(process)]


def _holds(process: psutil.Process, folder: Path) -> bool:
    try:
        return any(Path(file.path).is_relative_to(folder) for file in process.open_files())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


ROLES: dict[str, Callable[[Trial], list[psutil.Process]]] = {
    "worker": workers,
    "task": tasks,
    "manager": managers,
    "interchange": interchanges,
    "warden": wardens,
    "driver": drivers,
    "launcher": launchers,
    "guard": guards,
    "server": servers,
}


def send(number: signal.Signals, processes: Iterable[psutil.Process]) -> None:
    """A signal to each that still lives."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def is_alive(process: psutil.Process) -> bool:
    """Whether it exists and is no zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _is_ours(process: psutil.Process) -> bool:
    """Whether it was forked from a server and has a name of its own."""
    return _name(process).startswith("hpcmat-")


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children())
    except psutil.NoSuchProcess:
        return []


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return 0
