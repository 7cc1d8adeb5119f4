"""Appends on a real disk, one and many events a transaction.

Three ways, each into a file of its own with the same pragmas and columns:

* ours: what a command does, a session on the ledger (codec, event store, recorder; no projections), and the recorder
  by itself on rows that are encoded already;
* by hand: `sqlite3` and nothing else, on the same tables and triggers, with leaves and frontier computed in place;
* bare: one INSERT, no triggers, no indexes but the ones that the constraints make, no leaves, no head.
"""

from __future__ import annotations

import sqlite3
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import orjson
from measure import Entry, Sizes, interleaved, made_up

from ledger.codec import encode
from ledger.domain.events import MemberAdded
from ledger.session import Ledger
from ledger.store import events, migrate
from ledger.store.engine import journal_mode_for, open_engine, reading, writing
from ledger.store.recorder import LedgerRecorder, StoredEnvelope

NOW = 1_800_000_000
ACTOR = "bench"
TOPIC = MemberAdded.topic
BAR = 0.6

_INSERT = (
    "INSERT INTO event (position, stream, version, topic, recorded_at, actor, encoding, leaf, payload)"
    " VALUES (?, ?, ?, ?, ?, ?, 'json', ?, ?)"
)
_BARE = (
    "CREATE TABLE event (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL, topic TEXT"
    " NOT NULL, recorded_at INTEGER NOT NULL, actor TEXT NOT NULL, encoding TEXT NOT NULL, leaf BLOB NOT NULL,"
    " payload BLOB NOT NULL, UNIQUE (stream, version))"
)


@dataclass
class Work:
    """The events to append: stream by stream, the same ones for every way. Each way counts for itself."""

    seed: str
    streams: int = 0

    def next(self, count: int) -> tuple[str, list[tuple[str, str]]]:
        """A new stream, and member and role of so many events."""
        self.streams += 1
        stream = f"bench:{self.streams}"
        return stream, [(made_up(self.seed, stream, place), "admin") for place in range(count)]


@dataclass
class Hand:
    """What one would write with `sqlite3` alone for the same tables."""

    connection: sqlite3.Connection
    peaks: list[bytes] = field(default_factory=list)

    def append(self, stream: str, payloads: Sequence[bytes]) -> None:
        """One transaction."""
        connection, pack = self.connection, struct.Struct(">QQQ").pack
        connection.execute("BEGIN IMMEDIATE")
        size, frontier, last = connection.execute("SELECT size, frontier, recorded_at FROM head").fetchone()
        (version,) = connection.execute("SELECT max(version) FROM event WHERE stream = ?", (stream,)).fetchone()
        version, now = version or 0, max(last, NOW)
        peaks = [frontier[at : at + 32] for at in range(8, len(frontier), 32)]
        stream_bytes, topic, actor = stream.encode(), TOPIC.encode(), ACTOR.encode()
        middle = pack(8, now, len(actor)) + actor + struct.pack(">Q", 32)
        rows = []
        for payload in payloads:
            version += 1
            node = sha256(
                b"\x00"
                + pack(8, size + 1, len(stream_bytes))
                + stream_bytes
                + pack(8, version, len(topic))
                + topic
                + middle
                + sha256(payload).digest()
            ).digest()
            rows.append((size + 1, stream, version, TOPIC, now, ACTOR, node, payload))
            rest = size
            while rest & 1:
                node = sha256(b"\x01" + peaks.pop() + node).digest()
                rest >>= 1
            peaks.append(node)
            size += 1
        connection.executemany(_INSERT, rows)
        connection.execute(
            "UPDATE head SET size = ?, frontier = ?, recorded_at = ? WHERE id = 1",
            (size, struct.pack(">Q", size) + b"".join(peaks), now),
        )
        connection.execute("COMMIT")


def measure(directory: Path, sizes: Sizes) -> Sequence[Entry]:
    """Appends of one event, and of many, a transaction."""
    entries = _measure(directory, sizes, "append_1", transactions=sizes.singles, count=1)
    return entries + _measure(directory, sizes, f"append_{sizes.bulk}", transactions=1, count=sizes.bulk)


