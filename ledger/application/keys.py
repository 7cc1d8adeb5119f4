"""The usual changes of keys, each one command of one holder: rotate an offline or an online key, renew the root."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from securesystemslib.signer import Key, SSlibKey
from tuf.api.metadata import Root

from ledger.application import rootchange
from ledger.application.facts import ReleaseFacts
from ledger.application.rootchange import Changed, Current, Plan, as_listed
from ledger.domain import members
from ledger.domain.errors import Refused, TufFailure
from ledger.domain.events import OnlineKeySet, RootPublished
from ledger.domain.values import format_time
from ledger.session import Ledger
from ledger.tuf import roots
from ledger.tuf.keypair import Signer, ed25519_key, material
from ledger.tuf.online import OnlineKeys
from ledger.tuf.rootchange import ExpiryNotLater, add_key, keyid_of, remove_key, set_online_key, successor

CI_ROLES = ("root", "targets", "snapshot", "timestamp")


class KeyUsedBefore(Refused):
    """A key that a root has listed does not come back as a new one."""

    message = "key {keyid} is or was a key of this factory: it is no new one"
    hint = "make a new key; name a file that does not exist yet, and it is made there"
    keyid: str


class PlaceHoldsKey(Refused):
    """A second active key of a role in one place: whoever finds it has two of a threshold's signatures."""

    message = "{place} holds a current {role} key, {keyid}, which stays: a second one can't go into the same place"
    hint = "name a file that does not exist yet, and keep it elsewhere"
    place: str
    role: str
    keyid: str


class CiRootKeyMissing(TufFailure):
    """The one key that can sign CI's next root is not at hand."""

    message = "the CI root's key {keyid} is not in {where}, and nothing else can sign the next CI root"
    hint = (
        "take ci.root.pem from a backup, and say where it is: WAVELEDGER_ONLINE_KEYS. If it is lost, test devices keep "
        "the CI root until it expires, and then need another by other means; production does not ask for it"
    )
    keyid: str
    where: str


@dataclass(frozen=True)
class PublicHalf:
    """The public half of a new online key whose private half is on the machine that publishes."""

    key: SSlibKey

    @property
    def keyid(self) -> str:
        """Its keyid."""
        return self.key.keyid

    def sign(self, data: bytes) -> str:
        """Nothing signs with it here."""
        raise RuntimeError("a public key does not sign")


@dataclass(frozen=True)
class OfflineRotation:
    """One offline key in the place of another. `root_signers` and `target_signers` are all keys that were given."""

    role: str
    old_keyid: str
    new: Signer
    expires: datetime
    root_signers: Sequence[Signer]
    target_signers: Sequence[Signer]


@dataclass(frozen=True)
class OnlineRotation:
    """A new online key for a role. The old one, where it is at hand, signs for clients in the middle of a refresh."""

    role: str
    new: Signer
    expires: datetime
    root_signers: Sequence[Signer]
    target_signers: Sequence[Signer] = ()
    old: Signer | None = None


def renew_root(
    ledger: Ledger, facts: ReleaseFacts, expires: datetime, root_signers: Sequence[Signer], *, dry_run: bool = False
) -> Changed:
    """Give the production root a later expiry, with the same keys. Raises: ExpiryNotLater."""
    with ledger.reading() as connection:
        current = roots.load_root(facts.trusted(connection, "production").metadata).signed.expires
    if expires <= current:
        raise ExpiryNotLater(expires=format_time(expires), current=format_time(current))
    plan = Plan(lambda _root: None, expires, root_signers)
    return rootchange.change(ledger, facts, plan, dry_run=dry_run)


def rotate_offline_key(
    ledger: Ledger, facts: ReleaseFacts, rotation: OfflineRotation, *, dry_run: bool = False
) -> Changed:
    """Put a new offline key in the place of an old one; live documents are signed anew where they need it."""

    def edit(root: Root) -> None:
        add_key(root, rotation.role, rotation.new.key)
        remove_key(root, rotation.role, rotation.old_keyid)

    new_root = [rotation.new] if rotation.role == "root" else []
    new_targets = [rotation.new] if rotation.role == "targets" else []
    plan = Plan(
        edit,
        rotation.expires,
        [*rotation.root_signers, *new_root],
        [*rotation.target_signers, *new_targets],
    )
    return rootchange.change(ledger, facts, plan, dry_run=dry_run)


def rotate_online_key(
    ledger: Ledger, facts: ReleaseFacts, rotation: OnlineRotation, *, dry_run: bool = False
) -> Changed:
    """Put a new online key of production in the place of the old one."""
    with ledger.reading() as connection:
        old_keyid = facts.online_keyids(connection, "production")[rotation.role]
    plan = Plan(
        lambda root: set_online_key(root, rotation.role, old_keyid, rotation.new.key),
        rotation.expires,
        rotation.root_signers,
        rotation.target_signers,
        _set("production", rotation.role, rotation.new),
        rotation.old if rotation.role == "targets" else None,
    )
    return rootchange.change(ledger, facts, plan, dry_run=dry_run)


def rotate_ci_key(
    ledger: Ledger,
    facts: ReleaseFacts,
    role: str,
    new: Signer,
    keys: OnlineKeys,
    expires: datetime,
    *,
    dry_run: bool = False,
) -> RootPublished:
    """Put a new key of the CI root in the place of an old one: all are online. Raises: CiRootKeyMissing."""
    with ledger.reading() as connection:
        members.require_member(facts.members(connection), ledger.actor)
        current = Current.read(connection, facts)
        online = facts.online_keyids(connection, "ci")
    before = roots.load_root(current.ci.metadata).signed
    root = successor(before, expires)
    set_online_key(root, role, online[role], new.key)
    roots.no_shared_keys(current.root, root)
    known = keys.knowing(before.keys.values())
    if known.missing([online["root"]]):
        raise CiRootKeyMissing(keyid=online["root"], where=keys.where)
    signer = known.signer(online["root"], "ci root")
    metadata = roots.sign_root(root, [signer, *([new] if role == "root" else [])])
    roots.require_trusted(roots.load_root(metadata), before)
    published = RootPublished("ci", root.version, root.expires, metadata.decode())
    with ledger.writing(dry_run=dry_run) as session:
        members.require_member(facts.members(session.connection), session.actor)
        current.require_same(Current.read(session.connection, facts))
        session.append("trust", [published, _set("ci", role, new)])
    return published


def require_unused(chains: Sequence[Root], new: Key) -> None:
    """Pass a key that no root of either chain lists, and that is not the ledger's own. Raises: KeyUsedBefore."""
    for root in chains:
        keyid = keyid_of(root, new)
        if keyid is not None:
            raise KeyUsedBefore(keyid=keyid)
        ledger_key = roots.ledger_key(root)
        if ledger_key and material(ed25519_key(ledger_key)) == material(new):
            raise KeyUsedBefore(keyid=new.keyid)


def require_free_place(place: str, role: str, there: Iterable[Signer], leaving: str | None, *lists: Root) -> None:
    """Pass a place without a key that one of the roots lists for the role, but for the one that leaves."""
    for root in lists:
        for signer in as_listed(there, root, role):
            if signer.keyid != leaving:
                raise PlaceHoldsKey(place=place, role=role, keyid=signer.keyid)


def _set(repository: str, role: str, new: Signer) -> OnlineKeySet:
    return OnlineKeySet(repository, role, new.keyid, new.key.to_dict())
