"""The keys that sign online: timestamp, snapshot, the online targets key, CI's root, and the ledger's own.

Rules of this module:

* Where private keys are is configuration: a directory of PEM files, or signer URIs. The ledger knows public keys.
* Keys are found by keyid, which for them is the SHA-256 of the DER public key, or what a root lists (`knowing`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from securesystemslib.signer import Key

from ledger.tuf.errors import KeyFileExists, KeyFileMissing, OnlineKeyMissing
from ledger.tuf.files import write_key_file
from ledger.tuf.keypair import KeyPair, Signer, ed25519_key, known_as, material
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


def find_online(spec: str, root_keys: Mapping[str, Key] | None = None) -> OnlineKeys | None:
    """As `load_online`; None where the directory or file of the configuration is not there."""
    if not _uris(spec) and not Path(spec).exists():
        return None
    return load_online(spec, root_keys)


def load_online(spec: str, root_keys: Mapping[str, Key] | None = None) -> OnlineKeys:
    """The online keys of a configuration.

    Args:
        spec: A directory, of which every ``*.pem`` is read, or signer URIs separated by commas or spaces.
        root_keys: A root's keys, under whose keyids the online ones are to be found as well.

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
    keys = OnlineKeys([signer for source in sources for signer in load_signers(source)], spec)
    return keys.knowing(root_keys.values()) if root_keys else keys


def _uris(spec: str) -> list[str]:
    """The parts of a list of signer URIs; empty when it is a path."""
    parts = [part for part in _SEPARATORS.split(spec) if part]
    return parts if parts and is_uri(parts[0]) else []
