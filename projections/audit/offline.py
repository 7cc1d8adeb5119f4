"""Offline signatures: over every targets document, by keys that the root listed when they signed.

Rules of this module (DESIGN §4):

* What is verified are the bytes that were signed: a document is kept whole, or as a header over the targets that a
  wave brought.
* A holder's key is one of the targets role, and not the online key. Signatures of `also` count under the root before.
* What is signed anew for a new root stands just before that root, and is judged by it.
* Versions of a tag's documents are given out once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tuf.api.metadata import Root

from ledger.application.signed import signed_bytes
from ledger.domain.errors import LedgerError
from ledger.domain.events import (
    Document,
    KeySignatures,
    ProposedTargetsSigned,
    RootPublished,
    TargetsResigned,
    WaveCanceled,
    WaveCompleted,
    WaveHoldersChanged,
    WaveInitialized,
    WaveResigned,
    WaveSigned,
)
from ledger.tuf import documents, signing
from projections.audit.findings import Entry, Finding
from projections.audit.roots import PRODUCTION, Roots

_KEPT_BYTES = 64 * 2**20  # of targets maps in memory: those that were asked for last, as each tag's production is again
_HEX = frozenset("0123456789abcdef")

ReadEvent = Callable[[int], object]
"""From a position to its event; anything else where it cannot be read."""


@dataclass
class Signed:
    """One version of a document: its header, whose wave signed it, and its signatures in the order they came.

    `valid` are the keyids whose signatures were verified.
    """

    document: Document
    wave: str | None
    signatures: list[tuple[str, str]] = field(default_factory=list)
    valid: set[str] = field(default_factory=set)


class _Active(NamedTuple):
    """The documents of a wave that may still be signed."""

    tag: str
    documents: tuple[Document, ...]
    to_sign: tuple[bytes | None, ...]


class _Waiting(NamedTuple):
    """What was signed anew for a root that follows."""

    entry: Entry
    tag: str
    event: TargetsResigned | WaveResigned


@dataclass
class Offline:
    """All that was signed offline, by tag and version; `read` finds the event at a position again."""

    roots: Roots
    read: ReadEvent
    signed: dict[tuple[str, int], Signed] = field(default_factory=dict)
    begun: dict[str, tuple[str, int]] = field(default_factory=dict)  # wave → its tag, and where it was initialized
    active: dict[str, _Active] = field(default_factory=dict)
    waiting: list[_Waiting] = field(default_factory=list)
    bodies: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    kept_bytes: int = 0

    def look(self, entry: Entry) -> Iterator[Finding]:
        """Judge the next event."""
        match entry.event:
            case RootPublished(repository="production", version=version):
                yield from self._judge_waiting(version)
            case TargetsResigned(tag):
                yield from self._resigned(entry, tag, entry.event)
                return
            case WaveResigned(wave):
                yield from self._resigned(entry, self.begun.get(wave, ("", 0))[0], entry.event)
                return
            case WaveHoldersChanged():
                yield from self._holders_changed(entry, entry.event)
                return
            case _ if self.waiting and entry.stream != "trust":
                yield from self._judge_waiting()
        match entry.event:
            case WaveInitialized():
                yield from self._initialized(entry, entry.event)
            case WaveSigned():
                yield from self._wave_signed(entry, entry.event)
            case WaveCompleted(wave) | WaveCanceled(wave):
                self.active.pop(wave, None)
            case ProposedTargetsSigned():
                yield from self._proposed(entry, entry.event)

    def end(self) -> Iterator[Finding]:
        """Judge what should have followed."""
        yield from self._judge_waiting()

    def bytes_of(self, document: Document, own: str | None = None) -> bytes | None:
        """The signed part of a document; `own` is the wave whose own document it is. None: it can't be made again."""
        if document.signed is not None:
            return document.signed.encode()
        content = own or document.content
        body = documents.EMPTY_BODY if content is None else self._body(content)
        return None if body is None else signed_bytes(document, body)

    def _body(self, wave: str) -> bytes | None:
        if wave in self.bodies:
            self.bodies.move_to_end(wave)
            return self.bodies[wave]
        event = self.read(self.begun[wave][1]) if wave in self.begun else None
        if not isinstance(event, WaveInitialized) or not event.documents or event.documents[0].signed is None:
            return None
        try:
            # It was split when it was judged.
            self._keep(wave, documents.targets_of(event.documents[0].signed.encode()))
        except LedgerError:
            return None
        return self.bodies[wave]

    def _keep(self, wave: str, body: bytes) -> None:
        self.kept_bytes += len(body) - len(self.bodies.pop(wave, b""))
        self.bodies[wave] = body
        while self.kept_bytes > _KEPT_BYTES and len(self.bodies) > 1:
            self.kept_bytes -= len(self.bodies.popitem(last=False)[1])

    def _initialized(self, entry: Entry, event: WaveInitialized) -> Iterator[Finding]:
        self.begun[event.wave] = (event.tag, entry.position)
        root = self.roots.newest.get(PRODUCTION)
        asked = (root.version, root.roles["targets"].threshold) if root else None
        if asked != (event.root_version, event.threshold):
            yield _wrong(
                entry, "root_version", f"the root was version {asked and asked[0]}, threshold {asked and asked[1]}"
            )
        yield from self._look_at_own(entry, event)
        to_sign = tuple(self.bytes_of(document) for document in event.documents)
        self.active[event.wave] = _Active(event.tag, event.documents, to_sign)
        for document in event.documents:
            yield from self._add(entry, event.tag, document, event.wave)

    def _look_at_own(self, entry: Entry, event: WaveInitialized) -> Iterator[Finding]:
        own = event.documents[0] if event.documents else None
        try:
            header = documents.split_targets((own.signed if own and own.signed else "").encode())
        except LedgerError as problem:
            yield _wrong(entry, "documents", str(problem))
            return
        assert own is not None  # the document of None can't be split
        self._keep(event.wave, header.body)
        if (header.version, header.expires) != (own.version, own.expires) or own.expires != event.expires:
            yield _wrong(entry, "documents", "the signed document has another version or expiry than its event")

    def _add(self, entry: Entry, tag: str, document: Document, wave: str | None) -> Iterator[Finding]:
        key = (tag, document.version)
        if key in self.signed:
            yield _wrong(entry, "documents", f"version {document.version} of tag {tag} was given out before")
        self.signed[key] = Signed(self._header_of(document, wave), wave)

    def _header_of(self, document: Document, wave: str | None) -> Document:
        """A wave's own document without its targets, which the wave's event has, as long as that gives the same bytes.

        Only what was tampered with does not.
        """
        body = self.bodies.get(wave or "")
        header = replace(document, content=wave, signed=None)
        if document.signed is None or body is None or signed_bytes(header, body) != document.signed.encode():
            return document
        return header

    def _wave_signed(self, entry: Entry, event: WaveSigned) -> Iterator[Finding]:
        active, root = self.active.get(event.wave), self.roots.newest.get(PRODUCTION)
        if active is None or root is None:
            yield _wrong(entry, "wave", f"{event.wave} is not active: nothing of it is to be signed")
            return
        if event.keyid == self.roots.online.get((PRODUCTION, "targets")):
            yield _wrong(entry, "keyid", "the online key signs at publication, and never for a holder")
        signers = KeySignatures(event.keyid, event.signatures)
        yield from self._verify(entry, active.tag, active.documents, active.to_sign, signers, root)

    def _holders_changed(self, entry: Entry, event: WaveHoldersChanged) -> Iterator[Finding]:
        """Signatures of who leaves, with the next root or with one just taken in, count no more; the documents stay."""
        newest = self.roots.newest.get(PRODUCTION)
        if newest is None or event.root_version not in (newest.version, newest.version + 1):
            yield _wrong(entry, "root_version", f"root {event.root_version} is not the newest, nor the next")
        active = self.active.get(event.wave)
        for document in active.documents if active else ():
            signed = self.signed.get((active.tag if active else "", document.version))
            if signed:
                signed.signatures = [by for by in signed.signatures if by[0] not in event.removed]
                signed.valid -= set(event.removed)

    def _verify(
        self,
        entry: Entry,
        tag: str,
        held: Sequence[Document],
        to_sign: Sequence[bytes | None],
        by: KeySignatures,
        root: Root,
    ) -> Iterator[Finding]:
        """One key's signatures over documents, under a root that should list it."""
        if len(by.signatures) != len(held):
            yield _wrong(entry, "signatures", f"{len(by.signatures)} signatures over {len(held)} documents")
        if by.keyid not in root.roles["targets"].keyids:
            yield _wrong(entry, "keyid", f"root {root.version} does not list key {by.keyid} for targets")
        for place, (document, data, signature) in enumerate(zip(held, to_sign, by.signatures, strict=False)):
            signed = self.signed.get((tag, document.version))
            if signed:
                signed.signatures.append((by.keyid, signature))
            if data is None:
                yield _wrong(entry, f"signatures[{place}]", f"the document for {document.view} cannot be made again")
            elif is_valid(root, "targets", data, by.keyid, signature):
                if signed:
                    signed.valid.add(by.keyid)
            elif by.keyid in root.roles["targets"].keyids:
                told = f"not a signature of key {by.keyid} over the document for {document.view}"
                yield _wrong(entry, f"signatures[{place}]", told)

    def _resigned(self, entry: Entry, tag: str, event: TargetsResigned | WaveResigned) -> Iterator[Finding]:
        newest = self.roots.newest.get(PRODUCTION)
        waiting = _Waiting(entry, tag, event)
        if newest is not None and event.root_version > newest.version:
            self.waiting.append(waiting)
        else:
            yield from self._judge(waiting)

    def _judge_waiting(self, version: int | None = None) -> Iterator[Finding]:
        """Judge what was signed for a root up to that version; without one all that waits, for no root follows."""
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            if version is not None and one.event.root_version > version:
                self.waiting.append(one)
            else:
                yield from self._judge(one)

    def _judge(self, waiting: _Waiting) -> Iterator[Finding]:
        entry, tag, event = waiting
        root = self.roots.newest.get(PRODUCTION)
        if root is None or event.root_version != root.version:
            yield _wrong(entry, "root_version", f"it was signed for root {event.root_version}, which there was not")
            return
        own = event.wave if isinstance(event, WaveResigned) else None
        to_sign = tuple(self.bytes_of(document) for document in event.documents)
        for document in event.documents:
            yield from self._add(entry, tag, document, own)
        if own in self.active:
            self.active[own] = _Active(tag, event.documents, to_sign)
        for by in event.signers:
            if by.keyid == self.roots.online.get((PRODUCTION, "targets")):
                yield _wrong(entry, "signers", "the online key signs at publication, and never for a holder")
            yield from self._verify(entry, tag, event.documents, to_sign, by, root)
        before = self.roots.get(PRODUCTION, root.version - 1)
        for by in event.also:
            if before is not None:
                yield from self._verify(entry, tag, event.documents, to_sign, by, before)
        yield from self._look_at_threshold(entry, event, root)

    def _look_at_threshold(self, entry: Entry, event: TargetsResigned | WaveResigned, root: Root) -> Iterator[Finding]:
        need = root.roles["targets"].threshold
        if isinstance(event, WaveResigned):
            if event.threshold < need:
                yield _wrong(entry, "threshold", f"root {root.version} asks for {need}")
        elif event.documents and len(event.signers) < need - 1:
            yield _wrong(entry, "signers", f"{len(event.signers)} offline signatures, and {need - 1} are needed")

    def _proposed(self, entry: Entry, event: ProposedTargetsSigned) -> Iterator[Finding]:
        own = event.owner.partition(":")[2] if event.owner.startswith("wave:") else None
        for place, (document, signature) in enumerate(zip(event.documents, event.signatures, strict=False)):
            data = self.bytes_of(document)
            which = [root for root in (self.roots.proposal, self.roots.newest.get(PRODUCTION)) if root]
            if data is None or not any(is_valid(root, "targets", data, event.keyid, signature) for root in which):
                told = f"not a signature of a targets key over the document for {document.view} of {own or event.owner}"
                yield _wrong(entry, f"signatures[{place}]", told)


def is_valid(root: Root, role: str, data: bytes, keyid: str, signature: str) -> bool:
    """Whether a signature counts for a role, and is written as files have it."""
    return _HEX.issuperset(signature) and keyid in signing.verify(root, role, data, {keyid: signature})


def _wrong(entry: Entry, field_: str, problem: str) -> Finding:
    return Finding(entry.position, "signature", field_, problem)
