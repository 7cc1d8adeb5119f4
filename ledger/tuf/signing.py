"""Detached signatures over bytes, checked as a client would check them (TUF 1.0 §4.2, §5).

Rules of this module:

* What is verified is the bytes that were signed, never a re-encoding of what they mean.
* A signature counts when the root lists its key for the role, and once per key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from securesystemslib.signer import Signature
from tuf.api.metadata import Root, VerificationResult

from ledger.tuf.errors import DocumentDamaged, NotEnoughSignatures, SignatureInvalid

Signatures: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]
"""Hex signatures by keyid, as a mapping or in order."""

_HEX = re.compile(r"(?:[0-9a-f]{2})+")


def verify(root: Root, role: str, signed: bytes, signatures: Signatures) -> set[str]:
    """The keyids whose signatures are valid and count for the role."""
    return set(_result(root, role, signed, signatures).signed)


def meets_threshold(root: Root, role: str, signed: bytes, signatures: Signatures) -> bool:
    """Whether a client that trusts this root would accept the document's signatures."""
    return _result(root, role, signed, signatures).verified


def require_valid(root: Root, role: str, signed: bytes, keyid: str, signature: str, document: str = "") -> None:
    """Check one signature before it is recorded.

    Args:
        root: The root that lists the key.
        role: The role that the document is of.
        signed: The bytes that were signed.
        keyid: The key that is said to have signed them.
        signature: The signature, in hex.
        document: What to call the document in the error; its role if not said.

    Raises:
        SignatureInvalid: It is not lower-case hex, does not verify, or the root does not list the key for the role.
    """
    # Verifiers also read capitals and spaces. Those would be recorded and then not fit a file (`documents.file_bytes`).
    if not _HEX.fullmatch(signature) or keyid not in verify(root, role, signed, {keyid: signature}):
        raise SignatureInvalid(keyid=keyid, document=document or f"the {role} document")


def require_threshold(root: Root, role: str, signed: bytes, signatures: Signatures, document: str = "") -> None:
    """Check that a client would accept the document's signatures. Raises: NotEnoughSignatures."""
    result = _result(root, role, signed, signatures)
    if not result:
        raise NotEnoughSignatures(
            document=document or f"the {role} document", have=len(result.signed), need=result.threshold
        )


def as_objects(signatures: Signatures) -> dict[str, Signature]:
    """Signatures as python-tuf has them. Raises: DocumentDamaged when one key signed twice, as clients do."""
    pairs = list(signatures.items()) if isinstance(signatures, Mapping) else list(signatures)
    objects = {keyid: Signature(keyid, signature) for keyid, signature in pairs}
    if len(objects) != len(pairs):
        raise DocumentDamaged(document="signature list", problem="one key signed twice")
    return objects


def _result(root: Root, role: str, signed: bytes, signatures: Signatures) -> VerificationResult:
    return root.get_verification_result(role, signed, as_objects(signatures))
