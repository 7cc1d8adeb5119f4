"""Statements with `?` placeholders, many rows at a time: the one way in which recorder and projections write.

Rules of this module:

* Rows are plain tuples, handed to the driver as they are: Core's own executemany is 3.5 times slower.
* Rows are taken in chunks, so an iterator over a million of them is never in memory at once.
* Table and column names come from code, never from a user: they are not quoted.
* A single statement goes to the driver's cursor: on SQLite, Core's result costs four times what the statement does.
* A question about many values, or a change of many rows, is one statement: the values are one parameter (`lookup`), the
  rows go into a temporary table first (`stage`).
* Only here is it known how the driver spells a placeholder. On PostgreSQL that is `%s`, and `insert` is a COPY in
  binary; that works without asking for types because every number in our tables is a BIGINT there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count, islice
from typing import Any, TypeAlias

import orjson
from sqlalchemy import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError

CHUNK_ROWS = 10_000
FETCH_ROWS = 1_000

_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")
_streams = count()  # server-side cursors have names, and several may be open in one transaction

SqlValue: TypeAlias = "int | float | str | bytes | list[str] | None"


def is_postgresql(bind: Connection | Engine) -> bool:
    """Whether it is PostgreSQL; else it is SQLite."""
    return bind.dialect.name == "postgresql"


def insert(
    connection: Connection, table_name: str, columns: Sequence[str], rows: Iterable[tuple[SqlValue, ...]]
) -> None:
    """Inserts rows, each a tuple in the order of `columns`."""
    if is_postgresql(connection):
        _copy(connection, table_name, columns, rows)
        return
    marks = ", ".join("?" * len(columns))
    execute(connection, f"INSERT INTO {table_name} ({', '.join(columns)}) VALUES ({marks})", rows)


def execute(connection: Connection, sql: str, rows: Iterable[tuple[SqlValue, ...]]) -> None:
    """Runs a statement once for each row of values. No rows: nothing is run."""
    source = iter(rows)
    statement = _spelled(sql) if is_postgresql(connection) else sql
    while chunk := list(islice(source, CHUNK_ROWS)):
        connection.exec_driver_sql(statement, chunk)


def query(connection: Connection, sql: str, values: tuple[SqlValue, ...] = ()) -> DBAPICursor:
    """Runs a statement once and hands back the driver's cursor, whose rows are plain tuples."""
    driver: Any = connection.connection.dbapi_connection  # of our drivers the same, and found in half the time
    cursor: DBAPICursor = driver.execute(_spelled(sql) if is_postgresql(connection) else sql, values)
    return cursor


def sweep(connection: Connection, sql: str, values: tuple[SqlValue, ...] = ()) -> DBAPICursor:
    """As `query`, for a statement about a whole batch: planned anew each time, because tables grow in between."""
    if not is_postgresql(connection):
        return query(connection, sql, values)
    cursor: Any = connection.connection.cursor()
    cursor.execute(_spelled(sql), values, prepare=False)
    found: DBAPICursor = cursor
    return found


def over(connection: Connection, sql: str, texts: Sequence[str], values: tuple[SqlValue, ...] = ()) -> DBAPICursor:
    """Runs a statement over many texts at once: ``$texts`` in it is a table with the columns `key` and `value`.

    `key` counts them; `values` are the parameters after them.
    """
    spelled, listed = _with_texts(connection, sql, texts, "?")
    return sweep(connection, spelled, (listed, *values))


def ask(
    connection: Connection, sql: str, params: Mapping[str, SqlValue], texts: Sequence[str] | None = None
) -> DBAPICursor:
    """As `sweep`, with parameters that have names, such as ``:tag``; `texts` as with `over`."""
    if texts is not None:
        sql, listed = _with_texts(connection, sql, texts, ":texts")
        params = {**params, "texts": listed}
    spelled, names = positional(sql)
    return sweep(connection, spelled, tuple([params[name] for name in names]))


def lookup(
    connection: Connection, sql: str, texts: Sequence[str], values: tuple[SqlValue, ...] = ()
) -> list[tuple[Any, ...]]:
    """The rows of a query over many texts at once, as `over` runs it."""
    return list(over(connection, sql, texts, values).fetchall())


