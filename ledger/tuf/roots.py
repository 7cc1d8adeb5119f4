"""TUF roots: who may sign what (TUF 1.0 §4.3). One for production, one for CI.

Rules of this module:

* CI and production share no key in any role: with a shared root key, a production client of threshold 2 accepted a
  target that the online key alone had signed (DESIGN §4).
* A threshold counts holders: no key is in a role twice, under whatever keyid, and no online key is an offline one.
* Production targets take the online key's signature and at least one offline key's: threshold 2 or more.
* Only keys that every client can use; one unknown type locks ngclient out for ever.
* Roots are encoded by python-tuf and securesystemslib, not by our fast path: RSA keys are PEM, with newlines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from securesystemslib.signer import Key
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Role, Root

from ledger.tuf.documents import EXTENSION, SPEC_VERSION
from ledger.tuf.errors import (
    KeyInTwoPlaces,
    NotEnoughSignatures,
    RootDamaged,
    RootsShareKeys,
    ThresholdImpossible,
    UnsupportedKey,
)
from ledger.tuf.keypair import Signer, ed25519_key, material
from ledger.tuf.signing import Signatures, as_objects, require_valid

LIFETIME = timedelta(days=365)
TARGETS_THRESHOLD_MIN = 2  # in production: the online key and a holder

_ONLINE_ROLES = ("targets", "snapshot", "timestamp")
_LEDGER_KEY = "ledger-key"


def production_root(
    root_keys: Sequence[Key],
    root_threshold: int,
    offline_targets: Sequence[Key],
    online: Mapping[str, Key],
    targets_threshold: int,
    expires: datetime,
    ledger_key: str,
    version: int = 1,
) -> Root:
    """The root that production devices trust.

    Args:
        root_keys: Offline keys that sign roots.
        root_threshold: How many of them must.
        offline_targets: The holders' targets keys.
        online: The online key of each of targets, snapshot and timestamp.
        targets_threshold: How many must sign production targets, the online key among them.
        expires: Aware; usually `LIFETIME` from now.
        ledger_key: The ledger's Ed25519 public key, in hex.
        version: 1, or one above the root that this one follows.

    Raises:
        UnsupportedKey, KeyInTwoPlaces, ThresholdImpossible: Clients could not use it, or it would not keep its promise.
    """
    if targets_threshold < TARGETS_THRESHOLD_MIN:
        raise ThresholdImpossible(role="targets", threshold=targets_threshold, keys=len(offline_targets) + 1)
    offline = {material(key) for key in (*root_keys, *offline_targets)}
    for role in _ONLINE_ROLES:
        if material(online[role]) in offline:
            raise KeyInTwoPlaces(first=f"the online {role} key", second="an offline key")
    members = {
        "root": (root_keys, root_threshold),
        "targets": ([*offline_targets, online["targets"]], targets_threshold),
        "snapshot": ([online["snapshot"]], 1),
        "timestamp": ([online["timestamp"]], 1),
    }
    return _root(members, expires, ledger_key, version)


def ci_root(root_key: Key, online: Mapping[str, Key], expires: datetime, ledger_key: str, version: int = 1) -> Root:
    """The root that test devices trust: every role, its own too, is signed online by one key."""
    members = {"root": ([root_key], 1), **{role: ([online[role]], 1) for role in _ONLINE_ROLES}}
    return _root(members, expires, ledger_key, version)


def signed_bytes(root: Root) -> bytes:
    """The canonical JSON that a root's holders sign."""
    return Metadata(root).signed_bytes


def root_file(root: Root, signatures: Signatures) -> bytes:
    """The file of a root, with signatures that were collected before."""
    return Metadata(root, as_objects(signatures)).to_bytes()


def sign_root(root: Root, signers: Iterable[Signer]) -> bytes:
    """The file of a root, signed by each. Raises: SignatureInvalid, for a signer that this root lists."""
    signed = signed_bytes(root)
    signatures = [(signer.keyid, signer.sign(signed)) for signer in signers]
    for keyid, signature in signatures:
        if keyid in root.roles["root"].keyids:  # the others are of the root before this one, and checked with it
            require_valid(root, "root", signed, keyid, signature, f"root {root.version}")
    return root_file(root, signatures)


