"""Signing online: one publication of one TUF repository, as an event.

Rules of this module (DESIGN §4, "The emitter is a follower"):

* Read the head, sign outside any lock, append at the expected version: the loser of a race reads again. Files come
  after the event, and from it (`projections.tuf.tree`), so that a publication that was killed can be finished.
* Roots that were recorded since the last publication are shown one by one (`projections.tuf.steps`).
* One version line for all views of a repository: every publication gives each view its own next number.
* Nothing is published that its root would not accept: every signature is verified first (TUF 1.0 §5).
* Every snapshot carries the newest checkpoint of the ledger, so each device and mirror is a witness.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection

from ledger.domain.errors import Conflict, LedgerError, TufFailure
from ledger.domain.events import (
    BundleExported,
    DocumentCosigned,
    DocumentPublished,
    KeySignatures,
    MetadataPublished,
    ViewPublished,
)
from ledger.domain.values import from_epoch
from ledger.session import Ledger, Session
from ledger.store import events
from ledger.store.errors import StreamChanged
from ledger.tuf import documents, note, signing
from ledger.tuf.documents import FileMeta
from ledger.tuf.online import OnlineKeys
from projections.tuf import drafts, state, steps
from projections.tuf.drafts import Documents, Draft, draft
from projections.tuf.moment import Moment, Trust

BATCH = 100  # repositories that are read and recorded together
RETRIES = 10  # lost races in a row; each one means that somebody else published


class ViewChanged(Conflict):
    """A view that was about to be exported is not there any more, or shows what was never published."""

    message = "view {view} changed while it was being exported"
    hint = "nothing was exported; run the command again"
    view: str


class Signed(NamedTuple):
    """The repositories that got a publication, and what went wrong with others."""

    repositories: list[str]
    problems: list[LedgerError]


def publish(
    ledger: Ledger,
    keys: OnlineKeys,
    *,
    refresh: bool = False,
    force: bool = False,
    without: Collection[str] = (),
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
    documents_: Documents | None = None,
) -> Signed:
    """Sign what is not signed yet; returns the repositories that got a publication, or would get one.

    With `refresh` also what grows old, with `force` everything; `without` those repositories. Many are read and
    recorded at once: a refresh of a thousand tags is a few transactions. `documents_` keeps those
    that it reads.
    """
    read = documents_ or Documents()
    with ledger.reading() as connection:
        names = set(state.due(connection, ledger.now, refresh=refresh))
        seen = state.newest_publications(connection)
    if force:
        names |= seen.keys()
    signed = Signed([], [])
    todo = sorted(names.difference(without))
    for start in range(0, len(todo), BATCH):
        part = todo[start : start + BATCH]
        for repository in _publish_many(ledger, keys, part, seen, signed, read, dry_run=dry_run):
            try:
                if _publish_one(ledger, keys, repository, read, dry_run=dry_run):
                    signed.repositories.append(repository)
            except LedgerError as problem:
                signed.problems.append(problem)  # one repository in trouble must not let the others expire
        if progress:
            progress(start + len(part), len(todo))
    return Signed(sorted(signed.repositories), signed.problems)


def metadata_of(connection: Connection, repository: str, wave: str, version: int) -> dict[str, Any]:
    """A document as JSON: with its online signature once it was shown, else with the offline ones alone."""
    offline = drafts.offline_document(connection, repository, wave, version)
    shown = state.document(connection, repository, version)
    online = [(shown.keyid, shown.signature)] if shown else []
    metadata: dict[str, Any] = orjson.loads(documents.file_bytes(offline.signed, [*offline.offline, *online]))
    return metadata


def prepare(connection: Connection, keys: OnlineKeys, repository: str, now: int) -> _Publication:
    """The next publication of a repository with all its documents, to be signed outside any lock."""
    moment = Moment.read(connection, keys, [repository], now, Documents())
    return _Publication.read(moment, connection, repository, whole=True)


def _publish_many(
    ledger: Ledger,
    keys: OnlineKeys,
    names: Sequence[str],
    seen: Mapping[str, int],
    signed: Signed,
    read: Documents,
    *,
    dry_run: bool,
) -> list[str]:
    """Sign repositories that are due as far as their publications at the positions `seen`, in one transaction.

    Returns those that others published meanwhile, and those that need more than one: each is looked at again.
    """
    overtaken: list[str] = []
    ready: list[tuple[_Publication, int, MetadataPublished]] = []
    with ledger.reading() as connection:
        moment = Moment.read(connection, keys, names, ledger.now, read)
        drawn = []
        several = steps.pending(connection, moment.before)
        for name in names:
            if moment.before[name].position != seen.get(name, 0) or name in several:
                overtaken.append(name)
                continue
            version = events.stream_version(connection, state.stream_of(name))
            try:
                drawn.append((_Publication.read(moment, connection, name), version))
            except LedgerError as problem:
                signed.problems.append(problem)
    for publication, version in drawn:  # here nobody waits for us: a signer may be slow, or a person
        try:
            ready.append((publication, version, publication.sign()))
        except LedgerError as problem:
            signed.problems.append(problem)
    if not ready:
        return overtaken
    with ledger.writing(dry_run=dry_run) as session:
        current = [one for one in ready if session.version(state.stream_of(one[0].repository)) == one[1]]
        _append(session, current)
    done = {publication.repository for publication, _, _ in current}
    signed.repositories.extend(done)
    return [*overtaken, *(p.repository for p, _, _ in ready if p.repository not in done)]


def _publish_one(ledger: Ledger, keys: OnlineKeys, repository: str, read: Documents, *, dry_run: bool) -> bool:
    """Sign one repository that others publish at the same time; False if there is nothing left to do."""
    lost, published = 0, False
    while True:
        with ledger.reading() as connection:
            if repository not in state.due(connection, ledger.now, refresh=True):
                return published  # whoever won the race published all that was due
            version = events.stream_version(connection, state.stream_of(repository))
            publications = _next(connection, keys, repository, ledger.now, read)
        publication, event = _sign_first(publications)
        try:
            with ledger.writing(dry_run=dry_run) as session:
                _append(session, [(publication, version, event)])
        except StreamChanged:
            lost += 1
            if lost == RETRIES:
                raise
            continue
        published = True
        if dry_run or publication is publications[-1]:
            return True


def _next(connection: Connection, keys: OnlineKeys, repository: str, now: int, read: Documents) -> list[_Publication]:
    """The publications that lead to what a repository is to show, that one last: clients follow root by root."""
    moment = Moment.read(connection, keys, [repository], now, read)
    between = [
        replace(moment, trust={steps.PRODUCTION: step.trust}, views={repository: step.views})
        for step in steps.pending(connection, moment.before).get(repository, [])
    ]
    return [_Publication.read(one, connection, repository) for one in [*between, moment]]


def _sign_first(publications: Sequence[_Publication]) -> tuple[_Publication, MetadataPublished]:
    """Sign the first that can be: a step whose online keys are gone is left out, as whoever deleted them knew."""
    *between, last = publications
    for publication in between:
        with suppress(TufFailure):
            return publication, publication.sign()
    return last, last.sign()


def _append(session: Session, ready: Sequence[tuple[_Publication, int, MetadataPublished]]) -> None:
    session.append_all(
        (state.stream_of(publication.repository), [*publication.also_signed, event], version)
        for publication, version, event in ready
    )
    for publication, _, _ in ready[:1]:  # all of one transaction carry the same
        events.add_checkpoint(session.connection, publication.checkpoint.size, publication.checkpoint.note())


@dataclass
class _Publication:
    """One publication on its way: all that was read for it, and the last version number given out."""

    moment: Moment
    repository: str
    trust: Trust
    before: state.GivenOut
    version: int
    drafts: list[Draft]
    ended: list[state.Published]
    also_signed: list[DocumentCosigned] = field(default_factory=list)

    @classmethod
    def read(cls, moment: Moment, connection: Connection, repository: str, *, whole: bool = False) -> _Publication:
        """Read the documents; with `whole` those, too, that are shown already."""
        trust, before = moment.trust[repository.partition("/")[0]], moment.before[repository]
        views, shown = moment.views.get(repository, []), moment.published.get(repository, {})
        live = {view.view for view in views}
        again = whole or before.root_version != trust.version  # what the new root accepts is to be seen
        return cls(
            moment,
            repository,
            trust,
            before,
            before.version,
            [draft(connection, repository, v, shown, moment.now, moment.documents, whole=again) for v in views],
            [published for published in shown.values() if published.view not in live],
        )

    @property
    def checkpoint(self) -> note.Checkpoint:
        """The ledger's newest checkpoint."""
        return self.moment.checkpoint

    def sign(self) -> MetadataPublished:
        """Sign every view of the repository, in the direction devices move."""
        new: dict[int, DocumentPublished] = {}
        views = []
        for one in self.drafts:
            if one.document is None:
                assert one.meta is not None  # it is shown already
                views.append(self._view(one, one.meta))
                continue
            online = one.online or self._sign("targets", one.document.signed)
            if one.online is None:
                new[one.version] = one.first_shown(online)
            also = self._cosign(one, one.document.signed) if one.online is None and one.wave is None else []
            signatures = [*one.document.offline, *also, online]
            signing.require_threshold(self.trust.root, "targets", one.document.signed, signatures, one.view)
            file = self.moment.documents.file(self.repository, one.version, one.document.signed, signatures)
            views.append(self._view(one, FileMeta.of(file)))
        return MetadataPublished(
            self.repository,
            self.trust.version,
            tuple(new[version] for version in sorted(new)),
            tuple(views),
            tuple(sorted(p.view for p in self.ended if not p.closed)),
            tuple(sorted(p.view for p in self.ended if p.closed and self._outlived(p))),
        )

    def _cosign(self, one: Draft, document: bytes) -> list[tuple[str, str]]:
        """Signatures of replaced keys over a new CI document; production's have them from their holders' re-sign."""
        also = self._sign_along("targets", document)
        if also:
            signers = tuple(KeySignatures(keyid, (signature,)) for keyid, signature in also)
            self.also_signed = [DocumentCosigned(self.repository, one.version, signers)]
        return also

    def sign_bundle(self, view: str, expires: int) -> tuple[BundleExported, bytes]:
        """Sign one view, shown before, to live until `expires` (seconds since 1970); the event and the targets file."""
        one = next((one for one in self.drafts if one.view == view), None)
        if one is None or one.online is None or one.document is None:
            raise ViewChanged(view=view)
        file = documents.file_bytes(one.document.signed, [*one.document.offline, one.online])
        shown = self._view(one._replace(expires=expires), FileMeta.of(file), expires)
        return BundleExported(self.repository, self.trust.version, shown), file

    def _outlived(self, view: state.Published) -> bool:
        return view.timestamp_expires + state.GRACE_SECONDS <= self.moment.now

    def _view(self, one: Draft, targets: FileMeta, timestamp_expires_at: int | None = None) -> ViewPublished:
        self.version += 1
        expires = from_epoch(one.expires)
        timestamp_expires = from_epoch(timestamp_expires_at or self.moment.now + state.TIMESTAMP_SECONDS)
        snapshot = self._file(
            "snapshot",
            documents.snapshot_signed(self.version, expires, one.version, targets, self.checkpoint.field()),
        )
        timestamp = self._file(
            "timestamp", documents.timestamp_signed(self.version, timestamp_expires, self.version, snapshot)
        )
        return ViewPublished(
            one.view, self.version, one.version, snapshot.decode(), timestamp.decode(), expires, timestamp_expires
        )

    def _file(self, role: str, signed: bytes) -> bytes:
        signature = self._sign(role, signed)
        signing.require_threshold(self.trust.root, role, signed, [signature], role)
        return documents.file_bytes(signed, [signature, *self._sign_along(role, signed)])

    def _sign_along(self, role: str, signed: bytes) -> list[tuple[str, str]]:
        """Signatures of replaced keys, as far as they are at hand: a client may know only the root before this one."""
        replaced, keys = self.trust.along(role, self.before, self.moment.now), self.moment.keys
        gone = set(keys.missing(replaced))
        return [(keyid, keys.signer(keyid, role).sign(signed)) for keyid in replaced if keyid not in gone]

    def _sign(self, role: str, signed: bytes) -> tuple[str, str]:
        keyid = self.trust.keyids[role]
        return keyid, self.moment.keys.signer(keyid, role).sign(signed)
