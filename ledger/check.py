"""Checking a proof without the ledger: this file is all it takes, besides Python and `cryptography`.

Take it alone and run ``python check.py PROOF ROOT.json|KEY``: exit 0 if the proof holds, 6 if it does not, 7 if it
could not be checked, as without a key, 2 if the command line is not this.

Rules of this module, as an auditor may want to read them:

* A checkpoint is a signed note (c2sp.org/signed-note): three lines, origin, size and Merkle root in base64, an empty
  line, and signature lines. It counts when the origin itself signed it, with the ledger's Ed25519 key.
* An event is the leaf SHA-256(0x00 | entry). The entry is seven fields, each after its length in 8 bytes: position,
  stream, version, topic, recorded_at (seconds since 1970), actor, SHA-256 of the payload. Numbers are 8 bytes,
  big-endian, text is UTF-8. Position 1 has leaf index 0.
* An inclusion proof shows that the event is in the tree of the checkpoint (RFC 9162 §2.1.3.2), a consistency proof that
  the tree of one checkpoint starts with all of an older one's (§2.1.4.2): nothing was changed, only appended.
* Whoever calls says which key is the ledger's. Nothing in a proof is believed about that.
* The verifiers know only sizes, roots and the path, and take any bytes without raising.
* Whatever is given, the answer is one line of printable ASCII: nothing of a stranger's reaches a terminal as it is.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

USAGE = """usage: python check.py PROOF ROOT.json|KEY
PROOF: a proof or a checkpoint. KEY: the ledger's public key, 64 hex digits or PEM, or a file with it, as a root is.
exit 0: proven. 6: not proven. 7: it could not be checked. 2: this is not how it is used."""
FORMAT = "waveledger-proof/1"
ROOT_BYTES = 32
NOTE_LIMIT_CHARACTERS = 64 * 1024  # a note with the cosignatures of a hundred witnesses takes 15 KB
EMPTY_ROOT = sha256(b"").digest()

_ED25519 = b"\x01"  # the signature type of plain Ed25519 in a key hash
_SIGNATURE_BYTES = 4 + 64
_ORIGIN = re.compile(r"waveledger/[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_SIGNATURE_LINE = re.compile(r"— (\S+) (\S+)")
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_EVENT = {"position", "stream", "version", "topic", "recorded_at", "actor", "payload"}


class NotProven(Exception):
    """What was given proves nothing; the text says why."""


class Note(NamedTuple):
    """A checkpoint as it was read. `signature` is key hash and signature, 68 bytes; nothing is verified yet."""

    origin: str
    size: int
    root: bytes
    signature: bytes


class Proven(NamedTuple):
    """What a file proves: `kind` is ``checkpoint``, ``inclusion`` or ``consistency``; the newest checkpoint is last."""

    kind: str
    checkpoints: tuple[Note, ...]
    event: dict[str, Any] | None = None


def check(data: bytes, key: bytes) -> Proven:
    """Check a proof, or a checkpoint alone, against the ledger's public key. Raises: NotProven."""
    text = _text(data)
    if not text.startswith("{"):
        return Proven("checkpoint", (_signed(text, key),))
    proof = _object(text)
    if proof.get("format") != FORMAT:
        raise NotProven(f"it is no {FORMAT}, or one of a newer version")
    if proof.get("kind") == "inclusion":
        return _check_inclusion(proof, key)
    if proof.get("kind") == "consistency":
        return _check_consistency(proof, key)
    raise NotProven("it is neither an inclusion proof nor a consistency proof")


def _check_inclusion(proof: dict[str, Any], key: bytes) -> Proven:
    _fields(proof, {"format", "kind", "event", "index", "size", "path", "checkpoint"})
    note, event = _signed(_string(proof["checkpoint"]), key), proof["event"]
    if not isinstance(event, dict):
        raise NotProven("its event is not an object")
    _fields(event, _EVENT)
    if not all(map(_natural, (proof["size"], proof["index"], event["position"]))):
        raise NotProven("its size, its index or the event's position is not a number")
    if (proof["size"], proof["index"]) != (note.size, event["position"] - 1):
        raise NotProven("its index and size are not those of the event and the checkpoint")
    leaf = sha256(b"\x00" + entry(event)).digest()
    if not verify_inclusion(leaf, proof["index"], note.size, _path(proof["path"]), note.root):
        raise NotProven(f"the event is not number {event['position']} of the ledger that the checkpoint is about")
    return Proven("inclusion", (note,), event)


