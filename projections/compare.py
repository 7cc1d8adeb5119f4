"""Live rows against those of a replay, one after the other: neither side is ever in memory whole.

Rules of this module:

* Both are read in the order of their keys, which is the same in all databases: texts are ordered byte by byte.
* A row that is there on both sides and differs names each column that does.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Connection, Table, inspect

from ledger.domain.errors import LedgerError
from ledger.domain.values import format_time, from_epoch
from ledger.store import bulk
from projections.tables import is_time

_Values: TypeAlias = tuple[Any, ...]


class Difference(NamedTuple):
    """A row that a replay of the ledger does not give, or gives and is not there, or gives with another `field`."""

    projection: str
    table: str
    problem: str
    row: dict[str, Any]
    field: str = ""


def differences(
    live: Connection, replay: Connection, projection: str, table: Table
) -> Generator[Difference, None, None]:
    """The rows of a table that differ."""
    keys = [str(c.name) for c in table.primary_key.columns]
    columns = [str(c.name) for c in table.columns]  # JSON takes no subclass of str for a key
    places = [columns.index(key) for key in keys]
    names = ", ".join(f'"{name}"' for name in columns)
    order = ", ".join(f'"{key}"' for key in keys)
    if gone := _gone(live, table, columns):
        yield from (Difference(projection, table.name, problem, {}) for problem in gone)
        return
    sql = f"SELECT {names} FROM {table.name} ORDER BY {order}"
    there, wanted = bulk.streamed(live, sql), bulk.streamed(replay, sql)
    found, expected = next(there, None), next(wanted, None)
    while found is not None or expected is not None:
        if found == expected:
            found, expected = next(there, None), next(wanted, None)
        elif found is None or (expected is not None and _key(expected, places) < _key(found, places)):
            assert expected is not None  # one of the two is there
            yield Difference(projection, table.name, "this row is missing", dict(zip(columns, expected, strict=True)))
            expected = next(wanted, None)
        elif expected is None or _key(found, places) < _key(expected, places):
            yield Difference(projection, table.name, "no event gives this row", dict(zip(columns, found, strict=True)))
            found = next(there, None)
        else:
            yield from _changed(projection, table.name, columns, found, expected)
            found, expected = next(there, None), next(wanted, None)


def _gone(live: Connection, table: Table, columns: Sequence[str]) -> list[str]:
    """What there is nothing of to compare: the table, or columns of it."""
    looked_up = inspect(live)
    if not looked_up.has_table(table.name):
        return ["the table is missing"]
    there = {column["name"] for column in looked_up.get_columns(table.name)}
    return [f"the column {column} is missing" for column in columns if column not in there]


def _changed(
    projection: str, table: str, columns: Sequence[str], found: _Values, expected: _Values
) -> Iterator[Difference]:
    row = dict(zip(columns, found, strict=True))
    for column, value, wanted in zip(columns, found, expected, strict=True):
        if value != wanted:
            said = f"{column} is {_said(column, value)}, a replay gives {_said(column, wanted)}"
            yield Difference(projection, table, said, row, column)


def told(row: Mapping[str, Any]) -> str:
    """A row as it is told to people: columns and values, times in RFC 3339."""
    return ", ".join(f"{column}={readable(column, value)}" for column, value in row.items())


def readable(column: str, value: Any) -> Any:
    """A value as people and scripts are to see it: a time is RFC 3339, None where it never was.

    What an attacker wrote may be no time: that stays what it is; bytes are shown as hex.
    """
    if isinstance(value, bytes):
        return value.hex()
    if not is_time(column) or not isinstance(value, int):
        return value
    try:
        return format_time(from_epoch(value)) if value else None
    except LedgerError:
        return value


def _said(column: str, value: Any) -> str:
    found = readable(column, value)
    return repr(value) if found == value else str(found)


def _key(row: _Values, places: Sequence[int]) -> list[tuple[int, Any]]:
    """What rows are ordered by. A value of a type that no event gives comes where SQLite puts it."""
    return [(_rank(row[place]), row[place]) for place in places]


def _rank(value: object) -> int:
    return 0 if value is None else 1 if isinstance(value, int | float) else 2 if isinstance(value, str) else 3
