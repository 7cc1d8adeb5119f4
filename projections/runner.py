"""How the projections keep up: in the transaction that appends, and rebuilt beside the live tables.

Rules of this module:

* A projection's row in ``projection`` says up to which position it has folded. One that is behind catches up first.
* A rebuild folds into new tables in chunks, each a transaction of its own, and swaps at the end under the lock, where
  it folds what was appended meanwhile. Readers never see half of one. A killed rebuild leaves new tables behind that
  the next one drops; the live ones were never touched.
* Making and dropping those tables is the only DDL outside `init` and `migrate`, and only `rebuild` does it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, MetaData, create_engine, text
from sqlalchemy.pool import StaticPool

from ledger.codec import require_known
from ledger.domain.errors import Conflict
from ledger.store import bulk, engine, events, migrate
from ledger.store.events import Row
from projections.fleet import Fleet
from projections.fold import Fold
from projections.releases import Releases
from projections.tables import NEW, shared_tables

CHUNK = 2000  # events a transaction of a rebuild; a fleet event holds up to 1,000 devices

Progress = Callable[[int, int], None]


class State(NamedTuple):
    """How far a projection is."""

    name: str
    position: int
    head: int
    tables: tuple[str, ...]


class Difference(NamedTuple):
    """A row that a replay of the ledger does not give, or gives and is not there."""

    projection: str
    table: str
    problem: str
    row: dict[str, Any]


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
        at = _positions(connection)
        for fold in self._folds:
            if at[fold.name] < rows[0].position - 1:
                _fold_until(fold, connection, at[fold.name], rows[0].position - 1)
            fold.fold(connection, rows)
        connection.execute(text("UPDATE projection SET position = :position"), {"position": rows[-1].position})


def install(connection: Connection) -> None:
    """The checkpoints of a new ledger: every projection at position 0."""
    rows = [(fold.name, 0, 0) for fold in folds()]
    bulk.insert(connection, "projection", ("name", "position", "generation"), rows)


def catch_up(connection: Connection, progress: Progress) -> None:
    """Fold all events that are not folded yet, in the caller's transaction. `progress` gets position and head."""
    head, at = events.head(connection).size, _positions(connection)
    with _no_garbage_collection():
        for fold in folds():
            for after in range(at[fold.name], head, CHUNK):
                _fold_until(fold, connection, after, min(head, after + CHUNK))
                progress(min(head, after + CHUNK), head)
            engine.after_filling(connection, fold.tables(0).tables)
    connection.execute(text("UPDATE projection SET position = :position"), {"position": head})


def states(connection: Connection) -> list[State]:
    """How far each projection is, in the order of `folds`."""
    head = events.head(connection).size
    at = _positions(connection)
    return [State(f.name, at.get(f.name, 0), head, tuple(f.tables(0).tables)) for f in folds()]


def rebuild(engine_: Engine, name: str, progress: Progress | None = None) -> int:
    """Drop and refold one projection; returns the position it is at. `progress` gets position and head."""
    fold = next(f for f in folds(NEW) if f.name == name)
    with engine.writing(engine_) as connection:
        require_known(events.topics(connection))
        generation = _generation(connection, name) + 1
        with migrate.changing_projections(connection):
            _drop(connection, fold.tables(generation))
            fold.tables(generation).create_all(connection, checkfirst=False)
        token = _begin(connection, fold)
    position = 0
    with _no_garbage_collection():
        while True:
            with engine.writing(engine_) as connection:
                _require_token(connection, fold, token)
                head = events.head(connection).size
                until = min(head, position + CHUNK)
                _fold_until(fold, connection, position, until)
                position = until
                if progress:
                    progress(position, head)
                if position == head:
                    _swap(connection, fold, generation)
                    _checkpoint(connection, name, position, generation)
                    _forget(connection, fold)
            if position == head:
                return position


def verify(engine_: Engine, name: str, *, most: int = 100) -> list[Difference]:
    """Compare a live projection with a replay of the whole ledger; at most `most` differing rows."""
    fold = next(f for f in folds() if f.name == name)
    with engine.reading(engine_) as live:
        require_known(events.topics(live))
        position = _positions(live)[name]
        with replayed(live, fold, position) as memory:
            found: list[Difference] = []
            for table in fold.tables(0).tables:
                found += _differences(live, memory, fold.name, table, most - len(found))
                if len(found) >= most:
                    break
    return found


@contextmanager
def replayed(connection: Connection, fold: Fold, until: int) -> Iterator[Connection]:
    """The tables of one projection in memory, folded from the ledger up to a position."""
    memory_engine = create_engine("sqlite://", poolclass=StaticPool)
    with memory_engine.connect() as memory, _no_garbage_collection():
        for metadata in (shared_tables(), fold.tables(0)):
            metadata.create_all(memory)
        fold.fold(memory, events.read(connection, topics=fold.topics, until=until))
        yield memory
    memory_engine.dispose()


def _differences(live: Connection, memory: Connection, name: str, table: str, most: int) -> list[Difference]:
    def rows(connection: Connection) -> dict[tuple[Any, ...], dict[str, Any]]:
        found = connection.execute(text(f"SELECT * FROM {table}")).mappings()
        return {tuple(row.values()): dict(row) for row in found}

    there, replay = rows(live), rows(memory)
    extra = [Difference(name, table, "no event gives this row", there[key]) for key in there.keys() - replay.keys()]
    missing = [Difference(name, table, "this row is missing", replay[key]) for key in replay.keys() - there.keys()]
    return (extra + missing)[:most]


def _fold_until(fold: Fold, connection: Connection, after: int, until: int) -> None:
    fold.fold(connection, events.read(connection, topics=fold.topics, after=after, until=until))


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


def _swap(connection: Connection, fold: Fold, generation: int) -> None:
    with migrate.changing_projections(connection):
        engine.after_filling(connection, fold.tables(generation).tables)
        engine.lock_for_swap(connection)
        for table in fold.tables(generation).tables:
            live = table.removesuffix(NEW)
            connection.execute(text(f"DROP TABLE IF EXISTS {live}"))
            connection.execute(text(f"ALTER TABLE {table} RENAME TO {live}"))


def _drop(connection: Connection, metadata: MetaData) -> None:
    for table in metadata.tables:
        connection.execute(text(f"DROP TABLE IF EXISTS {table}"))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    # Millions of rows and no cycles among them: the collector only walks (12 s became 2.7, DESIGN §5).
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
