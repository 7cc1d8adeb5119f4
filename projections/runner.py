"""How the projections keep up: in the transaction that appends, and rebuilt beside the live tables.

Rules of this module:

* A projection's row in ``projection`` says up to which position it has folded. One that is behind catches up first.
* A rebuild folds into new tables in chunks, each a transaction of its own, makes the indexes that folding does not ask
  when all rows are there, one a transaction, and swaps at the end under the lock, where it folds what was appended
  meanwhile. Where somebody reads for long on PostgreSQL, the swap is tried again and again, so that others never wait
  behind it for more than a moment. Readers never see half of one. A killed rebuild leaves new tables behind that the
  next one drops; the live ones were never touched.
* Making and dropping those tables is the only DDL outside `init` and `migrate`, and only `rebuild` does it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Column, Connection, Engine, MetaData, Table, text
from sqlalchemy.schema import CreateTable

from ledger.codec import require_known
from ledger.domain.errors import Conflict
from ledger.garbage import uncollected
from ledger.store import bulk, engine, events, migrate
from ledger.store.errors import StoreBusy
from ledger.store.events import Row
from projections.compare import Difference, differences
from projections.fleet import Fleet
from projections.fold import Fold
from projections.memory import memory
from projections.releases import Releases
from projections.tables import ASKED, LATE, NEW, ROOM

CHUNK = 20_000  # events a transaction of a rebuild, at most
CHUNK_BYTES = 16_000_000  # of payload, or a little more: some 200,000 devices
REPLAY_BYTES = 4_000_000  # of payload in memory of a verify

SWAP_PAUSE_SECONDS = 1.0
SWAP_PATIENCE_SECONDS = 600  # a rebuild that is done can wait for a long reader

_MOVE = "UPDATE projection SET position = ? WHERE name IN (?, ?)"

Progress = Callable[[int, int], None]
Step = Callable[[Connection], object]


class State(NamedTuple):
    """How far a projection is."""

    name: str
    position: int
    head: int
    tables: tuple[str, ...]


class RebuildOvertaken(Conflict):
    """Another rebuild of the same projection began meanwhile, and took the new tables over."""

    message = "another rebuild of the projection {name} began meanwhile; this one stopped"
    hint = "wait for the other one; the live tables were not touched by this one"
    name: str


def folds(suffix: str = "") -> list[Fold]:
    """All projections."""
    return [Releases(suffix), Fleet(suffix)]


class Projector:
    """Folds what a session appends into all live projections. One for each ledger that is open."""

    def __init__(self) -> None:
        """Fold into the live tables."""
        self._folds = folds()

    def project(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Fold events that were just appended, in their order."""
        if not rows:
            return
        before, after = rows[0].position - 1, rows[-1].position
        if _move(connection, after, before) < len(self._folds):  # as a rule all have folded what came before
            self._catch_up(connection, before)
            _move(connection, after)
        for fold in self._folds:
            fold.fold(connection, rows)

    def _catch_up(self, connection: Connection, until: int) -> None:
        at = _positions(connection)
        for fold in self._folds:
            if at[fold.name] < until:
                _fold_until(fold, connection, at[fold.name], until)


def install(connection: Connection) -> None:
    """The checkpoints of a new ledger: every projection at position 0."""
    rows = [(fold.name, 0, 0) for fold in folds()]
    bulk.insert(connection, "projection", ("name", "position", "generation"), rows)


def catch_up(connection: Connection, progress: Progress) -> None:
    """Fold all events that are not folded yet, in the caller's transaction. `progress` gets position and head."""
    head, at = events.head(connection).size, _positions(connection)
    with uncollected():
        for fold in folds():
            _fold_until(fold, connection, at[fold.name], head, progress)
            engine.after_filling(connection, fold.tables(0).tables)
    _move(connection, head)


def states(connection: Connection) -> list[State]:
    """How far each projection is, in the order of `folds`."""
    head = events.head(connection).size
    at = _positions(connection)
    return [State(f.name, at.get(f.name, 0), head, tuple(f.tables(0).tables)) for f in folds()]


