"""Checkpoints of the ledger: C2SP signed notes (c2sp.org/tlog-checkpoint, c2sp.org/signed-note).

The signed text is three lines: the origin ``waveledger/<factory>``, the size in decimal, the Merkle root in base64.
Then an empty line, and ``— <origin> <base64 of 4 bytes of key hash and 64 of Ed25519 signature>``. In a snapshot's
``x-waveledger`` the same is a map of ASCII fields, as the dash of the note is not for canonical JSON.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.domain.values import JsonValue
from ledger.tuf.errors import CheckpointInvalid, NoteDamaged
from ledger.tuf.keypair import Signer

ROOT_BYTES = 32
NOTE_LIMIT_CHARACTERS = 64 * 1024  # a note with the cosignatures of a hundred witnesses takes 15 KB

_ED25519 = b"\x01"  # the signature type of plain Ed25519 in a key hash
_SIGNATURE_BYTES = 4 + 64
_ORIGIN = re.compile(r"waveledger/[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_SIGNATURE_LINE = re.compile(r"— (\S+) (\S+)")


@dataclass(frozen=True)
class Checkpoint:
    """A size of the ledger and the Merkle root it had, signed. `signature` is key hash and signature, 68 bytes."""

    origin: str
    size: int
    root: bytes
    signature: bytes

    def body(self) -> str:
        """The text that is signed."""
        return _body(self.origin, self.size, self.root)

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
    if signer.key.keytype != "ed25519" or not _ORIGIN.fullmatch(origin) or size < 0 or len(root) != ROOT_BYTES:
        raise RuntimeError(f"no checkpoint of {origin} at size {size} by a key of type {signer.key.keytype}")
    signature = bytes.fromhex(signer.sign(_body(origin, size, root).encode()))
    return Checkpoint(origin, size, root, _key_hash(origin, public) + signature)


def parse_note(text: str) -> Checkpoint:
    """The checkpoint in a note, the inverse of `Checkpoint.note`; witnesses' cosignatures are passed over.

    Raises:
        NoteDamaged: It is no checkpoint of a ledger, or has not one signature by its origin.
    """
    body, separator, signatures = text.partition("\n\n")
    lines = body.split("\n")
    if len(text) > NOTE_LIMIT_CHARACTERS or not separator or len(lines) != 3 or not signatures.endswith("\n"):
        raise NoteDamaged(problem="not three lines, an empty one and signatures")
    origin, size, root = lines
    own = []
    for line in signatures[:-1].split("\n"):
        match = _SIGNATURE_LINE.fullmatch(line)
        if match is None:
            raise NoteDamaged(problem="a signature line is not a dash, a name and base64")
        if match[1] == origin:
            own.append(match[2])
    if len(own) != 1:
        raise NoteDamaged(problem=f"{len(own)} signatures by {origin[:100]!a}")
    if not _SIZE.fullmatch(size):
        raise NoteDamaged(problem="its size is not a number")
    return _checkpoint(origin, int(size), _unbase64(root), _unbase64(own[0]))


def from_field(field: Mapping[str, object]) -> Checkpoint:
    """The checkpoint of a snapshot's field, the inverse of `Checkpoint.field`. Raises: NoteDamaged."""
    if set(field) != {"origin", "root", "signature", "size"}:
        raise NoteDamaged(problem="its fields are not origin, root, signature and size")
    origin, root, signature, size = field["origin"], field["root"], field["signature"], field["size"]
    if not isinstance(origin, str) or not isinstance(root, str) or not isinstance(signature, str):
        raise NoteDamaged(problem="origin, root and signature are not text")
    if isinstance(size, bool) or not isinstance(size, int) or not re.fullmatch(r"[0-9a-f]{64}", root):
        raise NoteDamaged(problem="its size is not a number, or its root not 64 hex digits")
    return _checkpoint(origin, size, bytes.fromhex(root), _unbase64(signature))


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
    key_hash, signature = checkpoint.signature[:4], checkpoint.signature[4:]
    try:
        public = bytes.fromhex(ledger_key)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, checkpoint.body().encode())
    except (InvalidSignature, ValueError):
        return False
    return key_hash == _key_hash(checkpoint.origin, public)


def _checkpoint(origin: str, size: int, root: bytes, signature: bytes) -> Checkpoint:
    if not _ORIGIN.fullmatch(origin):
        raise NoteDamaged(problem=f"its origin {origin[:100]!a} is not a ledger's")
    if size < 0 or len(root) != ROOT_BYTES or len(signature) != _SIGNATURE_BYTES:
        raise NoteDamaged(problem="its size, root or signature has the wrong length")
    return Checkpoint(origin, size, root, signature)


def _body(origin: str, size: int, root: bytes) -> str:
    return f"{origin}\n{size}\n{_base64(root)}\n"


def _key_hash(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteDamaged(problem="something is not base64") from None
    if _base64(data) != text:  # one text for one value: unused bits are zero
        raise NoteDamaged(problem="something is not base64")
    return data