def _check_consistency(proof: dict[str, Any], key: bytes) -> Proven:
    _fields(proof, {"format", "kind", "old", "new", "path"})
    old, new = _signed(_string(proof["old"]), key), _signed(_string(proof["new"]), key)
    if old.origin != new.origin:
        raise NotProven(f"the checkpoints are of two ledgers, {old.origin} and {new.origin}")
    if not verify_consistency(old.size, new.size, old.root, new.root, _path(proof["path"])):
        raise NotProven(f"the ledger of size {new.size} did not grow out of that of size {old.size}")
    return Proven("consistency", (old, new))


def entry(event: dict[str, Any]) -> bytes:
    """The bytes that stand for an event in the tree. Raises: NotProven, when a field is not what it should be."""
    numbers = {name: event[name] for name in ("position", "version")} | {"recorded_at": _seconds(event["recorded_at"])}
    for name, number in numbers.items():
        if not _natural(number) or number >= 2**64:
            raise NotProven(f"the event's {name} is not a number")
    text = {name: _string(event[name]).encode() for name in ("stream", "topic", "actor")}
    digest = sha256(_string(event["payload"]).encode()).digest()
    fields = (
        numbers["position"].to_bytes(8, "big"),
        text["stream"],
        numbers["version"].to_bytes(8, "big"),
        text["topic"],
        numbers["recorded_at"].to_bytes(8, "big"),
        text["actor"],
        digest,
    )
    return b"".join(len(field).to_bytes(8, "big") + field for field in fields)


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` shows that `leaf` is number `index` (from 0) of the tree of `size` and `root` (§2.1.3.2)."""
    if not 0 <= index < size:
        return False
    fn, sn, node = index, size - 1, leaf
    for sibling in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            node = _join(sibling, node)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = _join(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and node == root


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` shows that the new tree starts with all of the old one (§2.1.4.2)."""
    if not 0 <= old_size <= new_size:
        return False
    if old_size == new_size:
        return old_root == new_root and not path
    if old_size == 0:
        return old_root == EMPTY_ROOT and not path
    nodes = list(path)
    if old_size & (old_size - 1) == 0:
        nodes.insert(0, old_root)
    if not nodes:
        return False
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old_node = new_node = nodes[0]
    for sibling in nodes[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            old_node, new_node = _join(sibling, old_node), _join(sibling, new_node)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            new_node = _join(new_node, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and old_node == old_root and new_node == new_root


def read_note(text: str) -> Note:
    """The checkpoint in a note, its one signature by its origin; others' cosignatures are passed over.

    Raises: NotProven, when it is no checkpoint of a ledger.
    """
    body, separator, signatures = text.partition("\n\n")
    lines = body.split("\n")
    if len(text) > NOTE_LIMIT_CHARACTERS or not separator or len(lines) != 3 or not signatures.endswith("\n"):
        raise NotProven("not three lines, an empty one and signatures")
    origin, size, root = lines
    own = []
    for line in signatures[:-1].split("\n"):
        match = _SIGNATURE_LINE.fullmatch(line)
        if match is None:
            raise NotProven("a signature line is not a dash, a name and base64")
        if match[1] == origin:
            own.append(match[2])
    if len(own) != 1:
        raise NotProven(f"{len(own)} signatures by {origin[:100]!a}")
    if not _SIZE.fullmatch(size):
        raise NotProven("its size is not a number")
    return checked(Note(origin, int(size), unbase64(root), unbase64(own[0])))


def checked(note: Note) -> Note:
    """The same, when its fields are those of a checkpoint. Raises: NotProven."""
    if not _ORIGIN.fullmatch(note.origin):
        raise NotProven(f"its origin {note.origin[:100]!a} is not a ledger's")
    if note.size < 0 or len(note.root) != ROOT_BYTES or len(note.signature) != _SIGNATURE_BYTES:
        raise NotProven("its size, root or signature has the wrong length")
    return note


def body(origin: str, size: int, root: bytes) -> str:
    """The text of a checkpoint, which is what is signed."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def is_signed(text: str, name: str, signature: bytes, key: bytes) -> bool:
    """Whether a note's signature (key hash first) is by the key of that name, over this text."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature[4:], text.encode())
    except (InvalidSignature, ValueError):
        return False
    return signature[:4] == key_hash(name, key)


def key_hash(name: str, key: bytes) -> bytes:
    """What a note's signature begins with: which key of that name it is by."""
    return sha256(name.encode() + b"\n" + _ED25519 + key).digest()[:4]


