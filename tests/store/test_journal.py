"""The journal: appended whole or not at all, read back in order, refused when damaged or newer."""

import sqlite3

import pytest
import sqlalchemy as sa

from hpcmat.errors import StorageError, VersionError
from hpcmat.store.journal import Journal, sqlite_url


@pytest.fixture
def url(tmp_path):
    return sqlite_url(tmp_path / "journal.sqlite")


def opened(url, campaign="c") -> Journal:
    journal = Journal(url, campaign)
    journal.create()
    return journal


def test_events_come_back_in_order_and_only_once(url):
    writer, reader = opened(url), Journal(url, "c")
    writer.append([("a", '{"n": 1}'), ("b", "{}")])
    assert [(entry.seq, entry.kind) for entry in reader.read()] == [(1, "a"), (2, "b")]
    writer.append([("c", "{}")])
    assert [entry.kind for entry in reader.read()] == ["c"]
    assert list(reader.read()) == []


def test_staged_events_are_durable_together_and_only_after_the_commit(url):
    writer = opened(url)
    staged = [writer.stage("a", "{}"), writer.stage("b", "{}")]
    assert list(Journal(url, "c").read()) == []
    writer.commit()
    assert list(Journal(url, "c").read()) == staged
    writer.commit()
    assert len(list(Journal(url, "c").read())) == 2


def test_writer_goes_on_where_an_earlier_one_stopped(url):
    opened(url).append([("a", "{}")])
    second = opened(url)
    list(second.read())
    second.append([("b", "{}")])
    assert [entry.seq for entry in Journal(url, "c").read()] == [1, 2]


def test_two_writers_cannot_both_append(url):
    """The lock keeps a second driver out; should it fail, the journal itself refuses to fork."""
    first, second = opened(url), opened(url)
    first.append([("a", "{}")])
    with pytest.raises(StorageError):
        second.append([("b", "{}")])
    assert [entry.kind for entry in Journal(url, "c").read()] == ["a"]


def test_campaigns_share_a_database(url):
    one, two = opened(url, "one"), opened(url, "two")
    one.append([("a", "{}")])
    two.append([("b", "{}")])
    assert [entry.kind for entry in Journal(url, "two").read()] == ["b"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET payload = '{\"n\": 2}' WHERE seq = 2",
        "DELETE FROM events WHERE seq = 2",
        "UPDATE events SET kind = 'x' WHERE seq = 1",
        "UPDATE events SET seq = 4 WHERE seq = 3",
    ],
)
def test_damage_is_noticed(url, tmp_path, damage):
    opened(url).append([("a", '{"n": 1}'), ("a", '{"n": 1}'), ("a", '{"n": 1}')])
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.execute(damage)
    with pytest.raises(StorageError, match="does not follow"):
        list(Journal(url, "c").read())


def test_newer_journal_is_refused(url, tmp_path):
    opened(url)
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.execute("UPDATE campaigns SET schema_version = 99")
    with pytest.raises(VersionError, match="newer hpcmat"):
        Journal(url, "c").check_version()
    with pytest.raises(VersionError):
        opened(url)


@pytest.mark.parametrize("content", [b"", b"not a database at all, but long enough to be read as one" * 20])
def test_file_that_is_no_journal_is_refused(tmp_path, content):
    path = tmp_path / "journal.sqlite"
    path.write_bytes(content)
    with pytest.raises(StorageError):
        Journal(sqlite_url(path), "c").check_version()


def test_full_disk_leaves_the_journal_as_it_was(url, tmp_path):
    journal = opened(url)
    journal.append([("a", "{}")])
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]

    @sa.event.listens_for(journal._engine, "connect")
    def limit(connection, _record):
        connection.execute(f"PRAGMA max_page_count = {pages}")

    journal.close()
    with pytest.raises(StorageError, match="free space"):
        journal.append([("b", '"' + "x" * 200_000 + '"')])
    journal.append([("c", "{}")])
    assert [entry.kind for entry in Journal(url, "c").read()] == ["a", "c"]


def test_unusable_url_is_named():
    with pytest.raises(StorageError, match="not a usable database URL"):
        Journal("nosuchdialect://x", "c")
