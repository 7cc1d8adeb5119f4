"""From what a user names to a key: archives, PEM files and signer URIs.

Rules of this module:

* A key is found by its public material and signs under the keyid that the root lists for it.
* One place holds one active key of a role, as in fioctl: with two, whoever finds it meets a threshold alone.
* A new key is on disk before anyone hears of it: a root that lists a key which a crash took away locks its owners out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from securesystemslib.signer import Key, SSlibKey
from tuf.api.metadata import Root

from ledger.tuf.archive import extended, read_archive, read_public, read_roles, write_archive
from ledger.tuf.errors import KeyFileDamaged, KeyFileEmpty, KeyNotMade, NoMatchingKey, SeveralKeys, SeveralMatchingKeys
from ledger.tuf.files import change_key_file, read_key_file
from ledger.tuf.keypair import (
    Ask,
    KeyKind,
    KeyPair,
    Signer,
    ed25519_key,
    generate,
    known_as,
    material,
    public_key,
    read_pem,
    read_public_pem,
)
from ledger.tuf.uris import FILE_SCHEME, is_uri, open_uri, public_key_of_uri

__all__ = [
    "Ask",
    "KeyKind",
    "KeyPair",
    "OfflineSigner",
    "Signer",
    "ed25519_key",
    "find_offline_signer",
    "generate",
    "is_uri",
    "load_signers",
    "material",
    "new_or_existing",
    "public_key",
    "public_key_of",
]

OfflineSigner: TypeAlias = Signer

_GZIP_MAGIC = b"\x1f\x8b"
_PEM_MAGIC = b"-----BEGIN"


def load_signers(source: str, ask: Ask | None = None, listed: Iterable[Key] = ()) -> list[OfflineSigner]:
    """All private keys of a source. It may ask a person or a service, so never call it inside a transaction.

    Args:
        source: The path of a Foundries archive or of a PEM file, or a signer URI.
        ask: Asked for passphrases and PINs. The same question may come again: who answers remembers the answer.
        listed: Public keys that a URI's may be, such as a root's, for services that sign and do not tell theirs.

    Raises:
        KeyFileMissing, KeyFileUnreadable, KeyFileDamaged, KeyFileEmpty: The file is not there, or of no use.
        EncryptedKey, WrongPassphrase, SecretMissing, UnsupportedEncryption: It does not open.
        UnsupportedKey, UnsupportedSigner, SignerLibraryMissing, SignerFailed: It is of a kind that cannot be used.
    """
    path = _path(source)
    if path is None:
        return list(open_uri(source, ask, listed))
    pairs = _read_pairs(read_key_file(Path(path)), path, ask)
    if not pairs:
        raise KeyFileEmpty(path=path)
    return list(pairs)


def public_key_of(source: str, ask: Ask | None = None, known: Collection[bytes] = ()) -> SSlibKey:
    """The public key of a source, under its own keyid: to list it in a root.

    Args:
        source: As for `load_signers`; also a public key alone: PEM, fioctl's ``.pub`` JSON, or JSON as in a root.
        ask: As for `load_signers`.
        known: Material of keys that are passed over where a file holds several.

    Raises:
        SeveralKeys: More than one could be meant.
        KeyFileMissing and the others of `load_signers`.
    """
    path = _path(source)
    if path is None:
        return public_key_of_uri(source, ask)
    data = read_key_file(Path(path))
    if data.lstrip().startswith(b"{"):
        return read_public(data, path)
    found = [pair.key for pair in _read_pairs(data, path, ask)] or read_public_pem(data, path)
    keys = {material(key): key for key in found}
    if not keys:
        raise KeyFileEmpty(path=path)
    meant = [key for der, key in keys.items() if der not in known] or list(keys.values())
    if len(meant) > 1:
        raise SeveralKeys(path=path, keyids=", ".join(sorted(key.keyid for key in meant)))
    return meant[0]


def new_or_existing(path: str, role: str, kind: KeyKind, retired: Collection[bytes], ask: Ask | None = None) -> KeyPair:
    """A key for a role that no root has listed: the one that waits in a file, or a new one that is put there.

    A command that was killed after the key was made finds it here again, and does not make a second one. The caller
    sees to it that the file holds no other active key of the role where it is not to replace that one.

    Args:
        path: A Foundries archive. Made, mode 0600, if it is not there. A PEM file will do for a key that waits.
        role: ``root`` or ``targets``. A key that is named for another role is passed over.
        kind: Of a new key.
        retired: Material of the keys that are not to be taken: all that any root lists or has listed.
        ask: Asked for the passphrase of an encrypted PEM file.

    Returns: The key, durable on disk.

    Raises:
        SeveralKeys: More than one waits there.
        KeyNotMade: A new one is needed, and it is no place for it.
        KeyFileDamaged and the others of `load_signers`; KeyFileExists for a link that leads nowhere.
    """
    place = _path(path)
    if place is None:
        raise KeyNotMade(path=path, role=role, problem="it is a signer URI, whose key is made where it stays")

    def change(data: bytes | None) -> tuple[KeyPair, bytes | None]:
        waiting = _waiting(data, place, role, retired, ask) if data else {}
        if len(waiting) > 1:
            raise SeveralKeys(path=place, keyids=", ".join(sorted(pair.keyid for pair in waiting.values())))
        if waiting:
            return next(iter(waiting.values())), None
        if data and not data.startswith(_GZIP_MAGIC):
            raise KeyNotMade(path=place, role=role, problem="it is no archive, and its key was listed before")
        pair = generate(kind)
        return pair, extended(data, role, pair, place) if data else write_archive(role, [pair])

    return change_key_file(Path(place), change)


def find_offline_signer(
    signers: Sequence[OfflineSigner],
    root: Root,
    role: str = "targets",
    source: str = "the given keys",
    exclude: Collection[str] = (),
) -> OfflineSigner:
    """The one signer whose key the root lists for the role, under the keyid it has there.

    Args:
        signers: What `load_signers` found.
        root: The root that is to accept the signature.
        role: The role to sign for.
        source: What the user named, for errors.
        exclude: Keyids of online keys, which are no one's to sign with offline.

    Raises:
        NoMatchingKey: None of the keys is a current offline key of the role.
        SeveralMatchingKeys: More than one is.
    """
    listed = [(keyid, material(root.keys[keyid])) for keyid in root.roles[role].keyids if keyid in root.keys]
    online = {key for keyid, key in listed if keyid in exclude}
    offline = {key: keyid for keyid, key in listed if key not in online}
    found = {offline[key]: signer for signer in signers if (key := material(signer.key)) in offline}
    if not found:
        raise NoMatchingKey(path=source, role=role)
    if len(found) > 1:
        raise SeveralMatchingKeys(path=source, keyids=", ".join(sorted(found)))
    (keyid, signer), *_ = found.items()
    return known_as(signer, root.keys[keyid])


def _path(source: str) -> str | None:
    """The path that a source names; None for a URI whose key is in no file."""
    if not is_uri(source):
        return source
    scheme, _, path = source.partition(":")
    return path if scheme == FILE_SCHEME else None


def _read_pairs(data: bytes, path: str, ask: Ask | None) -> list[KeyPair]:
    if data.startswith(_GZIP_MAGIC):
        return read_archive(data, path)
    if _PEM_MAGIC in data:
        return read_pem(data, path, ask)
    raise KeyFileDamaged(path=path, problem="neither a gzipped archive nor a PEM file")


def _waiting(data: bytes, path: str, role: str, retired: Collection[bytes], ask: Ask | None) -> dict[bytes, KeyPair]:
    archived = data.startswith(_GZIP_MAGIC)
    found = read_roles(data, path) if archived else [("", pair) for pair in _read_pairs(data, path, ask)]
    fitting = {material(pair.key): pair for named, pair in found if named in {"", role.lower()}}
    return {der: pair for der, pair in fitting.items() if der not in retired}
