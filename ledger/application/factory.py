"""The use case of init: a new ledger with its first TUF roots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.domain.errors import Refused
from ledger.domain.events import FactoryInitialized, MemberAdded, OnlineKeySet, RootPublished
from ledger.domain.members import OWNER
from ledger.domain.values import check_actor, check_name
from ledger.session import Session
from ledger.tuf import roots
from ledger.tuf.keypair import KeyPair, generate

PRODUCTION_ROLES = ("targets", "snapshot", "timestamp")
CI_ROLES = ("root", "targets", "snapshot", "timestamp")
REPOSITORIES = ("production", "ci")


class BadThreshold(Refused):
    """A threshold that the keys can't meet, or that would let the online key release alone."""

    message = "a threshold of {threshold} does not fit {offline} offline targets keys and the online one"
    hint = "choose from 2 to {most}: the online signature and at least one offline signature are always needed"
    threshold: int
    offline: int
    most: int


@dataclass(frozen=True)
class FactoryKeys:
    """All keys of a new factory. `online` is by ``<repository>.<role>``."""

    root: KeyPair
    targets: tuple[KeyPair, ...]
    online: Mapping[str, KeyPair]
    ledger: KeyPair


def make_keys(kinds: Sequence[str], threshold: int) -> FactoryKeys:
    """New keys: an offline root key, an offline targets key of each kind, the online keys. Raises: BadThreshold."""
    if not 2 <= threshold <= len(kinds) + 1:
        raise BadThreshold(threshold=threshold, offline=len(kinds), most=len(kinds) + 1)
    names = [f"production.{role}" for role in PRODUCTION_ROLES] + [f"ci.{role}" for role in CI_ROLES]
    return FactoryKeys(
        generate("ed25519"),
        tuple(generate("rsa4096" if kind == "rsa4096" else "ed25519") for kind in kinds),
        {name: generate("ed25519") for name in names},
        generate("ed25519"),
    )


def initialize(session: Session, factory: str, keys: FactoryKeys, threshold: int, expires: datetime) -> None:
    """Append the first events of a ledger: the factory, its first owner, both root chains, the online keys."""
    check_name("factory", factory)
    check_actor(session.actor)
    ledger_key = keys.ledger.key.keyval["public"]
    session.append("factory", [FactoryInitialized(factory, ledger_key), MemberAdded(session.actor, OWNER)], expected=0)
    online = {name: pair.key for name, pair in keys.online.items()}
    production = roots.production_root(
        [keys.root.key],
        1,
        [pair.key for pair in keys.targets],
        {role: online[f"production.{role}"] for role in PRODUCTION_ROLES},
        threshold,
        expires,
        ledger_key,
    )
    ci = roots.ci_root(
        online["ci.root"], {role: online[f"ci.{role}"] for role in PRODUCTION_ROLES}, expires, ledger_key
    )
    roots.no_shared_keys(production, ci)
    files = {
        "production": roots.sign_root(production, [keys.root]),
        "ci": roots.sign_root(ci, [keys.online["ci.root"]]),
    }
    published = [RootPublished(name, 1, expires, files[name].decode()) for name in REPOSITORIES]
    key_events = [
        OnlineKeySet(name.partition(".")[0], name.partition(".")[2], pair.keyid, pair.key.to_dict())
        for name, pair in keys.online.items()
    ]
    session.append("trust", [*published, *key_events], expected=0)
