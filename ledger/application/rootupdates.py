"""An update of the production root by several holders, each with only their own key file (fioctl's `updates`).

Rules of this module:

* Anybody who may change keys proposes and edits; each holder signs the root, or the live documents, with one key. Who
  replaces an own key signs with both: the old one counts for the current root, the new one for the next.
* No online key signs for a holder, and a wave that is not ready is left to those who sign it.
* Apply is one transaction: documents at their next revision, the root, the end of the update. It says what is missing
  and changes nothing while something is.
* Holders take days. What would have expired when it is applied is refused, and no document gets an earlier expiry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection
from tuf.api.metadata import Root

from ledger.application.facts import ReleaseFacts
from ledger.application.live import Anew, SignedAnew, signatures_of
from ledger.application.rootchange import (
    Changed,
    Current,
    Edit,
    as_listed,
    fold,
    needed,
    next_root,
    proposed,
    record,
    require_signature,
    require_sound,
    signers_of,
    unsigned,
)
from ledger.application.waiting import Waiting, waiting
from ledger.domain import members, trust
from ledger.domain.errors import LedgerError, Refused
from ledger.domain.events import (
    KeySignatures,
    ProposedTargetsSigned,
    RootProposed,
    RootSigned,
    RootUpdateClosed,
)
from ledger.domain.trust import RootAlreadySigned, RootUpdate
from ledger.domain.values import format_time, from_epoch
from ledger.session import Ledger, load
from ledger.tuf import roots
from ledger.tuf.errors import NoMatchingKey, SeveralMatchingKeys
from ledger.tuf.keypair import Signer

FindSigners = Callable[[Root, Root, str, str], Sequence[Signer]]
"""From the current root, the proposed one, the role and its online keyid to the given keys: one at most for each."""


class NothingToSign(Refused):
    """No live document needs a signature for this update."""

    message = "no production targets need to be signed for update {update} of the root"
    hint = "waveledger keys tuf updates review shows what is missing; then waveledger keys tuf updates apply"
    update: int


class RootNotChanged(Refused):
    """The update proposes the root that is there."""

    message = "update {update} of the root changes nothing yet"
    hint = "waveledger keys tuf updates add-offline-key, remove-offline-key or set-threshold"
    update: int


class DocumentsNotSigned(Refused):
    """Holders have not signed the live documents yet."""

    message = "{owner} needs {need} offline signatures for the next root, and has {have}"
    hint = "each holder who has not signed yet: waveledger keys tuf updates sign-prod-targets --keys FILE"
    owner: str
    have: int
    need: int


class UpdateTooLate(Refused):
    """The holders took longer than what they signed was to live."""

    message = "update {update} of the root is too late: {what} would expire at {expires}, which is past"
    hint = (
        "give it up (waveledger keys tuf updates cancel), and begin it again with a later expiry: waveledger keys tuf "
        "updates init"
    )
    update: int
    what: str
    expires: str


@dataclass(frozen=True)
class DocumentsWanted:
    """Live documents of one owner that the update needs signed, and the keys that signed them so far."""

    anew: Anew
    signers: tuple[KeySignatures, ...]
    also: tuple[KeySignatures, ...]
    need: int

    def has(self, keyid: str) -> bool:
        """Whether the key signed them."""
        return keyid in {by.keyid for by in (*self.signers, *self.also)}


@dataclass(frozen=True)
class Review:
    """An open update: both roots, who signed, what is missing, and why the proposed root can't be one yet.

    `waiting` are the waves that go on waiting for their own signatures, whatever they have by then.
    """

    update: RootUpdate
    before: Root
    root: Root
    documents: tuple[DocumentsWanted, ...]
    waiting: tuple[Waiting, ...]
    problem: str | None = None

    @property
    def signed_by(self) -> tuple[set[str], set[str]]:
        """The keyids that signed and count for the current root, and for the proposed one."""
        by = {keyid for keyid, _ in self.update.signatures}
        return by & set(self.before.roles["root"].keyids), by & set(self.root.roles["root"].keyids)

    @property
    def complete(self) -> bool:
        """Whether it can be applied."""
        old, new = self.signed_by
        return (
            self.problem is None
            and len(old) >= self.before.roles["root"].threshold
            and len(new) >= self.root.roles["root"].threshold
            and all(len(wanted.signers) >= wanted.need for wanted in self.documents)
        )


def begin(
    ledger: Ledger,
    facts: ReleaseFacts,
    expires: datetime,
    targets_expires: datetime | None = None,
    *,
    dry_run: bool = False,
) -> RootProposed:
    """Begin an update, which proposes the current root with a later expiry. Raises: RootUpdateOpen."""
    with ledger.writing(dry_run=dry_run) as session:
        members.require_member(facts.members(session.connection), session.actor)
        current = Current.read(session.connection, facts)
        trust.require_none_open(current.state)
        root = next_root(current, lambda _root: None, expires)
        event = RootProposed(current.state.updates + 1, unsigned(root), targets_expires)
        session.append("trust", [event])
        return event


def edit(ledger: Ledger, facts: ReleaseFacts, change: Edit, *, dry_run: bool = False) -> RootProposed:
    """Change the proposed root; signatures over the earlier proposal are dropped."""
    with ledger.writing(dry_run=dry_run) as session:
        members.require_member(facts.members(session.connection), session.actor)
        current = Current.read(session.connection, facts)
        update = trust.require_open(current.state)
        root = proposed(update.root)
        change(root)
        event = RootProposed(update.update, unsigned(root), update.targets_expires)
        session.append("trust", [event])
        return event


def review(connection: Connection, facts: ReleaseFacts, now: int) -> Review:
    """The open update as it is at a moment. Raises: NoRootUpdate."""
    trust.require_open(fold(load(connection, "trust")))  # at first there was no root to compare with
    return _review(connection, Current.read(connection, facts), now)


def sign(ledger: Ledger, facts: ReleaseFacts, find_signers: FindSigners, *, dry_run: bool = False) -> Review:
    """Sign the proposed root as one holder of a root key. Raises: what `require_sound` raises, RootAlreadySigned."""
    with ledger.reading() as connection:
        members.require_member(facts.members(connection), ledger.actor)
        current = Current.read(connection, facts)
        update = trust.require_open(current.state)
    root = proposed(update.root)
    require_sound(current, root)
    found = find_signers(current.root, root, "root", current.online["targets"])
    signers = [signer for signer in found if signer.keyid not in dict(update.signatures)]
    if not signers:
        raise RootAlreadySigned(keyid=found[0].keyid, update=update.update)
    events = [RootSigned(update.update, signer.keyid, signer.sign(roots.signed_bytes(root))) for signer in signers]
    for event in events:
        require_signature(current.root, root, event.keyid, event.signature)
    with ledger.writing(dry_run=dry_run) as session:
        members.require_member(facts.members(session.connection), session.actor)
        now = Current.read(session.connection, facts)
        _require_same_proposal(current, now)
        for event in events:
            if event.keyid in dict(trust.require_open(now.state).signatures):
                raise RootAlreadySigned(keyid=event.keyid, update=update.update)
        session.append("trust", events)
        return review(session.connection, facts, session.now)


def sign_targets(ledger: Ledger, facts: ReleaseFacts, find_signers: FindSigners, *, dry_run: bool = False) -> Review:
    """Sign all live documents that the update needs signed, as one holder of a targets key.

    Raises: NothingToSign, RootAlreadySigned.
    """
    with ledger.reading() as connection:
        members.require_member(facts.members(connection), ledger.actor)
        current = Current.read(connection, facts)
        found = _review(connection, current, ledger.now)
    if not found.documents:
        raise NothingToSign(update=found.update.update)
    signers = find_signers(found.before, found.root, "targets", current.online["targets"])
    events = [event for signer in signers for event in _signed_documents(found, signer)]
    if not events:
        if any(wanted.has(signer.keyid) for wanted in found.documents for signer in signers):
            raise RootAlreadySigned(keyid=signers[0].keyid, update=found.update.update)
        raise NothingToSign(update=found.update.update)
    with ledger.writing(dry_run=dry_run) as session:
        members.require_member(facts.members(session.connection), session.actor)
        _require_same_proposal(current, Current.read(session.connection, facts))
        session.append("trust", events)
        return review(session.connection, facts, session.now)


def _signed_documents(found: Review, signer: Signer) -> list[ProposedTargetsSigned]:
    counts = signer.keyid in found.root.roles["targets"].keyids
    which = found.root if counts else found.before
    return [
        ProposedTargetsSigned(
            found.update.update,
            wanted.anew.before.owner,
            wanted.anew.documents,
            signer.keyid,
            signatures_of(wanted.anew, which, signer).signatures,
        )
        for wanted in found.documents
        if not wanted.has(signer.keyid) and wanted.anew.may_sign(signer.keyid) and (counts or wanted.need)
    ]


def apply(ledger: Ledger, facts: ReleaseFacts, *, dry_run: bool = False) -> Changed:
    """Make the proposed root the root.

    Raises: RootNotChanged, UpdateTooLate, NotEnoughSignatures, DocumentsNotSigned.
    """
    with ledger.writing(dry_run=dry_run) as session:
        members.require_member(facts.members(session.connection), session.actor)
        current = Current.read(session.connection, facts)
        found = _review(session.connection, current, session.now)
        if not found.update.signatures:
            _require_changed(found)
        require_sound(current, found.root)
        _require_in_time(found.update, found.root, session.now)
        for wanted in found.documents:
            if len(wanted.signers) < wanted.need:
                raise DocumentsNotSigned(owner=wanted.anew.before.owner, have=len(wanted.signers), need=wanted.need)
        resigned = tuple(
            SignedAnew(wanted.anew, found.root.version, wanted.anew.threshold(found.root), wanted.signers, wanted.also)
            for wanted in found.documents
        )
        metadata = roots.root_file(found.root, found.update.signatures)
        changed = Changed(found.before, found.root, resigned, current.online["targets"], found.waiting)
        record(session, facts, current, changed, metadata)
        return changed


def cancel(ledger: Ledger, facts: ReleaseFacts, *, dry_run: bool = False) -> int:
    """Give the open update up; returns its number. Raises: NoRootUpdate."""
    with ledger.writing(dry_run=dry_run) as session:
        members.require_member(facts.members(session.connection), session.actor)
        update = trust.require_open(Current.read(session.connection, facts).state)
        session.append("trust", [RootUpdateClosed(update.update, "canceled")])
        return update.update


def find_among(signers: Sequence[Signer], source: str) -> FindSigners:
    """Of given keys those that the current or the proposed root lists for a role; the proposed one's comes first.

    Raises: NoMatchingKey; SeveralMatchingKeys, when one root lists more than one of them.
    """

    def find(before: Root, root: Root, role: str, online: str) -> list[Signer]:
        found: dict[str, Signer] = {}
        for which in (root, before):
            listed = {signer.keyid: signer for signer in as_listed(signers, which, role, online)}
            if len(listed) > 1:
                raise SeveralMatchingKeys(path=source, keyids=", ".join(sorted(listed)))
            found |= {keyid: signer for keyid, signer in listed.items() if keyid not in found}
        if not found:
            raise NoMatchingKey(path=source, role=role)
        return list(found.values())

    return find


def _review(connection: Connection, current: Current, now: int) -> Review:
    update = trust.require_open(current.state)
    root = proposed(update.root)
    wanted = []
    for anew in needed(connection, current, root, expires=update.targets_expires):
        by = {
            event.keyid: KeySignatures(event.keyid, event.signatures)
            for event in update.documents
            if event.owner == anew.before.owner and event.documents == anew.documents
        }
        signers, also = signers_of(list(by.values()), root)
        wanted.append(DocumentsWanted(anew, signers, also, anew.need(root)))
    waits = waiting(connection, current.owners, root, {one.anew.before.owner for one in wanted})
    return Review(update, current.root, root, tuple(wanted), waits, _problem(current, update, root, now))


def _problem(current: Current, update: RootUpdate, root: Root, now: int) -> str | None:
    try:
        require_sound(current, root)
        _require_in_time(update, root, now)
    except LedgerError as problem:
        return str(problem)
    return None


def _require_same_proposal(current: Current, now: Current) -> None:
    """Pass when all that holders sign is as it was, whoever else signed it meanwhile. Raises: RootOvertaken."""

    def unsigned_yet(read: Current) -> Current:
        update = read.state.open
        return replace(read, state=replace(read.state, open=update and replace(update, signatures=(), documents=())))

    unsigned_yet(current).require_same(unsigned_yet(now))


def _require_in_time(update: RootUpdate, root: Root, now: int) -> None:
    for what, expires in (("the root", root.expires), ("production targets", update.targets_expires)):
        if expires is not None and expires <= from_epoch(now):
            raise UpdateTooLate(update=update.update, what=what, expires=format_time(expires))


def _require_changed(found: Review) -> None:
    if found.root.roles == found.before.roles and not found.documents:
        raise RootNotChanged(update=found.update.update)
