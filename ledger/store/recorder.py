"""The recorder: how events get into the ledger, behind the interfaces of the eventsourcing library.

Rules of this module:

* Positions are given out under the writer lock, so they have no gaps and commit order is position order.
* In one append, and so in one transaction: events with their leaves, the head with the new frontier, the tracking.
* recorded_at never decreases: max(what was given or the clock says, the previous event's). This module reads no clock.
* On PostgreSQL actor, leaves and head are the database's own work (`ledger.store.triggers`), and payloads stay plain.
* A stream's name is text. The library's UUIDs are accepted, and come back as text.
* The library's own `IntegrityError` means that a stream's version, or a tracking position, is taken already. After it,
  as after any error, the transaction has to be rolled back; a recorder on an engine does so itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import Event
from typing import Any
from uuid import UUID

from eventsourcing.persistence import (
    IntegrityError,
    Notification,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
)
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError as ConstraintBroken

from ledger import merkle
from ledger.store import bulk, events
from ledger.store.engine import reading, writing
from ledger.store.errors import NotNextPosition
from ledger.store.tables import NOT_NEXT

POLL_SECONDS = 0.1
POLL_ROWS = 500


@dataclass(frozen=True)
class StoredEnvelope(StoredEvent):
    """A stored event with what the ledger keeps about its origin."""

    recorded_at: int
    """When it was recorded, in seconds since 1970."""
    actor: str
    """Who claims to have done it."""


def no_clock() -> int:
    """The time of the previous event, as recorded_at never decreases."""
    return 0


class LedgerRecorder(ProcessRecorder):
    """Appends to and reads from the ledger, in a transaction of its own for each call or in one that is open.

    Args:
        engine: where each call makes its own transaction.
        connection: an open transaction, in place of the engine. It is neither committed nor rolled back here.
        clock: seconds since 1970, asked for events that bring no `recorded_at`.
        actor: the actor of events that bring none.
    """

    def __init__(
        self,
        engine: Engine | None = None,
        *,
        connection: Connection | None = None,
        clock: Callable[[], int] = no_clock,
        actor: str = "nobody",
    ) -> None:
        if (engine is None) == (connection is None):
            raise RuntimeError("a recorder works either on an engine or on a connection")
        self._engine = engine
        self._connection = connection
        self._clock = clock
        self._actor = actor

    def insert_events(
        self, stored_events: Sequence[StoredEvent], tracking: Tracking | None = None, **_: Any
    ) -> Sequence[int]:
        """Appends events, all or none of them, and returns their positions.

        Raises:
            IntegrityError: a version of a stream exists already, or the tracking position is not above the last one.
            NotNextPosition: the head is not where the events end.
        """
        with self._writing() as connection:
            if tracking is not None:
                _track(connection, tracking)
            if not stored_events:
                return []
            end = events.end_of(connection)
            self._extend(connection, stored_events, end)
            return list(range(end.frontier.size + 1, end.frontier.size + 1 + len(stored_events)))

    def extend(self, stored_events: Sequence[StoredEvent], end: events.End) -> events.End:
        """Appends events to a ledger that is known to end there, in the open transaction; returns where it ends then.

        Raises: as `insert_events`.
        """
        return self._extend(self._given(), stored_events, end)

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEnvelope]:
        """The events of one stream, in order of version."""
        with self._reading() as connection:
            rows = events.read(
                connection,
                stream=str(originator_id),
                after_version=gt,
                until_version=lte,
                descending=desc,
                limit=limit,
            )
            return [
                StoredEnvelope(row.stream, row.version, row.topic, row.payload, row.recorded_at, row.actor)
                for row in rows
            ]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Events of the whole ledger, in order of position."""
        after = 0 if start is None else start - 1 if inclusive_of_start else start
        with self._reading() as connection:
            rows = events.read(connection, after=after, until=stop, topics=topics, limit=limit)
            return [Notification(row.stream, row.version, row.topic, row.payload, row.position) for row in rows]

    def max_notification_id(self) -> int | None:
        """The newest event's position, None in an empty ledger."""
        with self._reading() as connection:
            return _number(bulk.query(connection, "SELECT max(position) FROM event").fetchone())

    def insert_tracking(self, tracking: Tracking) -> None:
        """Moves a follower's position forward. Raises: IntegrityError, if that is not forward."""
        with self._writing() as connection:
            _track(connection, tracking)

    def max_tracking_id(self, application_name: str) -> int | None:
        """A follower's position, None if it never had one."""
        with self._reading() as connection:
            sql = "SELECT position FROM tracking WHERE name = ?"
            return _number(bulk.query(connection, sql, (application_name,)).fetchone())

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[LedgerRecorder]:
        """Events from a position on, and then the new ones as they come, found by asking again and again."""
        if self._engine is None:
            raise RuntimeError("a transaction sees no new events: subscribe on an engine")
        return PollingSubscription(self, gt, topics)

    def _extend(self, connection: Connection, stored_events: Sequence[StoredEvent], end: events.End) -> events.End:
        try:
            return self._append(connection, stored_events, end)
        except ConstraintBroken as error:
            if NOT_NEXT in str(error.orig):
                raise NotNextPosition from error
            raise IntegrityError(str(error.orig)) from error

    def _append(self, connection: Connection, stored_events: Sequence[StoredEvent], end: events.End) -> events.End:
        frontier, recorded_at = end
        if bulk.is_postgresql(connection):
            rows = list(self._rows(stored_events, frontier.size, recorded_at, finish=False))
            bulk.insert(connection, "event", events.COLUMNS, rows)
            return events.End(merkle.Frontier(rows[-1][0]), rows[-1][4])  # the database knows its peaks
        rows = list(self._rows(stored_events, frontier.size, recorded_at, finish=True))
        frontier = frontier.extend(row[7] for row in rows)
        bulk.insert(connection, "event", events.COLUMNS, rows)
        bulk.query(
            connection,
            "UPDATE head SET size = ?, frontier = ?, recorded_at = ? WHERE id = 1",
            (frontier.size, frontier.to_bytes(), rows[-1][4]),
        )
        return events.End(frontier, rows[-1][4])

    def _rows(
        self, stored_events: Iterable[StoredEvent], position: int, recorded_at: int, *, finish: bool
    ) -> Iterator[tuple[int, str, int, str, int, str, str, bytes, bytes]]:
        now: int | None = None
        for event in stored_events:
            if isinstance(event, StoredEnvelope):
                given, actor = event.recorded_at, event.actor
            else:
                now = self._clock() if now is None else now
                given, actor = now, self._actor
            position += 1
            recorded_at = max(recorded_at, given)
            stream, version = str(event.originator_id), event.originator_version
            topic, payload = event.topic, event.state
            encoding, leaf = events.PLAIN, b""
            if finish:
                leaf = merkle.leaf_hash(merkle.entry(position, stream, version, topic, recorded_at, actor, payload))
                encoding, payload = events.packed(payload)
            yield position, stream, version, topic, recorded_at, actor, encoding, leaf, payload

    def _reading(self) -> AbstractContextManager[Connection]:
        return reading(self._engine) if self._engine is not None else nullcontext(self._given())

    def _writing(self) -> AbstractContextManager[Connection]:
        return writing(self._engine) if self._engine is not None else nullcontext(self._given())

    def _given(self) -> Connection:
        assert self._connection is not None  # the constructor took one of the two
        return self._connection


