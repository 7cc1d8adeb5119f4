"""The use case of init: a new ledger with its first TUF roots. One that goes on from another's: `adoption`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tuf.api.metadata import Root

from ledger.domain.errors import Refused
from ledger.domain.events import FactoryInitialized, MemberAdded, OnlineKeySet, RootPublished
from ledger.domain.members import OWNER
from ledger.domain.values import check_actor, check_name
from ledger.session import Session
from ledger.tuf import roots
from ledger.tuf.keypair import KeyPair, generate

PRODUCTION_ROLES = ("targets", "snapshot", "timestamp")
CI_ROLES = ("root", "targets", "snapshot", "timestamp")


class BadThreshold(Refused):
    """A threshold that the keys can't meet, or that would let the online key release alone."""

    message = "a threshold of {threshold} does not fit {offline} offline targets keys and the online one"
    hint = "choose from 2 to {most}: the online signature and at least one offline signature are always needed"
    threshold: int
    offline: int
    most: int


@dataclass(frozen=True)
class FactoryKeys:
    """All new keys of a new factory. `online` is by ``<repository>.<role>``; an adopted root's holders have theirs."""

    root: KeyPair | None
    targets: tuple[KeyPair, ...]
    online: Mapping[str, KeyPair]
    ledger: KeyPair


def make_keys(kinds: Sequence[str], threshold: int) -> FactoryKeys:
    """New keys: an offline root key, an offline targets key of each kind, the online keys. Raises: BadThreshold."""
    if not 2 <= threshold <= len(kinds) + 1:
        raise BadThreshold(threshold=threshold, offline=len(kinds), most=len(kinds) + 1)
    return _make(generate("ed25519"), kinds)


def make_adopting_keys(kinds: Sequence[str]) -> FactoryKeys:
    """The new keys of a factory whose root chain exists: the online ones, and an offline targets key of each kind."""
    return _make(None, kinds)


def _make(root: KeyPair | None, kinds: Sequence[str]) -> FactoryKeys:
    names = [f"production.{role}" for role in PRODUCTION_ROLES] + [f"ci.{role}" for role in CI_ROLES]
    return FactoryKeys(
        root,
        tuple(generate("rsa4096" if kind == "rsa4096" else "ed25519") for kind in kinds),
        {name: generate("ed25519") for name in names},
        generate("ed25519"),
    )


def initialize(session: Session, factory: str, keys: FactoryKeys, threshold: int, expires: datetime) -> None:
    """Append the first events of a ledger: the factory, its first owner, both root chains, the online keys."""
    assert keys.root is not None  # made for a new root chain
    production = roots.production_root(
        [keys.root.key],
        1,
        [pair.key for pair in keys.targets],
        {role: keys.online[f"production.{role}"].key for role in PRODUCTION_ROLES},
        threshold,
        expires,
        keys.ledger.key.keyval["public"],
    )
    file = roots.sign_root(production, [keys.root])
    begin(session, factory, keys, [RootPublished("production", 1, expires, file.decode())], production)


def begin(
    session: Session,
    factory: str,
    keys: FactoryKeys,
    production: Sequence[RootPublished],
    newest: Root,
    replaced: Sequence[OnlineKeySet] = (),
) -> None:
    """Append what every ledger begins with.

    Args:
        session: The transaction that creates the ledger.
        factory: Its name.
        keys: Its new keys.
        production: The production root chain.
        newest: The last root of it; the CI root lives as long.
        replaced: Online keys of the root before that one.
    """
    check_name("factory", factory)
    check_actor(session.actor)
    ledger_key = keys.ledger.key.keyval["public"]
    session.append("factory", [FactoryInitialized(factory, ledger_key), MemberAdded(session.actor, OWNER)], expected=0)
    online = {role: keys.online[f"ci.{role}"].key for role in PRODUCTION_ROLES}
    ci = roots.ci_root(keys.online["ci.root"].key, online, newest.expires, ledger_key)
    roots.no_shared_keys(newest, ci)
    ci_file = roots.sign_root(ci, [keys.online["ci.root"]])
    key_events = [
        OnlineKeySet(name.partition(".")[0], name.partition(".")[2], pair.keyid, pair.key.to_dict())
        for name, pair in keys.online.items()
    ]
    ci_published = RootPublished("ci", 1, newest.expires, ci_file.decode())
    session.append("trust", [*production, ci_published, *replaced, *key_events], expected=0)
