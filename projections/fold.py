"""What every projection is: a fold of some topics into its tables.

A fold sees decoded JSON, never event classes: importing and building those would cost more than the fold itself.
It writes with plain SQL, whose table names it fills in, so that the same fold fills live tables, those of a rebuild
beside them, and those of a past moment in memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import orjson
from sqlalchemy import Connection, MetaData
from sqlalchemy.engine.interfaces import DBAPICursor

from ledger.store import bulk
from ledger.store.events import Row
from ledger.upcasters import upcast
from projections.kept import Kept

Data: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[[Connection, Row, Data], None]
BatchHandler: TypeAlias = Callable[[Connection, Sequence[tuple[Row, Data]]], None]
Params: TypeAlias = Mapping[str, Any]


_PARAMETER = re.compile(r":([a-z_]+)")

BATCH = 5000  # events that are handed over together
KEPT = 20_000  # events until what is kept is written
BATCH_BYTES = 4_000_000  # of payload at most, or a little more: some 50,000 devices


class Fold:
    """The base of both projections. A subclass fills `handlers`: topic → method.

    A topic of `batches` gets events together, where one at a time would cost a statement for each row: neighbours, and
    those that nothing came between but the topics that it lets pass.
    """

    name: str
    handlers: Mapping[str, Handler]
    batches: Mapping[str, BatchHandler] = {}
    passes: Mapping[str, Collection[str]] = {}
    """By topic of `batches`: the topics of `handlers` that may be folded before events that came before them."""

    def __init__(self, suffix: str = "") -> None:
        """Fold into the tables whose names end in `suffix`."""
        self.suffix = suffix
        self.batch_bytes = BATCH_BYTES
        self.alone = False  # nobody else writes the tables, and no transaction of theirs is undone and gone on from
        self.unmade: dict[str, Callable[[Connection], object]] = {}  # what makes indexes that are missing, by name
        self._kept: list[Kept] = []
        self._waiting: list[tuple[Row, Data]] = []

    def tables(self, generation: int) -> MetaData:
        """The tables to fold into, with the indexes of that generation."""
        raise NotImplementedError

    @property
    def topics(self) -> Sequence[str]:
        """What it folds."""
        return [*self.handlers, *self.batches]

    def keep(self, table: str, columns: str) -> Kept:
        """A table whose rows are kept until the end of a `fold`, by the first of the columns."""
        self._kept.append(Kept(self, table, columns))
        return self._kept[-1]

    def fold(self, connection: Connection, events: Iterable[Row]) -> None:
        """Fold events, in their order. Topics that are none of its own pass by."""
        self.forget()
        size = 0
        for number, row in enumerate(events, start=1):
            if self._waiting and not self._joins(row.topic, size):
                self.hand_over(connection)
            if row.topic in self.batches:
                size = size if self._waiting else 0
                self._waiting.append((row, orjson.loads(row.payload)))
                size += len(row.payload)
            elif row.topic in self.handlers:
                topic, data = upcast(row.topic, orjson.loads(row.payload))
                self.handlers[topic](connection, row, data)
            if number % KEPT == 0:
                self.write(connection)
        self.settle(connection)

    def need(self, connection: Connection, index: str) -> None:
        """Before the first statement that an index makes fast."""
        if index in self.unmade:
            self.unmade.pop(index)(connection)

    def forget(self) -> None:
        """Begin anew: what a fold that failed left in memory is not in the tables."""
        self._waiting = []
        for kept in self._kept:
            kept.clear()

    def hand_over(self, connection: Connection) -> None:
        """Fold the events that wait for more of their kind."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self.batches[waiting[0][0].topic](connection, waiting)

    def settle(self, connection: Connection) -> None:
        """Bring the tables up to the last event."""
        self.hand_over(connection)
        self.write(connection)

    def write(self, connection: Connection) -> None:
        """Write what is kept, so that statements find it."""
        for kept in self._kept:
            kept.write(connection)

    def _joins(self, topic: str, size: int) -> bool:
        """Whether the events that wait may go on waiting when one of a topic comes."""
        waiting = self._waiting[0][0].topic
        if topic == waiting:
            return len(self._waiting) < BATCH and size <= self.batch_bytes
        return topic in self.passes.get(waiting, ()) or not (topic in self.batches or topic in self.handlers)

    def rows(self, connection: Connection, statement: str, params: Params | None = None) -> list[tuple[Any, ...]]:
        """The rows of a query over this fold's tables: each ``{name}`` becomes a table name. Parameters have names."""
        return list(self._query(connection, statement, params).fetchall())

    def run(self, connection: Connection, statement: str, params: Params | None = None) -> None:
        """Execute one statement with named parameters."""
        self._query(connection, statement, params).close()

    def sweep(self, connection: Connection, statement: str) -> None:
        """Execute one statement about the rows that were staged."""
        bulk.sweep(connection, _fill(statement, self.suffix)).close()

    def scalar(self, connection: Connection, statement: str, params: Params | None = None) -> Any:
        """The one value of a query, None when there is no row."""
        row = self._query(connection, statement, params).fetchone()
        return row[0] if row else None

    def _query(self, connection: Connection, statement: str, params: Params | None) -> DBAPICursor:
        # Through the driver: an event is a handful of small statements, and Core costs four times what they do.
        filled, names = _statement(statement, self.suffix)
        return bulk.query(connection, filled, tuple([params[name] for name in names]) if params else ())

    def insert(
        self, connection: Connection, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]
    ) -> None:
        """Insert many rows."""
        bulk.insert(connection, table + self.suffix, columns, rows)

    def lookup(
        self, connection: Connection, statement: str, texts: Sequence[str], values: tuple[Any, ...] = ()
    ) -> list[tuple[Any, ...]]:
        """The rows of a query over the table ``$texts`` of many texts."""
        return bulk.lookup(connection, _fill(statement, self.suffix), texts, values)

    def stage(
        self, connection: Connection, table: str, columns: Mapping[str, str], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Put rows into a temporary table, for statements about all of them."""
        bulk.stage(connection, table, columns, rows)

    def many(self, connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Execute a statement once for each row, with ``?`` parameters."""
        if rows:
            bulk.execute(connection, _fill(statement, self.suffix), rows)


def _fill(statement: str, suffix: str) -> str:
    return statement.replace("{", "").replace("}", suffix)


@lru_cache(maxsize=512)
def _statement(statement: str, suffix: str) -> tuple[str, tuple[str, ...]]:
    """The statement with ``?`` placeholders, and the names of its parameters in their order."""
    return _PARAMETER.sub("?", _fill(statement, suffix)), tuple(_PARAMETER.findall(statement))
