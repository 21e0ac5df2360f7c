"""How far a campaign is, read beside its driver without ever waiting for it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path


class Watch:
    """Number of events of each kind in a journal."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._counts: Counter[str] = Counter()

    def counts(self) -> Counter[str]:
        """As of now, or of the last look where a driver holds the journal."""
        try:
            with closing(sqlite3.connect(f"file:{self._journal}?mode=ro", uri=True, timeout=0.0)) as connection:
                rows = connection.execute("SELECT kind, count(*) FROM events GROUP BY kind").fetchall()
        except sqlite3.Error:
            return self._counts
        self._counts = Counter(dict(rows))
        return self._counts