class PollingSubscription(Subscription[LedgerRecorder]):
    """An endless iterator over notifications, until `stop`."""

    def __init__(self, recorder: LedgerRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder, gt, topics)
        self._stopped = Event()
        self._fetched: Iterator[Notification] = iter(())

    def stop(self) -> None:
        """Ends the iteration, also one that waits in another thread."""
        super().stop()
        self._stopped.set()

    def __next__(self) -> Notification:
        while not self._stopped.is_set():
            for notification in self._fetched:
                self._last_notification_id = notification.id
                return notification
            found = self._recorder.select_notifications(
                self._last_notification_id, POLL_ROWS, topics=self._topics, inclusive_of_start=False
            )
            self._fetched = iter(found)
            if not found:
                self._stopped.wait(POLL_SECONDS)
        raise StopIteration


def _track(connection: Connection, tracking: Tracking) -> None:
    moved = bulk.query(
        connection,
        "INSERT INTO tracking (name, position) VALUES (?, ?) ON CONFLICT (name) DO UPDATE"
        " SET position = excluded.position WHERE excluded.position > tracking.position",
        (tracking.application_name, tracking.notification_id),
    )
    if moved.rowcount == 0:
        raise IntegrityError(f"{tracking.application_name} is already at {tracking.notification_id} or after it")


def _number(row: Any) -> int | None:
    return None if row is None or row[0] is None else int(row[0])
