"""The next root: edits of the current one, and what every production root must keep."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tuf.api.metadata import Root

from ledger.application.factory import FactoryKeys, make_keys
from ledger.domain.errors import LedgerError
from ledger.tuf import roots
from ledger.tuf.errors import KeyInTwoPlaces, ThresholdImpossible
from ledger.tuf.keypair import generate, public_key
from ledger.tuf.rootchange import (
    KeyAlreadyListed,
    KeyNotListed,
    OnlineKeyLeaves,
    add_key,
    keyid_of,
    remove_key,
    require_sound,
    set_online_key,
    successor,
)

EXPIRES = datetime(2027, 11, 23, tzinfo=UTC)
KEYS: FactoryKeys = make_keys(["ed25519", "ed25519"], 2)
ONLINE = KEYS.online["production.targets"].keyid


@pytest.fixture
def root() -> Root:
    """The first production root of two holders; threshold 2."""
    assert KEYS.root is not None
    online = {role: KEYS.online[f"production.{role}"].key for role in ("targets", "snapshot", "timestamp")}
    holders = [pair.key for pair in KEYS.targets]
    return roots.production_root([KEYS.root.key], 1, holders, online, 2, EXPIRES, KEYS.ledger.key.keyval["public"])


def test_a_successor_is_a_copy(root: Root) -> None:
    """One version higher, with that expiry, the ledger's key kept; editing it leaves the current one alone."""
    before = root.to_dict()
    later = successor(root, EXPIRES + timedelta(days=1))
    assert (later.version, later.expires, roots.ledger_key(later)) == (
        2,
        EXPIRES + timedelta(days=1),
        roots.ledger_key(root),
    )
    add_key(later, "targets", generate("ed25519").key)
    remove_key(later, "targets", KEYS.targets[0].keyid)
    later.roles["targets"].threshold = 3
    assert root.to_dict() == before
    assert later.consistent_snapshot


def test_added_and_removed(root: Root) -> None:
    """A key comes in under its own keyid, and a key that no role needs any more leaves the list of keys."""
    new = generate("ed25519")
    add_key(root, "root", new.key)
    assert root.roles["root"].keyids[-1] == new.keyid
    remove_key(root, "targets", KEYS.targets[1].keyid)
    assert KEYS.targets[1].keyid not in root.keys
    require_sound(root, ONLINE)


def test_a_key_under_another_keyid(root: Root) -> None:
    """Keys are what they are, whatever they are called: an adopted root may list them under keyids of its own."""
    holder = KEYS.targets[0]
    called = public_key(holder.private.public_key())
    called.keyid = "my-key"
    remove_key(root, "targets", holder.keyid)
    add_key(root, "targets", called)
    assert keyid_of(root, holder.key) == "my-key"
    with pytest.raises(KeyAlreadyListed) as refused:
        add_key(root, "targets", holder.key)
    assert refused.value.keyid == "my-key"
    add_key(root, "root", holder.key)  # in another role it has the name that it has
    assert root.roles["root"].keyids[-1] == "my-key"


def test_a_key_that_is_there_or_not(root: Root) -> None:
    """What is listed is not added again, and what is not can't be removed."""
    with pytest.raises(KeyAlreadyListed):
        add_key(root, "targets", KEYS.targets[0].key)
    with pytest.raises(KeyNotListed):
        remove_key(root, "root", KEYS.targets[0].keyid)


def test_an_online_key_is_replaced(root: Root) -> None:
    """The new one is in the role alone; the other roles keep theirs."""
    new, old = generate("ed25519"), root.roles["snapshot"].keyids[0]
    before = {role: list(part.keyids) for role, part in root.roles.items() if role != "snapshot"}
    set_online_key(root, "snapshot", old, new.key)
    assert root.roles["snapshot"].keyids == [new.keyid]
    assert {role: part.keyids for role, part in root.roles.items() if role != "snapshot"} == before
    require_sound(root, ONLINE)


def threshold(role: str, number: int) -> Callable[[Root], None]:
    """A threshold for a role."""

    def edit(root: Root) -> None:
        root.roles[role].threshold = number

    return edit


UNSOUND: dict[str, tuple[Callable[[Root], None], type[LedgerError]]] = {
    "one signature is enough": (threshold("targets", 1), ThresholdImpossible),
    "more signatures than keys": (threshold("targets", 4), ThresholdImpossible),
    "more root signatures than keys": (threshold("root", 2), ThresholdImpossible),
    "no root key": (lambda root: remove_key(root, "root", root.roles["root"].keyids[0]), ThresholdImpossible),
    "no online key": (lambda root: remove_key(root, "targets", ONLINE), OnlineKeyLeaves),
    "the snapshot key as a holder's": (
        lambda root: add_key(root, "targets", KEYS.online["production.snapshot"].key), KeyInTwoPlaces),
    "the online targets key as a root key": (
        lambda root: add_key(root, "root", KEYS.online["production.targets"].key), KeyInTwoPlaces),
    "the ledger's key as a root key": (lambda root: add_key(root, "root", KEYS.ledger.key), KeyInTwoPlaces),
    "a holder's key as the timestamp key": (
        lambda root: set_online_key(root, "timestamp", root.roles["timestamp"].keyids[0], KEYS.targets[0].key),
        KeyInTwoPlaces),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSOUND)
def test_what_no_production_root_may_be(root: Root, name: str) -> None:
    """Each of them would let a machine release alone, or keep everybody from releasing."""
    require_sound(root, ONLINE)
    edit, error = UNSOUND[name]
    edit(root)
    with pytest.raises(error) as refused:
        require_sound(root, ONLINE)
    assert refused.value.render_hint()