def stage(
    connection: Connection, table_name: str, columns: Mapping[str, str], rows: Sequence[tuple[SqlValue, ...]]
) -> None:
    """Put rows into a temporary table of this connection, in place of what was in it. `columns`: name and SQL type."""
    empty(connection, table_name, columns, len(rows))
    insert(connection, table_name, tuple(columns), rows)
    settle(connection, table_name, len(rows))


def settle(connection: Connection, table_name: str, rows: int) -> None:
    """Let PostgreSQL know how few rows are in a temporary table, before statements are planned for them.

    Of a table that it has no figures for it expects about a thousand, and so walks through a fleet of that order.
    """
    if rows <= FETCH_ROWS and is_postgresql(connection):
        query(connection, f"ANALYZE {table_name}").close()


def empty(connection: Connection, table_name: str, columns: Mapping[str, str], expected: int = 0) -> None:
    """A temporary table of this connection without rows, for so many that are expected."""
    made = f"({', '.join(f'{name} {kind}' for name, kind in columns.items())})"
    clear = "DELETE FROM"
    if is_postgresql(connection):
        # What is deleted stays in the file, which no vacuum comes to, until the end of the transaction cuts it; to cut
        # it before that costs as 1,000 rows do.
        made = f"{made.replace('INTEGER', 'BIGINT')} ON COMMIT DELETE ROWS"
        clear = "TRUNCATE" if expected > FETCH_ROWS else clear
    query(connection, f"CREATE TEMPORARY TABLE IF NOT EXISTS {table_name} {made}").close()
    query(connection, f"{clear} {table_name}").close()


def stream(connection: Connection, sql: str, values: tuple[SqlValue, ...] = ()) -> DBAPICursor:
    """As `query`, for results that are too long for memory: rows come as they are fetched."""
    if not is_postgresql(connection):
        return query(connection, sql, values)  # SQLite's cursors always work like that
    driver: Any = connection.connection.driver_connection
    cursor: DBAPICursor = driver.cursor(name=f"stream_{next(_streams)}", binary=True)
    cursor.execute(_spelled(sql), values)
    return cursor


def streamed(connection: Connection, sql: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a result that is too long for memory, to be used up or closed within the transaction."""
    cursor = stream(connection, sql)
    try:
        while chunk := cursor.fetchmany(FETCH_ROWS):
            yield from chunk
    finally:
        cursor.close()


def _with_texts(connection: Connection, sql: str, texts: Sequence[str], mark: str) -> tuple[str, SqlValue]:
    """A statement with texts as a table, and the one value that stands for all of them at that placeholder."""
    if is_postgresql(connection):
        return sql.replace("$texts", f"unnest({mark}::text[]) WITH ORDINALITY AS texts(value, key)"), list(texts)
    return sql.replace("$texts", f"json_each({mark}) AS texts"), orjson.dumps(texts).decode()


@lru_cache(maxsize=512)
def positional(sql: str) -> tuple[str, tuple[str, ...]]:
    """A statement with ``?`` placeholders, and the names of its parameters in their order."""
    return _PARAMETER.sub("?", sql), tuple(_PARAMETER.findall(sql))


@lru_cache(maxsize=512)
def _spelled(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


def _copy(
    connection: Connection, table_name: str, columns: Sequence[str], rows: Iterable[tuple[SqlValue, ...]]
) -> None:
    source = iter(rows)
    first, second = next(source, None), next(source, None)
    if first is None:
        return
    if second is None:  # one row: COPY asks the server three times as often
        marks = ", ".join(["%s"] * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {table_name} ({', '.join(columns)}) VALUES ({marks})", first)
        return
    cursor: Any = connection.connection.cursor()
    statement = f"COPY {table_name} ({', '.join(columns)}) FROM STDIN WITH (FORMAT BINARY)"
    driver = connection.dialect.loaded_dbapi
    try:
        with cursor.copy(statement) as copy:
            copy.write_row(first)
            copy.write_row(second)
            for row in source:
                copy.write_row(row)
    except driver.Error as error:
        # As Core wraps what goes through it, so that callers see one kind of error.
        raise DBAPIError.instance(statement, None, error, driver.Error, dialect=connection.dialect) from error
