"""A campaign on disk: where its journal, potential and report lie, and how it is read."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from hpcmat.campaign.events import read_event
from hpcmat.campaign.state import CampaignState
from hpcmat.errors import InputError, VersionError
from hpcmat.store.journal import Journal, sqlite_url


@dataclass(frozen=True, slots=True)
class CampaignFolder:
    """Paths of one campaign."""

    root: Path

    @property
    def journal_file(self) -> Path:
        """SQLite journal, unless a URL names another database."""
        return self.root / "journal.sqlite"

    @property
    def journal_pointer(self) -> Path:
        """Two lines, URL and campaign id, where the journal is kept in another database."""
        return self.root / "journal.url"

    @property
    def lock(self) -> Path:
        """Held by the running driver."""
        return self.root / "driver.lock"

    @property
    def stop_request(self) -> Path:
        """Its existence asks the driver to drain."""
        return self.root / "stop.request"

    @property
    def allocations(self) -> Path:
        """What was asked of schedulers for this campaign."""
        return self.root / "allocations.json"

    @property
    def potential(self) -> Path:
        """The newest potential."""
        return self.root / "potential.npz"

    @property
    def report(self) -> Path:
        """The report."""
        return self.root / "report.html"

    @property
    def logs(self) -> Path:
        """Logs of the dispatcher."""
        return self.root / "logs"

    def journal(self) -> Journal:
        """The campaign's journal, without looking whether it exists."""
        if self.journal_pointer.exists():
            url, campaign = self.journal_pointer.read_text().split()
            return Journal(url, campaign)
        return Journal(sqlite_url(self.journal_file), "campaign")

    @property
    def exists(self) -> bool:
        """Whether a campaign was started here."""
        return self.journal_file.exists() or self.journal_pointer.exists()

    @property
    def driven(self) -> bool:
        """Whether a driver holds the campaign's lock."""
        try:
            with self.lock.open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def read(self) -> CampaignState:
        """Fold the journal.

        Raises
        ------
        InputError
            There is no campaign here, or its driver died before it wrote anything.
        VersionError
            A newer version wrote it.
        StorageError
            The journal is damaged.
        """
        if not self.exists:
            raise InputError(f"{self.root}: no campaign here; start one with `hpcmat run CAMPAIGN.toml --out FOLDER`")
        journal = self.journal()
        try:
            journal.check_version()
            state = self.fold(journal)
        finally:
            journal.close()
        if state.created is None:
            raise InputError(f"{self.root}: its journal is empty yet; begin the campaign with `hpcmat run` once more")
        return state

    def fold(self, journal: Journal) -> CampaignState:
        """State after all events of its journal; raises VersionError where a newer version wrote one of them."""
        try:
            return CampaignState.of((read_event(entry.payload), entry.time) for entry in journal.read())
        except ValidationError as error:
            raise VersionError(
                f"{self.root}: its journal has an entry this hpcmat does not know; use the version that wrote it"
            ) from error
