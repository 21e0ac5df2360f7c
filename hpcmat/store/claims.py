"""Who is executing what: a claim is a file that exactly one process can create, and that tells whether it lives."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from hpcmat.records import decode, encode
from hpcmat.store.atomic import create_exclusively

HEARTBEAT_S = 10.0
"""The worker touches the claim this often while its task runs."""
STALE_S = 120.0
"""A claim of another host without a heartbeat for this long is dead."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process, told apart from a later one with the same number."""

    host: str
    boot: str
    pid: int
    started: int
    """Start time in clock ticks since boot, from /proc."""

    @classmethod
    def current(cls) -> Process:
        """The calling process."""
        return cls(socket.gethostname(), _boot_id(), os.getpid(), _start_ticks(os.getpid()) or 0)

    @property
    def local(self) -> bool:
        """Whether it ran on this boot of this host, so that /proc can tell of it."""
        return self.host == socket.gethostname() and self.boot == _boot_id()

    @property
    def alive(self) -> bool:
        """Whether it still runs; meaningful for local processes only."""
        return _start_ticks(self.pid) == self.started


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in {"Z", "X"} else int(rest[18])


def claim(folder: Path) -> bool:
    """Take the attempt in this folder for the calling process; False if somebody has it."""
    return create_exclusively(folder / "claim.json", encode(Process.current()))


def withdraw_claim(folder: Path) -> None:
    """Give up a claim of the calling process on which nothing was begun."""
    (folder / "claim.json").unlink(missing_ok=True)


def claimant(folder: Path) -> Process | None:
    """The process that took this attempt, or None."""
    try:
        return decode(Process, (folder / "claim.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def is_claim_alive(folder: Path) -> bool:
    """Whether the attempt in this folder is being executed now.

    Across hosts only the heartbeat can tell; it errs on the side of waiting, because starting twice what is
    paid for is worse than starting late.
    """
    process = claimant(folder)
    if process is None:
        return False
    if process.local:
        return process.alive
    if process.host == socket.gethostname():
        return False
    return time.time() - (folder / "claim.json").stat().st_mtime < STALE_S


def touch_claim(folder: Path) -> None:
    """Heartbeat; a claim that is gone or a full disk is left to the reader's time-out."""
    try:
        os.utime(folder / "claim.json")
    except OSError:
        return
