"""The ledger as a file: out, and into a new store, which is the same; or refused, and nothing is there."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from cli import importing
from cli.settings import Settings
from ledger import merkle
from ledger.application import exchange, proofs
from ledger.codec import WrittenByNewerVersion
from ledger.domain.errors import LedgerError
from ledger.store.errors import StoreExists
from tests import stores
from tests.audit.conftest import Copies, audit
from tests.support import START, Factory


def export(factory: Factory) -> bytes:
    """All of an export."""
    with factory.ledger.reading() as connection:
        tree = proofs.read_tree(connection)
        checkpoint = proofs.newest_checkpoint(tree, factory.online)
        found = exchange.Export.begin(connection, tree, checkpoint)
    return b"".join(found.lines(factory.ledger.reading))


@pytest.fixture(scope="module")
def exported(lived: Factory) -> bytes:
    """An export, made once."""
    return export(lived)


def create(path: Path, data: bytes) -> exchange.Manifest:
    settings = Settings(stores.url(path), "auditor", "keys/online", None, 0, START)
    return importing.create(settings, io.BytesIO(data), lambda _what, _done, _total: None)


def opened(path: Path, like: Factory) -> Factory:
    """The imported store as a factory of its own."""
    factory = Factory(path, like.holders, like.threshold)
    factory.keys, factory.online = like.keys, like.online
    return factory


@pytest.fixture
def imported(lived: Factory, exported: bytes, tmp_path: Path) -> Any:
    """A store that was made from the export."""
    create(tmp_path / "imported.db", exported)
    factory = opened(tmp_path / "imported.db", lived)
    yield factory
    factory.close()


def table(factory: Factory, name: str) -> list[tuple[Any, ...]]:
    with factory.ledger.reading() as connection:
        return sorted(map(tuple, connection.exec_driver_sql(f"SELECT * FROM {name}")), key=repr)


def test_the_same_ledger_comes_out(lived: Factory, exported: bytes, imported: Factory) -> None:
    """Positions, leaves, payloads, head, checkpoints and projections are the same rows, and so is an export of it."""
    for name in ("event", "head", "checkpoint", "projection"):
        rows = table(lived, name)
        # How often tables were made anew is each store's own.
        assert table(imported, name) == ([(n, p, 0) for n, p, _ in rows] if name == "projection" else rows)
    assert imported.rows() == lived.rows()
    assert export(imported) == exported
    assert audit(imported) == []


def test_life_goes_on(imported: Factory) -> None:
    """An imported store is a ledger like any other: it takes events, and stays whole."""
    imported.actor = "alice"
    imported.now = START + 400 * 86_400
    imported.sign("w4")

    assert audit(imported) == []
    assert imported.differences() == []


def test_an_export_is_of_one_moment(lived: Factory, copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events and checkpoints that come while it is written are not in it."""
    from projections.tuf.publish import publish

    growing = copies()
    monkeypatch.setattr(exchange, "CHUNK", 7)
    with growing.ledger.reading() as connection:
        tree = proofs.read_tree(connection)
        checkpoint = proofs.newest_checkpoint(tree, growing.online)
        lines = exchange.Export.begin(connection, tree, checkpoint).lines(growing.ledger.reading)
    first = [next(lines) for _ in range(20)]
    publish(growing.ledger, growing.online, force=True)

    assert b"".join([*first, *lines]) == export(lived)


def test_what_an_export_says(lived: Factory, exported: bytes) -> None:
    """The manifest is first, with the newest checkpoint; every event has a line, with the payload as it is hashed."""
    manifest, *lines = exported.splitlines()
    found = orjson.loads(manifest)
    size, root = lived.head()

    assert (found["format"], found["factory"], found["size"]) == ("waveledger-export/1", "acme", size)
    assert found["root"] == root.hex()
    events = [orjson.loads(line) for line in lines if b'"payload"' in line]
    assert [event["position"] for event in events] == list(range(1, size + 1))
    assert len(lines) == size + found["checkpoints"]


def refused(path: Path, data: bytes) -> LedgerError:
    """The error of an import, which left nothing behind."""
    with pytest.raises(LedgerError) as caught:
        create(path, data)
    if not stores.ON_POSTGRESQL:
        assert list(path.parent.glob(f"{path.name}*")) == []
    return caught.value


