"""The ledger as a file: out, and into a new store, which is the same; or refused, and nothing is there."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from cli import importing
from cli.settings import Settings
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
        assert not path.exists()
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