def _measure(directory: Path, sizes: Sizes, name: str, *, transactions: int, count: int) -> list[Entry]:
    appenders = {
        "session": _session(directory / f"{name}.session.db"),
        "recorder": _recorder(directory / f"{name}.recorder.db"),
        "hand": _hand(directory / f"{name}.hand.db"),
        "bare": _bare(directory / f"{name}.bare.db"),
    }

    def timed(append: Callable[[str, list[tuple[str, str]]], None]) -> Callable[[], float]:
        work = Work(sizes.seed)

        def run() -> float:
            batches = [work.next(count) for _ in range(transactions)]
            start = time.perf_counter()
            for stream, members in batches:
                append(stream, members)
            return (time.perf_counter() - start) / transactions

        return run

    seconds = interleaved(sizes.rounds, {way: timed(append) for way, append in appenders.items()})
    _require_same_root(directory, name)
    size = {"events": count, "transactions": transactions * sizes.rounds}
    return [
        Entry(
            name if (way, against) == ("session", "hand") else f"{name}_{way}_{against}",
            seconds[way], seconds[against], "speed", BAR if against == "hand" else None, size,
            f"{said} against {'hand-written' if against == 'hand' else 'bare'} sqlite3, {count} a transaction",
        )
        for way, said in (("session", "a session"), ("recorder", "the recorder"))
        for against in ("hand", "bare")
    ]  # fmt: skip


def _session(path: Path) -> Callable[[str, list[tuple[str, str]]], None]:
    ledger = Ledger(open_engine(_created(path)), (), ACTOR, NOW)

    def append(stream: str, members: list[tuple[str, str]]) -> None:
        with ledger.writing() as session:
            session.append(stream, [MemberAdded(member, role) for member, role in members])

    return append


def _recorder(path: Path) -> Callable[[str, list[tuple[str, str]]], None]:
    recorder = LedgerRecorder(open_engine(_created(path)))

    def append(stream: str, members: list[tuple[str, str]]) -> None:
        recorder.insert_events(
            [
                StoredEnvelope(stream, version, TOPIC, encode(MemberAdded(*member)), NOW, ACTOR)
                for version, member in enumerate(members, start=1)
            ]
        )

    return append


def _hand(path: Path) -> Callable[[str, list[tuple[str, str]]], None]:
    _created(path)
    hand = Hand(_connect(path))
    return lambda stream, members: hand.append(
        stream, [orjson.dumps({"member": member, "role": role}) for member, role in members]
    )


def _bare(path: Path) -> Callable[[str, list[tuple[str, str]]], None]:
    connection = _connect(path)
    connection.execute(_BARE)
    position = 0

    def append(stream: str, members: list[tuple[str, str]]) -> None:
        nonlocal position
        rows = [
            (position + at, stream, at, TOPIC, NOW, ACTOR, b"", orjson.dumps({"member": member, "role": role}))
            for at, (member, role) in enumerate(members, start=1)
        ]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_INSERT, rows)
        connection.execute("COMMIT")
        position += len(rows)

    return append


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "recursive_triggers = ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(f"PRAGMA journal_mode = {journal_mode_for(sqlite3.sqlite_version_info)}")
    return connection


def _created(path: Path) -> str:
    url = f"sqlite:///{path.absolute()}"
    engine = open_engine(url, must_exist=False)
    with writing(engine) as connection:
        migrate.create(connection)
    engine.dispose()
    return url


def _require_same_root(directory: Path, name: str) -> None:
    """The three ways that keep leaves wrote the same ledger."""
    roots = set()
    for way in ("session", "recorder", "hand"):
        engine = open_engine(f"sqlite:///{(directory / f'{name}.{way}.db').absolute()}")
        with reading(engine) as connection:
            roots.add(events.head(connection))
        engine.dispose()
    if len(roots) != 1:
        raise RuntimeError(f"{name}: the same events gave different ledgers: {roots}")
