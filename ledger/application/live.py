"""Live documents: those that views show, and those of active waves; signing them anew under higher versions.

Rules of this module (DESIGN §4, "Rotation and re-signing"):

* Each owner (a tag, a wave) is signed anew as a whole. Documents keep their targets and get their next revision; at the
  last revision of a lane all documents of the tag take new lanes.
* New lanes are taken in the order in which devices may move: held, production, the wave, then its recovery documents
  in the same order.
* A wave that is not ready waits for its holders. Nobody's signature for something else approves it: where it takes a
  new lane, only a key that signed it before may sign it, until it is named, or signed with ``waves sign``.
* What is signed is decided without a lock and recorded under it: documents and signers must still be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection
from tuf.api.metadata import Root

from ledger.application import signed, waves
from ledger.application.facts import ReleaseFacts
from ledger.domain.errors import Conflict, Refused
from ledger.domain.events import Document, KeySignatures, TargetsResigned, WaveResigned
from ledger.domain.tag import Tag
from ledger.domain.wave import ActiveWave
from ledger.session import Session
from ledger.tuf import signing, versions
from ledger.tuf.errors import LaneExhausted
from ledger.tuf.keypair import Signer


class DocumentsOvertaken(Conflict):
    """The ledger changed while documents were being signed."""

    message = "the documents of {owner} changed while they were being signed"
    hint = "nothing was recorded; run the command again to sign them as they are now"
    owner: str


class TooFewSigners(Refused):
    """The given keys are not enough for clients to accept what they would sign."""

    message = "{owner} needs {need} offline signatures, and the given keys make {have}"
    hint = "give the key of another holder as well; waveledger keys tuf show-root --prod lists the keys"
    owner: str
    have: int
    need: int


@dataclass(frozen=True)
class Owned:
    """The live documents of one owner, in their fixed order, and who signed each offline (keyids)."""

    owner: str
    tag: str
    documents: tuple[Document, ...]
    signers: tuple[frozenset[str], ...]
    ready: bool = True
    threshold: int | None = None

    @property
    def approved_by(self) -> frozenset[str] | None:
        """The keys that may sign these documents for another reason; None: all."""
        return None if self.ready else self.signers[0]

    def is_same(self, now: Owned | None) -> bool:
        """Whether all of this is still so, be it a part of what the owner has now."""
        if now is None:
            return not self.documents
        there = dict(zip(now.documents, now.signers, strict=True))
        return (self.ready, self.threshold) == (now.ready, now.threshold) and all(
            there.get(document) == by for document, by in zip(self.documents, self.signers, strict=True)
        )


class NewExpiry(NamedTuple):
    """When documents are to expire; with `at_least`, those that live longer keep what they have."""

    at: datetime
    at_least: bool = False

    def of(self, before: datetime) -> datetime:
        """The expiry of a document that had `before`."""
        return max(before, self.at) if self.at_least else self.at


class Versions(NamedTuple):
    """The highest versions that a ledger that is lost gave out."""

    metadata: int
    targets: int


@dataclass(frozen=True)
class Anew:
    """Documents at their next versions, and the bytes to sign for them. `only` these keys may sign; None: all."""

    before: Owned
    documents: tuple[Document, ...]
    to_sign: tuple[bytes, ...]
    only: frozenset[str] | None = None
    last_lane: int | None = None  # where new lanes were taken
    lane_before: int | None = None

    def need(self, root: Root) -> int:
        """How many offline signatures it needs under a root; none where it waits for its holders, or is empty."""
        return root.roles["targets"].threshold - 1 if self.documents and self.before.ready else 0

    def threshold(self, root: Root) -> int:
        """The threshold that goes with it: what a wave was begun for is not taken from its holders."""
        asked = root.roles["targets"].threshold
        return asked if self.only is None else max(asked, self.before.threshold or 0)

    def may_sign(self, keyid: str) -> bool:
        """Whether a signature of this key is wanted."""
        return self.only is None or keyid in self.only


@dataclass(frozen=True)
class SignedAnew:
    """Documents that were signed anew. `signers` count under the root `root_version`, `also` under the one before."""

    anew: Anew
    root_version: int
    threshold: int
    signers: tuple[KeySignatures, ...]
    also: tuple[KeySignatures, ...] = ()

    @property
    def waits(self) -> int:
        """How many offline signatures are missing before it may be shown."""
        return max(0, self.threshold - 1 - len(self.signers)) if self.anew.documents else 0

    def event(self, lane: int) -> TargetsResigned | WaveResigned:
        """What is recorded in the owner's stream; `lane` is the tag's highest."""
        documents = self.anew.documents
        kind, _, name = self.anew.before.owner.partition(":")
        if kind == "tag":
            last_lane = self.anew.last_lane or lane
            return TargetsResigned(name, self.root_version, last_lane, documents, self.signers, self.also)
        return WaveResigned(name, self.root_version, self.threshold, documents, self.signers, self.also)


def live(connection: Connection, facts: ReleaseFacts, tag: Tag) -> list[Owned]:
    """The owners of a tag's live documents: the tag itself, then its active wave."""
    found = []
    if tag.live:
        headers = [Document(v, d.version, d.expires, d.content, None) for v, d in tag.live.items()]
        origins = [(d.wave, d.version) for d in tag.live.values()]
        signers = tuple(_signers(connection, facts, tag.view, wave, version) for wave, version in origins)
        found.append(Owned(f"tag:{tag.name}", tag.name, tuple(headers), signers))
    if tag.active:
        state = waves.fold_wave(connection, tag.active.wave)
        assert isinstance(state, ActiveWave)  # the tag says so
        own, *others = state.documents
        documents = (replace(own, content=tag.active.wave, signed=None), *others)
        by = frozenset(signer.keyid for signer in state.signed)
        owner = f"wave:{tag.active.wave}"
        found.append(Owned(owner, tag.name, documents, (by,) * len(documents), state.ready, state.threshold))
    return found


