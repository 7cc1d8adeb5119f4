"""Reading the whole ledger once, and handing it to every check.

Rules of this module:

* The ledger is read in chunks, each in a short transaction of its own: events never change, and nobody waits for an
  audit. When nothing is left to read, head and checkpoints are looked at in that same transaction.
* The order of checks is that in which they depend on each other: roots before what is signed under them.
* What protects the history in the database is looked at after it: it says who could have changed it, not who did.
* Projections come last: they are compared with a replay (`projections.runner`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from ledger import merkle
from ledger.codec import EventUnreadable, WrittenByNewerVersion, decode
from ledger.domain.errors import LedgerError
from ledger.domain.events import FactoryInitialized
from ledger.domain.transition import IllegalEvent
from ledger.garbage import uncollected
from ledger.store import bulk, engine, events, guards
from ledger.store.errors import PayloadDamaged
from ledger.store.events import Row, Stored
from ledger.tuf import note
from projections import compare, runner
from projections.audit.catalog import Catalog
from projections.audit.chain import Chain
from projections.audit.checkpoints import Checkpoints
from projections.audit.devices import Devices
from projections.audit.findings import Check, Entry, Finding
from projections.audit.offline import Offline
from projections.audit.published import Published
from projections.audit.roots import Roots
from projections.audit.rules import Rules
from projections.audit.times import Times
from projections.audit.views import Views

CHUNK = 500  # events a transaction
MOST_ROWS = 1000  # rows of a projection that are told

_MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_REPLAY_ERRORS = (
    IllegalEvent,
    EventUnreadable,
    WrittenByNewerVersion,
    PayloadDamaged,
    SQLAlchemyError,
    sqlite3.Error,
    *_MALFORMED,
)

Progress = Callable[[int, int], None]


@dataclass
class Audit:
    """One look at a ledger.

    `kept` is a checkpoint that was kept elsewhere, `trusted` a root that came another way, `now` the clock; without it
    no time is from the future.
    """

    engine: Engine
    kept: note.Checkpoint | None = None
    trusted: bytes | None = None
    progress: Progress | None = None
    now: int | None = None
    chain: Chain = field(default_factory=Chain)
    _notes: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the checks."""
        self.checkpoints = Checkpoints(self.kept)
        self.roots = Roots(self.trusted)
        offline = Offline(self.roots, self._read_event)
        rules = Rules()
        self.checks: list[Check] = [
            rules,
            Devices(rules),
            Catalog(),
            self.roots,
            offline,
            Published(self.roots, offline, self._read_note),
            Views(rules, self.roots),
            Times(self.now),
        ]

    def findings(self) -> Iterator[Finding]:
        """Everything that is not as it should be."""
        with uncollected():  # what checks keep of a fleet is walked through again and again, and has no cycles
            yield from self.history()
        yield from self._look_at_guards()
        for fold in runner.folds():
            yield from self._look_at_projection(fold.name)

    def history(self) -> Iterator[Finding]:
        """The events and all that is signed, without the projections."""
        while True:
            with self._reading() as connection:
                rows = events.stored(connection, self.chain.position, CHUNK)
                if not rows:
                    last = list(self._look_at_end(connection))
                    break
                until = rows[-1].position
                self._notes = {c.size: c.note for c in events.checkpoints(connection, self.chain.position, until)}
                size = self._size(connection) if self.progress else 0
            for row in rows:
                yield from self._look(row)
            if self.progress:
                self.progress(self.chain.position, max(size, self.chain.position))
        yield from last
        for check in self.checks:
            yield from check.end()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction in which SQLite hands out text that is not UTF-8, too: somebody may have put it there."""
        with engine.reading(self.engine) as connection:
            driver: Any = connection.connection.driver_connection
            if not isinstance(driver, sqlite3.Connection):
                yield connection
                return
            driver.text_factory = _any_text
            try:
                yield connection
            finally:
                driver.text_factory = str

    def _look(self, row: Stored) -> Iterator[Finding]:
        yield from self.chain.look(row)
        if self.chain.row is not None:
            yield from self._look_at_event(self.chain.row)
        if self.chain.position in self._notes:
            checkpoint = events.Checkpoint(self.chain.position, self._notes[self.chain.position])
            yield from self.checkpoints.look(checkpoint, self.chain.roots())
        if self.kept is not None and self.kept.size == self.chain.position:
            yield from self.checkpoints.look_at_kept(self.chain.roots())

    def _look_at_event(self, row: Row) -> Iterator[Finding]:
        try:
            event = decode(row.topic, row.payload)
        except LedgerError as problem:
            yield Finding(row.position, "unreadable", "payload", str(problem))
            return
        if isinstance(event, FactoryInitialized) and self.checkpoints.factory is None:
            self.checkpoints.factory = event
        entry = Entry(row.position, row.stream, row.version, row.recorded_at, row.actor, event)
        for check in self.checks:
            try:
                yield from check.look(entry)
            except (LedgerError, *_MALFORMED) as problem:  # what no event of ours could ever hold
                told = f"{type(check).__name__} cannot judge it: {type(problem).__name__} {problem}"
                yield Finding(row.position, "unreadable", "payload", told)

    def _look_at_end(self, connection: Connection) -> Iterator[Finding]:
        head = bulk.query(connection, "SELECT id, size, frontier, recorded_at FROM head").fetchall()
        (count,) = bulk.query(connection, "SELECT count(*) FROM event").fetchone() or (0,)
        yield from self.chain.end([tuple(row) for row in head], count)
        late = {c.size: c for c in events.checkpoints(connection) if c.size not in self.checkpoints.seen}
        # Those that came while earlier chunks were read. Leaves that differ from what was hashed were told already.
        found = merkle.roots_at(
            events.leaves(connection, self.chain.position), [s for s in late if s <= self.chain.rows]
        )
        for size, root in found.items():
            yield from self.checkpoints.look(late[size], (root,))
        yield from self.checkpoints.end(self.chain.rows, late.keys() - found.keys())

    def _look_at_guards(self) -> Iterator[Finding]:
        with self._reading() as connection:
            found = guards.gaps(connection)
        for gap in found:
            yield Finding(None, "database", gap.name, f"{gap.name}: {gap.problem}")

    def _look_at_projection(self, name: str) -> Iterator[Finding]:
        with self._reading() as connection:
            row = bulk.query(connection, "SELECT position FROM projection WHERE name = ?", (name,)).fetchone()
            size = self._size(connection)
        if row is None or row[0] != size:
            found = f"it is at position {row[0]}" if row else "its row is missing"
            yield Finding(None, "projection", f"projection.{name}", f"{found}, and the ledger at {size}")
        if row is None or row[0] > size:
            return
        try:
            for difference in runner.verify(self.engine, name, most=MOST_ROWS, progress=self.progress):
                field_ = f"{difference.table}.{difference.field}" if difference.field else difference.table
                told = compare.told(difference.row)[:200]
                yield Finding(
                    None, "projection", field_, f"{difference.problem}: {told}" if told else difference.problem
                )
        except _REPLAY_ERRORS as problem:
            yield Finding(None, "projection", name, f"the events cannot be replayed: {problem}")

    def _size(self, connection: Connection) -> int:
        row: Any = bulk.query(connection, "SELECT max(position) FROM event").fetchone()
        return int(row[0] or 0)

    def _read_event(self, position: int) -> object:
        with self._reading() as connection:
            try:
                row = events.get(connection, position)
                return decode(row.topic, row.payload) if row else None
            except LedgerError:
                return None

    def _read_note(self, size: int) -> str | None:
        if size in self._notes:
            return self._notes[size]
        with self._reading() as connection:
            found = events.checkpoint_of(connection, size)
        if found is not None:
            self._notes[size] = found.note  # asked for by each view of a publication
        return found.note if found else None


def _any_text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")
