"""Existing root chains: which are taken over, and what follows them. How they come to be adopted: tests/cli."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tuf.api.metadata import Root

from ledger.domain import adoption
from ledger.domain.values import read_target
from ledger.tuf import chain, roots
from ledger.tuf.chain import KeyNotDroppable, NoOfflineTargetsKey, RootsMissing, ThresholdRefused, follow, read_chain
from tests.existing import Existing, key

EXPIRES = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="session")
def existing(tmp_path_factory):
    return Existing(tmp_path_factory.mktemp("chain") / "old")


def files(existing, *versions):
    paths = {version: existing.path / f"{version}.root.json" for version in versions}
    return {version: (str(path), path.read_bytes()) for version, path in paths.items()}


def old_root(targets, threshold, timestamp=("time",)):
    """A root with these targets keys."""
    root = Root(7, expires=EXPIRES)
    roles = {"root": ["root-a"], "targets": targets, "snapshot": ["snap"], "timestamp": timestamp}
    for role, names in roles.items():
        for name in names:
            root.add_key(key(name).public_key, role)
    root.roles["targets"].threshold = threshold
    return root


def following(factory, old, **options):
    online = {role: pair.key for role, pair in factory.online.items()}
    return follow(old, online, expires=EXPIRES, ledger_key=factory.ledger_hex, **options)


def keyids(*names):
    return tuple(key(name).public_key.keyid for name in names)


def test_the_whole_chain(existing):
    """All roots in their order, with their own bytes."""
    found = read_chain("old", files(existing, 1, 2, 3))

    assert [(version, data) for version, _, data in found.files] == [
        (version, (existing.path / f"{version}.root.json").read_bytes()) for version in (1, 2, 3)
    ]
    assert found.newest.version == 3
    assert {expires for _, expires, _ in found.files} == {existing.expires}


@pytest.mark.parametrize("versions", [(2, 3), (3,), (1,)])
def test_a_part_of_a_chain(existing, versions):
    """It may begin anywhere: its first root vouches for itself."""
    assert read_chain("old", files(existing, *versions)).newest.version == versions[-1]


@pytest.mark.parametrize(("versions", "missing"), [((), "roots"), ((1, 3), "2.root.json")])
def test_gaps(existing, versions, missing):
    """Clients would stop at one."""
    with pytest.raises(RootsMissing, match=missing):
        read_chain("old", files(existing, *versions))


@pytest.mark.parametrize(
    ("targets", "threshold", "drop", "expected"),
    [
        (["hand-a"], 1, [], 2),
        (["hand-a", "hand-b"], 1, [], 2),
        (["hand-a", "hand-b"], 2, [], 3),
        (["hand-a", "hand-b", "root-a"], 3, [], 4),
        (["other", "hand-a"], 2, ["other"], 2),
        (["other", "hand-a", "hand-b"], 3, ["other"], 3),
        (["other", "hand-a", "hand-b"], 1, ["other"], 2),
        (["time", "hand-a"], 2, [], 2),
        (["snap", "time", "hand-a", "hand-b"], 4, [], 3),
    ],
)
def test_a_release_needs_as_many_offline_signatures_as_before(factory, targets, threshold, drop, expected):
    """And the online one: keys that leave could have given one each."""
    old = old_root(targets, threshold)

    found = following(factory, old, drop=keyids(*drop))

    role = found.root.roles["targets"]
    left = [name for name in targets if name not in (*drop, "time", "snap")]
    assert role.threshold == expected
    assert tuple(role.keyids) == (*keyids(*left), factory.online["targets"].keyid)
    assert found.dropped == keyids(*(name for name in targets if name not in left))


def test_what_follows(factory):
    """Offline keys stay under the keyids that they have, online ones are all new, and the ledger's key is there."""
    old = old_root(["hand-a", "rsa-hand"], 1)
    old.consistent_snapshot = False

    root, _, warnings = following(factory, old, new_holders=[factory.holder.key], threshold=4)

    assert root.version == 8
    assert root.consistent_snapshot
    assert root.roles["root"] == old.roles["root"]
    assert root.roles["targets"].keyids == [
        *keyids("hand-a", "rsa-hand"),
        factory.holder.keyid,
        factory.online["targets"].keyid,
    ]
    assert root.roles["snapshot"].keyids == [factory.online["snapshot"].keyid]
    assert root.roles["timestamp"].keyids == [factory.online["timestamp"].keyid]
    assert root.keys.keys().isdisjoint(keyids("snap", "time"))
    assert roots.ledger_key(root) == factory.ledger_hex
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"drop": ["abc"]}, KeyNotDroppable),
        ({"drop": keyids("hand-a", "hand-b")}, NoOfflineTargetsKey),
        ({"threshold": 1}, ThresholdRefused),
        ({"threshold": 4}, ThresholdRefused),
    ],
)
def test_what_cannot_follow(factory, options, error):
    """A release always has an offline signature, of a key that is there."""
    with pytest.raises(error):
        following(factory, old_root(["hand-a", "hand-b"], 2), **options)


def test_less_than_before_is_said(factory):
    """It is the holders' to decide: they sign the root."""
    found = following(factory, old_root(["hand-a", "hand-b"], 2), threshold=2)

    assert found.warnings == ("a release needs 1 offline signatures from now on, and needed 2",)


@pytest.mark.parametrize(("first", "newest", "warned"), [(1, 200, False), (1, 201, True), (100, 299, False)])
def test_long_chains(first, newest, warned):
    """Clients can't walk more than 255 roots, so they are warned of in time."""
    assert bool(chain.warn_of_length(first, newest)) == warned


def test_names_of_waves():
    """Of every tag, as long as a name may be, and different."""
    long = ["a" * 60, "a" * 59 + "b", "a" * 53]

    assert adoption.wave_name("release") == "adopted-release"
    assert adoption.wave_name("a" * 52) == f"adopted-{'a' * 52}"
    assert [len(adoption.wave_name(tag)) for tag in long] == [60, 60, 60]
    assert len({adoption.wave_name(tag) for tag in long}) == 3


def test_each_tag_gets_its_targets():
    """Tagged with that tag alone, all else as it was."""

    def target(name, number, tags):
        custom = {"version": str(number), "hardwareIds": ["arm64"], "tags": tags, "uri": "x"}
        return read_target(name, {"custom": custom, "hashes": {"sha256": "ab" * 32}, "length": 1})

    found = adoption.by_tag([("a.json", [target("a", 1, ["x", "y", "x"]), target("b", 2, ["y"])])])

    assert {tag: [target.name for target in targets] for tag, targets in found.items()} == {"x": ["a"], "y": ["a", "b"]}
    assert found["x"][0].body["custom"] == {"version": "1", "hardwareIds": ["arm64"], "tags": ["x"], "uri": "x"}