def test_any_changed_byte(exported: bytes, tmp_path: Path) -> None:
    """Bytes changed, lost or doubled at random places, and at the first and last of each of some lines: refused."""
    chance = random.Random("bytes")
    places = {*(chance.randrange(len(exported)) for _ in range(6)), 0, len(exported) - 1}
    places |= {exported.index(b"\n", chance.randrange(len(exported))) + step for _ in range(1) for step in (-1, 0, 1)}
    for place in sorted(place for place in places if place < len(exported)):
        kind = chance.choice(["changed", "lost", "doubled"])
        byte = exported[place : place + 1]
        other = {"changed": bytes([byte[0] ^ chance.choice([1, 2, 32, 128])]), "lost": b"", "doubled": byte * 2}[kind]
        refused(tmp_path / "never.db", exported[:place] + other + exported[place + 1 :])


def lines_of(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def without(place: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: lines[:place] + lines[place + 1 :]


def twice(place: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [*lines[: place + 1], lines[place], *lines[place + 1 :]]


def swapped(place: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]]


def no_checkpoints(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if not line.startswith(b'{"size":')]


LINES = {
    "nothing": lambda lines: [],
    "only the manifest": lambda lines: lines[:1],
    "no manifest": without(0),
    "the manifest twice": twice(0),
    "an event lost": without(7),
    "an event twice": twice(7),
    "two events swapped": swapped(7),
    "the end lost": without(-1),
    "the last line cut": lambda lines: [*lines[:-1], lines[-1][:-20]],
    "no newline at the end": lambda lines: [*lines[:-1], lines[-1][:-1]],
    "no checkpoints": no_checkpoints,
    "an empty line": lambda lines: [*lines[:5], b"\n", *lines[5:]],
    "junk at the end": lambda lines: [*lines, b"junk\n"],
    "another event at the end": lambda lines: [*lines, lines[-1]],
    "spaces in a line": lambda lines: [*lines[:5], lines[5].replace(b'":', b'": ', 1), *lines[6:]],
    "lines of another system": lambda lines: [line.replace(b"\n", b"\r\n") for line in lines],
}


@pytest.mark.parametrize("case", LINES)
def test_lines_that_are_not_those_of_an_export(exported: bytes, tmp_path: Path, case: str) -> None:
    """Missing, doubled, reordered, cut and added lines are refused, with the number of the line."""
    error = refused(tmp_path / "never.db", b"".join(LINES[case](lines_of(exported))))

    assert isinstance(error, exchange.ExportRefused)
    assert error.exit_code == 7


def test_a_format_of_later(exported: bytes, tmp_path: Path) -> None:
    """A newer format, and an event that this version does not know, say that an upgrade is needed."""
    newer = refused(tmp_path / "never.db", exported.replace(b"waveledger-export/1", b"waveledger-export/2"))
    unknown = refused(tmp_path / "never.db", exported.replace(b'"member.added/1"', b'"member.added/2"'))

    assert isinstance(newer, exchange.ExportNewer)
    assert isinstance(unknown, WrittenByNewerVersion)


def test_another_manifest(exported: bytes, tmp_path: Path) -> None:
    """Factory, key, size, root, number of checkpoints and the newest checkpoint are all compared with the events."""
    first, *lines = lines_of(exported)
    manifest = orjson.loads(first)
    for field, value in {
        "factory": "other", "ledger_key": "00" * 32, "size": manifest["size"] - 1, "root": "00" * 32,
        "checkpoints": manifest["checkpoints"] + 1, "checkpoint": manifest["checkpoint"].replace("\n", "\n\n", 1),
    }.items():  # fmt: skip
        changed = orjson.dumps({**manifest, field: value}) + b"\n"
        assert isinstance(refused(tmp_path / "never.db", b"".join([changed, *lines])), exchange.ExportRefused)


@pytest.mark.parametrize(
    ("field", "value"),
    [("format", 1), ("factory", 3), ("ledger_key", None), ("size", "12"), ("size", 1.5), ("size", True), ("size", -1),
     ("size", 2**63), ("root", 3), ("checkpoints", None), ("checkpoints", -1), ("checkpoint", [1]), ("checkpoint", 7),
     ("more", 1)],
)  # fmt: skip
def test_a_manifest_of_other_types(exported: bytes, tmp_path: Path, field: str, value: object) -> None:
    """A manifest's fields are text and numbers that a ledger can have, or it is refused."""
    first, *lines = lines_of(exported)
    changed = orjson.dumps({**orjson.loads(first), field: value}) + b"\n"
    error = refused(tmp_path / "never.db", b"".join([changed, *lines]))

    assert isinstance(error, exchange.ExportRefused)
    assert error.line == 1


def test_an_export_of_nothing(exported: bytes, tmp_path: Path) -> None:
    """A ledger has at least the event that began it, so no store without events comes out of an import."""
    found = {**orjson.loads(lines_of(exported)[0]), "size": 0, "checkpoints": 0, "checkpoint": None}
    empty = orjson.dumps({**found, "root": merkle.Frontier().root().hex()}) + b"\n"

    assert isinstance(refused(tmp_path / "never.db", empty), exchange.ExportRefused)


@pytest.mark.parametrize(
    ("old", "new"),
    [(rb'"version":\d+', b'"version":-1'), (rb'"version":\d+', b'"version":0'),
     (rb'"version":\d+', b'"version":9223372036854775808'), (rb'"version":\d+', b'"version":18446744073709551615'),
     (rb'"recorded_at":"\d+', b'"recorded_at":"1969'), (rb'"recorded_at":"\d+', b'"recorded_at":"0001'),
     (rb'"actor":"', rb'"actor":"\\u0000'), (rb'"stream":"', rb'"stream":"\\u0000'),
     (rb'"actor":"', rb'"actor":"\\ud800')],
)  # fmt: skip
def test_events_that_no_ledger_has(exported: bytes, tmp_path: Path, old: bytes, new: bytes) -> None:
    """Numbers, times and text that cannot be kept or hashed are refused, with the number of their line."""
    lines = lines_of(exported)
    lines[3] = re.sub(old, new, lines[3], count=1)
    error = refused(tmp_path / "never.db", b"".join(lines))

    assert isinstance(error, exchange.ExportRefused)
    assert error.line == 4


def with_roots(lines: list[bytes]) -> bytes:
    """An export of those lines that fits together: what somebody hands out who made up a ledger."""
    events = [line for line in lines[1:] if not line.startswith(b'{"size":')]
    rows = [exchange.read_event(line) for line in events]
    root = merkle.Frontier().extend(merkle.leaf_hash(merkle.entry(*row)) for row in rows).root().hex()
    said = {"size": len(rows), "root": root, "checkpoints": 0, "checkpoint": None}
    return b"".join([orjson.dumps({**orjson.loads(lines[0]), **said}) + b"\n", *events])


@pytest.mark.parametrize("topic", ["metadata.published/1", "root.published/1", "tag.wave-opened/1"])
def test_a_ledger_that_was_made_up(exported: bytes, tmp_path: Path, topic: str) -> None:
    """Events that have the root and contradict each other are refused as damage, not as a fault of this program."""
    lines = [line for line in lines_of(exported) if not line.startswith(b'{"size":')]
    rows = [exchange.read_event(line) for line in lines[1:]]
    again = next(row for row in rows if row.topic == topic)
    version = 1 + max(row.version for row in rows if row.stream == again.stream)
    added = exchange.event_line(again._replace(position=len(lines), version=version))

    assert isinstance(refused(tmp_path / "never.db", with_roots([*lines, added])), exchange.ExportContradictory)


def test_a_version_that_is_taken(exported: bytes, tmp_path: Path) -> None:
    """The versions of a stream count from 1 without a gap, in an export that has the root of its events, too."""
    lines = [lines_of(exported)[0], *(re.sub(rb'"version":2,', b'"version":1,', e) for e in lines_of(exported)[1:])]
    error = refused(tmp_path / "never.db", with_roots(lines))

    assert isinstance(error, exchange.ExportRefused)
    assert "version 1 of factory cannot follow 1" in str(error)


def test_an_export_without_a_newest_checkpoint(exported: bytes, tmp_path: Path) -> None:
    """A ledger that never signed one has none to give: that alone is no reason to refuse."""
    first, *lines = lines_of(exported)
    manifest = orjson.dumps({**orjson.loads(first), "checkpoint": None}) + b"\n"

    assert create(tmp_path / "imported.db", b"".join([manifest, *lines])).checkpoint is None


def test_a_store_that_is_there(imported: Factory, exported: bytes) -> None:
    """An import never touches a ledger that is there."""
    before = table(imported, "event")
    imported.close()
    with pytest.raises(StoreExists):
        create(imported.path, exported)

    assert table(imported, "event") == before
