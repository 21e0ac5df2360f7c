"""A PJM script taken apart: the options of its `#PJM` lines, and the commands below."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

_WITH_VALUE = ("-L", "-g", "-x", "-o", "-e", "-N", "--name", "--mpi", "--llio", "--omp", "--rsc-list", "--sparam")
_ELAPSE = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+)")
_NODES = re.compile(r"(?P<shape>\d+(?:x\d+){0,2})(?::(?P<mode>torus|mesh|noncont)(?::.*)?)?")


@dataclass(frozen=True, slots=True)
class Elapse:
    """Elapse limits in seconds; `guaranteed` is the least of `min-max`, `longest` None where it is left open."""

    guaranteed: int
    longest: int | None
    adaptive: bool


@dataclass(frozen=True, slots=True)
class PjmScript:
    """What a script asks for."""

    first_line: str
    options: tuple[tuple[str, str], ...]
    """(option, value); the value is empty for flags."""
    commands: tuple[str, ...]
    """Lines that a shell executes."""

    def value(self, option: str) -> str:
        """Last value of an option; empty where it is not given."""
        return next((value for name, value in reversed(self.options) if name == option), "")

    def has(self, option: str) -> bool:
        """Whether an option is given."""
        return any(name == option for name, _ in self.options)

    def resource(self, key: str) -> str:
        """`VALUE` of `-L KEY=VALUE`; empty where it is not given."""
        return self._part("-L", key)

    def mpi(self, key: str) -> str:
        """`VALUE` of `--mpi KEY=VALUE`."""
        return self._part("--mpi", key)

    def llio(self, key: str) -> str:
        """`VALUE` of `--llio KEY=VALUE`."""
        return self._part("--llio", key)

    def _part(self, option: str, key: str) -> str:
        parts = [part.strip() for name, value in self.options if name == option for part in value.split(",")]
        return next((part.split("=", 1)[1] for part in reversed(parts) if part.startswith(f"{key}=")), "")

    @property
    def nodes(self) -> int:
        """Number of nodes; 0 where it cannot be read."""
        match = _NODES.fullmatch(self.resource("node"))
        count = 1
        for edge in match["shape"].split("x") if match else ["0"]:
            count *= int(edge)
        return count

    @property
    def mode(self) -> str:
        """torus, mesh, noncont, or empty."""
        match = _NODES.fullmatch(self.resource("node"))
        return (match["mode"] or "") if match else ""

    @property
    def elapse(self) -> Elapse | None:
        """Elapse limits; None where they cannot be read."""
        first, dash, second = self.resource("elapse").partition("-")
        least, longest = _seconds(first), _seconds(second)
        if least is None or (second and longest is None):
            return None
        return Elapse(least, longest if dash else least, bool(dash))


def read_script(text: str) -> PjmScript:
    """Take a script apart; raises ValueError where the quotes of a `#PJM` line do not match."""
    lines = text.splitlines()
    options = [pair for line in lines if line.startswith("#PJM ") for pair in _options(line[len("#PJM ") :])]
    commands = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return PjmScript(lines[0] if lines else "", tuple(options), tuple(commands))


def _options(line: str) -> list[tuple[str, str]]:
    words = shlex.split(line, comments=True)
    found: list[tuple[str, str]] = []
    while words:
        option = words.pop(0)
        found.append((option, words.pop(0) if option in _WITH_VALUE and words else ""))
    return found


def _seconds(text: str) -> int | None:
    match = _ELAPSE.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds
