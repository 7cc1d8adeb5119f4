"""Foundries' archives of offline keys, read and written in memory, never unpacked to disk.

Rules of this module (facts from fioctl, subcommands/keys/tuf_utils.go and tuf_crypto.go):

* A gzipped tar of ``tufrepo/keys/fioctl-<role>-<keyid>.pub`` and ``.sec``, role in lower case. fioctl's reader pairs
  any ``X.pub`` with ``X.sec`` and ignores the rest of the name, and directories; older archives hold other files too.
* JSON ``{"keytype": "ED25519"|"RSA", "keyval": {"public"|"private": ...}}``, the type in any case. Ed25519 is hex, the
  private half a seed of 32 bytes, or seed and public key; RSA is PEM, PKCS #1 for the private half.
* A key that is added leaves every byte of the tar before it as it was, other files and old keys included.
* What an archive says of itself must be true: the public file is the private key's, and a keyid in the name is its own.
* An archive is small. Everything is bounded before it is read: the gzip stream, the members, their sizes.
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from securesystemslib.signer import SSlibKey

from ledger.tuf.errors import KeyFileDamaged, UnsupportedKey
from ledger.tuf.keypair import PORTABLE, KeyPair, ed25519_key, material, public_key, read_pem

UNPACKED_LIMIT_BYTES = 4 * 1024 * 1024
MEMBER_LIMIT_BYTES = 64 * 1024
MEMBER_LIMIT = 256

_GZIP = 31  # zlib's wbits for a gzip stream, its header and checksum verified
_BLOCK = 512  # of a tar
_FOUNDRIES = ("ed25519", "rsa")
_NAMED_ROLE = re.compile(r"\bfioctl-(root|targets)-[^/]*\Z")
_NAMED_KEYID = re.compile(r"-([0-9a-f]{64})\Z")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")


def read_archive(data: bytes, source: str) -> list[KeyPair]:
    """The key pairs of an archive, in the order of their names. A key that is there twice is returned once.

    Args:
        data: The archive.
        source: Where it came from, for errors.

    Raises:
        KeyFileDamaged: It is no such archive, or contradicts itself.
        UnsupportedKey: It holds a private key of a type that not every client can use.
    """
    pairs: dict[str, KeyPair] = {}
    for _, pair in read_roles(data, source):
        pairs.setdefault(pair.keyid, pair)
    return list(pairs.values())


def read_roles(data: bytes, source: str) -> list[tuple[str, KeyPair]]:
    """As `read_archive`, each key with the role that its name says (``root``, ``targets``), or an empty string."""
    members, _ = _members(_unpack(data, source), source)
    bases = [name.removesuffix(".sec") for name in sorted(members) if name.endswith(".sec")]
    roles = [_NAMED_ROLE.search(base) for base in bases]
    pairs = [_read_pair(members, base, source) for base in bases]
    return [(role[1] if role else "", pair) for role, pair in zip(roles, pairs, strict=True)]


def write_archive(role: str, pairs: Iterable[KeyPair]) -> bytes:
    """An archive that fioctl reads: the same bytes for the same keys. Raises: UnsupportedKey (ECDSA)."""
    in_order = sorted(pairs, key=lambda pair: pair.keyid)
    return _pack(_tar(file for pair in in_order for file in _files(role, pair)))


def extended(data: bytes, role: str, pair: KeyPair, source: str = "the archive") -> bytes:
    """The archive with one more key pair, in the layout that fioctl reads; all else in it stays byte for byte.

    Args:
        data: The archive as it is; one without any key will do.
        role: The role that the new key is for, ``root`` or ``targets``.
        pair: The key. If it is there already, the archive stays as it is.
        source: Where the archive came from, for errors.

    Raises:
        KeyFileDamaged: It is no such archive, contradicts itself, or would be too large.
        UnsupportedKey: The key is ECDSA, which fioctl does not read.
    """
    if pair.keyid in {known.keyid for known in read_archive(data, source)}:
        return data
    unpacked = _unpack(data, source)
    members, end = _members(unpacked, source)
    new = _pack(_tar((file for file in _files(role, pair) if file[0] not in members), unpacked[:end]))
    read_archive(new, source)  # what could not be read again is not handed out
    return new


def read_public(data: bytes, place: str) -> SSlibKey:
    """The public key in a ``.pub`` file, or in JSON as a root lists keys (then also ECDSA).

    Raises: KeyFileDamaged, UnsupportedKey.
    """
    kind, text = _read_half(data, "public", place, PORTABLE)
    scheme = orjson.loads(data).get("scheme", PORTABLE[kind])
    if scheme != PORTABLE[kind]:
        raise UnsupportedKey(keytype=f"{kind}/{str(scheme)[:100]!a}")
    return _public(kind, text, place)


def _files(role: str, pair: KeyPair) -> list[tuple[str, bytes]]:
    if role.lower() not in {"root", "targets"}:
        raise RuntimeError(f"no offline keys for role {role}")
    base = f"tufrepo/keys/fioctl-{role.lower()}-{pair.keyid}"
    kind, public, private = _halves(pair)
    halves = ((f"{base}.pub", {"public": public}), (f"{base}.sec", {"private": private}))
    return [(name, orjson.dumps({"keytype": kind, "keyval": half})) for name, half in halves]


def _tar(files: Iterable[tuple[str, bytes]], before: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    buffer.write(before)
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), 0o600, 0
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _pack(tar: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, _GZIP)  # zlib's gzip header has no name and no time
    return packer.compress(tar) + packer.flush()


def _unpack(data: bytes, source: str) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        unpacked = unpacker.decompress(data, UNPACKED_LIMIT_BYTES + 1)
    except zlib.error:
        raise KeyFileDamaged(path=source, problem="its gzip stream is damaged") from None
    if len(unpacked) > UNPACKED_LIMIT_BYTES:
        raise KeyFileDamaged(path=source, problem=f"it unpacks to more than {UNPACKED_LIMIT_BYTES} bytes")
    if not unpacker.eof:
        raise KeyFileDamaged(path=source, problem="it is cut off")
    if unpacker.unused_data.strip(b"\0"):
        raise KeyFileDamaged(path=source, problem="something follows its gzip stream")
    return unpacked


def _members(unpacked: bytes, source: str) -> tuple[dict[str, bytes], int]:
    """The files of a tar, and where its last member ends."""
    members: dict[str, bytes] = {}
    count = end = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as tar:
            for member in tar:
                count += 1
                end = member.offset_data + (0 if member.isdir() else -(-member.size // _BLOCK) * _BLOCK)
                problem = _member_problem(member, count, members)
                if problem:
                    raise KeyFileDamaged(path=source, problem=problem)
                file = None if member.isdir() else tar.extractfile(member)
                if file is not None:
                    members[member.name] = file.read()
    except (tarfile.TarError, ValueError, OverflowError, RecursionError, EOFError):
        raise KeyFileDamaged(path=source, problem="its tar is damaged") from None
    # tarfile takes a header that it cannot read for the end.
    if unpacked[end:].strip(b"\0"):
        raise KeyFileDamaged(path=source, problem="its tar is damaged")
    return members, end


def _member_problem(member: tarfile.TarInfo, count: int, members: Mapping[str, bytes]) -> str:
    """What is wrong with a member, before anything of it is read; empty when nothing is."""
    path = PurePosixPath(member.name)
    shown = f"{member.name[:100]!a}"
    if count > MEMBER_LIMIT:
        return f"it has more than {MEMBER_LIMIT} members"
    if member.isdir():
        return ""
    if member.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} or member.issparse():
        return f"its member {shown} is not a plain file"
    if path.is_absolute() or ".." in path.parts or not (member.name.isascii() and member.name.isprintable()):
        return f"its member {shown} has a name that leads elsewhere"
    if not 0 <= member.size <= MEMBER_LIMIT_BYTES:
        return f"its member {shown} is longer than {MEMBER_LIMIT_BYTES} bytes"
    return f"its member {shown} is there twice" if member.name in members else ""


def _read_pair(members: Mapping[str, bytes], base: str, source: str) -> KeyPair:
    kind, text = _read_half(members[f"{base}.sec"], "private", f"{source}:{base}.sec")
    pair = _read_private(kind, text, f"{source}:{base}.sec")
    if f"{base}.pub" in members:
        kind, text = _read_half(members[f"{base}.pub"], "public", f"{source}:{base}.pub")
        if material(_public(kind, text, f"{source}:{base}.pub")) != material(pair.key):
            raise KeyFileDamaged(path=source, problem=f"{base}.pub is not the public key of {base}.sec")
    named = _NAMED_KEYID.search(base)
    if named and named[1] != pair.keyid:
        raise KeyFileDamaged(path=source, problem=f"the keyid in the name {base}.sec is not its key's, {pair.keyid}")
    return pair


def _read_half(data: bytes, half: str, place: str, kinds: Collection[str] = _FOUNDRIES) -> tuple[str, str]:
    """The key type in lower case and the text of one half."""
    try:
        parsed = orjson.loads(data)
        kind, text = parsed["keytype"], parsed["keyval"][half]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise KeyFileDamaged(path=place, problem=f"not JSON with keytype and keyval.{half}") from None
    if not isinstance(kind, str) or not isinstance(text, str):
        raise KeyFileDamaged(path=place, problem=f"not JSON with keytype and keyval.{half}")
    if kind.lower() not in kinds:
        raise UnsupportedKey(keytype=f"{kind[:100]!a}")
    return kind.lower(), text.strip()


def _read_private(kind: str, text: str, place: str) -> KeyPair:
    if kind == "rsa":
        pairs = read_pem(text.encode(), place)
        if len(pairs) != 1 or not isinstance(pairs[0].private, RSAPrivateKey):
            raise KeyFileDamaged(path=place, problem="not one RSA private key as PEM")
        return pairs[0]
    if not _HEX.fullmatch(text) or len(text) not in {64, 128}:
        raise KeyFileDamaged(path=place, problem="not an Ed25519 private key of 32 or 64 bytes in hex")
    raw = bytes.fromhex(text)
    private = Ed25519PrivateKey.from_private_bytes(raw[:32])
    # A wrong second half is no smaller fault than a wrong .pub: some libraries sign with it as it stands.
    if raw[32:] and raw[32:] != private.public_key().public_bytes_raw():
        raise KeyFileDamaged(path=place, problem="the public half of its Ed25519 key is another key's")
    return KeyPair.of(private)


def _public(kind: str, text: str, place: str) -> SSlibKey:
    try:
        key = ed25519_key(text) if kind == "ed25519" else public_key(load_pem_public_key(text.encode()))
    except (ValueError, UnsupportedKey):
        raise KeyFileDamaged(path=place, problem=f"not a public key of type {kind}") from None
    if key.keytype != kind:
        raise KeyFileDamaged(path=place, problem=f"not a public key of type {kind}")
    return key


def _halves(pair: KeyPair) -> tuple[str, str, str]:
    """Key type, public and private text as fioctl writes them."""
    private = pair.private
    if isinstance(private, Ed25519PrivateKey):
        return "ED25519", private.public_key().public_bytes_raw().hex(), private.private_bytes_raw().hex()
    if isinstance(private, RSAPrivateKey):
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        secret = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        return "RSA", public.decode(), secret.decode()
    raise UnsupportedKey(keytype="ECDSA in a Foundries archive")
