"""Checkpoints of the ledger: C2SP signed notes (c2sp.org/tlog-checkpoint, c2sp.org/signed-note).

The signed text is three lines: the origin ``waveledger/<factory>``, the size in decimal, the Merkle root in base64.
Then an empty line, and ``— <origin> <base64 of 4 bytes of key hash and 64 of Ed25519 signature>``. In a snapshot's
``x-waveledger`` the same is a map of ASCII fields, as the dash of the note is not for canonical JSON. Reading and
verifying notes is `ledger.check`'s, so that auditors and this package do it with the same lines.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ledger import check
from ledger.check import Note, NotProven
from ledger.domain.values import JsonValue
from ledger.tuf.errors import CheckpointInvalid, NoteDamaged
from ledger.tuf.keypair import Signer


@dataclass(frozen=True)
class Checkpoint:
    """A size of the ledger and the Merkle root it had, signed. `signature` is key hash and signature, 68 bytes."""

    origin: str
    size: int
    root: bytes
    signature: bytes

    def body(self) -> str:
        """The text that is signed."""
        return check.body(self.origin, self.size, self.root)

    def note(self) -> str:
        """The signed note, as text to keep or to send."""
        return f"{self.body()}\n— {self.origin} {_base64(self.signature)}\n"

    def field(self) -> dict[str, JsonValue]:
        """The checkpoint as it stands in a snapshot, ASCII only."""
        return {
            "origin": self.origin,
            "root": self.root.hex(),
            "signature": _base64(self.signature),
            "size": self.size,
        }


def origin_of(factory: str) -> str:
    """The origin of a factory's ledger, which is its key's name too."""
    return f"waveledger/{factory}"


def sign_checkpoint(signer: Signer, factory: str, size: int, root: bytes) -> Checkpoint:
    """Sign the ledger's size and Merkle root with its own Ed25519 key."""
    origin = origin_of(factory)
    public = bytes.fromhex(signer.key.keyval["public"])
    if signer.key.keytype != "ed25519":
        raise RuntimeError(f"no checkpoint of {origin} by a key of type {signer.key.keytype}")
    signature = bytes.fromhex(signer.sign(check.body(origin, size, root).encode()))
    try:
        return Checkpoint(*check.checked(Note(origin, size, root, check.key_hash(origin, public) + signature)))
    except NotProven as problem:
        raise RuntimeError(f"no checkpoint of {origin} at size {size}: {problem}") from None


def parse_note(text: str) -> Checkpoint:
    """The checkpoint in a note, the inverse of `Checkpoint.note`; witnesses' cosignatures are passed over.

    Raises:
        NoteDamaged: It is no checkpoint of a ledger, or has not one signature by its origin.
    """
    try:
        return Checkpoint(*check.read_note(text))
    except NotProven as problem:
        raise NoteDamaged(problem=str(problem)) from None


def from_field(field: Mapping[str, object]) -> Checkpoint:
    """The checkpoint of a snapshot's field, the inverse of `Checkpoint.field`. Raises: NoteDamaged."""
    if set(field) != {"origin", "root", "signature", "size"}:
        raise NoteDamaged(problem="its fields are not origin, root, signature and size")
    origin, root, signature, size = field["origin"], field["root"], field["signature"], field["size"]
    if not isinstance(origin, str) or not isinstance(root, str) or not isinstance(signature, str):
        raise NoteDamaged(problem="origin, root and signature are not text")
    if isinstance(size, bool) or not isinstance(size, int) or not re.fullmatch(r"[0-9a-f]{64}", root):
        raise NoteDamaged(problem="its size is not a number, or its root not 64 hex digits")
    return _checkpoint(origin, size, bytes.fromhex(root), signature)


def verify(checkpoint: Checkpoint, ledger_key: str) -> None:
    """Check that the ledger signed a checkpoint.

    Args:
        checkpoint: The checkpoint.
        ledger_key: The ledger's Ed25519 public key in hex, as in FactoryInitialized and in every root.

    Raises:
        CheckpointInvalid: It did not.
    """
    if not _signed_by(checkpoint, ledger_key):
        raise CheckpointInvalid(origin=checkpoint.origin, size=checkpoint.size)


def _signed_by(checkpoint: Checkpoint, ledger_key: str) -> bool:
    try:
        key = bytes.fromhex(ledger_key)
    except ValueError:
        return False
    return check.is_signed(checkpoint.body(), checkpoint.origin, checkpoint.signature, key)


def _checkpoint(origin: str, size: int, root: bytes, signature: str) -> Checkpoint:
    try:
        return Checkpoint(*check.checked(Note(origin, size, root, check.unbase64(signature))))
    except NotProven as problem:
        raise NoteDamaged(problem=str(problem)) from None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
