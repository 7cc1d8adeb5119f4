"""From what a user names to the one key that signs: archives, PEM files and signer URIs.

Rules of this module:

* A key is found by its public material and signs under the keyid that the root lists for it.
* One place holds one active key of a role, as in fioctl: with two, whoever finds it meets a threshold alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TypeAlias

from securesystemslib.signer import SIGNER_FOR_URI_SCHEME
from tuf.api.metadata import Root

from ledger.tuf.archive import read_archive
from ledger.tuf.errors import KeyFileDamaged, KeyFileEmpty, NoMatchingKey, SeveralMatchingKeys, UnsupportedSigner
from ledger.tuf.files import read_key_file
from ledger.tuf.keypair import KeyKind, KeyPair, Signer, ed25519_key, generate, known_as, material, public_key, read_pem

__all__ = [
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
    "public_key",
]

OfflineSigner: TypeAlias = Signer

_FILE_SCHEME = "file2"
_GZIP_MAGIC = b"\x1f\x8b"


def is_uri(source: str) -> bool:
    """Whether a source is a signer URI, by a scheme that securesystemslib knows; all else is a path."""
    scheme, colon, _ = source.partition(":")
    return bool(colon) and scheme in SIGNER_FOR_URI_SCHEME


def load_signers(source: str) -> list[OfflineSigner]:
    """All private keys of a source.

    Args:
        source: The path of a Foundries archive or of a PEM file, or a signer URI. Of the URIs ``file2:PATH`` now; the
            others (HSM, cloud KMS) open only with a public key from the root and will be resolved against it here.

    Raises:
        KeyFileMissing, KeyFileUnreadable, KeyFileDamaged, KeyFileEmpty: The file is not there, or of no use.
        EncryptedKey, UnsupportedKey, UnsupportedSigner: It is of a kind that cannot be used.
    """
    path = source
    if is_uri(source):
        scheme, _, path = source.partition(":")
        if scheme != _FILE_SCHEME:
            raise UnsupportedSigner(scheme=scheme)
    data = read_key_file(Path(path))
    if data.startswith(_GZIP_MAGIC):
        pairs = read_archive(data, path)
    elif b"-----BEGIN" in data:
        pairs = read_pem(data, path)
    else:
        raise KeyFileDamaged(path=path, problem="neither a gzipped archive nor a PEM file")
    if not pairs:
        raise KeyFileEmpty(path=path)
    return list(pairs)


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
