from __future__ import annotations

import stat

import pytest
from securesystemslib.signer import SSlibKey

from ledger.tuf import online
from ledger.tuf.errors import KeyFileDamaged, KeyFileExists, KeyFileMissing, OnlineKeyMissing
from ledger.tuf.keys import generate


@pytest.fixture(name="directory")
def _directory(tmp_path, factory):
    pairs = {f"production.{role}": pair for role, pair in factory.online.items()}
    online.write_online(tmp_path / "online", {**pairs, "ledger": factory.ledger})
    return tmp_path / "online"


def test_round_trip(directory, factory):
    """What was written is found by keyid, the ledger's key by its public half."""
    keys = online.load_online(str(directory))

    for role, pair in factory.online.items():
        assert keys.signer(pair.keyid, role) == pair
    assert keys.ledger(factory.ledger_hex) == factory.ledger
    assert keys.missing([factory.root.keyid, factory.ledger.keyid]) == [factory.root.keyid]


def test_files(directory):
    """Each key is a PEM file of its own name, for its owner's eyes only."""
    names = sorted(path.name for path in directory.iterdir())

    assert names == ["ledger.pem", "production.snapshot.pem", "production.targets.pem", "production.timestamp.pem"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_never_over_another(directory):
    """One file in the way, and none is written."""
    before = {path: path.read_bytes() for path in directory.iterdir()}

    with pytest.raises(KeyFileExists):
        online.write_online(directory, {"ci.root": generate("ed25519"), "ledger": generate("ed25519")})
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "A"])
def test_names(tmp_path, name):
    """A name that leads elsewhere is a programming error."""
    with pytest.raises(RuntimeError):
        online.write_online(tmp_path, {name: generate("ed25519")})


@pytest.mark.parametrize("separator", [",", " ", ", ", "\n"])
def test_uris(directory, factory, separator):
    """Signer URIs, separated by commas or spaces, do as well as a directory."""
    spec = separator.join(f"file2:{path}" for path in sorted(directory.iterdir()))
    keys = online.load_online(spec)

    assert keys.signer(factory.online["targets"].keyid, "targets") == factory.online["targets"]


def test_missing_says_which_and_where(directory, factory):
    """A key that is not there is named, with the place that was searched."""
    with pytest.raises(OnlineKeyMissing) as caught:
        online.load_online(str(directory)).signer(factory.root.keyid, "root")

    assert (caught.value.role, caught.value.where) == ("root", str(directory))
    with pytest.raises(OnlineKeyMissing):
        online.load_online(str(directory)).ledger(generate("ed25519").key.keyval["public"])


def test_absent(tmp_path):
    """No directory is no online keys, which a command may live with; an empty one is a configuration without keys."""
    assert online.find_online(str(tmp_path / "none")) is None
    with pytest.raises(KeyFileMissing):
        online.load_online(str(tmp_path / "none"))
    with pytest.raises(KeyFileMissing):
        online.find_online(f"file2:{tmp_path}/none")
    found = online.find_online(str(tmp_path))
    assert found is not None
    assert found.missing(["a"]) == ["a"]


def test_a_directory_with_a_space(tmp_path, factory):
    """A path is a path, whatever is in its name."""
    directory = tmp_path / "my, keys"
    online.write_online(directory, {"ledger": factory.ledger})

    assert online.load_online(str(directory)).ledger(factory.ledger_hex) == factory.ledger


def test_a_damaged_file_is_not_passed_over(directory):
    """A key file that cannot be read stops everything, before something else is signed."""
    (directory / "ledger.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")

    with pytest.raises(KeyFileDamaged):
        online.load_online(str(directory))


def test_the_root_s_keyids(directory, factory):
    """With a root at hand, keys are found under its keyids, and never under one that is another key's there."""
    targets, snapshot = factory.online["targets"], factory.online["snapshot"]
    renamed = SSlibKey("their-id", "ed25519", "ed25519", targets.key.keyval)
    stolen = SSlibKey(snapshot.keyid, "ed25519", "ed25519", factory.root.key.keyval)

    keys = online.load_online(str(directory), {"their-id": renamed, snapshot.keyid: stolen})

    assert keys.signer("their-id", "targets").sign(b"x") == targets.sign(b"x")
    assert keys.missing([snapshot.keyid]) == [snapshot.keyid]
