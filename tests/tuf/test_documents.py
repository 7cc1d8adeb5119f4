from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuf.api.metadata import Metadata, MetaFile, Signature, Snapshot, TargetFile, Targets, Timestamp

from ledger.tuf import canonical, documents
from ledger.tuf.errors import DocumentDamaged, UnencodableContent

EXPIRES = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
NAMES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30)
BODIES = st.fixed_dictionaries(
    {
        "custom": st.dictionaries(NAMES, NAMES | st.integers(0, 1000) | st.lists(NAMES, max_size=3), max_size=4),
        "hashes": st.fixed_dictionaries({"sha256": st.text("0123456789abcdef", min_size=64, max_size=64)}),
        "length": st.integers(0, 2**31 - 1),
    }
)
MAPS = st.dictionaries(NAMES, BODIES, max_size=5)
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2999, 1, 1)).map(lambda t: t.replace(microsecond=0, tzinfo=UTC))  # noqa: DTZ001
VERSIONS = st.integers(1, 2**31 - 1)
SIGNATURES = st.lists(
    st.tuples(st.text("0123456789abcdef", min_size=8, max_size=8), st.binary(min_size=1, max_size=70).map(bytes.hex)),
    max_size=3,
    unique_by=lambda pair: pair[0],
)


def body_of(targets):
    return canonical.targets_body({name: canonical.encode(body) for name, body in targets.items()})


def as_tuf(signed, signatures):
    return Metadata(signed, {keyid: Signature(keyid, sig) for keyid, sig in signatures})


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(VERSIONS, MOMENTS, MAPS, SIGNATURES)
def test_targets_as_python_tuf_writes_them(version, expires, targets, signatures):
    """Signed part and file are byte-identical to python-tuf's, with no, one or several signatures."""
    files = {name: TargetFile.from_dict(json.loads(json.dumps(body)), name) for name, body in targets.items()}
    expected = as_tuf(Targets(version, "1.0.31", expires, files), signatures)

    signed = documents.targets_signed(version, expires, body_of(targets))

    assert signed == expected.signed_bytes
    assert documents.file_bytes(signed, signatures) == expected.to_bytes()


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(VERSIONS, MOMENTS, MAPS, SIGNATURES)
def test_reading_is_the_inverse_of_writing(version, expires, targets, signatures):
    """Files give back signatures and signed part; a targets document its header and body, and these make it again."""
    body = body_of(targets)
    signed = documents.targets_signed(version, expires, body)

    header = documents.split_targets(signed)

    assert header == (version, expires, body)
    assert documents.targets_signed(*header) == signed
    assert documents.read_file(documents.file_bytes(signed, signatures)) == (signatures, signed)


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(VERSIONS, MOMENTS, VERSIONS, st.binary(max_size=50), SIGNATURES, st.booleans())
def test_snapshot_and_timestamp_as_python_tuf_writes_them(version, expires, over, file, signatures, witnessed):
    """Snapshot, with and without a checkpoint, and timestamp are byte-identical to python-tuf's."""
    checkpoint = {"origin": "waveledger/f", "size": 3, "root": "00" * 32, "signature": "AAAA"} if witnessed else None
    extra = {"x-waveledger": {"checkpoint": checkpoint}} if witnessed else None
    meta = MetaFile.from_data(over, file, ["sha256"])
    snapshot = as_tuf(Snapshot(version, "1.0.31", expires, {"targets.json": meta}, extra), signatures)
    timestamp = as_tuf(Timestamp(version, "1.0.31", expires, meta), signatures)

    snapshot_signed = documents.snapshot_signed(version, expires, over, documents.FileMeta.of(file), checkpoint)
    timestamp_signed = documents.timestamp_signed(version, expires, over, file)

    assert snapshot_signed == snapshot.signed_bytes
    assert timestamp_signed == timestamp.signed_bytes
    assert documents.file_bytes(snapshot_signed, signatures) == snapshot.to_bytes()
    assert documents.file_bytes(timestamp_signed, signatures) == timestamp.to_bytes()


