"""What a view is to show next: a targets document that was shown before, or one that is shown for the first time.

A document that is shown again under the same root was verified when it was shown first: its length and hash are known,
and its bytes need not be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, text

from ledger.application import signed
from ledger.application.signed import Signatures
from ledger.codec import decode
from ledger.domain.events import DocumentPublished, MetadataPublished
from ledger.domain.values import from_epoch
from ledger.store import events
from ledger.store.bulk import query
from ledger.tuf import canonical, documents
from ledger.tuf.documents import FileMeta
from projections.tuf import cosigned, state

_SIGNATURES = "SELECT keyid, signatures FROM release_signature WHERE wave = ? ORDER BY place"
_KEPT_BYTES = 16 * 2**20  # of documents: enough for any wave action, and no burden where a thousand tags are published


class Draft(NamedTuple):
    """A view that is about to be signed: its targets document, with the online signature where it has one already.

    `meta` is given instead of the document where the view shows it already, under the same root.
    """

    view: str
    version: int
    expires: int
    document: Signatures | None
    meta: FileMeta | None
    online: tuple[str, str] | None
    wave: str | None
    source: str
    content_position: int | None

    def first_shown(self, online: tuple[str, str]) -> DocumentPublished:
        """What is recorded of a document that is shown for the first time, with its online signature."""
        assert self.document is not None
        kept = None if self.wave else self.document.signed.decode()
        return DocumentPublished(self.version, *online, self.wave, self.source, kept, self.content_position)


def draft(
    connection: Connection,
    repository: str,
    view: state.View,
    shown: Mapping[str, state.Published],
    now: int,
    documents_: Documents,
    *,
    whole: bool,
) -> Draft:
    """The draft of a view; `shown` is what the repository shows, with `whole` the document is read in any case."""
    if view.wave is None or view.document is None or view.version is None or view.expires is None:
        return _ci_draft(connection, repository, view, shown.get(view.view), now, whole=whole)
    metas = (there.targets for there in shown.values() if there.targets_version == view.version and not there.closed)
    meta = None if whole else next(metas, None)
    if meta is not None:  # by this view or, before a complete or a cancel, by the wave's
        return Draft(view.view, view.version, view.expires, None, meta, ("", ""), view.wave, view.document, None)
    first = state.document(connection, repository, view.version)
    online = (first.keyid, first.signature) if first else None
    document = documents_.offline(connection, repository, view.wave, view.version)
    return Draft(view.view, view.version, view.expires, document, None, online, view.wave, view.document, None)


class Documents:
    """The documents of one emission, each read once and made a file once: what is signed is written next.

    A document that is shown has all its signatures, and a document that is signed anew has another version: what was
    read stays right.
    """

    def __init__(self) -> None:
        """None yet."""
        self._read: dict[tuple[str, int], Signatures] = {}
        self._files: dict[tuple[str, int, tuple[tuple[str, str], ...]], bytes] = {}
        self._size = 0  # bytes

    def offline(self, connection: Connection, repository: str, wave: str, version: int) -> Signatures:
        """A document as its signers left it."""
        found = self._read.get((repository, version))
        if found is None:
            found = offline_document(connection, repository, wave, version)
            if self._has_room(len(found.signed)):
                self._read[repository, version] = found
        return found

    def file(self, repository: str, version: int, signed: bytes, signatures: Sequence[tuple[str, str]]) -> bytes:
        """The file of a document with these signatures, in that order."""
        key = (repository, version, tuple(signatures))
        found = self._files.get(key)
        if found is None:
            found = documents.file_bytes(signed, signatures)
            if self._has_room(len(found)):
                self._files[key] = found
        return found

    def _has_room(self, more: int) -> bool:
        fits = self._size + more <= _KEPT_BYTES
        self._size += more if fits else 0
        return fits


def offline_document(connection: Connection, repository: str, wave: str, version: int) -> Signatures:
    """A document as its signers left it: signed bytes and offline signatures."""
    position = state.resigned_at(connection, repository, version)
    if position is not None:
        return signed.resigned(connection, position, version)
    return _over_an_earlier_wave(connection, wave, version) or signed.of_wave(connection, wave, version)


def _over_an_earlier_wave(connection: Connection, wave: str, version: int) -> Signatures | None:
    """A document that a wave brought with it over the targets of an earlier one, without the wave's own targets.

    None: it is the wave's own, or was signed anew.
    """
    (headers,) = query(connection, "SELECT documents FROM release_wave WHERE wave = ?", (wave,)).fetchone() or (None,)
    for place, (number, expires, content) in enumerate(orjson.loads(headers or b"[]")):
        if place and number == version:
            body = signed.body_of(connection, content)
            rows = query(connection, _SIGNATURES, (wave,)).fetchall()
            signatures = ((keyid, str(orjson.loads(made)[place])) for keyid, made in rows)
            return Signatures(documents.targets_signed(version, from_epoch(expires), body), tuple(signatures))
    return None


def document_of_wave(connection: Connection, wave: str) -> Signatures:
    """A wave's own document as its signers left it last; of the events, it reads those of the wave alone."""
    statement = text("SELECT version FROM release_wave WHERE wave = :wave")
    version = connection.execute(statement, {"wave": wave}).scalar_one()
    return signed.of_wave(connection, wave, version)


def first_shown(connection: Connection, position: int, version: int) -> DocumentPublished:
    """A document as the event at that position has it, which showed it first."""
    row = events.get(connection, position)
    assert row is not None  # the projection was folded from it
    event = decode(row.topic, row.payload)
    assert isinstance(event, MetadataPublished)
    return next(document for document in event.documents if document.version == version)


def _ci_document(connection: Connection, shown: state.Shown, version: int) -> bytes:
    found = first_shown(connection, shown.position, version).signed
    assert found is not None  # production documents stay where they were signed
    return found.encode()


def _ci_draft(
    connection: Connection, repository: str, view: state.View, before: state.Published | None, now: int, *, whole: bool
) -> Draft:
    position = view.content_position
    aged = before is not None and 2 * (before.snapshot_expires - now) <= state.CI_SECONDS
    raised = state.raised(connection, repository).targets
    shown = state.document(connection, repository, before.targets_version) if before else None
    same_key = shown is not None and shown.keyid == state.online_keyids(connection, "ci")["targets"]
    current = before and before.content_position == position and before.targets_version > raised
    if before and shown and current and same_key and not aged:
        version, online = before.targets_version, (shown.keyid, shown.signature)
        document: Signatures | None = None
        meta: FileMeta | None = before.targets
        if whole:
            also = cosigned.signatures(connection, repository, version, shown.position)
            document, meta = Signatures(_ci_document(connection, shown, version), also), None
        return Draft(view.view, version, before.snapshot_expires, document, meta, online, None, view.view, position)
    version = max(before.targets_version if before else 0, raised) + 1
    expires = now + state.CI_SECONDS
    body = canonical.targets_body(state.ci_targets(connection, repository.partition("/")[2]))
    document = Signatures(documents.targets_signed(version, from_epoch(expires), body), ())
    return Draft(view.view, version, expires, document, None, None, None, view.view, position)
