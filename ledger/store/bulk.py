"""Statements with `?` placeholders, many rows at a time: the one way in which recorder and projections write.

Rules of this module:

* Rows are plain tuples, handed to the driver as they are: Core's own executemany is 3.5 times slower.
* Rows are taken in chunks, so an iterator over a million of them is never in memory at once.
* Table and column names come from code, never from a user: they are not quoted.
* A single statement goes to the driver's cursor: on SQLite, Core's result costs four times what the statement does.
* Only here is it known how the driver spells a placeholder. PostgreSQL (`%s`, and COPY for `insert`) joins here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeAlias

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor

CHUNK_ROWS = 10_000

SqlValue: TypeAlias = "int | float | str | bytes | None"


def insert(
    connection: Connection, table_name: str, columns: Sequence[str], rows: Iterable[tuple[SqlValue, ...]]
) -> None:
    """Inserts rows, each a tuple in the order of `columns`."""
    marks = ", ".join("?" * len(columns))
    execute(connection, f"INSERT INTO {table_name} ({', '.join(columns)}) VALUES ({marks})", rows)


def execute(connection: Connection, sql: str, rows: Iterable[tuple[SqlValue, ...]]) -> None:
    """Runs a statement once for each row of values. No rows: nothing is run."""
    source = iter(rows)
    while chunk := list(islice(source, CHUNK_ROWS)):
        connection.exec_driver_sql(sql, chunk)


def query(connection: Connection, sql: str, values: tuple[SqlValue, ...] = ()) -> DBAPICursor:
    """Runs a statement once and hands back the driver's cursor, whose rows are plain tuples."""
    cursor = connection.connection.cursor()
    cursor.execute(sql, values)
    return cursor
