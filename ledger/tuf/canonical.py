"""Canonical JSON, fast: the bytes that are signed (TUF 1.0 §4.1, OLPC canonical JSON).

Rules of this module (DESIGN §4, "Bytes"):

* What encoders disagree on is refused, not escaped: text outside printable ASCII, floats, integers of 2**31 and
  more, and any type that JSON lacks. For what is left, orjson with sorted keys, securesystemslib's `encode_canonical`
  and compact `json.dumps` give the same bytes, so these are both the signed bytes and the file's.
* Roots take the slow path (`ledger.tuf.roots`): RSA keys are PEM text, and PEM has newlines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import orjson

from ledger.domain.values import DEPTH_LIMIT, INTEGER_LIMIT, JsonValue
from ledger.tuf.errors import DocumentDamaged, UnencodableContent

NESTING_LIMIT = DEPTH_LIMIT + 8  # levels: a target's custom, and the document around it
PRINTABLE = bytes(range(0x20, 0x7F))

_OPTIONS = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_DATACLASS
)

_Trail: TypeAlias = "tuple[_Trail, str | int] | None"


def encode(value: object) -> bytes:
    """The canonical JSON of a value. Raises: UnencodableContent, with the place and what is wrong there."""
    _guard(value)
    return encode_unchecked(value)


def encode_unchecked(value: object) -> bytes:
    """The canonical JSON of content that was checked when it entered the ledger (`values.read_target`)."""
    return orjson.dumps(value, option=_OPTIONS)


def parse(data: bytes, document: str) -> JsonValue:
    """The value of canonical JSON, the inverse of `encode`.

    Args:
        data: The bytes to read.
        document: What they should be, for the error.

    Raises:
        DocumentDamaged: They are not JSON, or not canonical: another order, white space, escapes, doubled keys.
    """
    value = parse_unchecked(data, document)
    try:
        _guard(value)
    except UnencodableContent as error:
        raise DocumentDamaged(document=document, problem=str(error)) from None
    return value


def parse_unchecked(data: bytes, document: str) -> JsonValue:
    """As `parse`, for content that was checked when it entered the ledger: of numbers, only their form is."""
    try:
        value: JsonValue = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise DocumentDamaged(document=document, problem=f"not JSON: {error}") from None
    # orjson escapes control characters both ways, where canonical JSON has none to escape.
    escaped = b"\\" in data and b"\\" in data.replace(b"\\\\", b"").replace(b'\\"', b"")
    if escaped or data.translate(None, PRINTABLE) or encode_unchecked(value) != data:
        raise DocumentDamaged(document=document, problem="its JSON is not canonical")
    return value


def targets_body(targets: Mapping[str, bytes]) -> bytes:
    """The canonical JSON of a targets map, from each target's own canonical bytes.

    Args:
        targets: Keys are target names, values the canonical JSON of the target.

    Raises:
        UnencodableContent: A name is not printable ASCII.
    """
    parts = []
    for name in sorted(targets):
        if not _plain(name):
            raise UnencodableContent(path="targets", problem=f"the name {name[:100]!a} is not printable ASCII")
        parts.append(orjson.dumps(name) + b":" + targets[name])
    return b"{" + b",".join(parts) + b"}"


def _guard(value: object) -> None:
    """Refuse what encoders disagree on. Types are exact: a subclass may print itself differently."""
    stack: list[tuple[object, _Trail, int]] = [(value, None, 0)]
    while stack:
        item, trail, depth = stack.pop()
        kind = type(item)
        if kind is str:
            if not _plain(str(item)):
                raise _refusal(trail, f"text outside printable ASCII, {str(item)[:100]!a}")
        elif kind is int:
            if not -INTEGER_LIMIT < int(item) < INTEGER_LIMIT:  # type: ignore[call-overload]  # `kind` says so
                raise _refusal(trail, "an integer of 2147483648 or more in size")
        elif isinstance(item, dict) and kind is dict:
            for key, child in item.items():
                if type(key) is not str or not _plain(key):
                    raise _refusal(trail, f"a field name that is not printable ASCII, {str(key)[:100]!a}")
                stack.append((child, (trail, key), depth + 1))
        elif isinstance(item, (list, tuple)) and kind in {list, tuple}:
            stack.extend((child, (trail, place), depth + 1) for place, child in enumerate(item))
        elif kind is not bool and item is not None:
            raise _refusal(trail, f"a value of type {kind.__name__}")
        if depth > NESTING_LIMIT:
            raise _refusal(None, f"nesting of more than {NESTING_LIMIT} levels")


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _refusal(trail: _Trail, problem: str) -> UnencodableContent:
    steps: list[str] = []
    while trail:
        trail, step = trail
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}" if _plain(step) else f".{step!a}")
    return UnencodableContent(path="".join(reversed(steps)).lstrip(".") or "the top", problem=problem)
