"""Our codec behind the `eventsourcing` library's Mapper, so that its EventStore runs on our recorder."""

from __future__ import annotations

from typing import Any, cast

from eventsourcing.persistence import Mapper, StoredEvent

from ledger.codec import decode, encode
from ledger.envelope import Envelope
from ledger.store.recorder import StoredEnvelope


class EnvelopeMapper(Mapper[str]):
    """Envelope ↔ stored event. The library's transcoder, compressor and cipher are not used."""

    def __init__(self) -> None:
        """Nothing is configurable: the bytes are for ever."""

    def to_stored_event(self, domain_event: Any) -> StoredEnvelope:
        """The row of an envelope."""
        envelope = cast("Envelope", domain_event)
        return StoredEnvelope(
            originator_id=envelope.originator_id,
            originator_version=envelope.originator_version,
            topic=envelope.event.topic,
            state=encode(envelope.event),
            recorded_at=envelope.recorded_at,
            actor=envelope.actor,
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """The envelope of a row. Raises: EventUnreadable, WrittenByNewerVersion."""
        stored = cast("StoredEnvelope", stored_event)
        return Envelope(
            originator_id=str(stored.originator_id),
            originator_version=stored.originator_version,
            recorded_at=stored.recorded_at,
            actor=stored.actor,
            event=decode(stored.topic, stored.state),
        )
