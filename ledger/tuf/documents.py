"""TUF documents as bytes: targets, snapshot and timestamp, their signed part and their files (TUF 1.0 §4).

Rules of this module:

* Bytes in, bytes out. What was signed is never decoded and encoded again on its way to a file.
* A file is byte-identical to python-tuf's `Metadata.to_bytes()` of the same content, so hashes in snapshot and
  timestamp hold whoever writes it again.
* Every reader is the exact inverse of its writer, and refuses what the writer would not have written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import orjson

from ledger.domain.values import INTEGER_LIMIT, BadTime, JsonValue, format_time, parse_time
from ledger.tuf import canonical
from ledger.tuf.errors import DocumentDamaged, UnencodableContent

SPEC_VERSION = "1.0.31"
EMPTY_BODY = b"{}"
EXTENSION = "x-waveledger"  # our field in roots and snapshots; clients ignore and keep it (TUF 1.0 §4)

_TARGETS_FIELDS = {"_type", "expires", "spec_version", "targets", "version"}
_TARGETS_HEAD = re.compile(
    rb'\{"_type":"targets","expires":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)",'
    rb'"spec_version":"1\.0\.31","targets":(?=\{)'
)
_TARGETS_TAIL = b',"version":'
_TARGETS_VERSION = re.compile(rb"[1-9][0-9]{0,9}\}")
_FILE_HEAD = re.compile(rb'\{"signatures":\[((?:\{"keyid":"[^"\\]+","sig":"[0-9a-f]+"\},?)*)\],"signed":(?=\{)')
_SIGNATURE = re.compile(rb'\{"keyid":"([^"\\]+)","sig":"([0-9a-f]+)"\}')
_KEYID = re.compile(r"[!#-\[\]-~][ !#-\[\]-~]*")  # printable ASCII without quote and backslash
_HEX = re.compile(r"(?:[0-9a-f]{2})+")


class FileMeta(NamedTuple):
    """What snapshot and timestamp say of a file: its length in bytes and its SHA-256 in hex."""

    length: int
    sha256: str

    @classmethod
    def of(cls, file: bytes) -> FileMeta:
        """Of a file with these bytes."""
        return cls(len(file), hashlib.sha256(file).hexdigest())


class TargetsHeader(NamedTuple):
    """A targets document, taken apart: `body` is the canonical JSON of its targets map."""

    version: int
    expires: datetime
    body: bytes


def targets_signed(version: int, expires: datetime, body: bytes) -> bytes:
    """The signed part of a targets document.

    Args:
        version: In lanes, see `ledger.tuf.versions`.
        expires: Aware; cut to whole seconds.
        body: The canonical JSON of the targets map, see `canonical.targets_body`.
    """
    head = f'{{"_type":"targets","expires":"{_moment(expires)}","spec_version":"{SPEC_VERSION}","targets":'
    return b"".join((head.encode(), body, _TARGETS_TAIL, str(_checked(version)).encode(), b"}"))


def split_targets(signed: bytes) -> TargetsHeader:
    """The parts of a targets document, the exact inverse of `targets_signed`. Raises: DocumentDamaged."""
    document = "targets document"
    parsed = canonical.parse_unchecked(signed, document)
    head = _TARGETS_HEAD.match(signed)
    if head is None or not isinstance(parsed, dict) or set(parsed) != _TARGETS_FIELDS:
        raise DocumentDamaged(document=document, problem="its header is another one")
    version, targets = parsed["version"], parsed["targets"]
    if isinstance(version, bool) or not isinstance(version, int) or version < 1 or not isinstance(targets, dict):
        raise DocumentDamaged(document=document, problem="it has no version or no targets map")
    # Canonical and with these fields only, so the version is what stands last.
    body = signed[head.end() : signed.rindex(_TARGETS_TAIL)]
    return TargetsHeader(version, _read_moment(head[1].decode(), document), body)


def targets_of(signed: bytes) -> bytes:
    """The targets map of a document that was split, or rendered, before it was recorded: only its frame is looked at.

    To parse a thousand targets costs more than all the rest of a publication, and who changed them in the ledger has
    no signature for it. Raises: DocumentDamaged.
    """
    head, end = _TARGETS_HEAD.match(signed), signed.rfind(_TARGETS_TAIL)
    framed = head is not None and _TARGETS_VERSION.fullmatch(signed, end + len(_TARGETS_TAIL))
    if head is None or not framed or not head.end() < end:
        raise DocumentDamaged(document="targets document", problem="its header is another one")
    return signed[head.end() : end]


def snapshot_signed(
    version: int,
    expires: datetime,
    targets_version: int,
    targets: FileMeta,
    checkpoint: Mapping[str, JsonValue] | None,
) -> bytes:
    """The signed part of a snapshot over one targets file.

    Args:
        version: The repository's next number.
        expires: Aware; cut to whole seconds.
        targets_version: The version of the targets document.
        targets: Of its file, with signatures.
        checkpoint: The ledger's newest (`note.Checkpoint.field`), so that each client and mirror is a witness of it.
    """
    signed = _over("snapshot", version, expires, "targets.json", targets_version, targets)
    if checkpoint is not None:
        signed[EXTENSION] = {"checkpoint": dict(checkpoint)}
    return canonical.encode_unchecked(signed)


def timestamp_signed(version: int, expires: datetime, snapshot_version: int, snapshot_file: bytes) -> bytes:
    """The signed part of a timestamp over one snapshot file."""
    return canonical.encode_unchecked(
        _over("timestamp", version, expires, "snapshot.json", snapshot_version, FileMeta.of(snapshot_file))
    )


def file_bytes(signed: bytes, signatures: Sequence[tuple[str, str]]) -> bytes:
    """The file of a document, signatures in the order given.

    Args:
        signed: The signed part, as it was signed. Not a root's: PEM has newlines (`roots.root_file`).
        signatures: Keyid and hex signature of each.

    Raises:
        UnencodableContent: The signed part is not what a file and a signature can both hold.
        DocumentDamaged: Two signatures by one key, which clients refuse, or one that is not hex.
    """
    if signed.translate(None, canonical.PRINTABLE):
        raise UnencodableContent(path="the signed part", problem="bytes outside printable ASCII")
    keyids = [keyid for keyid, _ in signatures]
    if len(set(keyids)) != len(keyids):
        raise DocumentDamaged(document="signature list", problem="one key signed twice")
    for keyid, signature in signatures:
        if not _KEYID.fullmatch(keyid) or not _HEX.fullmatch(signature):
            raise DocumentDamaged(document="signature list", problem=f"the signature of key {keyid[:100]!a} is not hex")
    listed = orjson.dumps([{"keyid": keyid, "sig": signature} for keyid, signature in signatures])
    return b"".join((b'{"signatures":', listed, b',"signed":', signed, b"}"))


def read_file(data: bytes, document: str = "metadata file") -> tuple[list[tuple[str, str]], bytes]:
    """The signatures and the signed part of a file, the exact inverse of `file_bytes`. Raises: DocumentDamaged."""
    head = _FILE_HEAD.match(data)
    if head is None or not data.endswith(b"}"):
        raise DocumentDamaged(document=document, problem="it is not a list of signatures and a signed part")
    signatures = [(keyid.decode("ascii", "replace"), sig.decode()) for keyid, sig in _SIGNATURE.findall(head[1])]
    signed = data[head.end() : -1]
    canonical.parse(signed, document)
    if file_bytes(signed, signatures) != data:
        raise DocumentDamaged(document=document, problem="its signatures are written in another way")
    return signatures, signed


def _over(role: str, version: int, expires: datetime, name: str, over: int, file: FileMeta) -> dict[str, object]:
    meta = {"hashes": {"sha256": file.sha256}, "length": file.length, "version": _checked(over)}
    return {
        "_type": role,
        "expires": _moment(expires),
        "meta": {name: meta},
        "spec_version": SPEC_VERSION,
        "version": _checked(version),
    }


def _moment(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise RuntimeError("an expiry needs a time zone")
    return format_time(moment)


def _read_moment(text: str, document: str) -> datetime:
    try:
        return parse_time(text)
    except BadTime:
        raise DocumentDamaged(document=document, problem=f"{text} is no time") from None


def _checked(version: int) -> int:
    if not 1 <= version < INTEGER_LIMIT:
        raise RuntimeError(f"no metadata version: {version}")
    return version
