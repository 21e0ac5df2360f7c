"""Programs of other people: where they are found, which version they are, and how to get those that are missing."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hpcmat.errors import InputError
from hpcmat.mpi_environment import outside_mpi

PROBE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Sources:
    """How to get a code, by package system; empty where it is not to be had."""

    debian: str = ""
    pip: str = ""
    spack: str = ""
    fugaku: str = ""

    def __str__(self) -> str:
        """One clause for each place."""
        ways = (("Debian", self.debian), ("pip", self.pip), ("Spack", self.spack), ("Fugaku", self.fugaku))
        return "; ".join(f"{place}: {command or 'not available'}" for place, command in ways)


@dataclass(frozen=True, slots=True)
class Code:
    """One program: its name, how it is started, and how it tells its version without computing anything."""

    title: str
    """As its makers write it."""
    executable: str
    variable: str
    """Environment variable that names another executable, with options if need be."""
    sources: Sources
    version_arguments: tuple[str, ...] = ()
    """What makes it print its version; the standard input is empty."""
    version_pattern: str = r"(\d+\.\S+)"
    """Regular expression whose first group is the version, in what it then prints."""
    tried: bool = True
    """False where no executable was at hand to test with; inputs and outputs are then tested on documented formats."""

    def command(self, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
        """Words that start the code: the variable's, or the executable's path.

        Raises
        ------
        InputError
            It is not there; says how to get it.
        """
        words = tuple(shlex.split(environment.get(self.variable, ""))) or (self.executable,)
        path = shutil.which(words[0], path=environment.get("PATH"))
        if path is None:
            raise InputError(
                f"{self.title}: no executable '{words[0]}' on PATH; install it ({self.sources}), "
                f"or name it in {self.variable}"
            )
        return (path, *words[1:])

    def version(self, environment: Mapping[str, str] = os.environ) -> str:
        """Version that the executable states; asked once for each file, which takes some tenths of a second.

        Raises
        ------
        InputError
            The executable is missing, or does not run here.
        """
        words = self.command(environment)
        status = Path(words[0]).stat()
        return _probe(self, words, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=64)
def _probe(code: Code, words: tuple[str, ...], stamp: tuple[int, int]) -> str:
    del stamp  # another file in the same place is another version
    with tempfile.TemporaryDirectory(prefix="hpcmat-version-") as folder:
        try:
            answer = subprocess.run(
                [*words, *code.version_arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=outside_mpi(os.environ) | {"OMP_NUM_THREADS": "1"},
                timeout=PROBE_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(_mute(code, words, str(error))) from error
    # Some codes end with an error on empty input; their first lines name the version all the same.
    text = answer.stdout.decode(errors="replace")
    found = re.search(code.version_pattern, text)
    if found is None:
        raise InputError(_mute(code, words, (text.strip().splitlines() or ["no output"])[-1]))
    return found[1]


def _mute(code: Code, words: tuple[str, ...], reason: str) -> str:
    return (
        f"{code.title}: {words[0]} does not state its version ({reason}); run it by hand to see why, or state "
        "engine.code_version where it runs on other nodes only"
    )
