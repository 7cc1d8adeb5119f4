"""Putting the events of another ledger into a new store as they were: an import, or a copy.

Rules of this module:

* It runs before the new store's triggers are made (`migrate.create`, `fill`): afterwards the database writes actors,
  leaves and the head itself, or refuses.
* Position, stream, version, topic, time, actor and payload stay. The leaf follows from them; how a payload is kept is
  the new store's own way.
* Whoever gives the rows compares the frontier that comes out with the root that they should have.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from sqlalchemy import Connection

from ledger.merkle import Frontier, entry, leaf_hash
from ledger.store import bulk, events
from ledger.store.events import Row, Stored
from ledger.store.recorder import COMPRESS_ABOVE


def fill(connection: Connection, rows: Iterable[Row]) -> tuple[Frontier, int]:
    """Insert events from position 1 on; the frontier and the time that they end with."""
    frontier, recorded_at = Frontier(), 0

    def stored() -> Iterator[Stored]:
        nonlocal frontier, recorded_at
        for row in rows:
            found = _stored(row, compress=not bulk.is_postgresql(connection))
            frontier, recorded_at = frontier.append(found.leaf), row.recorded_at
            yield found

    bulk.insert(connection, "event", Stored._fields, stored())
    return frontier, recorded_at


def _stored(row: Row, *, compress: bool) -> Stored:
    encoding, payload = events.PLAIN, row.payload
    if compress and len(payload) > COMPRESS_ABOVE:  # PostgreSQL compresses long values itself
        encoding, payload = events.COMPRESSED, zlib.compress(payload)
    return Stored(*row[:6], encoding, leaf_hash(entry(*row)), payload)
