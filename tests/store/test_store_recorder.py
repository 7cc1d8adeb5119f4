"""Appending to the ledger, and reading it back as it is stored."""

from __future__ import annotations

import os
import zlib
from uuid import uuid4

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent, Tracking
from sqlalchemy import Engine

from ledger import merkle
from ledger.store import bulk, events
from ledger.store.engine import reading, writing
from ledger.store.errors import CheckpointTaken, HeadDamaged, NotNextPosition, PayloadDamaged
from ledger.store.recorder import LedgerRecorder, StoredEnvelope
from tests import stores


def envelope(stream: str, version: int, topic: str = "t/1", payload: bytes = b"{}", at: int = 50) -> StoredEnvelope:
    return StoredEnvelope(stream, version, topic, payload, at, "alice")


def rewrite(engine: Engine, *statements: str) -> None:
    """Does to the file what somebody with another program could do."""
    with writing(engine) as connection:
        for statement in ("DROP TRIGGER event_never_changes", "DROP TRIGGER event_stays", *statements):
            connection.exec_driver_sql(statement)


@pytest.fixture(name="mixed")
def _mixed(engine: Engine) -> Engine:
    """Ten events: two streams taking turns, three topics one after the other."""
    rows = [envelope("ab"[n % 2], n // 2 + 1, f"topic{n % 3}/1", b"%d" % n, 100 + n) for n in range(10)]
    LedgerRecorder(engine).insert_events(rows)
    return engine


def test_everything_comes_back(engine: Engine) -> None:
    """What was appended is read back, by stream and by position, with its time and actor."""
    recorder = LedgerRecorder(engine)
    first, second = envelope("wave:a", 1, payload=b'{"n":1}'), envelope("tag:b", 1, payload=b'{"n":2}', at=60)

    assert recorder.insert_events([first, second]) == [1, 2]

    assert recorder.select_events("wave:a") == [first]
    with reading(engine) as connection:
        assert events.get(connection, 2) == events.Row(2, "tag:b", 1, "t/1", 60, "alice", b'{"n":2}')
        assert events.get(connection, 3) is None


def test_plain_events_of_the_library(engine: Engine) -> None:
    """Events without time and actor get the recorder's, and a UUID becomes a stream's name."""
    stream = uuid4()
    recorder = LedgerRecorder(engine, clock=lambda: 77, actor="bob")

    recorder.insert_events([StoredEvent(stream, 1, "t/1", b"{}")])

    actor = "alice" if stores.ON_POSTGRESQL else "bob"  # who logged in
    assert recorder.select_events(stream) == [StoredEnvelope(str(stream), 1, "t/1", b"{}", 77, actor)]


def test_time_never_goes_back(engine: Engine) -> None:
    """A clock that was set back is overruled by the previous event, within an append and between two."""
    recorder = LedgerRecorder(engine)
    recorder.insert_events([envelope("a", 1, at=100), envelope("a", 2, at=90)])
    recorder.insert_events([envelope("a", 3, at=95), envelope("a", 4, at=101)])

    assert [event.recorded_at for event in recorder.select_events("a")] == [100, 100, 100, 101]


def test_head_follows(mixed: Engine) -> None:
    """The head's root is the root over all entries, at every size, also when appended one by one."""
    LedgerRecorder(mixed).insert_events([envelope("c", 1, at=500)])
    with reading(mixed) as connection:
        rows = list(events.read(connection))
        leaves = [leaf for (leaf,) in bulk.query(connection, "SELECT leaf FROM event ORDER BY position").fetchall()]

        assert leaves == [merkle.leaf_hash(merkle.entry(*row)) for row in rows]
        assert events.head(connection) == events.Head(11, merkle.root_of(leaves), 500)


def test_empty_ledger(engine: Engine) -> None:
    """An empty ledger has size 0, the empty root and no events."""
    with reading(engine) as connection:
        assert events.head(connection) == events.Head(0, merkle.EMPTY_ROOT, 0)
        assert list(events.read(connection)) == []
        assert events.stream_version(connection, "a") == 0
        assert events.last(connection, "a") is None
        assert events.newest_checkpoint(connection) is None


def test_nothing_appended(engine: Engine) -> None:
    """An append of nothing gives no positions."""
    assert LedgerRecorder(engine).insert_events([]) == []


@stores.about_files
@pytest.mark.parametrize("size", [0, 4096, 4097, 200_000])
def test_long_payloads_are_compressed(engine: Engine, size: int) -> None:
    """A payload of any length comes back as it was; above 4096 bytes it takes less space on disk."""
    payload = b"[0]" * (size // 3) + b" " * (size % 3)
    LedgerRecorder(engine).insert_events([envelope("a", 1, payload=payload)])

    with reading(engine) as connection:
        assert next(events.read(connection)).payload == payload
        row = bulk.query(connection, "SELECT encoding, length(payload) FROM event").fetchone()
    assert row is not None
    assert row[0] == ("json+zlib" if size > 4096 else "json")
    assert row[1] < 4096 or size <= 4096


def test_leaf_does_not_depend_on_compression(engine: Engine) -> None:
    """The leaf stands for the payload as it was given, so another compressor changes no root."""
    payload = os.urandom(3000).hex().encode()
    LedgerRecorder(engine).insert_events([envelope("a", 1, payload=payload)])

    with reading(engine) as connection:
        entry = merkle.entry(1, "a", 1, "t/1", 50, "alice", payload)
        assert events.head(connection).root == merkle.leaf_hash(entry)


@stores.about_files
@pytest.mark.parametrize(
    "change", ["encoding = 'json+zlib', payload = x'00'", "encoding = 'brotli'", "encoding = 'json+zlib', payload = 7"]
)
def test_damaged_payload(engine: Engine, change: str) -> None:
    """A payload that can't be uncompressed is named by its position."""
    LedgerRecorder(engine).insert_events([envelope("a", 1), envelope("a", 2)])
    rewrite(engine, f"UPDATE event SET {change} WHERE position = 2")

    with pytest.raises(PayloadDamaged, match="event 2 "), reading(engine) as connection:
        list(events.read(connection))


@stores.about_files
@pytest.mark.parametrize("change", ["DELETE FROM head", "UPDATE head SET size = 3", "UPDATE head SET frontier = x'00'"])
def test_damaged_head(mixed: Engine, change: str) -> None:
    """A head that does not fit itself stops every append."""
    rewrite(mixed, change)

    with pytest.raises(HeadDamaged):
        LedgerRecorder(mixed).insert_events([envelope("c", 1)])


@stores.about_files
def test_head_that_is_behind(mixed: Engine) -> None:
    """A head that was set back does not lead to a second event at one position."""
    empty = merkle.Frontier().to_bytes().hex()
    rewrite(mixed, f"UPDATE head SET size = 0, frontier = x'{empty}'")

    with pytest.raises(NotNextPosition):
        LedgerRecorder(mixed).insert_events([envelope("c", 1)])


def test_conflict_leaves_nothing(mixed: Engine) -> None:
    """Of an append that meets a version that exists, nothing stays, whichever of its events it was."""
    with pytest.raises(IntegrityError, match="exists"):
        LedgerRecorder(mixed).insert_events([envelope("c", 1), envelope("a", 5)])
    with reading(mixed) as connection:
        assert events.head(connection).size == 10
        assert events.stream_version(connection, "c") == 0


def test_tracking_and_events_together(mixed: Engine) -> None:
    """When the events conflict, the tracking position stays where it was."""
    recorder = LedgerRecorder(mixed)
    with pytest.raises(IntegrityError):
        recorder.insert_events([envelope("a", 1)], tracking=Tracking("follower", 3))
    assert recorder.max_tracking_id("follower") is None


def test_on_an_open_transaction(engine: Engine) -> None:
    """On a connection the recorder neither commits nor rolls back: two streams change together or not at all."""

    def append_twice() -> None:
        with writing(engine) as connection:
            recorder = LedgerRecorder(connection=connection)
            recorder.insert_events([envelope("a", 1)])
            assert len(recorder.select_events("a")) == 1
            recorder.insert_events([envelope("b", 1), envelope("b", 1)])

    with pytest.raises(IntegrityError):
        append_twice()
    assert LedgerRecorder(engine).max_notification_id() is None


def test_misuse() -> None:
    """A recorder without a store is a mistake in the program."""
    with pytest.raises(RuntimeError):
        LedgerRecorder()


def test_no_subscription_inside_a_transaction(engine: Engine) -> None:
    """A transaction can't wait for events that it would never see."""
    with reading(engine) as connection, pytest.raises(RuntimeError):
        LedgerRecorder(connection=connection).subscribe()


@pytest.mark.parametrize(
    ("conditions", "positions"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"after": 7}, [8, 9, 10]),
        ({"until": 2}, [1, 2]),
        ({"until": 0}, []),
        ({"after": 3, "until": 5}, [4, 5]),
        ({"topics": ["topic0/1"]}, [1, 4, 7, 10]),
        ({"topics": ["topic2/1", "topic0/1"]}, [1, 3, 4, 6, 7, 9, 10]),
        ({"topics": ["topic2/1", "topic0/1"], "descending": True, "limit": 2}, [10, 9]),
        ({"topics": ["other/1"]}, []),
        ({"stream": "b"}, [2, 4, 6, 8, 10]),
        ({"stream": "b", "after_version": 0}, [2, 4, 6, 8, 10]),
        ({"stream": "b", "after_version": 2}, [6, 8, 10]),
        ({"stream": "b", "after_version": 2, "until_version": 3}, [6]),
        ({"stream": "b", "until": 5}, [2, 4]),
        ({"stream": "b", "descending": True, "limit": 1}, [10]),
        ({"limit": 3}, [1, 2, 3]),
        ({"limit": 0}, []),
    ],
)
def test_conditions_of_a_read(mixed: Engine, conditions: dict[str, object], positions: list[int]) -> None:
    """Each condition narrows what is read, and they go together."""
    with reading(mixed) as connection:
        rows = list(events.read(connection, **conditions))  # type: ignore[arg-type]
    assert [row.position for row in rows] == positions


def test_streams_end(mixed: Engine) -> None:
    """A stream's version and last event are its newest event's."""
    with reading(mixed) as connection:
        assert events.stream_version(connection, "a") == 5
        last = events.last(connection, "a")
    assert last is not None
    assert (last.position, last.version) == (9, 5)


def test_more_events_than_a_chunk(engine: Engine) -> None:
    """Reading and writing go on from one chunk to the next without losing or repeating a row."""
    count = bulk.CHUNK_ROWS + events.FETCH_ROWS + 1
    LedgerRecorder(engine).insert_events([envelope("a", n) for n in range(1, count + 1)])

    with reading(engine) as connection:
        assert [row.position for row in events.read(connection)] == list(range(1, count + 1))


def test_reading_is_lazy(mixed: Engine) -> None:
    """A read that is given up early does not stand in the way of the transaction's end."""
    with writing(mixed) as connection:
        assert next(events.read(connection)).position == 1
        LedgerRecorder(connection=connection).insert_events([envelope("c", 1)])
    assert LedgerRecorder(mixed).max_notification_id() == 11


def test_checkpoints(engine: Engine) -> None:
    """The newest checkpoint is the one of the greatest size; the same note twice is one checkpoint."""
    LedgerRecorder(engine).insert_events([envelope("a", n) for n in range(1, 11)])
    with writing(engine) as connection:
        events.add_checkpoint(connection, 9, "nine")
        events.add_checkpoint(connection, 10, "ten")
        events.add_checkpoint(connection, 3, "three")
        events.add_checkpoint(connection, 10, "ten")

        assert events.newest_checkpoint(connection) == events.Checkpoint(10, "ten")


def test_second_checkpoint_of_a_size(engine: Engine) -> None:
    """There is one note for a size, for ever."""
    LedgerRecorder(engine).insert_events([envelope("a", n) for n in range(1, 10)])
    with writing(engine) as connection:
        events.add_checkpoint(connection, 9, "nine")
    with pytest.raises(CheckpointTaken, match="size 9"), writing(engine) as connection:
        events.add_checkpoint(connection, 9, "another nine")


@stores.about_files
def test_stored_bytes_are_plain_zlib(engine: Engine) -> None:
    """Anybody can read a compressed payload with zlib alone."""
    payload = b"0" * 5000
    LedgerRecorder(engine).insert_events([envelope("a", 1, payload=payload)])
    with reading(engine) as connection:
        row = bulk.query(connection, "SELECT payload FROM event").fetchone()
    assert row is not None
    assert zlib.decompress(row[0]) == payload
