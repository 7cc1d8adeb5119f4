"""The keys that sign online: timestamp, snapshot, the online targets key, CI's root, and the ledger's own.

Rules of this module:

* Where private keys are is configuration: a directory of PEM files, or signer URIs. The ledger knows public keys.
* Keys are found by keyid, which for them is the SHA-256 of the DER public key, or what a root lists (`knowing`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from securesystemslib.signer import Key

from ledger.tuf.errors import KeyFileExists, KeyFileMissing, OnlineKeyMissing
from ledger.tuf.files import change_key_file, write_key_file
from ledger.tuf.keypair import Ask, KeyPair, Signer, ed25519_key, generate, known_as, material, read_pem
from ledger.tuf.keys import is_uri, load_signers

_NAME = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
_SEPARATORS = re.compile(r"[\s,]+")


class OnlineKeys:
    """The online signers of this configuration, by keyid."""

    def __init__(self, signers: Sequence[Signer], where: str) -> None:
        self.where = where
        self._signers = tuple(signers)
        self._by_keyid = {signer.keyid: signer for signer in signers}

    def knowing(self, keys: Iterable[Key]) -> OnlineKeys:
        """The same keys, also under the keyids that roots list for them."""
        known = OnlineKeys(self._signers, self.where)
        known._by_keyid = dict(self._by_keyid)
        by_material = {material(signer.key): signer for signer in self._signers}
        for key in keys:
            signer = by_material.get(material(key))
            if signer:
                known._by_keyid[key.keyid] = known_as(signer, key)
            else:
                known._by_keyid.pop(key.keyid, None)  # the root's keyid is another key's: never sign under it
        return known

    def signer(self, keyid: str, role: str) -> Signer:
        """The signer of a keyid; `role` is for the error. Raises: OnlineKeyMissing."""
        try:
            return self._by_keyid[keyid]
        except KeyError:
            raise OnlineKeyMissing(role=role, keyid=keyid, where=self.where) from None

    def ledger(self, public_hex: str) -> Signer:
        """The ledger's own signer, by its Ed25519 public key. Raises: OnlineKeyMissing."""
        return self.signer(ed25519_key(public_hex).keyid, "ledger")

    def missing(self, keyids: Iterable[str]) -> list[str]:
        """Those keyids that no online key has, in the order given."""
        return [keyid for keyid in keyids if keyid not in self._by_keyid]


def write_online(directory: Path, pairs: Mapping[str, KeyPair]) -> list[Path]:
    """Write each key as ``<name>.pem``, PKCS #8, mode 0600.

    Args:
        directory: Made with mode 0700 if it is not there.
        pairs: Keys are names such as ``production.targets`` or ``ledger``.

    Raises:
        KeyFileExists: One of the files is already there. None was written.
    """
    for name in pairs:
        if not _NAME.fullmatch(name):
            raise RuntimeError(f"not a name for an online key: {name}")
    paths = {directory / f"{name}.pem": pair for name, pair in pairs.items()}
    for path in paths:
        if path.exists() or path.is_symlink():
            raise KeyFileExists(path=str(path))
    for path, pair in paths.items():
        write_key_file(path, pair.pem())
    return list(paths)


def waiting_online(directory: Path, name: str, retired: Collection[bytes], ask: Ask | None = None) -> KeyPair | None:
    """A key of that name that no root has listed, left by a command that was killed; None where there is none."""
    for path in sorted(directory.glob(f"{name}.*.pem")):
        for pair in read_pem(path.read_bytes(), str(path), ask):
            if material(pair.key) not in retired:
                return pair
    return None


def new_online(directory: Path, name: str, version: int, retired: Collection[bytes], ask: Ask | None = None) -> KeyPair:
    """An online key that no root has listed: the one that waits, or a new one; durable on disk, mode 0600.

    Args:
        directory: Where the online keys are.
        name: Such as ``production.timestamp``; the file is ``<name>.<version>.pem``.
        version: Of the root that is to list it.
        retired: Material of the keys that are not to be taken: all that any root lists or has listed.
        ask: Asked for the passphrase of an encrypted file.

    Raises: KeyFileUnreadable, KeyFileDamaged and the others of `load_signers`.
    """
    waiting = waiting_online(directory, name, retired, ask)
    if waiting:
        return waiting
    path = directory / f"{name}.{version}.pem"
    while path.exists():
        version += 1
        path = directory / f"{name}.{version}.pem"

    def change(data: bytes | None) -> tuple[KeyPair, bytes | None]:
        if data:  # another command was faster, and this is its key
            return read_pem(data, str(path), ask)[0], None
        pair = generate("ed25519")
        return pair, pair.pem()

    return change_key_file(path, change)


def find_online(spec: str, root_keys: Mapping[str, Key] | None = None, ask: Ask | None = None) -> OnlineKeys | None:
    """As `load_online`; None where the directory or file of the configuration is not there."""
    if not _uris(spec) and not Path(spec).exists():
        return None
    return load_online(spec, root_keys, ask)


def load_online(spec: str, root_keys: Mapping[str, Key] | None = None, ask: Ask | None = None) -> OnlineKeys:
    """The online keys of a configuration. It may ask a person or a service: never inside a transaction.

    Args:
        spec: A directory, of which every ``*.pem`` is read, or signer URIs separated by commas or spaces.
        root_keys: Keys of the roots and of the ledger, by keyid: the online ones are to be found under these as well,
            and a URI whose service does not tell its public key is tried against them.
        ask: Asked for passphrases and PINs.

    Raises:
        KeyFileMissing and the others of `load_signers`.
    """
    path = Path(spec)
    if path.is_dir():
        sources = [str(file) for file in sorted(path.glob("*.pem"))]
    elif _uris(spec):
        sources = _uris(spec)
    elif path.exists():
        sources = [spec]
    else:
        raise KeyFileMissing(path=spec)
    listed = list((root_keys or {}).values())
    keys = OnlineKeys([signer for source in sources for signer in load_signers(source, ask, listed)], spec)
    return keys.knowing(listed)


def _uris(spec: str) -> list[str]:
    """The parts of a list of signer URIs; empty when it is a path."""
    parts = [part for part in _SEPARATORS.split(spec) if part]
    return parts if parts and is_uri(parts[0]) else []