def rebuild(engine_: Engine, name: str, progress: Progress | None = None) -> int:
    """Drop and refold one projection; returns the position it is at. `progress` gets position and head."""
    fold = next(f for f in folds(NEW) if f.name == name)
    fold.alone = True
    with engine.writing(engine_) as connection:
        if bulk.is_postgresql(connection):  # it reads the whole fleet for each large batch, and does well to
            fold.batch_bytes = CHUNK_BYTES
        require_known(events.topics(connection))
        generation = _generation(connection, name) + 1
        tables = fold.tables(generation)
        with migrate.changing_projections(connection):
            _drop(connection, tables)
            late = _create(connection, tables, fold)
            steps: list[Step] = [_made(lambda new: engine.after_filling(new, tables.tables)), *late]
        token = _begin(connection, fold)
    position, gives_up = 0, time.monotonic() + SWAP_PATIENCE_SECONDS
    with uncollected():
        while True:
            with engine.writing(engine_) as connection:
                _require_token(connection, fold, token)
                head = events.head(connection).size
                chunk = _chunk(fold, connection, position, head, CHUNK_BYTES)
                fold.fold(connection, chunk)
                position = chunk.position
                if progress:
                    progress(position, head)
                whole, filled = position == head, not steps
                done = whole and filled and engine.lock_for_swap(connection)
                if done:
                    _swap(connection, fold, generation)
                    _checkpoint(connection, name, position, generation)
                    _forget(connection, fold)
                elif whole and not filled:
                    steps.pop()(connection)
            if done:
                return position
            if whole and filled:
                _let_readers_end(engine_, gives_up)


def verify(engine_: Engine, name: str, *, most: int = 100, progress: Progress | None = None) -> list[Difference]:
    """Compare a live projection with a replay of the whole ledger; at most `most` differences.

    The ledger is replayed in chunks, each read in a transaction of its own, so that no writer waits for it. Only what
    is compared at the end is held for as long as that takes.
    """
    fold = next(f for f in folds() if f.name == name)
    fold.alone = True
    position = 0
    with memory([fold]) as replay, uncollected():
        while True:
            with engine.reading(engine_) as live:
                until = _positions(live)[name]
                chunk = _chunk(fold, live, position, until, REPLAY_BYTES)
                rows, position = list(chunk), chunk.position
                if position == until:
                    require_known(events.topics(live))
                    fold.fold(replay, rows)
                    tables = fold.tables(0).tables.values()
                    found = (d for table in tables for d in differences(live, replay, fold.name, table))
                    with closing(found):  # what it streams ends before the transaction does
                        return list(islice(found, most))
            fold.fold(replay, rows)
            if progress:
                progress(position, until)


def _fold_until(fold: Fold, connection: Connection, after: int, until: int, progress: Progress | None = None) -> None:
    while after < until:
        chunk = _chunk(fold, connection, after, until, CHUNK_BYTES)
        with closing(chunk):  # also when the fold is stopped: later its connection may be gone
            fold.fold(connection, chunk)
        after = chunk.position
        if progress:
            progress(after, until)


class _Chunk:
    """The events of a fold after a position, up to another or to so much payload; `position` is where they ended."""

    def __init__(self, events_: Generator[Row, None, None], until: int, most: int) -> None:
        self._events, self._most = events_, most
        self.position = until

    def __iter__(self) -> Iterator[Row]:
        size = 0
        for row in self._events:
            yield row
            size += len(row.payload)
            if size > self._most:
                self.position = row.position
                break
        self.close()

    def close(self) -> None:
        """End what it streams, before its transaction ends."""
        self._events.close()


def _chunk(fold: Fold, connection: Connection, after: int, until: int, most: int) -> _Chunk:
    last = min(until, after + CHUNK)
    return _Chunk(events.read(connection, topics=fold.topics, after=after, until=last), last, most)


def _move(connection: Connection, position: int, before: int | None = None) -> int:
    """Say how far the live tables are, or those that were at `before`; returns how many."""
    values = (position, Releases.name, Fleet.name)
    if before is None:
        return bulk.query(connection, _MOVE, values).rowcount
    return bulk.query(connection, f"{_MOVE} AND position = ?", (*values, before)).rowcount


