"""Roots that a ledger that is lost published: an older copy of it takes them in from where they are.

Rules of this module (DESIGN §4; `ledger/adr/0028`):

* They are checked as a client checks them that has the older copy's newest root, and kept byte for byte. So only who
  holds the root keys could have made them.
* They must be this ledger's own: the roots that both have are the same, and the newest names the same ledger key.
* Which keys sign online is not in a root. A role of one key has no other; of several targets keys it is the one that
  signed online before, or else the one of them that is among the online keys at hand.
* Waves of all tags that wait for signatures lose those of keys that left meanwhile, as in any change of the root.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection
from tuf.api.metadata import Root

from ledger.application import live, rootchange, waiting
from ledger.application.facts import ReleaseFacts, Trusted
from ledger.domain import trust
from ledger.domain.errors import StorageFailure, TufFailure
from ledger.domain.events import OnlineKeySet, RootPublished, RootsTakenIn
from ledger.session import Session
from ledger.tuf import chain, roots
from ledger.tuf import rootchange as rules
from ledger.tuf.online import OnlineKeys

_ROLES = {"production": rules.ONLINE_ROLES, "ci": ("root", *rules.ONLINE_ROLES)}
_OTHER = {"production": "ci", "ci": "production"}


class RootsDiffer(StorageFailure):
    """Both ledgers made a root of one version: clients have one of them, and can't go on from the other."""

    message = "{where} has another version {version} of the {repository} root than this ledger"
    hint = (
        "restore a ledger from before that root, or the newest one; else adopt what clients have, and publish it to a "
        "new place: waveledger init --from-roots DIR --production-targets FILE"
    )
    where: str
    repository: str
    version: int


class RootsOfAnotherLedger(StorageFailure):
    """A ledger with another key goes on with the roots: this one was adopted by it."""

    message = "version {version} of the {repository} root at {where} is that of another ledger, which has its own key"
    hint = "that ledger goes on with these clients: use it, and not this one"
    where: str
    repository: str
    version: int


class OnlineKeyUnknown(TufFailure):
    """Which of a root's keys signs online can't be told."""

    message = "version {version} of the {repository} root has another online {role} key, which is not among the {where}"
    hint = "say where the keys of the machine that published it are: WAVELEDGER_ONLINE_KEYS=DIR, or signer URIs"
    where: str
    repository: str
    role: str
    version: int


@dataclass(frozen=True)
class RootsAhead:
    """Roots to take in, newest last, and the online keys that changed with them. `before` is what they go on from."""

    repository: str
    before: Trusted
    root: Root
    events: tuple[RootPublished | OnlineKeySet | RootsTakenIn, ...]
    online_targets: str

    @property
    def versions(self) -> list[int]:
        """The versions of the roots."""
        return [event.version for event in self.events if isinstance(event, RootPublished)]


def take_in(
    connection: Connection,
    facts: ReleaseFacts,
    repository: str,
    found: Mapping[int, bytes],
    keys: OnlineKeys | None,
    where: str,
) -> RootsAhead | None:
    """Check the roots that were `found` at a place, from the ledger's newest version on; None where none is newer.

    Args:
        connection: A moment of the ledger.
        facts: The ledger's facts.
        repository: ``production`` or ``ci``.
        found: Files by version.
        keys: The online keys at hand.
        where: The place, for errors.

    Raises:
        RootsDiffer, RootsOfAnotherLedger, OnlineKeyUnknown: They are not roots that this ledger can go on with.
        RootsMissing, RootNotAdoptable, RootNotTrusted: No client would go on to them.
        OnlineKeyLeaves, ThresholdImpossible, KeyInTwoPlaces, RootsShareKeys: They don't keep what roots here promise.
    """
    before = facts.trusted(connection, repository)
    if found.get(before.version, before.metadata) != before.metadata:
        raise RootsDiffer(where=where, repository=repository, version=before.version)
    newer = {version: data for version, data in found.items() if version > before.version}
    if not newer:
        return None
    files = {before.version: before.metadata, **newer}
    walked = chain.read_chain(where, {v: (f"{where}: {v}.root.json", data) for v, data in files.items()})
    root = walked.newest
    if roots.ledger_key(root) != roots.ledger_key(roots.load_root(before.metadata).signed):
        raise RootsOfAnotherLedger(where=where, repository=repository, version=root.version)
    online = facts.online_keyids(connection, repository)
    signs = {role: _signs_online(repository, root, role, online[role], keys) for role in _ROLES[repository]}
    if repository == "production":
        rules.require_sound(root, signs["targets"])
    roots.no_shared_keys(root, roots.load_root(facts.trusted(connection, _OTHER[repository]).metadata).signed)
    published = [
        RootPublished(repository, version, expires, data.decode()) for version, expires, data in walked.files[1:]
    ]
    changed = [
        OnlineKeySet(repository, role, keyid, root.keys[keyid].to_dict())
        for role, keyid in signs.items()
        if keyid != online[role]
    ]
    taken = RootsTakenIn(repository, root.version)
    return RootsAhead(repository, before, root, (*published, *changed, taken), signs["targets"])


def record(session: Session, facts: ReleaseFacts, ahead: RootsAhead, signed_anew: Collection[str] = ()) -> None:
    """Append the roots. Raises: DocumentsOvertaken, when there are others meanwhile; RootUpdateOpen."""
    if facts.trusted(session.connection, ahead.repository) != ahead.before:
        raise live.DocumentsOvertaken(owner=f"the {ahead.repository} root")
    trust.require_none_open(rootchange.fold(session.load("trust")))
    session.append("trust", ahead.events)
    if ahead.repository != "production":
        return
    tags = [facts.tag(session.connection, name) for name in facts.tags(session.connection)]
    owners = [owned for tag in tags for owned in live.live(session.connection, facts, tag)]
    for one in waiting.waiting(session.connection, owners, ahead.root, signed_anew):
        session.append(one.owner, [one.changed])


def _signs_online(repository: str, root: Root, role: str, before: str, keys: OnlineKeys | None) -> str:
    """The keyid that signs for a role online. Raises: OnlineKeyUnknown."""
    listed = root.roles[role].keyids
    if before in listed:
        return before
    missing = keys.knowing(root.keys.values()).missing(listed) if keys else listed
    found = listed if len(listed) == 1 else [keyid for keyid in listed if keyid not in missing]
    if len(found) != 1:
        where = f"keys in {keys.where}" if keys else "online keys, for there are none"
        raise OnlineKeyUnknown(where=where, repository=repository, role=role, version=root.version)
    return found[0]
