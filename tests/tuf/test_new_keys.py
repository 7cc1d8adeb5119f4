from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import sys
import tarfile
import threading

import orjson
import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, PublicFormat

from ledger.tuf import archive, files
from ledger.tuf.errors import (
    KeyFileDamaged,
    KeyFileEmpty,
    KeyFileExists,
    KeyFileMissing,
    KeyFileUnreadable,
    KeyNotMade,
    SeveralKeys,
    UnsupportedKey,
)
from ledger.tuf.keypair import generate, material
from ledger.tuf.keys import load_signers, new_or_existing, public_key_of

FOUNDRIES_EMPTY = gzip.compress(bytes(1024))  # what fioctl writes before it puts the first key into a new file


def other_archive(pair):
    """An archive as others write it: a directory, a text file, an old key under an older name, pax headers."""
    buffer = io.BytesIO()
    base = f"tufrepo/keys/{'long' * 40}"
    key = {"keytype": "ED25519", "keyval": {"private": pair.private.private_bytes_raw().hex()}}
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        directory = tarfile.TarInfo("tufrepo/keys")
        directory.type, directory.mtime = tarfile.DIRTYPE, 1234567890.5
        tar.addfile(directory)
        for name, data in [("tufrepo/README", b"mind the keys"), (f"{base}.sec", orjson.dumps(key))]:
            member = tarfile.TarInfo(name)
            member.size, member.uname = len(data), "hölder"
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def contents(data):
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        return [(m.name, m.type, m.mtime, m.uname, tar.extractfile(m).read() if m.isfile() else None) for m in tar]


def test_an_archive_with_one_more_key(factory, pair):
    """The new key is there in fioctl's layout, and everything else byte for byte as it was."""
    before = other_archive(factory.root)

    after = archive.extended(before, "targets", pair)

    assert contents(after)[:3] == contents(before)
    tar = gzip.decompress(before)
    end = len(tar.rstrip(b"\0"))
    assert gzip.decompress(after)[:end] == tar[:end]
    base = f"tufrepo/keys/fioctl-targets-{pair.keyid}"
    assert [entry[0] for entry in contents(after)[3:]] == [f"{base}.pub", f"{base}.sec"]
    assert archive.read_archive(after, "x") == sorted([factory.root, pair], key=lambda p: p != pair)
    assert sorted(role for role, _ in archive.read_roles(after, "x")) == ["", "targets"]


def test_extending_is_as_writing(factory, pair):
    """Our own archive with one more key is the archive of both, and one that has the key already stays as it is."""
    first, second = sorted([factory.holder if pair != factory.holder else factory.other, pair], key=lambda p: p.keyid)

    assert archive.extended(FOUNDRIES_EMPTY, "root", first) == archive.write_archive("root", [first])
    both = archive.extended(archive.write_archive("root", [first]), "root", second)
    assert both == archive.write_archive("root", [first, second])
    assert archive.extended(both, "root", first) == both


def test_a_public_half_that_is_there(factory):
    """An archive that has the new key's public half under its name gets the private half next to it."""
    base = f"tufrepo/keys/fioctl-root-{factory.root.keyid}"
    pub = archive.write_archive("root", [factory.root])
    (name, *_, data), _ = contents(pub)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))

    after = archive.extended(buffer.getvalue(), "root", factory.root)

    assert [entry[0] for entry in contents(after)] == [f"{base}.pub", f"{base}.sec"]


def test_what_cannot_be_extended(factory, ecdsa, monkeypatch):
    """A damaged archive, a key that fioctl cannot read and an archive that would be too large are refused."""
    whole = archive.write_archive("root", [factory.root])
    with pytest.raises(KeyFileDamaged):
        archive.extended(whole[:-9], "root", factory.other)
    with pytest.raises(UnsupportedKey):
        archive.extended(whole, "root", ecdsa)
    with pytest.raises(RuntimeError):
        archive.extended(whole, "snapshot", factory.other)
    monkeypatch.setattr(archive, "MEMBER_LIMIT", 3)
    with pytest.raises(KeyFileDamaged, match="members"):
        archive.extended(whole, "root", factory.other)


def test_a_replaced_key_file(tmp_path):
    """The file has the new bytes, mode 0600, and nothing else lies in its directory."""
    path = tmp_path / "k.tgz"
    path.write_bytes(b"old")
    path.chmod(0o644)
    (tmp_path / ".k.tgz.new").write_bytes(b"left by a killed change")

    files.replace_key_file(path, b"new")

    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["k.tgz"]
    with pytest.raises(KeyFileMissing):
        files.replace_key_file(tmp_path / "none", b"new")


