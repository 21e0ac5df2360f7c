"""Start a program in its work folder and wait for its end."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hpcmat.engines.parallel import Parallel
from hpcmat.mpi_environment import outside_mpi

STDERR_NAME = "stderr.txt"

THREAD_STACK = "64M"
"""Of each thread of a code; `OMP_STACKSIZE` says otherwise."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """Words after the executable, and the files in the work folder that it reads and writes as standard streams."""

    arguments: tuple[str, ...]
    stdout: str
    stdin: str = ""
    """Empty for no input."""
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a program ended."""

    code: int | None
    """Exit code, negative for a signal; None where nobody saw the end."""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    """Of the processes on this node."""


def run_program(executable: tuple[str, ...], invocation: Invocation, folder: Path, parallel: Parallel) -> Ending:
    """Run `launch executable arguments` in `folder`, without a shell, to its end.

    The program is of the process group of its caller, so that whoever ends the task at its walltime ends it too. Its
    stack may grow to the hard limit.

    Raises
    ------
    OSError
        It cannot be started, or its streams cannot be written.
    """
    command = (*parallel.launch, *executable, *invocation.arguments)
    begun, before = time.monotonic(), os.times()
    with (
        open(folder / invocation.stdin if invocation.stdin else os.devnull, "rb") as stdin,
        (folder / invocation.stdout).open("wb") as stdout,
        (folder / STDERR_NAME).open("wb") as stderr,
        _largest_stack(),
    ):
        code = subprocess.run(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            env=_environment(invocation, parallel),
            check=False,
        ).returncode
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Ending(code, time.monotonic() - begun, cpu)


@contextmanager
def _largest_stack() -> Iterator[None]:
    # Fortran codes have arrays of whole grids on the stack: CP2K ended with SIGSEGV at 8 MB, a common soft limit.
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


def _environment(invocation: Invocation, parallel: Parallel) -> dict[str, str]:
    threads = str(parallel.threads)
    # Codes with a threaded BLAS take all cores of the node unless told; both variables are read, by different builds.
    ours = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    # Threads have stacks of their own, which glibc makes of 2 MB where the limit of the first one is none.
    stack = {"OMP_STACKSIZE": THREAD_STACK}
    return stack | outside_mpi(os.environ) | ours | dict(invocation.environment) | dict(parallel.environment)
