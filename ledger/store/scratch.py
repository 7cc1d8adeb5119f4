"""Names that may be too many for memory: distinct ones in the order in which they first came, in a temporary file.

SQLite makes the file when its cache is full, and removes it; nothing of it is the ledger's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

CACHE_KIB = 8192  # kept in memory; what does not fit goes to the file
FETCH_ROWS = 1_000


class Names:
    """Any number of names. A ``with`` gives the file back at its end."""

    def __init__(self) -> None:
        """No name yet."""
        # An empty path is a database of its own that is gone when it is closed.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TEMPORARY TABLE name (place INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def __del__(self) -> None:
        self._database.close()

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM name").fetchone()[0])

    def __iter__(self) -> Iterator[str]:
        cursor = self._database.execute("SELECT name FROM name ORDER BY place")
        while rows := cursor.fetchmany(FETCH_ROWS):
            yield from (name for (name,) in rows)

    def add(self, names: Iterable[str]) -> None:
        """Names, of which those that are there already are passed over."""
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR IGNORE INTO name (name) VALUES (?)", ((name,) for name in names))
        self._database.execute("COMMIT")

    def first(self, most: int) -> Sequence[str]:
        """The names that came first."""
        found = self._database.execute("SELECT name FROM name ORDER BY place LIMIT ?", (most,))
        return [name for (name,) in found]
