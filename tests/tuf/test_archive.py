from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.tuf.archive import MEMBER_LIMIT, MEMBER_LIMIT_BYTES, UNPACKED_LIMIT_BYTES, read_archive, write_archive
from ledger.tuf.errors import KeyFileDamaged, UnsupportedKey
from ledger.tuf.keypair import generate


def unpack(data):
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def pack(members):
    """A gzipped tar of names and contents, or of ready-made TarInfo objects without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content) if content is not None else info.size
            tar.addfile(info, io.BytesIO(content) if content is not None else None)
    return buffer.getvalue()


def ed25519_files(pair, private=None, public=None, name=None):
    seed = pair.private.private_bytes_raw().hex()
    base = f"tufrepo/keys/{name or f'fioctl-targets-{pair.keyid}'}"
    secret = {"keytype": "ED25519", "keyval": {"private": private or seed}}
    shown = {"keytype": "ED25519", "keyval": {"public": public or pair.key.keyval["public"]}}
    return [(f"{base}.pub", json.dumps(shown).encode()), (f"{base}.sec", json.dumps(secret).encode())]


def member(kind, name="link"):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = "/etc/passwd"
    return info


def test_round_trip(pair):
    """What is written is read again: the same key, the same keyid, and it signs."""
    (read,) = read_archive(write_archive("targets", [pair]), "f.tgz")

    assert read == pair
    assert read.pem() == pair.pem()


def test_several_keys(factory, rsa):
    """An archive of several keys gives them all."""
    read = read_archive(write_archive("root", [rsa, factory.root]), "f.tgz")

    assert {pair.keyid for pair in read} == {rsa.keyid, factory.root.keyid}


def test_layout_is_fioctl_s(pair):
    """Names, modes and JSON are those that fioctl writes and reads, and the bytes depend on the keys alone."""
    data = write_archive("Targets", [pair])
    base = f"tufrepo/keys/fioctl-targets-{pair.keyid}"
    files = unpack(data)
    public, secret = json.loads(files[f"{base}.pub"]), json.loads(files[f"{base}.sec"])
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        infos = tar.getmembers()

    assert set(files) == {f"{base}.pub", f"{base}.sec"}
    assert {(info.mode, info.mtime, info.uid) for info in infos} == {(0o600, 0, 0)}
    assert write_archive("targets", [pair]) == data
    if pair.key.keytype == "ed25519":
        assert public == {"keytype": "ED25519", "keyval": {"public": pair.key.keyval["public"]}}
        assert re.fullmatch("[0-9a-f]{64}", secret["keyval"]["private"])
        assert secret["keytype"] == "ED25519"
    else:
        assert public["keytype"] == secret["keytype"] == "RSA"
        assert public["keyval"]["public"].startswith("-----BEGIN PUBLIC KEY-----\n")
        assert secret["keyval"]["private"].startswith("-----BEGIN RSA PRIVATE KEY-----\n")


def test_the_system_s_tar_reads_it(tmp_path, factory):
    """Another tar than ours lists the same names."""
    path = tmp_path / "keys.tgz"
    path.write_bytes(write_archive("root", [factory.root]))
    listed = subprocess.run(["tar", "tzf", path], capture_output=True, text=True, check=True).stdout.split()

    assert listed == [f"tufrepo/keys/fioctl-root-{factory.root.keyid}.{half}" for half in ("pub", "sec")]


def test_seed_and_public(factory):
    """An Ed25519 private key of 64 bytes is seed and public key."""
    raw = factory.holder.private.private_bytes_raw().hex() + factory.holder.key.keyval["public"]

    assert read_archive(pack(ed25519_files(factory.holder, private=raw)), "f.tgz") == [factory.holder]


@pytest.mark.parametrize("name", ["offline-targets", "first-root", "fioctl-targets-short"])
def test_older_names(factory, name):
    """Names without a keyid, as in older archives, are read; so are key types in lower case."""
    files = [(path, data.replace(b"ED25519", b"ed25519")) for path, data in ed25519_files(factory.holder, name=name)]

    assert read_archive(pack(files), "f.tgz") == [factory.holder]


def test_what_else_lies_in_it(factory):
    """Directories and files that are no keys are passed over; a public key alone is no private key."""
    public, _ = ed25519_files(factory.other)
    others = [(member(tarfile.DIRTYPE, "tufrepo"), None), ("tufrepo/credentials.json", b"{}"), public]

    assert read_archive(pack([*others, *ed25519_files(factory.holder)]), "f.tgz") == [factory.holder]
    assert read_archive(pack(others), "f.tgz") == []


def test_one_key_under_two_names(factory):
    """The same key twice is one key."""
    files = [*ed25519_files(factory.holder), *ed25519_files(factory.holder, name="copy")]

    assert read_archive(pack(files), "f.tgz") == [factory.holder]


def contradictions(pair, other):
    seed, public = pair.private.private_bytes_raw().hex(), other.key.keyval["public"]
    good = ed25519_files(pair)
    return {
        "public file of another key": ed25519_files(pair, public=public),
        "public half of another key": ed25519_files(pair, private=seed + public),
        "keyid of another key in the name": ed25519_files(pair, name=f"fioctl-targets-{other.keyid}"),
        "public file no key": ed25519_files(pair, public="zz"),
        "private key too short": ed25519_files(pair, private=seed[:-2]),
        "private key with white space inside": ed25519_files(pair, private=seed[:32] + " " + seed[32:]),
        "RSA that is not PEM": [(n, d.replace(b"ED25519", b"RSA")) for n, d in good],
        "not JSON": [(n, d[:-1]) for n, d in good],
        "JSON of another shape": [(n, b"[1]") for n, _ in good],
        "keyval of another shape": [(n, b'{"keytype":"RSA","keyval":{"private":1,"public":1}}') for n, _ in good],
        "deep JSON": [(n, b"[" * 60_000) for n, _ in good],
        "twice the same name": [*good, *good],
        "symbolic link": [*good, (member(tarfile.SYMTYPE), None)],
        "hard link": [*good, (member(tarfile.LNKTYPE), None)],
        "device": [*good, (member(tarfile.CHRTYPE), None)],
        "pipe": [*good, (member(tarfile.FIFOTYPE), None)],
        "absolute name": [*good, ("/etc/x.sec", b"")],
        "name that climbs": [*good, ("tufrepo/../../x.sec", b"")],
        "name with an escape": [*good, ("a\x1b[2J.sec", b"")],
        "long member": [*good, ("a", bytes(MEMBER_LIMIT_BYTES + 1))],
        "many members": [*good, *((f"a{i}", b"") for i in range(MEMBER_LIMIT))],
        "many directories": [*good, *((member(tarfile.DIRTYPE, f"a{i}"), None) for i in range(MEMBER_LIMIT))],
    }


@pytest.mark.parametrize("case", sorted(contradictions(generate("ed25519"), generate("ed25519"))))
def test_contradictions_are_damage(case, factory):
    """An archive that contradicts itself, or leads anywhere else, is refused as damaged."""
    with pytest.raises(KeyFileDamaged) as caught:
        read_archive(pack(contradictions(factory.holder, factory.other)[case]), "f.tgz")

    assert factory.holder.private.private_bytes_raw().hex() not in str(caught.value)


def test_rsa_of_another_public_key(rsa, factory):
    """An RSA public file that is not the private key's is refused as well."""
    files = unpack(write_archive("root", [rsa]))
    public = next(name for name in files if name.endswith(".pub"))
    files[public] = json.dumps(
        {"keytype": "ED25519", "keyval": {"public": factory.holder.key.keyval["public"]}}
    ).encode()

    with pytest.raises(KeyFileDamaged):
        read_archive(pack(files.items()), "f.tgz")


