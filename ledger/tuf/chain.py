"""A root chain that somebody else began: read as a client reads it, and followed by a root of this ledger.

Rules of this module (TUF 1.0 §5.3):

* The chain has every version from its first to its newest, each signed by itself and by the one before it. The first
  may be above 1: it is what the fleet's devices were made with. Its bytes are kept as they are.
* The root that follows keeps the offline keys, replaces all online ones, and is signed by the old root's holders. So
  what timestamp and snapshot clients have no longer verifies, and they start anew from the root (§5.3.11).
* A targets key that also signed timestamps or snapshots is an online key, whatever it was meant to be, and leaves. Of
  the others nobody but their holders knows: they stay as offline keys, but for those that are named.
* A release needs at least as many offline signatures as before, and the new online one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import orjson
from securesystemslib.signer import Key
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from ledger.domain.errors import Refused, TufFailure
from ledger.domain.values import format_time
from ledger.tuf import roots
from ledger.tuf.errors import NotEnoughSignatures, RootDamaged
from ledger.tuf.keypair import material

ROTATIONS_WARNED = 200  # of 255: no client of python-tuf ever passes more from the root it was made with


class RootsMissing(TufFailure):
    """A chain with a gap: clients stop at it."""

    message = "the root chain in {directory} lacks {missing}"
    hint = (
        "it needs every root from the first that devices were made with to the newest, named 1.root.json, 2.root.json"
    )
    directory: str
    missing: str


class RootNotAdoptable(TufFailure):
    """A root of the chain that not every client could use."""

    message = "{file} cannot be taken over: {problem}"
    hint = (
        "take the file that clients of the existing repository get; all its keys must be ones that every client can use"
    )
    file: str
    problem: str


class RootOfOtherDialect(TufFailure):
    """Metadata of Foundries' dialect, which TUF 1.0 clients don't read."""

    message = "{file} is in another dialect of TUF: its _type is {kind!r}, as Foundries writes it"
    hint = "only a TUF 1.0 root chain can be taken over: devices that read that dialect can't use TUF 1.0 metadata"
    file: str
    kind: str


class RootNotTrusted(TufFailure):
    """A root that a client, coming from the one before it, would refuse."""

    message = "{file} is not one that clients would go on to: {problem}"
    hint = "take all roots from the same repository, as clients get them"
    file: str
    problem: str


class ProductionTargetsRefused(TufFailure):
    """A file of production targets that clients who trust the newest root would not accept."""

    message = "{file} is not the production targets of root {version}: {problem}"
    hint = "give the targets.json that clients of the existing repository get now, whole, with its signatures"
    file: str
    version: int
    problem: str


class KeyNotDroppable(Refused):
    """A key that was named to leave, and is none of the targets keys."""

    message = "{keyid} is not a targets key of root {version}"
    hint = "its targets keys are: {known}"
    keyid: str
    version: int
    known: str


class NoOfflineTargetsKey(Refused):
    """All targets keys leave, and a release would have no offline signature."""

    message = "none of the targets keys of root {version} stays: those that leave sign online or were named"
    hint = "let a new offline key be made: --offline-key ed25519"
    version: int


class ThresholdRefused(Refused):
    """A threshold that the keys that stay can't meet, or that would let the online key release alone."""

    message = "a threshold of {threshold} does not fit the {offline} offline targets keys that the root would have"
    hint = "leave --threshold out, or choose from 2 to {most}: the online signature and at least one offline one"
    threshold: int
    offline: int
    most: int


class Chain(NamedTuple):
    """A checked chain: versions and files, oldest first, and the newest root."""

    files: Sequence[tuple[int, datetime, bytes]]
    newest: Root


class Following(NamedTuple):
    """The root that follows a chain, which targets keys left, and what its holders should know."""

    root: Root
    dropped: tuple[str, ...]
    warnings: tuple[str, ...]


def read_chain(directory: str, files: Mapping[int, tuple[str, bytes]]) -> Chain:
    """Check a chain as a client does that walks all of it.

    Args:
        directory: Where it is, for errors.
        files: Path and bytes of each root, by the version in its name.

    Raises:
        RootsMissing, RootOfOtherDialect, RootNotAdoptable, RootNotTrusted: A client would stop there.
    """
    if not files:
        raise RootsMissing(directory=directory, missing="roots: there is no N.root.json")
    lacking = [version for version in range(min(files), max(files)) if version not in files]
    if lacking:
        raise RootsMissing(directory=directory, missing=f"{lacking[0]}.root.json")
    checked: list[tuple[int, datetime, bytes]] = []
    previous: Root | None = None
    for version in sorted(files):
        file, data = files[version]
        previous = _read_root(file, version, data, previous)
        checked.append((version, previous.expires, data))
    assert previous is not None  # there is one file at least
    return Chain(checked, previous)


