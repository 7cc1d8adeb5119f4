"""The next production root: the current one with keys or thresholds changed (TUF 1.0 §4.3, §6.1).

Rules of this module:

* A successor is one version higher and signed by the keys of both roots, each by its own threshold.
* Keys of a role are compared by material: nobody holds two of a threshold's signatures. No online key is offline.
* Production targets always take the online key's signature and at least one offline key's.
"""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy
from datetime import UTC, datetime

from securesystemslib.signer import Key
from tuf.api.metadata import Root

from ledger.domain.errors import NotFound, Refused
from ledger.tuf import roots
from ledger.tuf.errors import KeyInTwoPlaces, ThresholdImpossible
from ledger.tuf.keypair import ed25519_key, material

OFFLINE_ROLES = ("root", "targets")
ONLINE_ROLES = ("targets", "snapshot", "timestamp")


class KeyAlreadyListed(Refused):
    """The key is in the role already."""

    message = "key {keyid} is a {role} key already"
    hint = "waveledger keys tuf show-root --prod lists the keys"
    keyid: str
    role: str


class KeyNotListed(NotFound):
    """The role has no such offline key."""

    message = "{keyid} is not an offline {role} key of the root"
    hint = "waveledger keys tuf show-root --prod lists the keys"
    keyid: str
    role: str


class OnlineKeyLeaves(Refused):
    """Without the online key nothing could be published any more."""

    message = "{keyid} is the online targets key, and the root would not list it"
    hint = "an online key is replaced with waveledger keys tuf rotate-online-key --role targets"
    keyid: str


class ExpiryNotLater(Refused):
    """A root that would expire no later than the current one renews nothing."""

    message = "the root would expire at {expires}, and the current one expires at {current}"
    hint = "choose a later expiry: --expires-days N"
    expires: str
    current: str


def successor(root: Root, expires: datetime) -> Root:
    """A copy, one version higher, with that expiry (aware)."""
    copy = deepcopy(root)  # to_dict() shares the roles' lists of keyids with the original
    copy.version += 1
    copy.expires = expires.astimezone(UTC)
    return copy


def add_key(root: Root, role: str, key: Key) -> None:
    """Add an offline key to a role. Raises: KeyAlreadyListed, UnsupportedKey."""
    listed = keyid_of(root, key)
    if listed in root.roles[role].keyids:
        raise KeyAlreadyListed(keyid=str(listed), role=role)
    root.add_key(root.keys[listed] if listed else key, role)


def remove_key(root: Root, role: str, keyid: str) -> None:
    """Take a key out of a role. Raises: KeyNotListed."""
    if keyid not in root.roles[role].keyids:
        raise KeyNotListed(keyid=keyid, role=role)
    root.revoke_key(keyid, role)


def set_online_key(root: Root, role: str, old_keyid: str, key: Key) -> None:
    """Replace the online key of a role. Raises: KeyAlreadyListed, UnsupportedKey."""
    add_key(root, role, key)
    root.revoke_key(old_keyid, role)


def keyid_of(root: Root, key: Key) -> str | None:
    """The keyid under which the root lists a key, in whatever role."""
    wanted = material(key)
    return next((keyid for keyid, listed in root.keys.items() if material(listed) == wanted), None)


def require_sound(root: Root, online_targets_keyid: str) -> None:
    """Check that a production root keeps its promises.

    Raises: OnlineKeyLeaves, ThresholdImpossible, KeyInTwoPlaces.
    """
    threshold = root.roles["targets"].threshold
    keys = root.roles["targets"].keyids
    if online_targets_keyid not in keys:
        raise OnlineKeyLeaves(keyid=online_targets_keyid)
    if not roots.TARGETS_THRESHOLD_MIN <= threshold <= len(keys):
        raise ThresholdImpossible(role="targets", threshold=threshold, keys=len(keys))
    if not 1 <= root.roles["root"].threshold <= len(root.roles["root"].keyids):
        raise ThresholdImpossible(
            role="root", threshold=root.roles["root"].threshold, keys=len(root.roles["root"].keyids)
        )
    _no_online_key_offline(root, online_targets_keyid)


def _no_online_key_offline(root: Root, online_targets_keyid: str) -> None:
    online = {online_targets_keyid, *root.roles["snapshot"].keyids, *root.roles["timestamp"].keyids}
    offline: Collection[str] = {*root.roles["root"].keyids, *root.roles["targets"].keyids} - {online_targets_keyid}
    materials = {material(root.keys[keyid]) for keyid in online}
    ledger_key = roots.ledger_key(root)  # it lies with the online keys, too
    materials |= {material(ed25519_key(ledger_key))} if ledger_key else set()
    if online_targets_keyid in root.roles["root"].keyids or any(
        material(root.keys[keyid]) in materials for keyid in offline
    ):
        raise KeyInTwoPlaces(first="an online key", second="an offline key")
