"""Every parser of what comes from outside, in one form: bytes in, and an answer or an error of ours.

`seeds` are good inputs for each, which mutations start from; `HOSTILE` is what gets put into them. `CORPUS` holds what
was found or thought of: <parser>/accepted|refused/<what it is>.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from cli import plans
from cli.adopting import _production
from cli.formats.devices import read_devices
from cli.formats.reports import read_reports
from cli.formats.repositories import read_repository
from cli.formats.targets import read_targets
from cli.formats.uuids import read_uuids
from ledger.codec import decode, encode
from ledger.domain.events import EVENTS, MemberAdded
from ledger.domain.rollout import digest_of, parse_limit
from ledger.domain.values import parse_number, parse_time
from ledger.tuf import chain, roots
from ledger.tuf.archive import read_archive, write_archive
from ledger.tuf.keypair import generate, read_pem
from ledger.tuf.keys import load_signers, public_key_of
from ledger.tuf.note import parse_note, sign_checkpoint
from tests.support import factory_keys

Parse = Callable[[bytes, Path], object]

CORPUS = Path(__file__).parent / "corpus"


def _in_file(name: str, read: Callable[[str], object]) -> Parse:
    def parse(data: bytes, place: Path) -> object:
        path = place / name
        path.write_bytes(data)
        return read(str(path))

    return parse


def _of_text(read: Callable[[str], object]) -> Parse:
    """For what is typed: bytes that are no text don't get that far."""
    return lambda data, _: read(data.decode(errors="replace"))


def _adopted_targets(path: str) -> object:
    found = _production(path)
    return chain.read_targets(path, found.data, adopted().signed)


def _event(data: bytes, _: Path) -> object:
    topic, _, payload = data.partition(b"\n")
    return decode(topic.decode(errors="replace"), payload)


PARSERS: Mapping[str, Parse] = {
    "devices": lambda data, _: list(read_devices("-", io.BytesIO(data))),
    "reports": lambda data, _: list(read_reports("-", io.BytesIO(data))),
    "targets": lambda data, _: read_targets("-", io.BytesIO(data)),
    "uuids": lambda data, _: read_uuids("-", io.BytesIO(data)),
    "plan": _in_file("plan.json", lambda path: plans.read(path, "w")),
    "archive": lambda data, _: read_archive(data, "keys.tgz"),
    "tar": lambda data, _: read_archive(gzip.compress(data), "keys.tgz"),
    "key": _in_file("key", load_signers),
    "public-key": _in_file("key", public_key_of),
    "pem": lambda data, _: read_pem(data, "key.pem"),
    "root": lambda data, _: roots.load_root(data),
    "root-chain": lambda data, _: chain.read_chain(".", {1: ("1.root.json", data)}),
    "adopted-targets": _in_file("targets.json", _adopted_targets),
    "repository": _in_file("timestamp.json", lambda path: read_repository(str(Path(path).parent))),
    "checkpoint": _of_text(parse_note),
    "limit": _of_text(parse_limit),
    "number": _of_text(parse_number),
    "time": _of_text(parse_time),
    "event": _event,
}


@lru_cache
def adopted() -> Any:
    """A root of our own that targets are read under."""
    return roots.load_root(factory_root())


@lru_cache
def factory_root() -> bytes:
    """A root that clients take."""
    from ledger.domain.values import from_epoch

    keys = factory_keys()
    root = roots.ci_root(
        keys.online["ci.root"].key, _ci(keys), from_epoch(2_000_000_000), keys.ledger.key.keyval["public"]
    )
    return roots.sign_root(root, [keys.online["ci.root"]])


def _ci(keys: Any) -> dict[str, Any]:
    return {
        name.removeprefix("ci."): pair.key
        for name, pair in keys.online.items()
        if name.startswith("ci.") and name != "ci.root"
    }


def seeds(parser: str) -> list[bytes]:
    """Good inputs."""
    return _seeds()[parser]