def anew(
    connection: Connection, tag: Tag, wanted: Sequence[Owned], owned: Sequence[Owned], expiry: NewExpiry | None = None
) -> list[Anew]:
    """The documents of the `wanted` owners of a tag under their next versions; `owned` are all that it has."""
    try:
        return [_next_revision(connection, one, expiry) for one in wanted]
    except LaneExhausted:  # one can't take a new lane alone: devices move between all of them
        return next_lanes(connection, tag, owned, expiry)


def next_lanes(
    connection: Connection,
    tag: Tag,
    owned: Sequence[Owned],
    expiry: NewExpiry | None = None,
    above: Versions | None = None,
) -> list[Anew]:
    """All live documents of a tag in lanes above those it has, and above those of a ledger that is lost."""
    lane = max(tag.lane, versions.lane_of(above.targets) if above else 0)
    of_tag = f"tag:{tag.name}"
    # Lanes are the tag's: it records them, whatever is live.
    owners = owned if owned and owned[0].owner == of_tag else [Owned(of_tag, tag.name, (), ()), *owned]
    last = lane + sum(len(one.documents) for one in owners)
    found = []
    for one in owners:
        documents = tuple(
            replace(d, version=versions.version_of(lane + place), expires=expiry.of(d.expires) if expiry else d.expires)
            for place, d in enumerate(one.documents, start=1)
        )
        lane += len(documents)
        found.append(replace(_rendered(connection, one, documents), last_lane=last, lane_before=tag.lane))
    return found


def sign_anew(anew: Anew, root: Root, signers: Sequence[Signer], also: Sequence[KeySignatures] = ()) -> SignedAnew:
    """Sign with keys that the root lists for targets, and verify. Raises: SignatureInvalid, TooFewSigners."""
    wanted = {signer.keyid: signer for signer in signers if anew.may_sign(signer.keyid)}  # one holder counts once
    if len(wanted) < anew.need(root):
        raise TooFewSigners(owner=anew.before.owner, have=len(wanted), need=anew.need(root))
    by = tuple(signatures_of(anew, root, signer) for signer in wanted.values())
    return SignedAnew(anew, root.version, anew.threshold(root), by, tuple(also))


def signatures_of(anew: Anew, root: Root, signer: Signer) -> KeySignatures:
    """One key's signatures over all documents, verified. Raises: SignatureInvalid."""
    found = tuple(signer.sign(data) for data in anew.to_sign)
    for data, signature in zip(anew.to_sign, found, strict=True):
        signing.require_valid(root, "targets", data, signer.keyid, signature, anew.before.owner)
    return KeySignatures(signer.keyid, found)


def record(session: Session, facts: ReleaseFacts, resigned: Sequence[SignedAnew]) -> None:
    """Append what was signed anew, when nothing of it changed meanwhile. Raises: DocumentsOvertaken."""
    tags = {one.anew.before.tag: facts.tag(session.connection, one.anew.before.tag) for one in resigned}
    now = {one.owner: one for tag in tags.values() for one in live(session.connection, facts, tag)}
    for one in resigned:
        before, tag = one.anew.before, tags[one.anew.before.tag]
        lanes_taken = one.anew.last_lane is not None and tag.lane != one.anew.lane_before
        if not before.is_same(now.get(before.owner)) or lanes_taken:
            raise DocumentsOvertaken(owner=before.owner)
    for one in resigned:
        session.append(one.anew.before.owner, [one.event(tags[one.anew.before.tag].lane)])


def _next_revision(connection: Connection, owned: Owned, expiry: NewExpiry | None) -> Anew:
    documents = tuple(
        replace(d, version=versions.next_revision(d.version), expires=expiry.of(d.expires) if expiry else d.expires)
        for d in owned.documents
    )
    return _rendered(connection, owned, documents)


def _signers(connection: Connection, facts: ReleaseFacts, repository: str, wave: str, version: int) -> frozenset[str]:
    position = facts.resigned_at(connection, repository, version)
    found = (
        signed.of_wave(connection, wave, version)
        if position is None
        else signed.resigned(connection, position, version)
    )
    return frozenset(keyid for keyid, _ in found.offline)


def _rendered(connection: Connection, owned: Owned, documents: tuple[Document, ...]) -> Anew:
    to_sign = tuple(signed.signed_bytes(d, signed.body_of(connection, d.content)) for d in documents)
    return Anew(owned, documents, to_sign, owned.approved_by)