def test_a_link_to_a_key_file(tmp_path):
    """Where a key file is a link, say to a stick, the file there is replaced and the link stays."""
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "k.tgz").write_bytes(b"old")
    (tmp_path / "k.tgz").symlink_to(stick / "k.tgz")

    files.replace_key_file(tmp_path / "k.tgz", b"new")

    assert (tmp_path / "k.tgz").is_symlink()
    assert (stick / "k.tgz").read_bytes() == b"new"
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileExists):
        new_or_existing(str(tmp_path / "dangling"), "root", "ed25519", ())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_stays(tmp_path):
    """A holder's file stays the holder's when root changes it."""
    path = tmp_path / "k"
    path.write_bytes(b"old")
    os.chown(path, 1234, 5678)

    files.replace_key_file(path, b"new")

    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 5678)


KILLED = """
import os, sys
from pathlib import Path
from ledger.tuf import files
step, calls = int(sys.argv[2]), 0
def dying(function):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == step:
            os._exit(9)
        return function(*arguments, **options)
    return call
for name in ("open", "fsync", "replace", "unlink"):
    setattr(os, name, dying(getattr(os, name)))
Path.replace, Path.unlink = dying(Path.replace), dying(Path.unlink)
files.replace_key_file(Path(sys.argv[1]), b"new" * 1000)
"""


def test_killed_at_every_step(tmp_path):
    """Whenever a change is killed, the file is as before or as after, and the next change goes through."""
    path = tmp_path / "k"
    seen = []
    for step in range(1, 20):
        path.write_bytes(b"old")
        done = subprocess.run([sys.executable, "-c", KILLED, path, str(step)], check=False)
        seen.append(path.read_bytes())
        files.replace_key_file(path, b"next")
        assert [entry.name for entry in tmp_path.iterdir()] == ["k"]
        if done.returncode == 0:
            break

    assert done.returncode == 0
    assert len(seen) > 4
    assert seen == sorted(seen, reverse=True)  # old, then new, and nothing else
    assert set(seen) == {b"old", b"new" * 1000}


def test_a_new_key_in_a_new_file(tmp_path):
    """Where there is no file, one is made with a new key; the next call finds that key and leaves the file alone."""
    path = tmp_path / "keys" / "new.tgz"

    made = new_or_existing(str(path), "targets", "rsa4096", ())

    assert made.key.keytype == "rsa"
    assert load_signers(str(path)) == [made]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert contents(path.read_bytes())[0][0] == f"tufrepo/keys/fioctl-targets-{made.keyid}.pub"
    before = path.stat()
    assert new_or_existing(str(path), "targets", "ed25519", ()) == made
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_new_key_beside_old_ones(tmp_path, factory):
    """A key that was listed once is not taken again: a new one is added, and the old ones stay."""
    path = tmp_path / "root.keys.tgz"
    path.write_bytes(archive.write_archive("root", [factory.root, factory.other]))
    retired = {material(factory.root.key), material(factory.other.key)}

    made = new_or_existing(str(path), "root", "ed25519", retired)

    assert made not in {factory.root, factory.other}
    assert {pair.keyid for pair in load_signers(str(path))} == {factory.root.keyid, factory.other.keyid, made.keyid}
    assert new_or_existing(str(path), "root", "ed25519", retired) == made


def test_the_name_says_the_role(tmp_path, factory):
    """A key that waits under another role's name is not taken; one whose name says nothing is."""
    path = tmp_path / "k.tgz"
    path.write_bytes(archive.write_archive("root", [factory.root]))

    made = new_or_existing(str(path), "targets", "ed25519", ())

    assert made != factory.root
    assert new_or_existing(str(path), "root", "ed25519", ()) == factory.root
    path.write_bytes(other_archive(factory.root))
    assert new_or_existing(str(path), "targets", "ed25519", ()) == factory.root


def test_fioctl_s_empty_file(tmp_path):
    """The archive without a key that fioctl leaves when it is stopped takes the first one."""
    path = tmp_path / "k.tgz"
    path.write_bytes(FOUNDRIES_EMPTY)

    made = new_or_existing(str(path), "root", "ed25519", ())

    assert load_signers(str(path)) == [made]


