"""One change of the production root: the next root, the live documents that it needs signed anew, all or nothing.

Rules of this module (DESIGN §4, "Rotation and re-signing"; TUF 1.0 §6.1):

* The next root is signed by both roots' keys, each by its own threshold.
* A live document whose offline signatures would not be enough under the next root, or whose online key changes, is
  signed anew in the same change: under the next root by `signers`, and under this one by `also`, so that a client in
  the middle of a refresh accepts it, too.
* A wave that is not ready loses the signatures of keys that leave, and gets none that its holders did not give it
  (`ledger.application.waiting`).
* Signing happens without a lock, recording under it: roots, online keys and documents must still be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import Connection
from tuf.api.metadata import Metadata, Root

from ledger.application import live
from ledger.application.facts import ReleaseFacts, Trusted
from ledger.application.live import Anew, DocumentsOvertaken, NewExpiry, Owned, SignedAnew
from ledger.application.waiting import Waiting, waiting
from ledger.domain import members, trust
from ledger.domain.errors import Conflict, Refused
from ledger.domain.events import KeySignatures, OnlineKeySet, RootPublished, RootUpdateClosed
from ledger.domain.initiation import ExpiryInPast
from ledger.domain.tag import Tag
from ledger.domain.trust import Trust, TrustEvent
from ledger.domain.values import format_time, from_epoch
from ledger.session import Ledger, Session, load
from ledger.tuf import rootchange, roots, signing
from ledger.tuf.keypair import Signer, known_as

PRODUCTION = "production"

Edit = Callable[[Root], None]
"""Changes the next root in place."""


class RootOvertaken(Conflict):
    """Somebody else changed the root, or what is proposed for it, meanwhile."""

    message = "the root, or the open update of it, changed while the change was being signed"
    hint = "nothing was recorded; look at it (waveledger keys tuf show-root --prod), then run the command again"


class TooFewRootKeys(Refused):
    """One holder can't change the root alone."""

    message = "root {version} needs {need} of the {which} root's keys, and those given make {have}"
    hint = "prepare the change with the other holders of a root key: waveledger keys tuf updates init"
    version: int
    which: str
    have: int
    need: int


@dataclass(frozen=True)
class Current:
    """What a change of the root begins with."""

    trusted: Trusted
    ci: Trusted
    online: dict[str, str]
    state: Trust
    tags: tuple[Tag, ...]
    owners: tuple[Owned, ...]

    @classmethod
    def read(cls, connection: Connection, facts: ReleaseFacts) -> Current:
        """Read roots, online keys, the open update and all live documents."""
        tags = tuple(facts.tag(connection, name) for name in facts.tags(connection))
        return cls(
            facts.trusted(connection, PRODUCTION),
            facts.trusted(connection, "ci"),
            facts.online_keyids(connection, PRODUCTION),
            fold(load(connection, "trust")),
            tags,
            tuple(owned for tag in tags for owned in live.live(connection, facts, tag)),
        )

    @property
    def root(self) -> Root:
        """The production root that clients have."""
        return roots.load_root(self.trusted.metadata).signed

    def require_same(self, other: Current) -> None:
        """Pass when the root and what it goes with did not change. Raises: RootOvertaken."""
        if (self.trusted, self.ci, self.online, self.state) != (other.trusted, other.ci, other.online, other.state):
            raise RootOvertaken


@dataclass(frozen=True)
class Changed:
    """A change of the root that was made, or would be made in a dry run."""

    before: Root
    root: Root
    resigned: tuple[SignedAnew, ...]
    online_targets: str  # the keyid under the new root: that key signs at publication
    waiting: tuple[Waiting, ...] = ()

    @property
    def unbridged(self) -> tuple[str, ...]:
        """Owners whose documents clients in the middle of a refresh may refuse once: the old keys did not sign."""
        old = self.before.roles["targets"]
        return tuple(
            one.anew.before.owner
            for one in self.resigned
            if one.anew.need(self.root)
            and len({self.online_targets, *(by.keyid for by in (*one.signers, *one.also))} & set(old.keyids))
            < old.threshold
        )