def read_targets(file: str, data: bytes, root: Root) -> Targets:
    """The targets of a file that a client of that root would accept but for its expiry. Raises: what clients refuse."""
    _refuse_dialect(file, data)
    try:
        metadata: Metadata[Targets] = Metadata.from_bytes(data)
        found: object = metadata.signed
        if not isinstance(found, Targets):
            raise ProductionTargetsRefused(
                file=file, version=root.version, problem="it is the metadata of another role"
            )
        result = root.get_verification_result("targets", metadata.signed_bytes, metadata.signatures)
    except RepositoryError as error:
        problem = f"it is not TUF 1.0 targets metadata ({error.__cause__ or error})"
        raise ProductionTargetsRefused(file=file, version=root.version, problem=problem) from None
    if not result:
        problem = f"it has {len(result.signed)} valid signatures and needs {result.threshold}"
        raise ProductionTargetsRefused(file=file, version=root.version, problem=problem)
    return found


def follow(
    old: Root,
    online: Mapping[str, Key],
    *,
    new_holders: Sequence[Key] = (),
    drop: Collection[str] = (),
    threshold: int | None = None,
    expires: datetime,
    ledger_key: str,
) -> Following:
    """The production root that follows another's newest one.

    Args:
        old: The newest root of the chain.
        online: The new online key of each of targets, snapshot and timestamp.
        new_holders: Offline targets keys that join.
        drop: Keyids of targets keys that leave.
        threshold: Of the targets role; None: as many offline signatures as before, and the online one.
        expires: Of the new root.
        ledger_key: The ledger's public key, in hex.

    Raises:
        KeyNotDroppable, NoOfflineTargetsKey, ThresholdRefused: It would not keep what a release promises.
        UnsupportedKey, KeyInTwoPlaces, ThresholdImpossible: Clients could not use it.
    """
    listed = _keyids(old, "targets")
    for keyid in drop:
        if keyid not in listed:
            raise KeyNotDroppable(keyid=keyid, version=old.version, known=", ".join(listed))
    known_online = {material(old.keys[keyid]) for role in ("timestamp", "snapshot") for keyid in _keyids(old, role)}
    dropped = tuple(k for k in listed if k in drop or material(old.keys[k]) in known_online)
    holders = [*(old.keys[keyid] for keyid in listed if keyid not in dropped), *new_holders]
    if not holders:
        raise NoOfflineTargetsKey(version=old.version)
    before = max(1, old.roles["targets"].threshold - len(dropped))
    chosen = before + 1 if threshold is None else threshold
    if not roots.TARGETS_THRESHOLD_MIN <= chosen <= len(holders) + 1:
        raise ThresholdRefused(threshold=chosen, offline=len(holders), most=len(holders) + 1)
    root_keys = [old.keys[keyid] for keyid in _keyids(old, "root")]
    root = roots.production_root(
        root_keys, old.roles["root"].threshold, holders, online, chosen, expires, ledger_key, old.version + 1
    )
    return Following(root, dropped, tuple(_warnings(old, root_keys, known_online, before, chosen)))


def warn_of_length(first: int, newest: int) -> tuple[str, ...]:
    """What to say of a chain that clients can't walk for ever; nothing while it is short."""
    if newest - first < ROTATIONS_WARNED:
        return ()
    return (f"clients made with root {first} can't follow more than 255 roots, and the newest is {newest}",)


def _read_root(file: str, version: int, data: bytes, previous: Root | None) -> Root:
    _refuse_dialect(file, data)
    try:
        metadata = roots.load_root(data)
        if metadata.signed.version != version:
            raise RootNotAdoptable(file=file, problem=f"it is version {metadata.signed.version}")
        roots.require_trusted(metadata, previous)
    except RootDamaged as error:
        raise RootNotAdoptable(file=file, problem=error.problem) from None
    except NotEnoughSignatures as error:
        raise RootNotTrusted(file=file, problem=str(error)) from None
    except RepositoryError as error:  # content that canonical JSON does not have, such as floats
        raise RootNotAdoptable(file=file, problem=str(error.__cause__ or error)) from None
    return metadata.signed


def _refuse_dialect(file: str, data: bytes) -> None:
    try:
        kind = orjson.loads(data)["signed"]["_type"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return  # no metadata at all: whoever reads it says so
    if kind in {"Root", "Targets"}:
        raise RootOfOtherDialect(file=file, kind=kind)


def _keyids(root: Root, role: str) -> list[str]:
    return [keyid for keyid in root.roles[role].keyids if keyid in root.keys]


def _warnings(
    old: Root, root_keys: Sequence[Key], known_online: Collection[bytes], before: int, threshold: int
) -> list[str]:
    found = []
    if threshold - 1 < before:
        found.append(f"a release needs {threshold - 1} offline signatures from now on, and needed {before}")
    found += [
        f"root key {key.keyid} also signed timestamps or snapshots, so an online machine has it: replace it"
        for key in root_keys
        if material(key) in known_online
    ]
    if not old.consistent_snapshot:
        found.append(f"root {old.version} has no consistent snapshots: clients ask for HASH.NAME from now on, not NAME")
    return found


def expired(what: str, expires: datetime, now: datetime) -> tuple[str, ...]:
    """What to say of something that clients refuse until the ledger is published; nothing while it is valid."""
    return (f"{what} expired at {format_time(expires)}; clients go on once this ledger is published",) * (
        expires <= now
    )
