"""Signing online: one publication of one TUF repository, as an event.

Rules of this module (DESIGN §4, "The emitter is a follower"):

* Read the head, sign outside any lock, append at the expected version: the loser of a race reads again. Files come
  after the event, and from it (`projections.tuf.tree`), so that a publication that was killed can be finished.
* One version line for all views of a repository: every publication gives each view its own next number.
* Nothing is published that its root would not accept: every signature is verified first (TUF 1.0 §5).
* Every snapshot carries the newest checkpoint of the ledger, so each device and mirror is a witness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection
from tuf.api.metadata import Root

from ledger.application.waves import fold_wave, own_body, signed_bytes
from ledger.codec import decode
from ledger.domain.errors import LedgerError
from ledger.domain.events import DocumentPublished, FactoryInitialized, MetadataPublished, ViewPublished
from ledger.domain.values import from_epoch
from ledger.session import Ledger
from ledger.store import events
from ledger.store.errors import StreamChanged
from ledger.tuf import canonical, documents, note, roots, signing
from ledger.tuf.online import OnlineKeys
from projections.tuf import state

RETRIES = 10  # lost races in a row; each one means that somebody else published


class Signatures(NamedTuple):
    """A targets document with its offline signatures: keyid and hex signature, in the order they came."""

    signed: bytes
    offline: tuple[tuple[str, str], ...]


class Signed(NamedTuple):
    """The repositories that got a publication, and what went wrong with others."""

    repositories: list[str]
    problems: list[LedgerError]


class _Draft(NamedTuple):
    """A view that is about to be signed: its targets document, with the online signature where it has one already."""

    view: str
    version: int
    expires: int
    document: Signatures
    online: tuple[str, str] | None
    wave: str | None
    source: str
    content_position: int | None


def publish(
    ledger: Ledger,
    keys: OnlineKeys,
    *,
    refresh: bool = False,
    force: bool = False,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Signed:
    """Sign what is not signed yet; returns the repositories that got a publication, or would get one.

    With `refresh` also what grows old, with `force` everything.
    """
    with ledger.reading() as connection:
        names = state.due(connection, ledger.now, refresh=refresh)
        if force:
            names = sorted({*names, *state.repositories(connection)})
    signed = Signed([], [])
    for place, repository in enumerate(names):
        try:
            _publish_one(ledger, keys, repository, dry_run=dry_run)
            signed.repositories.append(repository)
        except LedgerError as problem:
            signed.problems.append(problem)  # one repository in trouble must not let the others expire
        if progress:
            progress(place + 1, len(names))
    return signed


def offline_document(connection: Connection, wave: str, view: str) -> Signatures:
    """A document as its wave's signers left it: signed bytes and offline signatures."""
    state_ = fold_wave(connection, wave)
    place = next(i for i, document in enumerate(state_.init.documents) if document.view == view)
    document = state_.init.documents[place]
    signed = signed_bytes(document, own_body(connection, document))
    return Signatures(signed, tuple((event.keyid, event.signatures[place]) for event in state_.signed))


def metadata_of(connection: Connection, wave: str, view: str) -> dict[str, Any]:
    """A document as JSON: with its online signature once it was shown, else with the offline ones alone."""
    offline = offline_document(connection, wave, view)
    init = fold_wave(connection, wave).init
    version = next(document.version for document in init.documents if document.view == view)
    shown = state.document(connection, f"production/{init.tag}", version)
    online = [(shown.keyid, shown.signature)] if shown else []
    metadata: dict[str, Any] = orjson.loads(documents.file_bytes(offline.signed, [*offline.offline, *online]))
    return metadata


def _publish_one(ledger: Ledger, keys: OnlineKeys, repository: str, *, dry_run: bool) -> None:
    stream = f"publication:{repository.replace('/', ':', 1)}"
    for attempt in range(RETRIES):
        with ledger.reading() as connection:
            if attempt and repository not in state.due(connection, ledger.now, refresh=True):
                return  # whoever won the race published all that was due
            version = events.stream_version(connection, stream)
            publication = _Publication.read(connection, keys, repository, ledger.now)
        event = publication.sign()  # here nobody waits for us: a signer may be slow, or a person
        try:
            with ledger.writing(dry_run=dry_run) as session:
                session.append(stream, [event], expected=version)
                events.add_checkpoint(session.connection, publication.checkpoint.size, publication.checkpoint.note())
            return
        except StreamChanged:
            if attempt == RETRIES - 1:
                raise