def test_which_one_is_meant(tmp_path, factory, ecdsa):
    """Two keys that wait, a file that is no archive, a URI of a device: no key is made up or chosen."""
    path = tmp_path / "k"
    path.write_bytes(archive.write_archive("root", [factory.root, factory.other]))
    with pytest.raises(SeveralKeys, match=factory.other.keyid):
        new_or_existing(str(path), "root", "ed25519", ())
    path.write_bytes(ecdsa.pem())
    assert new_or_existing(f"file2:{path}", "root", "ed25519", ()) == ecdsa
    for place, retired, expected in [
        (str(path), {material(ecdsa.key)}, KeyNotMade),
        ("hsm:2", (), KeyNotMade),
        (str(tmp_path), (), KeyFileUnreadable),
        (str(path / "below"), (), KeyFileUnreadable),
    ]:
        with pytest.raises(expected):
            new_or_existing(place, "root", "ed25519", retired)
    path.write_bytes(b"")
    with pytest.raises(KeyFileEmpty):
        new_or_existing(str(path), "root", "ed25519", ())
    assert path.read_bytes() == b""


def test_one_at_a_time(tmp_path):
    """Many at once that need a key in one new file all get the same one."""
    path, found = str(tmp_path / "keys" / "k.tgz"), []
    threads = [
        threading.Thread(target=lambda: found.append(new_or_existing(path, "root", "ed25519", ()))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({pair.keyid for pair in found}) == 1
    assert load_signers(path) == [found[0]]


def save(path, data):
    path.write_bytes(data)
    return str(path)


def test_public_keys(tmp_path, pair, ecdsa):
    """A public key is read from an archive, private and public PEM, fioctl's .pub and a root's JSON, all alike."""
    passphrase = BestAvailableEncryption(b"x")
    for one in (pair, ecdsa):
        public = one.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        locked = one.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, passphrase)
        sources = [public, one.pem(), locked, orjson.dumps(one.key.to_dict()), public + one.pem()]
        if one is pair:
            whole = archive.write_archive("root", [one])
            sources += [whole, contents(whole)[0][4]]
        for data in sources:
            assert public_key_of(save(tmp_path / "k", data), lambda _: "x") == one.key
            assert public_key_of(f"file2:{tmp_path}/k", lambda _: "x") == one.key


def test_a_public_key_among_several(tmp_path, factory):
    """Where a file holds several keys, the one that is not known yet is meant, or none."""
    path = save(tmp_path / "k", archive.write_archive("root", [factory.root, factory.other]))
    known = {material(factory.root.key)}

    assert public_key_of(path, known=known) == factory.other.key
    for passed_over in (set(), known | {material(factory.other.key)}):
        with pytest.raises(SeveralKeys):
            public_key_of(path, known=passed_over)
    alone = save(tmp_path / "one", archive.write_archive("root", [factory.root]))
    assert public_key_of(alone, known=known) == factory.root.key


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", KeyFileEmpty),
        (b"hello", KeyFileDamaged),
        (b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", KeyFileEmpty),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", KeyFileDamaged),
        (b"{", KeyFileDamaged),
        (b'{"keytype": "ED25519", "keyval": {"private": "00"}}', KeyFileDamaged),
        (b'{"keytype": "ED25519", "keyval": {"public": "00"}}', KeyFileDamaged),
        (b'{"keytype": "DSA", "keyval": {"public": "00"}}', UnsupportedKey),
        pytest.param(FOUNDRIES_EMPTY, KeyFileEmpty, id="archive without keys"),
    ],
)
def test_no_public_key(tmp_path, data, expected):
    """What holds no public key says so."""
    with pytest.raises(expected):
        public_key_of(save(tmp_path / "k", data))


def test_a_public_key_of_another_type(tmp_path, rsa, ecdsa):
    """A .pub file that says another type than its key has is refused."""
    text = {"public": rsa.key.keyval["public"]}
    with pytest.raises(KeyFileDamaged):
        public_key_of(save(tmp_path / "k", orjson.dumps({"keytype": "ecdsa", "keyval": text})))
    scheme = {**ecdsa.key.to_dict(), "scheme": "ecdsa-sha2-nistp384"}
    with pytest.raises(UnsupportedKey):
        public_key_of(save(tmp_path / "k", orjson.dumps(scheme)))


def test_waiting_keys_are_new(tmp_path):
    """Each new file gets a key of its own."""
    one, two = (new_or_existing(str(tmp_path / name), "root", "ed25519", ()) for name in ("a", "b"))

    assert one.keyid != two.keyid != generate("ed25519").keyid
