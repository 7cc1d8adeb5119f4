"""Statements with `?` placeholders, many rows at a time: the one way in which recorder and projections write.

Rules of this module:

* Rows are plain tuples, handed to the driver as they are: Core's own executemany is 3.5 times slower.
* Rows are taken in chunks, so an iterator over a million of them is never in memory at once.
* Table and column names come from code, never from a user: they are not quoted.
* A single statement goes to the driver's cursor: on SQLite, Core's result costs four times what the statement does.
* A question about many values, or a change of many rows, is one statement: the values are one parameter (`lookup`), the
  rows go into a temporary table first (`stage`).
* Only here is it known how the driver spells a placeholder. PostgreSQL (`%s`, and COPY for `insert`) joins here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

import orjson
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


def over(connection: Connection, sql: str, texts: Sequence[str], values: tuple[SqlValue, ...] = ()) -> DBAPICursor:
    """Runs a statement over many texts at once: ``$texts`` in it is a table with the columns `key` and `value`.

    `key` counts them; `values` are the parameters after them.
    """
    statement = sql.replace("$texts", "json_each(?) AS texts")
    return query(connection, statement, (orjson.dumps(texts).decode(), *values))


def lookup(
    connection: Connection, sql: str, texts: Sequence[str], values: tuple[SqlValue, ...] = ()
) -> list[tuple[Any, ...]]:
    """The rows of a query over many texts at once, as `over` runs it."""
    return list(over(connection, sql, texts, values).fetchall())


def stage(
    connection: Connection, table_name: str, columns: Mapping[str, str], rows: Iterable[tuple[SqlValue, ...]]
) -> None:
    """Put rows into a temporary table of this connection, in place of what was in it. `columns`: name and SQL type."""
    made = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    query(connection, f"CREATE TEMPORARY TABLE IF NOT EXISTS {table_name} ({made})").close()
    query(connection, f"DELETE FROM {table_name}").close()
    insert(connection, table_name, tuple(columns), rows)
