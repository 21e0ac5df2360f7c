"""Content-addressed results, shared between campaigns.

Layout: `ROOT/ab/abcd.../attempt-N/{claim.json, record.json, files...}`. An attempt is claimed before it starts and
its record appears whole when it has ended, accepted or failed. An identical calculation is therefore found by any
campaign, whoever asked first, and what a driver did not live to see is adopted by the next one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pydantic import ValidationError

from hpcmat.errors import StorageError
from hpcmat.records import Record, decode, encode
from hpcmat.store.atomic import make_folder, reserve, write_text
from hpcmat.store.claims import claim, claimant, is_claim_alive, withdraw_claim

RESERVED_BYTES = 65536
"""Space taken for a record before its task starts: what was paid for is not lost because the disk filled meanwhile."""
_DRAFT = ".record"


class AttemptState(Enum):
    """What is known of one attempt."""

    RUNNING = "running"
    DONE = "done"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of a key: its number, folder, state, and its record once it is done."""

    number: int
    folder: Path
    state: AttemptState
    record: Record | None = None


class ResultStore:
    """Results under one root folder; safe for any number of processes and hosts at once."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def attempts(self, key: str) -> tuple[Attempt, ...]:
        """All attempts at a key, oldest first."""
        parent = self._parent(key)
        try:
            names = os.listdir(parent)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        numbers = sorted(int(name[8:]) for name in names if name.startswith("attempt-"))
        return tuple(self._attempt(parent / f"attempt-{number}", number) for number in numbers)

    def record_of(self, key: str, attempt: int) -> Record | None:
        """The record of one attempt, or None where there is none or its checksum is wrong."""
        return _read_record(self._parent(key) / f"attempt-{attempt}" / "record.json")

    def read(self, key: str) -> Record | None:
        """The accepted record of a key, or None. A record whose checksum is wrong does not count."""
        attempt = self.accepted(key)
        return attempt.record if attempt else None

    def accepted(self, key: str) -> Attempt | None:
        """The attempt whose record was accepted, or None."""
        return accepted_of(self.attempts(key))

    def folder(self, key: str) -> Path:
        """Work folder of the accepted result.

        Raises
        ------
        StorageError
            There is no accepted result for this key.
        """
        attempt = self.accepted(key)
        if attempt is None:
            raise StorageError(f"no result {key[:12]} in {self.root}; run the campaign that computes it first")
        return attempt.folder

    def running(self, key: str) -> Attempt | None:
        """The attempt that some live process is executing now, or None."""
        return next((a for a in self.attempts(key) if a.state is AttemptState.RUNNING), None)

    def begin(self, key: str) -> Attempt | None:
        """Claim the next attempt for the calling process; None if the key is done or being executed.

        A folder without a claim is taken again, not passed over: its maker may be about to claim it, and then only
        one of the two wins. The result is looked for once more after the claim: one that appeared in between is then
        seen, and the claim left behind without a record costs nothing.

        Raises
        ------
        StorageError
            There is no room for a record; nothing was claimed.
        """
        if self.read(key) or self.running(key):
            return None
        number = 1 + sum(claimant(attempt.folder) is not None for attempt in self.attempts(key))
        folder = make_folder(self._parent(key) / f"attempt-{number}")
        if not claim(folder):
            return None
        if self.read(key):
            return None
        try:
            reserve(folder / _DRAFT, RESERVED_BYTES)
        except StorageError:
            withdraw_claim(folder)
            raise
        return Attempt(number, folder, AttemptState.RUNNING)

    def publish(self, record: Record, folder: Path) -> bool:
        """Write the record of a finished attempt; from then on it counts.

        False, and nothing written, where another attempt has given the result: on another host this one had been
        stopped for so long that it was taken for dead.
        """
        if record.accepted and self.read(record.key) is not None:
            (folder / _DRAFT).unlink(missing_ok=True)
            return False
        text = encode(record)
        checked = f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}\n"
        write_text(folder / "record.json", checked, reserved=folder / _DRAFT)
        return True

    def _attempt(self, folder: Path, number: int) -> Attempt:
        record = _read_record(folder / "record.json")
        if record is not None:
            return Attempt(number, folder, AttemptState.DONE, record)
        if not is_claim_alive(folder):
            # The process may have published between the two looks; a claim dies only after its record is there.
            record = _read_record(folder / "record.json")
            return Attempt(number, folder, AttemptState.DONE if record else AttemptState.LOST, record)
        return Attempt(number, folder, AttemptState.RUNNING)

    def _parent(self, key: str) -> Path:
        return self.root / key[:2] / key


def accepted_of(attempts: Iterable[Attempt]) -> Attempt | None:
    """The one whose record was accepted, or None."""
    return next((a for a in attempts if a.record is not None and a.record.accepted), None)


def _read_record(path: Path) -> Record | None:
    try:
        digest, _, text = path.read_text().partition("\n")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    text = text.rstrip("\n")
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        return None
    try:
        return decode(Record, text)
    except ValidationError:
        return None