def load_root(data: bytes) -> Metadata[Root]:
    """The root in a file: well-formed, with portable keys. Its signatures are another question: `require_trusted`.

    Raises:
        RootDamaged: It is no root that clients could use.
    """
    try:
        metadata: Metadata[Root] = Metadata.from_bytes(data)
    except RepositoryError as error:
        raise RootDamaged(problem=f"{error}: {error.__cause__}") from None
    root: object = metadata.signed
    if not isinstance(root, Root):
        raise RootDamaged(problem="it is the metadata of another role")
    try:
        _check(root)
    except (UnsupportedKey, KeyInTwoPlaces, ThresholdImpossible) as error:
        raise RootDamaged(problem=str(error)) from None
    return metadata


def require_trusted(metadata: Metadata[Root], previous: Root | None) -> None:
    """Check a root's signatures as a client does that trusts the one before it (TUF 1.0 §5.3.4).

    Args:
        metadata: The root.
        previous: The root of the version before; None for the first, which vouches for itself.

    Raises:
        RootDamaged: It does not follow the previous one in number.
        NotEnoughSignatures: Of its own keys, or of the previous one's.
    """
    root = metadata.signed
    try:
        result = root.get_root_verification_result(previous, metadata.signed_bytes, metadata.signatures)
    except ValueError as error:
        raise RootDamaged(problem=str(error)) from None
    for part, whose in ((result.first, "the previous root"), (result.second, "itself")):
        if not part:
            document = f"root {root.version}, by the keys of {whose if previous else 'itself'},"
            raise NotEnoughSignatures(document=document, have=len(part.signed), need=part.threshold)


def ledger_key(root: Root) -> str | None:
    """The ledger's public key in hex, as the root states it; None where what it states is no key."""
    extension = root.unrecognized_fields.get(EXTENSION)
    key = extension.get(_LEDGER_KEY) if isinstance(extension, dict) else None
    if not isinstance(key, str):
        return None
    try:
        ed25519_key(key)
    except UnsupportedKey:  # a root that was adopted may say anything there
        return None
    return key


def offline_keyids(root: Root, online_targets_keyid: str) -> tuple[str, ...]:
    """The keyids of the holders' targets keys, in the root's order."""
    return tuple(keyid for keyid in root.roles["targets"].keyids if keyid != online_targets_keyid)


def no_shared_keys(production: Root, ci: Root) -> None:
    """Check that the roots have no key in common, under whatever keyid, in any role. Raises: RootsShareKeys."""
    of_ci = {material(key) for key in ci.keys.values()}
    shared = sorted(keyid for keyid, key in production.keys.items() if material(key) in of_ci)
    if shared:
        raise RootsShareKeys(keyids=", ".join(shared))


def _root(members: Mapping[str, tuple[Sequence[Key], int]], expires: datetime, ledger_key: str, version: int) -> Root:
    for role, (keys, threshold) in members.items():
        _check_role(role, [material(key) for key in keys], threshold)
    return Root(
        version,
        SPEC_VERSION,
        expires.astimezone(UTC),
        {key.keyid: key for keys, _ in members.values() for key in keys},
        {role: Role([key.keyid for key in keys], threshold) for role, (keys, threshold) in members.items()},
        consistent_snapshot=True,
        unrecognized_fields={EXTENSION: {_LEDGER_KEY: ledger_key}},
    )


def _check(root: Root) -> None:
    """Raises: UnsupportedKey, KeyInTwoPlaces, ThresholdImpossible."""
    materials = {keyid: material(key) for keyid, key in root.keys.items()}
    for name, role in root.roles.items():
        _check_role(name, [materials[keyid] for keyid in role.keyids if keyid in materials], role.threshold)


def _check_role(name: str, keys: Sequence[bytes], threshold: int) -> None:
    if len(set(keys)) != len(keys):
        raise KeyInTwoPlaces(first=f"a {name} key", second=f"another {name} key")
    if not 1 <= threshold <= len(keys):
        raise ThresholdImpossible(role=name, threshold=threshold, keys=len(keys))
