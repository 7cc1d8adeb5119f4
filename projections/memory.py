"""Tables to fold into that are nobody else's, and gone afterwards: those of a past moment, and of a replay to compare.

Rules of this module:

* They are an SQLite database of their own, whatever the ledger is in. What does not fit into its cache goes to a
  temporary file, so a fleet of any size takes as much memory.
* Beside the tables of the folds there are those that queries ask besides: ``head`` and ``event`` without leaves.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import NamedTuple

from sqlalchemy import Column, Connection, MetaData, Table, create_engine
from sqlalchemy.dialects import sqlite
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateIndex, CreateTable

from ledger.store import tables
from projections.fold import Fold
from projections.tables import ASKED, LATE, shared_tables

CACHE_KIB = 128 * 1024  # of pages; filled only by what is there
EVENT_COLUMNS = ("position", "stream", "version", "topic", "recorded_at", "actor", "encoding", "payload")


@contextmanager
def memory(folds: Sequence[Fold]) -> Iterator[Connection]:
    """The tables of these folds and those beside them, empty. Indexes are made when a fold asks, or `make_indexes`."""
    engine = create_engine("sqlite://", creator=_connect, poolclass=StaticPool)
    try:
        with engine.connect() as connection:
            for statement in _shared():
                connection.exec_driver_sql(statement)
            for fold in folds:
                made = _of(fold)
                for statement in made.tables:
                    connection.exec_driver_sql(statement)
                fold.unmade = {name: partial(_run, statement=statement) for name, statement in made.asked.items()}
            yield connection
    finally:
        engine.dispose()


def make_asked(connection: Connection, folds: Sequence[Fold]) -> None:
    """Where other folds of these kinds fill the tables: the indexes that they ask."""
    for fold in folds:
        for name in list(fold.unmade):
            fold.need(connection, name)


def make_indexes(connection: Connection, folds: Sequence[Fold]) -> None:
    """When all is folded: the indexes that only queries ask."""
    for fold in folds:
        for statement in _of(fold).late:
            connection.exec_driver_sql(statement)


def _connect() -> sqlite3.Connection:
    # An empty path is a database of its own that is gone when it is closed.
    connection = sqlite3.connect("", check_same_thread=False)
    settings = (
        f"cache_size = -{CACHE_KIB}",
        f"temp.cache_size = -{CACHE_KIB // 4}",
        "journal_mode = OFF",
        "synchronous = OFF",
    )
    for setting in settings:
        connection.execute(f"PRAGMA {setting}")  # nothing is ever rolled back
    return connection


class _Statements(NamedTuple):
    """What makes the tables of a fold with the indexes that it asks at once, later, and never."""

    tables: tuple[str, ...]
    asked: Mapping[str, str]
    late: tuple[str, ...]


_known: dict[str, _Statements] = {}


def _of(fold: Fold) -> _Statements:
    if fold.name not in _known:
        _known[fold.name] = _statements(list(fold.tables(0).tables.values()))
    return _known[fold.name]


def _statements(made: Sequence[Table]) -> _Statements:
    indexes = [index for table in made for index in table.indexes]
    late = [index for index in indexes if index.info[LATE]]
    asked = {index.info[ASKED]: _text(CreateIndex(index)) for index in indexes if index.info[ASKED]}
    early = [index for index in indexes if not index.info[LATE] and not index.info[ASKED]]
    tables_ = (*map(_text, map(CreateTable, made)), *map(_text, map(CreateIndex, early)))
    return _Statements(tables_, asked, tuple(map(_text, map(CreateIndex, late))))


@lru_cache
def _shared() -> tuple[str, ...]:
    made = [*shared_tables().tables.values(), *_ledger_tables().tables.values()]
    return tuple(map(_text, map(CreateTable, made)))


def _text(made: CreateTable | CreateIndex) -> str:
    return str(made.compile(dialect=sqlite.dialect()))


def _run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)


def _ledger_tables() -> MetaData:
    metadata = MetaData()
    columns = [tables.event.c[name] for name in EVENT_COLUMNS]
    Table("event", metadata, *(Column(c.name, c.type, primary_key=c.primary_key) for c in columns))
    tables.head.to_metadata(metadata)
    return metadata
