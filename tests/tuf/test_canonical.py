from __future__ import annotations

import json
from collections import OrderedDict
from datetime import UTC, datetime
from enum import IntEnum
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical

from ledger.tuf import canonical
from ledger.tuf.errors import DocumentDamaged, UnencodableContent

PLAIN = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
INTEGERS = st.integers(-(2**31) + 1, 2**31 - 1)
LEAVES = st.none() | st.booleans() | INTEGERS | PLAIN
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN, inner, max_size=4),
    max_leaves=12,
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


class Colour(IntEnum):
    RED = 1


@pytest.mark.property
@settings(max_examples=1000, deadline=None)
@given(VALUES)
def test_same_bytes_as_securesystemslib(value):
    """For content that passes the door, the fast encoder, the slow one and compact json.dumps agree byte for byte."""
    encoded = canonical.encode(value)

    assert encoded == encode_canonical(value).encode()
    assert encoded == json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    assert encoded == canonical.encode_unchecked(value)
    assert canonical.parse(encoded, "value") == canonical.parse_unchecked(encoded, "value") == value


@pytest.mark.property
@settings(max_examples=1000, deadline=None)
@given(ANYTHING)
def test_never_other_bytes(value):
    """Whatever is encoded is encoded as securesystemslib does it, and what that refuses is refused."""
    try:
        slow = encode_canonical(value)
    except FormatError:
        slow = None
    try:
        fast = canonical.encode(value)
    except UnencodableContent:
        return

    assert slow is not None
    assert fast == slow.encode()


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(st.dictionaries(PLAIN, VALUES, max_size=6))
def test_join_is_encode(targets):
    """Joining each target's canonical bytes gives the canonical JSON of the whole map."""
    joined = canonical.targets_body({name: canonical.encode(body) for name, body in targets.items()})

    assert joined == canonical.encode(targets)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("\u00e9", "the top"),
        ({"a": ["ok", "new\nline"]}, "a[1]"),
        ({"a": {"b": "\x7f"}}, "a.b"),
        ({"a": {"b": "\ud800"}}, "a.b"),
        ({"a": {"\u2028": 1}}, "a"),
        ({"a": {1: 2}}, "a"),
        ({"a": 1.0}, "a"),
        ({"a": float("nan")}, "a"),
        ({"a": 2**31}, "a"),
        ({"a": -(2**31)}, "a"),
        ([0, [b"bytes"]], "[1][0]"),
        ([UUID(int=0)], "[0]"),
        ([datetime(2030, 1, 1, tzinfo=UTC)], "[0]"),
        ([Colour.RED], "[0]"),
        ({"a": OrderedDict(b=1)}, "a"),
        ({"a": {1, 2}}, "a"),
    ],
)
def test_refusals_name_the_place(value, path):
    """What encoders disagree on is refused, with the path to it."""
    with pytest.raises(UnencodableContent) as caught:
        canonical.encode(value)

    assert caught.value.path == path


def test_limits_are_exact():
    """Integers up to one below 2**31 in size pass, and so does nesting up to the limit."""
    deep: object = 1
    for _ in range(canonical.NESTING_LIMIT):
        deep = [deep]

    assert canonical.encode([2**31 - 1, -(2**31) + 1]) == b"[2147483647,-2147483647]"
    assert canonical.encode(deep).startswith(b"[[[")
    with pytest.raises(UnencodableContent):
        canonical.encode([deep])


def test_a_thousand_levels_are_refused():
    """Nesting far beyond any stack ends in a refusal, not in a crash."""
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(UnencodableContent):
        canonical.encode(deep)


def test_a_target_name_outside_ascii_is_refused():
    """The join checks the names, which no target's own bytes hold."""
    with pytest.raises(UnencodableContent):
        canonical.targets_body({"caf\u00e9": b"{}"})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"a":1} ',
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'["\\u0041"]',
        b'["\\n"]',
        b'["\\\\\\n"]',
        b'["\\/"]',
        b'["\xc3\xa9"]',
        b"[1.0]",
        b"[-0]",
        b"[2147483648]",
        b"[99999999999999999999999]",
        b"\xff",
    ],
)
def test_parse_takes_canonical_json_only(data):
    """Reading refuses whatever the encoder would not have written."""
    with pytest.raises(DocumentDamaged):
        canonical.parse(data, "value")


def test_orjson_would_have_taken_what_the_guard_refuses():
    """The guard is needed: without it the two encoders write different bytes."""
    assert orjson.dumps("\n") != encode_canonical("\n").encode()
    assert orjson.dumps(1.5) == b"1.5"
