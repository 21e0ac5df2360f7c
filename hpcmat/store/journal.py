"""The journal: an append-only list of events, the only memory of a campaign.

SQLite by default, any SQLAlchemy URL otherwise; one database can hold several campaigns. Each event carries a digest
over itself and its predecessor, so that a lost, changed or reordered event is noticed when the journal is read.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from hpcmat.errors import StorageError, VersionError
from hpcmat.records import SCHEMA_VERSION

_METADATA = sa.MetaData()
_CAMPAIGNS = sa.Table(
    "campaigns",
    _METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)
_EVENTS = sa.Table(
    "events",
    _METADATA,
    sa.Column("campaign", sa.String(64), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as it stands in the journal."""

    seq: int
    time: float
    """Seconds since the epoch."""
    kind: str
    payload: str
    """JSON."""
    digest: str


class Journal:
    """Events of one campaign. One driver writes; any number of readers read."""

    def __init__(self, url: str, campaign: str) -> None:
        self.url = url
        self.campaign = campaign
        self._engine = _engine(url)
        self._last = Entry(0, 0.0, "", "", hashlib.sha256(campaign.encode()).hexdigest())
        self._staged: list[Entry] = []

    def create(self) -> None:
        """Make the tables and enter the campaign; harmless where that was done before.

        Raises
        ------
        VersionError
            A newer version of hpcmat wrote it.
        StorageError
            The database cannot be written.
        """
        with _translated(self.url), self._engine.begin() as connection:
            _METADATA.create_all(connection)
            if self._schema_version(connection) is None:
                values = {"id": self.campaign, "schema_version": SCHEMA_VERSION, "created": time.time()}
                connection.execute(_CAMPAIGNS.insert().values(values))
        self.check_version()

    def check_version(self) -> None:
        """Raise VersionError where a newer version wrote the campaign, StorageError where there is none."""
        with _translated(self.url), self._engine.connect() as connection:
            if not sa.inspect(connection).has_table("campaigns"):
                raise StorageError(f"{self.url}: not a journal of hpcmat; name the folder of a campaign")
            version = self._schema_version(connection)
        if version is None:
            raise StorageError(f"{self.url}: no campaign {self.campaign!r} in it; name the folder of a campaign")
        if version > SCHEMA_VERSION:
            raise VersionError(
                f"{self.url}: written by a newer hpcmat (schema {version}, this one knows {SCHEMA_VERSION}); "
                "upgrade hpcmat to read it"
            )

    def stage(self, kind: str, payload: str) -> Entry:
        """Put one event (its payload JSON) behind those staged before; durable only after `commit`."""
        entry = _successor(self._staged[-1] if self._staged else self._last, kind, payload)
        self._staged.append(entry)
        return entry

    def commit(self) -> None:
        """Write what was staged in one transaction: all of it is durable afterwards, or none and it is forgotten.

        A transaction costs the same for one event and for a hundred: it waits for the disk.

        Raises
        ------
        StorageError
            The disk is full or the database is gone; the journal is as it was.
        """
        staged, self._staged = self._staged, []
        if not staged:
            return
        with _translated(self.url), self._engine.begin() as connection:
            connection.execute(_EVENTS.insert(), [_row(self.campaign, entry) for entry in staged])
        self._last = staged[-1]

    def append(self, events: Iterable[tuple[str, str]]) -> tuple[Entry, ...]:
        """Stage (kind, payload JSON) pairs and commit; raises as `commit` does."""
        entries = tuple(self.stage(kind, payload) for kind, payload in events)
        self.commit()
        return entries

    def read(self) -> Iterator[Entry]:
        """All events in order, from those this object has not seen yet.

        Raises
        ------
        StorageError
            The chain of digests is broken: an event was lost or changed.
        """
        query = (
            sa.select(_EVENTS)
            .where(_EVENTS.c.campaign == self.campaign, _EVENTS.c.seq > self._last.seq)
            .order_by(_EVENTS.c.seq)
        )
        with _translated(self.url), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            entry = Entry(row.seq, row.time, row.kind, row.payload, row.digest)
            if entry.seq != self._last.seq + 1 or entry.digest != _digest(self._last.digest, entry):
                raise StorageError(
                    f"{self.url}: event {entry.seq} does not follow its predecessor; restore the journal from a copy"
                )
            self._last = entry
            yield entry

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _schema_version(self, connection: sa.Connection) -> int | None:
        query = sa.select(_CAMPAIGNS.c.schema_version).where(_CAMPAIGNS.c.id == self.campaign)
        version: int | None = connection.execute(query).scalar()
        return version


def sqlite_url(path: Path) -> str:
    """URL of a journal file."""
    return f"sqlite:///{path}"


def _engine(url: str) -> sa.Engine:
    try:
        engine = sa.create_engine(url, **({"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}))
    except (sa.exc.ArgumentError, ModuleNotFoundError) as error:
        raise StorageError(f"{url}: not a usable database URL ({error}); see SQLAlchemy's list of dialects") from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _make_durable)
    return engine


def _make_durable(connection: Any, _record: Any) -> None:
    # A rollback journal, not WAL: WAL needs shared memory between reader and writer, which a login node and a compute
    # node on a parallel file system do not have.
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("PRAGMA synchronous=FULL")


def _successor(last: Entry, kind: str, payload: str) -> Entry:
    draft = Entry(last.seq + 1, time.time(), kind, payload, "")
    return Entry(draft.seq, draft.time, kind, payload, _digest(last.digest, draft))


def _digest(previous: str, entry: Entry) -> str:
    text = f"{previous}\n{entry.seq}\n{entry.time!r}\n{entry.kind}\n{entry.payload}"
    return hashlib.sha256(text.encode()).hexdigest()


def _row(campaign: str, entry: Entry) -> dict[str, Any]:
    return {
        "campaign": campaign,
        "seq": entry.seq,
        "time": entry.time,
        "kind": entry.kind,
        "payload": entry.payload,
        "digest": entry.digest,
    }


class _translated:
    """Turn the database's errors into StorageError that says what to do next."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, DBAPIError):
            return
        reason = str(error.orig)
        advice = "mend the database and run the same command again"
        if "full" in reason:
            advice = "free space and run the same command again; the journal is as it was"
        elif "unable to open" in reason or "readonly" in reason:
            advice = "choose a folder that can be written"
        raise StorageError(f"{self.url}: {reason}; {advice}") from error
