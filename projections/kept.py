"""Rows that a fold changes again and again, and writes once: a wave that is over within a chunk costs one row.

Rules of this module:

* The rows of a table are kept by their first column, in memory, from the first time that a fold asks for them or
  changes them until `write`. Whoever asks the table itself in between has them written first.
* Rows may be given as a function: what something else takes the place of before it is written is never made.
* Nothing is read or deleted for what is said to be new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from sqlalchemy import Connection

Values: TypeAlias = tuple[Any, ...]
"""A row without its first column."""
Rows: TypeAlias = "Sequence[Values] | Callable[[], Sequence[Values]]"


class Tables(Protocol):
    """How the rows are read and written: `projections.fold.Fold`."""

    def rows(self, connection: Connection, statement: str, params: Mapping[str, Any] | None = None) -> list[Values]:
        """The rows of a query."""

    def many(self, connection: Connection, statement: str, rows: Sequence[Values]) -> None:
        """Execute a statement once for each row."""

    def insert(self, connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Values]) -> None:
        """Insert rows."""


@dataclass
class _Entry:
    """What is known of a key. `whole`: these are all its rows; `replaces`: the table may have others."""

    rows: Rows
    whole: bool
    replaces: bool
    changed: bool = True

    def values(self) -> Sequence[Values]:
        """The rows, made where they were not yet."""
        if callable(self.rows):
            self.rows = self.rows()
        return self.rows


class Kept:
    """Rows of one table. `columns` has the key first."""

    def __init__(self, tables: Tables, table: str, columns: str) -> None:
        """Nothing is kept yet."""
        self._tables, self._table = tables, table
        self._columns = columns.split()
        self._places = {name: place for place, name in enumerate(self._columns[1:])}
        self._entries: dict[Any, _Entry] = {}

    def rows(self, connection: Connection, key: object) -> Sequence[Values]:
        """The rows of a key."""
        return self._entry(connection, key).values()

    def row(self, connection: Connection, key: object) -> dict[str, Any] | None:
        """The columns of the one row of a key; None where there is none."""
        found = self.rows(connection, key)
        return dict(zip(self._places, found[0], strict=True)) if found else None

    def new(self, key: object, rows: Rows) -> None:
        """Rows of a key that the table does not have."""
        if key in self._entries:  # then it is known what the table has
            self.put(key, rows)
        else:
            self._entries[key] = _Entry(rows, whole=True, replaces=False)

    def add(self, key: object, rows: Sequence[Values]) -> None:
        """More rows, beside those that there are."""
        entry = self._entries.get(key)
        if entry is None:
            self._entries[key] = _Entry(list(rows), whole=False, replaces=False)
        else:
            entry.rows, entry.changed = [*entry.values(), *rows], True

    def put(self, key: object, rows: Rows) -> None:
        """These rows in place of all that there are; none: they go."""
        entry = self._entries.get(key)
        self._entries[key] = _Entry(rows, whole=True, replaces=entry is None or not entry.whole or entry.replaces)

    def change(self, connection: Connection, key: object, **columns: object) -> None:
        """Other values in the rows of a key, if there are any."""
        entry = self._entry(connection, key)
        changed = []
        for row in entry.values():
            values = list(row)
            for name, value in columns.items():
                values[self._places[name]] = value
            changed.append(tuple(values))
        entry.rows, entry.changed = changed, True

    def move(self, connection: Connection, key: object, to: object) -> None:
        """The rows of a key become those of another, in place of its own."""
        self.put(to, self._entry(connection, key).rows)
        self.put(key, ())

    def clear(self) -> None:
        """Forget everything: a transaction that was rolled back takes it along."""
        self._entries.clear()

    def write(self, connection: Connection) -> None:
        """Write what was changed, and forget everything."""
        changed = [(key, entry) for key, entry in self._entries.items() if entry.changed]
        if not changed:
            return
        self._entries = {}
        key = self._columns[0]
        gone = [(key,) for key, entry in changed if entry.replaces]
        self._tables.many(connection, f"DELETE FROM {{{self._table}}} WHERE {key} = ?", gone)
        rows = ((key, *row) for key, entry in changed for row in entry.values())
        self._tables.insert(connection, self._table, self._columns, rows)

    def _entry(self, connection: Connection, key: object) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = _Entry(self._read(connection, key), whole=True, replaces=True, changed=False)
            self._entries[key] = entry
        elif not entry.whole:
            both = [*self._read(connection, key), *entry.values()]
            entry.rows, entry.whole, entry.replaces = both, True, True
        return entry

    def _read(self, connection: Connection, key: object) -> list[Values]:
        key_, *columns = self._columns
        statement = f"SELECT {', '.join(columns)} FROM {{{self._table}}} WHERE {key_} = :key"
        return self._tables.rows(connection, statement, {"key": key})