@dataclass(frozen=True)
class Plan:
    """The change that was asked for: how to edit the root, until when it holds, and who signs.

    `old_online` is a targets key that goes, where it is at hand: it counts under this root, and never as a holder's.
    """

    edit: Edit
    expires: datetime
    root_signers: Sequence[Signer]
    target_signers: Sequence[Signer] = ()
    online: OnlineKeySet | None = None
    old_online: Signer | None = None


def fold(events: Iterable[object]) -> Trust:
    """The state of the trust stream."""
    state = Trust()
    for event in events:
        state = trust.evolve(state, cast("TrustEvent", event))
    return state


def change(ledger: Ledger, facts: ReleaseFacts, plan: Plan, *, dry_run: bool = False) -> Changed:
    """Change the production root at once, for who holds all the keys it needs."""
    with ledger.reading() as connection:
        members.require_member(facts.members(connection), ledger.actor)
        current = Current.read(connection, facts)
        trust.require_none_open(current.state)
        root = next_root(current, plan.edit, plan.expires, plan.online)
        anew = needed(connection, current, root, online_changed=bool(plan.online and plan.online.role == "targets"))
        waits = waiting(connection, current.owners, root, {one.before.owner for one in anew})
    _require_root_keys(current.root, root, plan.root_signers)
    resigned = tuple(_sign_anew(one, current, root, plan) for one in anew)
    metadata = _sign_root(current.root, root, plan.root_signers)
    changed = Changed(current.root, root, resigned, _online_targets(current, plan.online), waits)
    with ledger.writing(dry_run=dry_run) as session:
        record(session, facts, current, changed, metadata, plan.online)
    return changed


def next_root(current: Current, edit: Edit, expires: datetime, online: OnlineKeySet | None = None) -> Root:
    """The edited successor. Raises: what editing and `require_sound` raise."""
    root = rootchange.successor(current.root, expires)
    edit(root)
    require_sound(current, root, online)
    return root


def require_sound(current: Current, root: Root, online: OnlineKeySet | None = None) -> None:
    """Check a next root against all that it must keep.

    Raises: OnlineKeyLeaves, ThresholdImpossible, KeyInTwoPlaces, RootsShareKeys.
    """
    rootchange.require_sound(root, _online_targets(current, online))
    roots.no_shared_keys(root, roots.load_root(current.ci.metadata).signed)


def needed(
    connection: Connection,
    current: Current,
    root: Root,
    *,
    online_changed: bool = False,
    expires: datetime | None = None,
) -> list[Anew]:
    """The live documents that the next root needs signed anew; with `expires` all that are shown, or will be.

    None gets an earlier expiry: a change of keys takes no time from a release.
    """
    online = {current.online["targets"]}
    expiry = NewExpiry(expires, at_least=True) if expires else None
    found = []
    for tag in current.tags:
        owned = [one for one in current.owners if one.tag == tag.name]
        wanted = [
            one
            for one in owned
            if one.ready and (online_changed or expires is not None or _falls_short(one, root, online))
        ]
        found += live.anew(connection, tag, wanted, owned, expiry)
    return found


def signers_of(
    signed: Sequence[KeySignatures], root: Root
) -> tuple[tuple[KeySignatures, ...], tuple[KeySignatures, ...]]:
    """Signatures that count under the next root, and the others."""
    listed = set(root.roles["targets"].keyids)
    return tuple(s for s in signed if s.keyid in listed), tuple(s for s in signed if s.keyid not in listed)


