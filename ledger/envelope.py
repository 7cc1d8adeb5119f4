"""An event with where it stands in its stream, who caused it and when it was recorded."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.domain.events import Event


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the event store keeps. The first two names are the `eventsourcing` library's, for its EventStore.

    `recorded_at` is in whole seconds since 1970, never below that of the event before it in the ledger.
    """

    originator_id: str  # the stream
    originator_version: int  # 1, 2, 3 ... in the stream
    recorded_at: int
    actor: str
    event: Event
