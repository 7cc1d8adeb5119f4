"""The bytes of offline-signed documents, from the events that hold them.

Rules of this module:

* A document is kept where it was signed: with its wave, or with the re-sign that gave it a higher version.
* Targets are stored once, in the own document of the wave that brought them; every other document is a header over
  those. Rendered again, a document is byte for byte what was signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from ledger.codec import decode
from ledger.domain.events import (
    Document,
    KeySignatures,
    TargetsResigned,
    WaveHoldersChanged,
    WaveInitialized,
    WaveResigned,
    WaveSigned,
)
from ledger.session import load
from ledger.store import events
from ledger.tuf import documents


class Signatures(NamedTuple):
    """A targets document with its offline signatures: keyid and hex signature, in the order they came."""

    signed: bytes
    offline: tuple[tuple[str, str], ...]


def own_body(connection: Connection, document: Document) -> bytes:
    """The targets in a document, as canonical JSON of the targets map."""
    if document.signed is not None:
        return documents.targets_of(document.signed.encode())
    return body_of(connection, document.content)


def body_of(connection: Connection, content: str | None) -> bytes:
    """The targets that a wave brought, as canonical JSON of the targets map; None: the empty list."""
    if content is None:
        return documents.EMPTY_BODY
    first = next(events.read(connection, stream=f"wave:{content}", limit=1))
    event = decode(first.topic, first.payload)
    assert isinstance(event, WaveInitialized)  # a wave's stream begins with it
    return own_body(connection, event.documents[0])


def signed_bytes(document: Document, body: bytes) -> bytes:
    """The canonical signed part of a document: as it was signed, or rendered again from its header."""
    if document.signed is not None:
        return document.signed.encode()
    return documents.targets_signed(document.version, document.expires, body)


def of_wave(connection: Connection, wave: str, version: int) -> Signatures:
    """A document that was signed with its wave, at init or anew while the wave was active."""
    held: tuple[Document, ...] = ()
    signers: list[KeySignatures] = []
    for event in load(connection, f"wave:{wave}"):
        match event:
            case WaveInitialized(documents=found):
                held = found
            case WaveSigned(_, keyid, signatures):
                signers.append(KeySignatures(keyid, signatures))
            case WaveResigned(documents=found):
                if any(document.version == version for document in held):
                    break
                held, signers = found, [*event.signers, *event.also]
            case WaveHoldersChanged(removed=removed):
                signers = [by for by in signers if by.keyid not in removed]
    return _pick(connection, held, signers, version)


def resigned(connection: Connection, position: int, version: int) -> Signatures:
    """A live document of a tag that was signed anew, by the event at that position."""
    row = events.get(connection, position)
    assert row is not None  # the projection was folded from it
    event = decode(row.topic, row.payload)
    assert isinstance(event, TargetsResigned)
    return _pick(connection, event.documents, [*event.signers, *event.also], version)


def _pick(
    connection: Connection, held: Sequence[Document], signers: Sequence[KeySignatures], version: int
) -> Signatures:
    place = next(place for place, document in enumerate(held) if document.version == version)
    # What is kept whole is taken as it is: to find the targets in it costs more than all the rest.
    body = b"" if held[place].signed is not None else own_body(connection, held[place])
    signed = signed_bytes(held[place], body)
    return Signatures(signed, tuple((signer.keyid, signer.signatures[place]) for signer in signers))