def test_types_that_not_every_client_can_use(factory, ecdsa):
    """Other key types are refused by name; ECDSA has no place in Foundries' layout."""
    files = [(name, data.replace(b"ED25519", b"ECDSA")) for name, data in ed25519_files(factory.holder)]

    with pytest.raises(UnsupportedKey):
        read_archive(pack(files), "f.tgz")
    with pytest.raises(UnsupportedKey):
        write_archive("root", [ecdsa])


def test_an_archive_cut_anywhere(factory):
    """However much is missing at the end, it is damage."""
    data = write_archive("targets", [factory.holder])
    for length in range(len(data)):
        with pytest.raises(KeyFileDamaged):
            read_archive(data[:length], "f.tgz")


def test_a_tar_cut_anywhere(factory):
    """A tar that was cut before it was packed gives the key or damage, never half of what it held in silence."""
    raw = gzip.decompress(write_archive("targets", [factory.holder, factory.other]))
    end = len(raw.rstrip(b"\0"))
    for length in range(1, end, 97):
        try:
            read = read_archive(gzip.compress(raw[:length]), "f.tgz")
        except KeyFileDamaged:
            continue

        assert length % 512 == 0 or not raw[length - length % 512 : length].strip(b"\0")
        assert len(read) < 2


def test_a_damaged_header_is_not_the_end(factory):
    """A header in the middle that cannot be read is damage, not the end of the archive."""
    raw = bytearray(gzip.decompress(write_archive("targets", [factory.holder, factory.other])))
    raw[1024 + 1024 + 148] ^= 0xFF  # in the checksum of the third header

    with pytest.raises(KeyFileDamaged):
        read_archive(gzip.compress(bytes(raw)), "f.tgz")


def test_bombs(factory):
    """A small file that unpacks to much is refused before it does, and so is a second stream behind the first."""
    bomb = gzip.compress(bytes(200 * 1024 * 1024), 9)
    good = write_archive("targets", [factory.holder])

    assert len(bomb) < UNPACKED_LIMIT_BYTES
    with pytest.raises(KeyFileDamaged):
        read_archive(bomb, "f.tgz")
    with pytest.raises(KeyFileDamaged):
        read_archive(good + good, "f.tgz")


def test_a_sparse_bomb_is_not_inflated():
    """A member that claims a terabyte of holes is refused by what it claims."""
    info = tarfile.TarInfo("a.sec")
    info.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(2**40), "GNU.sparse.realsize": str(2**40)}

    with pytest.raises(KeyFileDamaged):
        read_archive(pack([(info, b"")]), "f.tgz")


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2000))
def test_noise_is_damage(noise):
    """Whatever bytes come, as gzip or inside one, the answer is damage, or no key."""
    for data in (noise, gzip.compress(noise)):
        try:
            keys = read_archive(data, "f.tgz")
        except KeyFileDamaged:
            continue

        assert keys == []


def test_nothing_is_written(tmp_path, factory, monkeypatch):
    """Reading an archive leaves no trace on disk."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    read_archive(write_archive("targets", [factory.holder]), "f.tgz")

    assert list(tmp_path.iterdir()) == []