@lru_cache
def _seeds() -> dict[str, list[bytes]]:
    pair = generate("ed25519")
    body = {
        "custom": {"hardwareIds": ["a"], "tags": ["main"], "version": "4"},
        "hashes": {"sha256": "ab" * 32},
        "length": 1,
    }
    tuf = {
        "signed": {
            "_type": "targets",
            "spec_version": "1.0.31",
            "version": 1,
            "expires": "2030-01-01T00:00:00Z",
            "targets": {"a-4": body},
        },
        "signatures": [],
    }
    foundries = {
        "signed": {**tuf["signed"], "_type": "Targets"},
        "signatures": [{"keyid": "ab", "method": "ed25519", "sig": "eA=="}],
    }
    plan = {
        "format": "waveledger-plan/1",
        "wave": "w",
        "tag": "t",
        "version": 4,
        "group": None,
        "limit": "1",
        "plan": digest_of("w", ["a", "b"]),
        "devices": ["a", "b"],
    }
    archive = write_archive("targets", [pair])
    pem = pair.pem()
    timestamp = {"signed": {"_type": "timestamp", "version": 3, "meta": {"snapshot.json": {"version": 9}}}}
    note = sign_checkpoint(factory_keys().ledger, "acme", 7, bytes(32)).note()
    as_json = [json.dumps(document).encode() for document in ({"a-4": body}, tuf, foundries)]
    return {
        "devices": [b'uuid,name,hardware_id,tag,group,production\nu1,n,hw,t,g,true\n"u2",,hw,t,,0\r\n'],
        "reports": [b"uuid,target,seen_at\nu1,a-4,2030-01-01T00:00:00Z\nu1,,\n"],
        "targets": as_json,
        "uuids": [b"u1,u2;u3|u4\nu5\n"],
        "plan": [json.dumps(plan).encode()],
        "archive": [archive],
        "tar": [gzip.decompress(archive)],
        "key": [archive, pem],
        "public-key": [
            archive,
            pem,
            json.dumps({"keytype": "ED25519", "keyval": {"public": pair.key.keyval["public"]}}).encode(),
        ],
        "pem": [pem],
        "root": [factory_root()],
        "root-chain": [factory_root()],
        "adopted-targets": as_json,
        "repository": [json.dumps(timestamp).encode()],
        "checkpoint": [note.encode()],
        "limit": [b"10", b"25%"],
        "number": [b"48"],
        "time": [b"2030-01-01T00:00:00Z", b"2030-01-01t00:00:00.5+01:30"],
        "event": [
            b"member.added/1\n" + encode(MemberAdded("bob", "admin")),
            *(cls.topic.encode() + b"\n{}" for cls in EVENTS),
        ],
    }


HOSTILE = (
    # bytes and characters
    b"\0", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\r\n", b"\n\n", b"\\", b"\\ud800", b"\\u0000",
    b"\x1b[31m", b"\x1b]0;t\x07", b"\xc2\x9b", "\u202e".encode(), "\u2028".encode(), "\u0663".encode(),
    # paths, SQL, templates
    b"../", b"..\\", b"/etc/passwd", b"'; DROP TABLE event; --", b"{0}", b"{x}", b"%s",
    # what the formats are made of
    b'"', b'""', b",", b";", b"{", b"[", b"}", b"null", b"true", b"\x1f\x8b", b"PK\x03\x04",
    b"-----BEGIN PRIVATE KEY-----",
    # numbers and times
    b"9" * 400, b"9" * 5000, b"-1", b"0", b"1e999", b"1.5", b"NaN", b"Infinity", b"2147483648", b"18446744073709551616",
    b"9999-12-31T23:59:59-23:59", b"0001-01-01T00:00:00+23:59",
    # too much of something
    b"[" * 2000, b'{"a":' * 2000, b"A" * 70_000,
)  # fmt: skip