def _positions(connection: Connection) -> dict[str, int]:
    found = connection.execute(text("SELECT name, position FROM projection"))
    return {name: position for name, position in found}  # noqa: C416  rows are not pairs to the type checker


def _generation(connection: Connection, name: str) -> int:
    found = connection.execute(text("SELECT generation FROM projection WHERE name = :name"), {"name": name}).scalar()
    return int(found or 0)


def _checkpoint(connection: Connection, name: str, position: int, generation: int) -> None:
    connection.execute(text("DELETE FROM projection WHERE name = :name"), {"name": name})
    bulk.insert(connection, "projection", ("name", "position", "generation"), [(name, position, generation)])


def _begin(connection: Connection, fold: Fold) -> int:
    """Leave a mark that this rebuild has the new tables; a later one takes them over with a mark of its own."""
    token = _generation(connection, fold.name + NEW) + 1
    _checkpoint(connection, fold.name + NEW, 0, token)
    return token


def _require_token(connection: Connection, fold: Fold, token: int) -> None:
    if _generation(connection, fold.name + NEW) != token:
        raise RebuildOvertaken(name=fold.name)


def _forget(connection: Connection, fold: Fold) -> None:
    # The row stays with the next number, so that an older rebuild that wakes up does not find its own.
    _checkpoint(connection, fold.name + NEW, 0, _generation(connection, fold.name + NEW) + 1)


def _let_readers_end(engine_: Engine, gives_up: float) -> None:
    # Nobody waits for us meanwhile: those who wait for a lock keep out all who come after them.
    if time.monotonic() > gives_up:
        raise StoreBusy(store=engine.name_of(engine_.url), waited_seconds=SWAP_PATIENCE_SECONDS)
    time.sleep(SWAP_PAUSE_SECONDS)


def _swap(connection: Connection, fold: Fold, generation: int) -> None:
    with migrate.changing_projections(connection):
        for table in fold.tables(generation).tables:
            live = table.removesuffix(NEW)
            connection.execute(text(f"DROP TABLE IF EXISTS {live}"))
            connection.execute(text(f"ALTER TABLE {table} RENAME TO {live}"))


def _create(connection: Connection, metadata: MetaData, fold: Fold) -> list[Step]:
    """Create tables with the indexes that the fold needs at once; returns what makes those that are to come."""
    late: list[Step] = []
    for table in metadata.sorted_tables:
        if table.info[LATE] and bulk.is_postgresql(connection):  # on SQLite the key is the table itself
            late.append(_made(_without_key(connection, table)))
        else:
            connection.execute(CreateTable(table))
        if table.info[ROOM] and bulk.is_postgresql(connection):
            connection.execute(text(f"ALTER TABLE {table.name} SET (fillfactor = 50)"))
            late.append(_made(partial(_fill_up, table=table.name)))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            if index.info[LATE]:
                late.append(_made(index.create))
            elif name := index.info[ASKED]:
                fold.unmade[name] = _made(index.create)
                late.append(partial(fold.need, index=name))
            else:
                index.create(connection)
    return late


def _without_key(connection: Connection, table: Table) -> Step:
    """Create a table without its key; returns what makes it."""
    bare = Table(table.name, MetaData(), *(Column(c.name, c.type, nullable=False) for c in table.columns))
    connection.execute(CreateTable(bare))
    key = ", ".join(table.primary_key.columns.keys())
    return lambda new: new.execute(text(f"ALTER TABLE {table.name} ADD PRIMARY KEY ({key})"))


def _fill_up(connection: Connection, table: str) -> None:
    connection.execute(text(f"ALTER TABLE {table} RESET (fillfactor)"))


def _made(create: Step) -> Step:
    def make(connection: Connection) -> None:
        with migrate.changing_projections(connection):
            create(connection)

    return make


def _drop(connection: Connection, metadata: MetaData) -> None:
    for table in metadata.tables:
        connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
