from __future__ import annotations

import copy
from datetime import UTC, datetime

import pytest
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Metadata, Role, Root

from ledger.tuf import roots
from ledger.tuf.documents import file_bytes
from ledger.tuf.errors import (
    KeyInTwoPlaces,
    NotEnoughSignatures,
    RootDamaged,
    RootsShareKeys,
    ThresholdImpossible,
    UnencodableContent,
    UnsupportedKey,
)
from ledger.tuf.keypair import generate

EXPIRES = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def renamed(key, keyid="again"):
    return SSlibKey(keyid, key.keytype, key.scheme, key.keyval)


def test_production(factory):
    """The production root lists every key in its role, and the ledger's public key beside them."""
    metadata = roots.load_root(roots.sign_root(factory.production(), [factory.root]))
    root, online = metadata.signed, factory.online

    assert root.consistent_snapshot
    assert (root.version, root.expires, root.spec_version) == (1, EXPIRES, "1.0.31")
    assert root.roles["root"] == Role([factory.root.keyid], 1)
    assert root.roles["targets"] == Role([factory.holder.keyid, factory.other.keyid, online["targets"].keyid], 2)
    assert root.roles["snapshot"] == Role([online["snapshot"].keyid], 1)
    assert root.roles["timestamp"] == Role([online["timestamp"].keyid], 1)
    assert roots.ledger_key(root) == factory.ledger_hex
    assert roots.offline_keyids(root, online["targets"].keyid) == (factory.holder.keyid, factory.other.keyid)
    roots.require_trusted(metadata, None)


def test_ci(factory):
    """The CI root is signed online by one key in every role."""
    metadata = roots.load_root(roots.sign_root(factory.ci(), [factory.ci_root]))

    assert {role.threshold for role in metadata.signed.roles.values()} == {1}
    assert roots.offline_keyids(metadata.signed, factory.ci_online["targets"].keyid) == ()
    roots.require_trusted(metadata, None)


def test_rsa_roots_take_the_slow_path(factory, rsa):
    """A root with PEM keys verifies as python-tuf encodes it, and could not have gone the fast way."""
    root = factory.production(root_keys=[rsa.key, factory.root.key], root_threshold=2)
    data = roots.sign_root(root, [rsa, factory.root])
    metadata = roots.load_root(data)

    roots.require_trusted(metadata, None)
    assert metadata.to_bytes() == data
    assert roots.root_file(root, {k: s.signature for k, s in metadata.signatures.items()}) == data
    with pytest.raises(UnencodableContent):
        file_bytes(roots.signed_bytes(root), [])


def test_rotation_needs_both(factory):
    """A new root is trusted with enough of its own keys' and of the previous one's signatures, and in sequence."""
    new = generate("ed25519")
    old, following = factory.production(), factory.production(root_keys=[new.key], version=2)
    signed = {
        signers: roots.load_root(roots.sign_root(following, signers))
        for signers in [(factory.root, new), (new,), (factory.root,)]
    }

    roots.require_trusted(signed[factory.root, new], old)
    for signers in [(new,), (factory.root,)]:
        with pytest.raises(NotEnoughSignatures):
            roots.require_trusted(signed[signers], old)
    with pytest.raises(RootDamaged):
        roots.require_trusted(roots.load_root(roots.sign_root(old, [factory.root])), old)


@pytest.mark.parametrize(
    "change",
    [
        {"targets_threshold": 1},
        {"targets_threshold": 4},
        {"root_threshold": 0},
        {"root_threshold": 2},
        {"root_keys": []},
        {"offline_targets": []},
    ],
)
def test_thresholds_that_cannot_be(factory, change):
    """A threshold is within what the keys can give, and one online key never meets that of targets."""
    with pytest.raises(ThresholdImpossible):
        factory.production(**change)


def test_one_key_in_two_places(factory):
    """No online key is an offline one, and no key counts twice in a role, under whatever keyid."""
    online = {role: pair.key for role, pair in factory.online.items()}
    holder, root = factory.holder.key, factory.root.key
    for change in (
        {"offline_targets": [holder, holder]},
        {"offline_targets": [holder, renamed(holder)]},
        {"offline_targets": [holder, renamed(online["targets"])]},
        {"online": {**online, "timestamp": holder}},
        {"online": {**online, "snapshot": renamed(root)}},
        {"root_keys": [root, renamed(root)], "root_threshold": 2},
    ):
        with pytest.raises(KeyInTwoPlaces):
            factory.production(**change)


def test_portable_keys_only(factory):
    """A key type that some client lacks never gets into a root."""
    odd = SSlibKey("k", "ml-dsa", "ml-dsa-65/1", {"public": "x"})

    with pytest.raises(UnsupportedKey):
        factory.production(root_keys=[odd])


def test_no_shared_keys(factory):
    """The two roots may have no key in common, in any role and under whatever keyid."""
    production = factory.production()
    roots.no_shared_keys(production, factory.ci())
    for role, theirs in (
        ("root", factory.root),
        ("timestamp", factory.holder),
        ("targets", factory.online["snapshot"]),
    ):
        ci = copy.deepcopy(factory.ci())
        ci.roles[role] = Role(["again"], 1)
        ci.keys["again"] = renamed(theirs.key)

        with pytest.raises(RootsShareKeys) as caught:
            roots.no_shared_keys(production, ci)
        assert theirs.keyid in str(caught.value)


def damaged_roots(factory):
    twice = factory.production()
    twice.keys["again"] = renamed(factory.holder.key)
    twice.roles["targets"].keyids.append("again")
    impossible = factory.production()
    impossible.roles["root"] = Role([factory.root.keyid, "unlisted"], 2)
    odd = factory.production()
    odd.keys["k"] = SSlibKey("k", "ml-dsa", "ml-dsa-65/1", {"public": "x"})
    return {
        "noise": b"\xff",
        "another role": b'{"signatures":[],"signed":{"_type":"targets","version":1,"spec_version":"1.0.31",'
        b'"expires":"2030-01-01T00:00:00Z","targets":{}}}',
        "a key twice": Metadata(twice).to_bytes(),
        "more than its keys": Metadata(impossible).to_bytes(),
        "a key type that not all clients have": Metadata(odd).to_bytes(),
        "an unknown key type": Metadata(factory.production()).to_bytes().replace(b'"ed25519"', b'"ed25518"'),
    }


@pytest.mark.parametrize(
    "case",
    [
        "noise",
        "another role",
        "a key twice",
        "more than its keys",
        "a key type that not all clients have",
        "an unknown key type",
    ],
)
def test_roots_of_no_use(factory, case):
    """What clients could not use, or would count wrongly, is not loaded as a root."""
    with pytest.raises(RootDamaged):
        roots.load_root(damaged_roots(factory)[case])


def test_a_root_without_our_field(factory):
    """A root from elsewhere simply has no ledger key, or something that is none."""
    root = factory.production()
    for field in ({}, *({"x-waveledger": part} for part in (1, {"ledger-key": 1}, {"ledger-key": "zz"}))):
        root.unrecognized_fields = field

        assert roots.ledger_key(root) is None


def test_same_keys_same_bytes(factory):
    """Ed25519 roots are reproducible, byte for byte."""
    first, second = (roots.sign_root(factory.production(), [factory.root]) for _ in range(2))

    assert first == second
    assert isinstance(roots.load_root(first).signed, Root)
