"""Where an answer comes from: the tables as they were at a moment, and the events up to it.

Rules of this module:

* For the present both are the store itself. For the past the tables are those of `projections.at`, in memory, which
  hold only what the question asks for: so events are read from the ledger, and never beyond `until`.
* Which waves are active is asked of the tables for the present. For the past the tables know nothing of other tags than
  the device's: the events that open and close waves tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, text

from ledger.store import events
from ledger.store.events import Row
from projections import questions
from projections.questions import Question

_OPENED, _CLOSED = "tag.wave-opened/1", "tag.wave-closed/1"


class Source(NamedTuple):
    """`until` is the position of the moment, None for the present."""

    tables: Connection
    ledger: Connection
    until: int | None = None

    @classmethod
    def of_now(cls, connection: Connection) -> Source:
        """The store as it is."""
        return cls(connection, connection)

    def event(self, position: int) -> Row | None:
        """The event at a position."""
        return events.get(self.ledger, position)

    def edge(self, stream: str, *, first: bool) -> int | None:
        """The position of the first or last event of a stream."""
        newest = not first
        rows = events.read(self.ledger, stream=stream, until=self.until, descending=newest, limit=1)
        return next((row.position for row in rows), None)

    def active_waves(self, most: int) -> list[tuple[str, str]]:
        """Active waves, each with its tag, in the order of tags."""
        if self.until is None:
            statement = text("SELECT wave, tag FROM release_wave WHERE status = 'active' ORDER BY tag LIMIT :most")
            return [(wave, tag) for wave, tag in self.tables.execute(statement, {"most": most})]
        found: dict[str, str] = {}
        for row in events.read(self.ledger, topics=(_OPENED, _CLOSED), until=self.until):
            data = orjson.loads(row.payload)
            if row.topic == _OPENED:
                found[data["tag"]] = data["wave"]
            else:
                del found[data["tag"]]
        return [(found[tag], tag) for tag in sorted(found)][:most]


def question(name: str) -> Question:
    """What the tables of a past moment must hold to answer for a device: all about it and its tags, and the roots."""

    def select(ledger: Connection, until: int) -> Callable[[Sequence[str]], Iterable[Row]]:
        rows = [
            *questions.of_device(name).select(ledger, until)(()),
            *events.read(ledger, topics=("root.published/1",), until=until),
        ]
        rows.sort(key=lambda row: row.position)
        return lambda _topics: rows

    return Question(select)