@dataclass
class _Publication:
    """One publication on its way: all that was read for it, and the last version number given out."""

    keys: OnlineKeys
    repository: str
    now: int
    root: Root
    root_version: int
    keyids: dict[str, str]
    checkpoint: note.Checkpoint
    version: int
    drafts: list[_Draft]
    ended: list[state.Published]

    @classmethod
    def read(cls, connection: Connection, keys: OnlineKeys, repository: str, now: int) -> _Publication:
        """Read the head, the root, the versions and the documents."""
        kind = repository.partition("/")[0]
        head = events.head(connection)
        factory = _factory(connection)
        root_version, metadata = state.roots(connection, kind)[-1]
        views = state.views(connection, repository)
        before = state.published(connection, repository)
        live = {view.view for view in views}
        return cls(
            keys,
            repository,
            now,
            roots.load_root(metadata).signed,
            root_version,
            state.online_keyids(connection, kind),
            note.sign_checkpoint(keys.ledger(factory.ledger_key), factory.factory, head.size, head.root),
            state.newest_version(connection, repository),
            [_draft(connection, repository, view, before.get(view.view), now) for view in views],
            [published for published in before.values() if published.view not in live],
        )

    def sign(self) -> MetadataPublished:
        """Sign every view of the repository, in the direction devices move."""
        new: dict[int, DocumentPublished] = {}
        views = []
        for draft in self.drafts:
            online = draft.online or self._sign("targets", draft.document.signed)
            if draft.online is None:
                new[draft.version] = _first_shown(draft, online)
            signatures = [*draft.document.offline, online]
            signing.require_threshold(self.root, "targets", draft.document.signed, signatures, draft.view)
            views.append(self._view(draft, documents.file_bytes(draft.document.signed, signatures)))
        return MetadataPublished(
            self.repository,
            self.root_version,
            tuple(new[version] for version in sorted(new)),
            tuple(views),
            tuple(sorted(p.view for p in self.ended if not p.closed)),
            tuple(sorted(p.view for p in self.ended if p.closed and self._outlived(p))),
        )

    def _outlived(self, view: state.Published) -> bool:
        return view.timestamp_expires + state.GRACE_SECONDS <= self.now

    def _view(self, draft: _Draft, targets_file: bytes) -> ViewPublished:
        self.version += 1
        expires = from_epoch(draft.expires)
        timestamp_expires = from_epoch(self.now + state.TIMESTAMP_SECONDS)
        snapshot = self._file(
            "snapshot",
            documents.snapshot_signed(self.version, expires, draft.version, targets_file, self.checkpoint.field()),
        )
        timestamp = self._file(
            "timestamp", documents.timestamp_signed(self.version, timestamp_expires, self.version, snapshot)
        )
        return ViewPublished(
            draft.view, self.version, draft.version, snapshot.decode(), timestamp.decode(), expires, timestamp_expires
        )

    def _file(self, role: str, signed: bytes) -> bytes:
        signature = self._sign(role, signed)
        signing.require_threshold(self.root, role, signed, [signature], role)
        return documents.file_bytes(signed, [signature])

    def _sign(self, role: str, signed: bytes) -> tuple[str, str]:
        keyid = self.keyids[role]
        return keyid, self.keys.signer(keyid, role).sign(signed)


def _draft(
    connection: Connection, repository: str, view: state.View, before: state.Published | None, now: int
) -> _Draft:
    if view.wave is None or view.document is None or view.version is None or view.expires is None:
        return _ci_draft(connection, repository, view, before, now)
    shown = state.document(connection, repository, view.version)
    online = (shown.keyid, shown.signature) if shown else None
    document = offline_document(connection, view.wave, view.document)
    return _Draft(view.view, view.version, view.expires, document, online, view.wave, view.document, None)


def _ci_draft(
    connection: Connection, repository: str, view: state.View, before: state.Published | None, now: int
) -> _Draft:
    position = view.content_position
    aged = before is not None and 2 * (before.snapshot_expires - now) <= state.CI_SECONDS
    if before and before.content_position == position and not aged:
        shown = state.document(connection, repository, before.targets_version)
        assert shown is not None  # what is published was shown
        document = Signatures(ci_document(connection, shown, before.targets_version), ())
        online = (shown.keyid, shown.signature)
        return _Draft(
            view.view, before.targets_version, before.snapshot_expires, document, online, None, view.view, position
        )
    version = before.targets_version + 1 if before else 1
    expires = now + state.CI_SECONDS
    body = canonical.targets_body(state.ci_targets(connection, repository.partition("/")[2]))
    document = Signatures(documents.targets_signed(version, from_epoch(expires), body), ())
    return _Draft(view.view, version, expires, document, None, None, view.view, position)


def _first_shown(draft: _Draft, online: tuple[str, str]) -> DocumentPublished:
    signed = None if draft.wave else draft.document.signed.decode()
    return DocumentPublished(draft.version, *online, draft.wave, draft.source, signed, draft.content_position)


class _Factory(NamedTuple):
    factory: str
    ledger_key: str


def _factory(connection: Connection) -> _Factory:
    first = events.get(connection, 1)
    assert first is not None  # a store is created together with its first event
    event = decode(first.topic, first.payload)
    assert isinstance(event, FactoryInitialized)
    return _Factory(event.factory, event.ledger_key)


def ci_document(connection: Connection, shown: state.Shown, version: int) -> bytes:
    """The signed bytes of a CI document, from the event that showed it first."""
    row = events.get(connection, shown.position)
    assert row is not None  # the projection was folded from it
    event = decode(row.topic, row.payload)
    assert isinstance(event, MetadataPublished)
    signed = next(document.signed for document in event.documents if document.version == version)
    assert signed is not None  # production documents stay where they were signed
    return signed.encode()
