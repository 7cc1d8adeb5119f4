"""The publications of repositories as the ledger holds them, newest first.

Rules of this module:

* Transactions are short: a destination may be slow to look at, and a reader keeps writers waiting.
* What is known to be looked at next is read together, a few repositories at a time; it is given out once, and after
  that the ledger is asked again. An event never changes, so a small one that was decoded is kept for the emission.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from ledger.codec import decode
from ledger.domain.events import MetadataPublished, VersionsRaised
from ledger.session import Ledger
from ledger.store import events
from projections.tuf import state

TOGETHER = 20  # repositories in one transaction: a publication of CI holds its documents, a megabyte or more
_KEPT = 5_000  # decoded events
_SMALL = 32_768  # bytes

_TOPICS = (MetadataPublished.topic, VersionsRaised.topic)


class Recorded(NamedTuple):
    """An event of a repository's stream: its version there, and its position in the ledger."""

    version: int
    position: int
    event: MetadataPublished | VersionsRaised


class Newest(NamedTuple):
    """The last publication of a repository, and the version that was raised to after it (0: none was)."""

    publication: MetadataPublished | None
    raised: int


class Publications:
    """Reads publications and raises of a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        """Of that ledger."""
        self._ledger = ledger
        self._ahead: dict[str, tuple[int, list[Recorded]]] = {}
        self._decoded: dict[int, Recorded] = {}

    def look_ahead(self, repositories: Sequence[str], count: int, connection: Connection | None = None) -> None:
        """Read the newest `count` of each repository, for who asks for it next."""
        missing = [name for name in repositories if name not in self._ahead]
        if connection is not None:
            self._ahead |= {name: (count, self._read(connection, name, None, count)) for name in missing}
        elif missing:
            with self._ledger.reading() as opened:
                self.look_ahead(missing, count, opened)

    def newest_first(self, repository: str, *, at_once: int = 1) -> Iterator[Recorded]:
        """Publications and raises, newest first: the first few, then each, in short transactions."""
        before, limit = None, at_once
        while True:
            ahead = self._ahead.pop(repository, None)
            if before is None and ahead:
                limit, found = ahead
            else:
                with self._ledger.reading() as connection:
                    found = self._read(connection, repository, before, limit)
            yield from found
            if len(found) < limit:
                return
            before, limit = found[-1].version - 1, 1

    def newest_of(self, repository: str) -> Newest:
        """The last publication of a repository, and what was raised to after it."""
        raised = 0
        for found in self.newest_first(repository):
            if isinstance(found.event, MetadataPublished):
                return Newest(found.event, raised)
            raised = max(raised, found.event.metadata)
        return Newest(None, raised)

    def _read(self, connection: Connection, repository: str, before: int | None, limit: int) -> list[Recorded]:
        stream = state.stream_of(repository)
        return [
            self._decoded.get(row.position) or self._decode(row)
            for row in events.read(
                connection, stream=stream, topics=_TOPICS, until_version=before, descending=True, limit=limit
            )
        ]

    def _decode(self, row: events.Row) -> Recorded:
        event = decode(row.topic, row.payload)
        assert isinstance(event, MetadataPublished | VersionsRaised)
        found = Recorded(row.version, row.position, event)
        if len(row.payload) < _SMALL and len(self._decoded) < _KEPT:
            self._decoded[row.position] = found
        return found
