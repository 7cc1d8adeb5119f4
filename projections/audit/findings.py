"""What a check finds, what it looks at, and the shape that all checks have.

Rules of this package (DESIGN §3, §5):

* `projections.audit.history` reads the ledger once, in chunks, and hands every event to every check in turn. A check
  keeps what it needs to judge the next event, so memory grows with the fleet and the waves, not with the history.
* A check never raises for what it finds in the ledger, however damaged. It goes on, so one cause may have several
  findings; the first one is where to look.
* Nothing here writes, and no private key is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from ledger.domain.events import Event

KINDS = {
    "chain": "a row is not what was appended: position, version, time, payload or leaf",
    "head": "the row that says how far the ledger goes is not that of these events",
    "checkpoint": "a signed checkpoint is damaged, or not about this history: something was changed, or is missing",
    "unreadable": "an event is not what its topic says",
    "illegal": "the rules do not admit this event at this point of the history",
    "time": "an event says that it is of a time that has not come yet",
    "root": "a TUF root does not follow from the one before it",
    "signature": "a signature is missing, wrong, or by a key that did not count then",
    "published": "published metadata is not what the ledger says it should be",
    "database": "what protects the history in the database is missing or was changed, or code of others is there",
    "projection": "the answers that are kept ready are not those of the events",
}


class Finding(NamedTuple):
    """Something that is not as it should be; `position` is None where it is not about one event."""

    position: int | None
    kind: str
    field: str
    message: str


class Entry(NamedTuple):
    """An event that could be read, where it stands, who caused it and when (seconds since 1970)."""

    position: int
    stream: str
    version: int
    recorded_at: int
    actor: str
    event: Event


class Check(Protocol):
    """What looks at the history, one event after the other."""

    def look(self, entry: Entry) -> Iterator[Finding]:
        """Judge the next event."""

    def end(self) -> Iterator[Finding]:
        """Judge what should have followed."""


def some(names: Sequence[str], most: int = 3) -> str:
    """Names for a message: the first ones, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(str(name)[:60] for name in names[:most]) + more
