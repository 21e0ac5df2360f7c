"""Shape of a farm, and its tree of ranks."""

from __future__ import annotations

from dataclasses import dataclass

from hpcmat.dispatch.launchers.request import TextFile
from hpcmat.errors import InputError


@dataclass(frozen=True, slots=True)
class FarmLayout:
    """How many managers with how many workers, and how they are started.

    Raises
    ------
    InputError
        A number is out of its range.
    """

    managers: int
    """One for each node; the first is the root."""
    workers_per_manager: int
    prefetch: int = 0
    """Tasks that wait at a manager for each of its workers, and as many at the rank above: fewer than workers ×
    (1 + 2 prefetch) are out. It hides latency, and binds tasks before they can start."""
    fanout: int = 64
    """Ranks below one rank: no rank talks to more, and three levels reach 262,144 managers."""
    launcher: tuple[str, ...] = ("mpiexec", "-n", "{ranks}")
    """Command that starts the ranks; {ranks} is replaced by their number."""
    files: tuple[TextFile, ...] = ()
    """What the launcher reads."""
    address: str = "127.0.0.1"
    """Where the root, rank 0, reaches the driver."""
    heartbeat_s: float = 10.0
    """Each rank reports at least this often."""
    silence_s: float = 120.0
    """A rank unheard for so long is dead, and the farm with it."""
    start_s: float = 300.0
    """The root must have connected by then."""

    def __post_init__(self) -> None:
        for name in ("managers", "workers_per_manager", "fanout"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: {getattr(self, name)} is too few for a farm; give at least 1")
        if self.prefetch < 0:
            raise InputError(f"prefetch: {self.prefetch} is negative; give 0 or more")
        if self.silence_s <= self.heartbeat_s:
            raise InputError("silence_s must exceed heartbeat_s; give several heartbeats of patience")

    @property
    def ranks(self) -> int:
        """As many as managers."""
        return self.managers

    @property
    def workers(self) -> int:
        """Tasks that run at once."""
        return self.managers * self.workers_per_manager

    @property
    def command(self) -> list[str]:
        """The launcher for this number of ranks."""
        return [word.replace("{ranks}", str(self.ranks)) for word in self.launcher]


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """What the ranks must know to find the driver and each other; a file that only its owner can read."""

    layout: FarmLayout
    port: int
    key: str
    """Secret that both sides of the socket prove to know, as hexadecimal digits."""


def parent_of(rank: int, fanout: int) -> int | None:
    """Rank above; None for the root."""
    return (rank - 1) // fanout if rank else None


def children_of(rank: int, layout: FarmLayout) -> range:
    """Ranks directly below."""
    first = rank * layout.fanout + 1
    return range(min(first, layout.ranks), min(first + layout.fanout, layout.ranks))