def record(
    session: Session,
    facts: ReleaseFacts,
    current: Current,
    changed: Changed,
    metadata: bytes,
    online: OnlineKeySet | None = None,
) -> None:
    """Append the change. Raises: RootOvertaken, DocumentsOvertaken, NotEnoughSignatures, ExpiryInPast."""
    members.require_member(facts.members(session.connection), session.actor)
    if changed.root.expires <= from_epoch(session.now):  # no client would ever get over it
        raise ExpiryInPast(expires=format_time(changed.root.expires))
    now = Current.read(session.connection, facts)
    current.require_same(now)
    done = {one.anew.before.owner for one in changed.resigned}
    for owned in now.owners:  # a document that came meanwhile may be one that the next root would not accept
        if owned not in current.owners and owned.owner not in done:
            raise DocumentsOvertaken(owner=owned.owner)
    for waits in set(changed.waiting) ^ set(waiting(session.connection, now.owners, changed.root, done)):
        raise DocumentsOvertaken(owner=waits.owner)
    roots.require_trusted(roots.load_root(metadata), current.root)
    live.record(session, facts, changed.resigned)
    for waits in changed.waiting:
        session.append(waits.owner, [waits.changed])
    update = current.state.open
    session.append(
        "trust",
        [
            RootPublished(PRODUCTION, changed.root.version, changed.root.expires, metadata.decode()),
            *([online] if online else []),
            *([RootUpdateClosed(update.update, "applied")] if update else []),
        ],
    )


def as_listed(signers: Iterable[Signer], root: Root, role: str, online: str | None = None) -> list[Signer]:
    """Those signers whose keys the root lists for the role, under the keyids it has them; never the `online` key."""
    found: dict[str, Signer] = {}
    for signer in signers:
        keyid = rootchange.keyid_of(root, signer.key)
        if keyid in root.roles[role].keyids and keyid != online:
            found[str(keyid)] = known_as(signer, root.keys[str(keyid)])
    return list(found.values())


def _online_targets(current: Current, online: OnlineKeySet | None) -> str:
    return online.keyid if online and online.role == "targets" else current.online["targets"]


def _falls_short(owned: Owned, root: Root, online: set[str]) -> bool:
    listed = set(root.roles["targets"].keyids) - online
    return any(len(by & listed) < root.roles["targets"].threshold - 1 for by in owned.signers)


def _sign_anew(anew: Anew, current: Current, root: Root, plan: Plan) -> SignedAnew:
    """Sign with the given keys, under the next root and, with those that it drops, under this one."""
    before, online = current.root, current.online["targets"]
    by = as_listed(plan.target_signers, root, "targets", _online_targets(current, plan.online))
    counted = {signer.keyid for signer in by}
    also = [
        signer
        for signer in (
            *as_listed(plan.target_signers, before, "targets", online),
            *as_listed([plan.old_online] if plan.old_online else [], before, "targets"),
        )
        if signer.keyid not in counted and anew.need(root)
    ]
    return live.sign_anew(anew, root, by, [live.signatures_of(anew, before, signer) for signer in also])


def _require_root_keys(before: Root, root: Root, signers: Sequence[Signer]) -> None:
    """Count before anything is signed. Raises: TooFewRootKeys."""
    for which, name in ((before, "current"), (root, "next")):
        role, have = which.roles["root"], len(as_listed(signers, which, "root"))
        if have < role.threshold:
            raise TooFewRootKeys(version=root.version, which=name, have=have, need=role.threshold)


def _sign_root(before: Root, root: Root, signers: Sequence[Signer]) -> bytes:
    """The root file, signed by those of the keys that either root lists. Raises: NotEnoughSignatures."""
    known = {signer.keyid: signer for which in (before, root) for signer in as_listed(signers, which, "root")}
    metadata = roots.sign_root(root, known.values())
    roots.require_trusted(roots.load_root(metadata), before)
    return metadata


def unsigned(root: Root) -> str:
    """A root as a file without signatures, as a proposal keeps it."""
    return roots.root_file(root, []).decode()


def proposed(text: str) -> Root:
    """The root of a proposal."""
    metadata: Metadata[Root] = Metadata.from_bytes(text.encode())
    return metadata.signed


def require_signature(before: Root, root: Root, keyid: str, signature: str) -> None:
    """Check one signature over a proposed root. Raises: SignatureInvalid."""
    which = root if keyid in root.roles["root"].keyids else before
    signing.require_valid(which, "root", roots.signed_bytes(root), keyid, signature, f"root {root.version}")