def test_time_is_utc_whatever_the_zone():
    """An expiry in another zone is written in UTC; one without a zone is a programming error."""
    there = EXPIRES.astimezone(timezone(timedelta(hours=5, minutes=30)))

    assert documents.targets_signed(1, there, b"{}") == documents.targets_signed(1, EXPIRES, b"{}")
    with pytest.raises(RuntimeError):
        documents.targets_signed(1, EXPIRES.replace(tzinfo=None), b"{}")


@pytest.mark.parametrize("version", [0, -1, 2**31])
def test_no_such_version(version):
    """Versions that clients could not hold are never signed."""
    with pytest.raises(RuntimeError):
        documents.targets_signed(version, EXPIRES, b"{}")


def test_the_body_may_hold_what_looks_like_a_header():
    """Target names and fields that look like the document's own fields do not lead the reader astray."""
    tricky = {',"version":7}': {"length": 1, "custom": {"x": '"targets":{', "version": 9}}, "targets": {"version": 3}}
    signed = documents.targets_signed(5, EXPIRES, body_of(tricky))

    assert documents.split_targets(signed) == (5, EXPIRES, canonical.encode(tricky))


GOOD = documents.targets_signed(5, EXPIRES, b"{}")


@pytest.mark.parametrize(
    "signed",
    [
        b"",
        b"{}",
        b"[]",
        GOOD + b" ",
        GOOD[:-1],
        GOOD.replace(b'"targets":{}', b'"targets":[]'),
        GOOD.replace(b'"targets":{}', b'"targets":{},"unknown":{}'),
        GOOD.replace(b'"version":5', b'"version":"5"'),
        GOOD.replace(b'"version":5', b'"version":0'),
        GOOD.replace(b'"version":5', b'"version":true'),
        GOOD.replace(b'"version":5', b'"version":5,"x":1'),
        GOOD.replace(b'"_type":"targets"', b'"_type":"Targets"'),
        GOOD.replace(b'"expires"', b'"delegations":{},"expires"'),
        GOOD.replace(b"1.0.31", b"1.0.30"),
        GOOD.replace(b"2030-01-02", b"2030-13-02"),
        GOOD.replace(b":05Z", b":05.0Z"),
    ],
)
def test_other_documents_are_not_split(signed):
    """What `targets_signed` would not have written is refused, so that nothing is silently lost on re-rendering."""
    with pytest.raises(DocumentDamaged):
        documents.split_targets(signed)


FILE = documents.file_bytes(GOOD, [("aa", "01"), ("bb", "02")])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD,
        FILE[:-1],
        FILE + b"\n",
        FILE.replace(b"},{", b"},,{"),
        FILE.replace(b"},{", b"}{"),
        FILE.replace(b'}],"signed"', b'},],"signed"'),
        FILE.replace(b'"keyid":"bb"', b'"keyid":"aa"'),
        FILE.replace(b'"sig":"02"', b'"sig":"2"'),
        FILE.replace(b'"sig":"02"', b'"method":"x","sig":"02"'),
        FILE.replace(b'"keyid":"bb"', b'"keyid":"\xff"'),
        FILE.replace(b'"targets":{}', b'"targets": {}'),
        FILE[:-1] + b',"more":1}',
    ],
)
def test_other_files_are_not_read(data):
    """What `file_bytes` would not have written is refused."""
    with pytest.raises(DocumentDamaged):
        documents.read_file(data)


def test_a_file_cannot_hold_newlines():
    """Signed bytes with control characters would be escaped in a file: refused, roots go another way."""
    with pytest.raises(UnencodableContent):
        documents.file_bytes(b'{"a":"\n"}', [])


@pytest.mark.parametrize("signatures", [[("aa", "01"), ("aa", "02")], [("aa", "")], [("aa", "AB")], [('a"', "01")]])
def test_bad_signature_lists(signatures):
    """Doubled keyids and signatures that are no hex never reach a file."""
    with pytest.raises(DocumentDamaged):
        documents.file_bytes(GOOD, signatures)