def read_key(data: bytes) -> bytes:
    """The ledger's public key: from a TUF root (its field ``x-waveledger``), a PEM file, or 64 hex digits.

    Raises: NotProven.
    """
    text = _text(data).strip()
    if text.startswith("{"):
        signed = _object(text).get("signed")
        found = signed.get("x-waveledger") if isinstance(signed, dict) else None
        named = found.get("ledger-key") if isinstance(found, dict) else None
        if not isinstance(named, str) or not _HEX.fullmatch(named):
            raise NotProven("the root does not say which key is the ledger's")
        text = named
    if text.startswith("-----BEGIN"):
        try:
            pem = load_pem_public_key(text.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise NotProven("the PEM file holds no public key") from None
        if not isinstance(pem, Ed25519PublicKey):
            raise NotProven("the ledger's key is an Ed25519 key, and this is none")
        return pem.public_bytes_raw()
    if not _HEX.fullmatch(text):
        raise NotProven("the ledger's key is neither 64 hex digits nor PEM")
    return bytes.fromhex(text)


def unbase64(text: str) -> bytes:
    """The bytes of base64, one text for one value: unused bits are zero. Raises: NotProven."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NotProven("something is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise NotProven("something is not base64")
    return data


def _signed(text: str, key: bytes) -> Note:
    note = read_note(text)
    if not is_signed(body(*note[:3]), note.origin, note.signature, key):
        raise NotProven(f"the checkpoint of {note.origin} at size {note.size} is not signed by the ledger's key")
    return note


def _join(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _path(value: object) -> list[bytes]:
    if not isinstance(value, list) or not all(isinstance(node, str) and _HEX.fullmatch(node) for node in value):
        raise NotProven("its path is not a list of hashes")
    return [bytes.fromhex(node) for node in value]


def _seconds(value: object) -> int:
    try:
        moment = datetime.fromisoformat(_string(value))
    except ValueError:
        raise NotProven("the event's recorded_at is not a time") from None
    if moment.strftime("%Y-%m-%dT%H:%M:%SZ") != value:
        raise NotProven("the event's recorded_at is not a time in whole seconds UTC")
    return int(moment.timestamp())


def _natural(value: object) -> bool:
    return type(value) is int and value >= 0


def _string(value: object) -> str:
    if not isinstance(value, str) or any("\ud800" <= character <= "\udfff" for character in value):
        raise NotProven("a field that should be text is not")
    return value


def _fields(found: dict[str, Any], expected: set[str]) -> None:
    if found.keys() != expected:
        names = ", ".join(sorted(found.keys() ^ expected))
        raise NotProven(f"fields that are unknown or missing: {_plain(names[:200])}")


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as problem:
        raise NotProven(f"it is not JSON: {_plain(str(problem))}") from None
    return found if isinstance(found, dict) else {}


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # A field that is there twice reads one way here and another way elsewhere.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotProven("a field is there twice")
    return found


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise NotProven("it is not text") from None


def main(*arguments: str) -> int:
    """The program: two arguments, one line, and the exit code."""
    if arguments in {("-h",), ("--help",)}:
        return _end(USAGE, 0)
    if len(arguments) != 2:
        return _end(USAGE, 2)
    try:
        data, key = _read(arguments[0]), _given_key(arguments[1])
    except NotProven as problem:
        return _end(f"cannot check: {problem}", 7)
    try:
        proven = check(data, key)
    except NotProven as problem:
        return _end(f"not proven: {problem}", 6)
    newest = proven.checkpoints[-1]
    what = f"event {proven.event['position']} ({proven.event['topic']})" if proven.event else proven.kind
    return _end(f"proven: {what}, of {newest.origin} at size {newest.size}, root {newest.root.hex()}", 0)


def _end(line: str, code: int) -> int:
    text = line if line == USAGE else _plain(line)
    (sys.stdout if code in {0, 6} else sys.stderr).write(text + "\n")
    return code


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as problem:  # a name with a zero byte is a ValueError
        raise NotProven(f"cannot read {path[:200]!a}: {getattr(problem, 'strerror', None) or problem}") from None


def _given_key(given: str) -> bytes:
    """The key in a file, or the key itself. Raises: NotProven."""
    try:
        is_file = Path(given).exists()
    except OSError:  # a key in PEM may be too long for a name
        is_file = False
    try:
        return read_key(_read(given) if is_file else given.encode("utf-8", "replace"))
    except NotProven as problem:
        why = problem if is_file else "it is neither a file nor a key"
        raise NotProven(f"{given[:200]!a} does not give the ledger's key: {why}") from None


def _plain(text: str) -> str:
    """ASCII that a terminal shows as it is: whatever a proof holds may be in it, and acts on nothing."""
    return "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in text)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
