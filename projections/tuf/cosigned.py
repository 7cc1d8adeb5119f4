"""Signatures of replaced online keys over CI documents, for clients that know only the root before the newest.

An event of its own, appended just before the publication that shows the document first: where no key was replaced
lately there is none.
"""

from __future__ import annotations

from sqlalchemy import Connection

from ledger.codec import decode
from ledger.domain.events import DocumentCosigned
from ledger.store import events


def signatures(connection: Connection, repository: str, version: int, position: int) -> tuple[tuple[str, str], ...]:
    """Keyids and hex signatures over a document that the publication at that position showed first."""
    row = events.get(connection, position - 1)
    if row is None or row.topic != DocumentCosigned.topic:
        return ()
    event = decode(row.topic, row.payload)
    assert isinstance(event, DocumentCosigned)
    if (event.repository, event.version) != (repository, version):
        return ()
    return tuple((by.keyid, by.signatures[0]) for by in event.signers)
