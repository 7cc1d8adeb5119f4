"""One command, one transaction: lock, read, decide, append, project, commit.

Rules of this module (DESIGN §5):

* Writers take turns under the store's lock, so a rule across streams is checked against what is true, and positions
  are commit order.
* Projections are written in the transaction that appends, so a command that returned has been projected.
* The lock is never held while a human or an HSM signs: read, release, sign, then append at the expected version.
* A dry run is the same transaction, rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, cast

from eventsourcing.persistence import EventStore
from sqlalchemy import Connection, Engine

from ledger.codec import KNOWN, encode, require_known
from ledger.domain.events import Event
from ledger.envelope import Envelope
from ledger.mapper import EnvelopeMapper
from ledger.store import engine as store
from ledger.store import events as rows
from ledger.store.errors import StreamChanged
from ledger.store.recorder import LedgerRecorder, StoredEnvelope


class Projector(Protocol):
    """What the write side asks of a projection: fold these rows, in this transaction."""

    def project(self, connection: Connection, events: Sequence[rows.Row]) -> None:
        """Fold events that were just appended, in their order."""


class Appended(NamedTuple):
    """One event of a transaction, as the command may print it."""

    position: int
    stream: str
    version: int
    topic: str


@dataclass
class Session:
    """An open write transaction. `now` is the time of all its events, in seconds since 1970."""

    connection: Connection
    actor: str
    now: int
    projectors: Sequence[Projector]
    appended: list[Appended] = field(default_factory=list)
    end: rows.End | None = None  # where the ledger ends: nobody else appends to it meanwhile

    def load(self, stream: str) -> list[Event]:
        """The events of a stream, oldest first."""
        return load(self.connection, stream)

    def version(self, stream: str) -> int:
        """How many events the stream has."""
        return rows.stream_version(self.connection, stream)

    def append(self, stream: str, events: Iterable[Event], *, expected: int | None = None) -> None:
        """Append to a stream and project. Raises: StreamChanged when the stream is not at `expected`."""
        self.append_all([(stream, events, expected)])

    def append_all(self, appends: Iterable[tuple[str, Iterable[Event], int | None]]) -> None:
        """Append to several streams, each at most once, and project it all together. Raises: StreamChanged."""
        stored = []
        for stream, events, expected in appends:
            version = self.version(stream)
            if expected is not None and version != expected:
                raise StreamChanged(stream=stream, expected=expected, found=version)
            stored += [
                StoredEnvelope(stream, version + number, event.topic, encode(event), self.now, self.actor)
                for number, event in enumerate(events, start=1)
            ]
        if not stored:
            return
        # Not with EventStore.put: its notifications cost a fifth of a large append, and nobody reads them.
        end = self.end or rows.end_of(self.connection)
        self.end = LedgerRecorder(connection=self.connection).extend(stored, end)
        written = [
            rows.Row(
                position, str(row.originator_id), row.originator_version, row.topic, self.now, self.actor, row.state
            )
            for position, row in enumerate(stored, start=end.frontier.size + 1)
        ]
        for projector in self.projectors:
            projector.project(self.connection, written)
        self.appended += [Appended(row.position, row.stream, row.version, row.topic) for row in written]


@dataclass(frozen=True)
class Ledger:
    """A ledger that commands can be carried out on: its store, its projections, who acts, and the clock's one reading.

    `now` is in whole seconds since 1970; a transaction's time is never before that of the ledger's last event.
    """

    engine: Engine
    projectors: Sequence[Projector]
    actor: str
    now: int

    @contextmanager
    def writing(self, *, dry_run: bool = False) -> Iterator[Session]:
        """A transaction under the writers' lock: committed at the end, rolled back on any error and in a dry run."""
        with store.writing(self.engine, dry_run=dry_run) as connection:
            end, strange = rows.end_to_append(connection, KNOWN)
            require_known(strange)  # a decision on a history that we can't read would be a guess
            now = max(self.now, end.recorded_at)
            yield Session(connection, store.actor_of(connection, self.actor), now, self.projectors, end=end)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment of the ledger and blocks nobody."""
        with store.reading(self.engine) as connection:
            yield connection


def load(connection: Connection, stream: str) -> list[Event]:
    """The events of a stream, oldest first, in an open transaction of either kind."""
    store_ = EventStore[str](EnvelopeMapper(), LedgerRecorder(connection=connection))
    return [cast("Envelope", envelope).event for envelope in store_.get(stream)]
