"""Reading the ledger as it is stored, without decoding it: what reports, projections and proofs start from.

Rules of this module:

* It imports nothing heavy, above all not eventsourcing: every reading command goes through it.
* Events come in order of position (of version, when a stream is asked for), a chunk at a time: a million of them are
  never in memory at once.
* A payload is handed out as it was appended; compression is seen nowhere else.
* The caller brings the transaction: all that one `reading` returns belongs together.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor

from ledger.merkle import Frontier
from ledger.store.bulk import SqlValue, insert, query
from ledger.store.bulk import stream as open_stream
from ledger.store.errors import CheckpointTaken, HeadDamaged, PayloadDamaged

FETCH_ROWS = 1_000
COMPRESS_ABOVE = 4096  # bytes of payload
COMPRESS_LEVEL = 1  # four times as fast as the default, for a tenth more of bytes
PLAIN = "json"
COMPRESSED = "json+zlib"
_ROOM = 16  # times the compressed size: what names, hashes and numbers of targets come to
COLUMNS = ("position", "stream", "version", "topic", "recorded_at", "actor", "encoding", "leaf", "payload")

_SELECT = "SELECT position, stream, version, topic, recorded_at, actor, encoding, payload FROM event"

# The end, and a topic that is none of the known ones, of the few events after a position: along their positions,
# whatever a planner thinks of how many they are.
_FEW = 1_000
_END = f"""SELECT h.size, h.frontier, h.recorded_at, (SELECT min(e.topic) FROM (
    SELECT topic FROM event WHERE position > ? ORDER BY position LIMIT {_FEW}) e WHERE e.topic NOT IN ({{marks}}))
FROM head h WHERE h.id = 1"""
_READ_TO = "topics_read_to"  # of a connection: up to where all topics are known


class Row(NamedTuple):
    """One event as it is stored; `recorded_at` in seconds since 1970, `payload` uncompressed."""

    position: int
    stream: str
    version: int
    topic: str
    recorded_at: int
    actor: str
    payload: bytes


class Stored(NamedTuple):
    """One event as its row holds it, for who takes nothing for granted: what is read may be of any type."""

    position: Any
    stream: Any
    version: Any
    topic: Any
    recorded_at: Any
    actor: Any
    encoding: Any
    leaf: Any
    payload: Any

    def plain(self) -> bytes:
        """The payload as it was appended. Raises: PayloadDamaged."""
        if self.encoding == PLAIN and isinstance(self.payload, bytes):
            return self.payload
        return _uncompressed(self.position, self.encoding, self.payload)


class Head(NamedTuple):
    """How far the ledger goes; `recorded_at` is the newest event's, in seconds since 1970, 0 before the first."""

    size: int
    root: bytes
    recorded_at: int


class End(NamedTuple):
    """Where the ledger ends for who appends to it; `recorded_at` as in `Head`."""

    frontier: Frontier
    recorded_at: int


class Checkpoint(NamedTuple):
    """A signed note over the ledger's root at one size."""

    size: int
    note: str


def read(
    connection: Connection,
    *,
    after: int = 0,
    until: int | None = None,
    topics: Sequence[str] = (),
    stream: str | None = None,
    after_version: int | None = None,
    until_version: int | None = None,
    limit: int | None = None,
    descending: bool = False,
) -> Generator[Row, None, None]:
    """Events one after the other; every condition left out lets everything pass.

    Args:
        connection: an open transaction; it has to stay open until the last event was taken.
        after: only positions above this one.
        until: only positions up to this one, itself included.
        topics: only these topics; none given: all.
        stream: only this stream.
        after_version: only versions of the stream above this one.
        until_version: only versions of the stream up to this one, itself included.
        limit: at most so many.
        descending: newest first.
    """
    conditions: list[tuple[str, Sequence[SqlValue]]] = []
    if after:
        conditions.append(("position > ?", (after,)))
    if until is not None:
        conditions.append(("position <= ?", (until,)))
    if stream is not None:
        conditions.append(("stream = ?", (stream,)))
    if after_version is not None:
        conditions.append(("version > ?", (after_version,)))
    if until_version is not None:
        conditions.append(("version <= ?", (until_version,)))
    if topics:
        conditions.append((f"topic IN ({', '.join('?' * len(topics))})", topics))
    where = " AND ".join(condition for condition, _ in conditions)
    values: list[SqlValue] = [value for _, given in conditions for value in given]
    order = ("position" if stream is None else "version") + (" DESC" if descending else "")
    sql = f"{_SELECT} {'WHERE ' + where if where else ''} ORDER BY {order}"
    if limit is not None:
        sql += " LIMIT ?"
        values.append(limit)
    few = stream is not None or limit is not None
    return _rows((query if few else open_stream)(connection, sql, tuple(values)))


def stored(connection: Connection, after: int, limit: int) -> list[Stored]:
    """The next rows after a position, as they are."""
    sql = f"SELECT {', '.join(COLUMNS)} FROM event WHERE position > ? ORDER BY position LIMIT ?"
    cursor = query(connection, sql, (after, limit))
    return [Stored._make(row) for row in cursor.fetchall()]


def leaves(connection: Connection, until: int) -> Iterator[bytes]:
    """The leaves of the Merkle tree, from the first position up to one."""
    cursor = open_stream(connection, "SELECT leaf FROM event WHERE position <= ? ORDER BY position", (until,))
    while chunk := cursor.fetchmany(FETCH_ROWS):
        yield from (leaf for (leaf,) in chunk)


def packed(payload: bytes) -> tuple[str, bytes]:
    """A payload as SQLite stores it, and how that is called."""
    return (COMPRESSED, zlib.compress(payload, COMPRESS_LEVEL)) if len(payload) > COMPRESS_ABOVE else (PLAIN, payload)


def get(connection: Connection, position: int) -> Row | None:
    """The event at a position."""
    return next(_rows(query(connection, f"{_SELECT} WHERE position = ?", (position,))), None)


def last(connection: Connection, stream: str) -> Row | None:
    """The newest event of a stream."""
    return next(read(connection, stream=stream, descending=True, limit=1), None)


def topics(connection: Connection) -> list[str]:
    """The topics of all events: a few steps along their index, however many events there are."""
    sql = (
        "WITH RECURSIVE t(topic) AS (SELECT min(topic) FROM event UNION ALL "
        "SELECT (SELECT min(topic) FROM event WHERE topic > t.topic) FROM t WHERE t.topic IS NOT NULL) "
        "SELECT topic FROM t WHERE topic IS NOT NULL"
    )
    return [topic for (topic,) in query(connection, sql).fetchall()]


def end_to_append(connection: Connection, known: Collection[str]) -> tuple[End, list[str]]:
    """Where the ledger ends, and topics in it that are not `known`. Raises: HeadDamaged.

    Who asked before on this connection is told of later events only, in one statement: history stays as it was.
    """
    after = connection.info.get(_READ_TO, -_FEW)
    row = None
    if after >= 0:
        row = query(connection, _END.format(marks=", ".join("?" * len(known))), (after, *known)).fetchone()
    if row is None or row[0] > after + _FEW:
        end, found = end_of(connection), topics(connection)
    else:
        end, found = _end(row), [row[3]] if row[3] else []
    strange = [topic for topic in found if topic not in known]
    if not strange:
        connection.info[_READ_TO] = end.frontier.size
    return end, strange


def position_at(connection: Connection, seconds: int) -> int:
    """The position of the last event that was recorded up to a time (seconds since 1970), 0 before the first.

    Times never go down along the positions, so a few of them tell.
    """
    low, high = 0, head(connection).size
    while low < high:
        middle = (low + high + 1) // 2
        found = query(connection, "SELECT recorded_at FROM event WHERE position = ?", (middle,)).fetchone()
        if found is None or found[0] > seconds:
            high = middle - 1
        else:
            low = middle
    return low


def stream_version(connection: Connection, stream: str) -> int:
    """The version of a stream's newest event, 0 if it has none."""
    found = query(connection, "SELECT max(version) FROM event WHERE stream = ?", (stream,)).fetchone()
    return int(found[0] or 0) if found else 0


def head(connection: Connection) -> Head:
    """The ledger's size, its Merkle root and the time of its newest event. Raises: HeadDamaged."""
    frontier, recorded_at = end_of(connection)
    return Head(frontier.size, frontier.root(), recorded_at)


def end_of(connection: Connection) -> End:
    """The frontier that the next append goes on from, and the newest event's time. Raises: HeadDamaged."""
    return _end(query(connection, "SELECT size, frontier, recorded_at FROM head WHERE id = 1").fetchone())


def _end(row: Any) -> End:
    if row is None:
        raise HeadDamaged(problem="its row is missing")
    size, data, recorded_at = row[:3]
    try:
        frontier = Frontier.from_bytes(data)
    except (ValueError, TypeError) as error:
        raise HeadDamaged(problem=str(error)) from error
    if frontier.size != size:
        raise HeadDamaged(problem=f"its size is {size}, its frontier's {frontier.size}")
    return End(frontier, recorded_at)


def frontier_at(connection: Connection, size: int) -> Frontier:
    """The frontier of the ledger when it had so many events. Raises: HeadDamaged."""
    frontier, _ = end_of(connection)
    return frontier if frontier.size == size else Frontier().extend(leaves(connection, size))


def add_checkpoint(connection: Connection, size: int, note: str) -> None:
    """Keeps a signed note; the same note once more changes nothing. Raises: CheckpointTaken."""
    kept = query(connection, "SELECT note FROM checkpoint WHERE size = ?", (size,)).fetchone()
    if kept is None:
        insert(connection, "checkpoint", ("size", "note"), [(size, note)])
    elif kept != (note,):
        raise CheckpointTaken(size=size)


def checkpoints(connection: Connection, after: int = -1, until: int | None = None) -> Iterator[Checkpoint]:
    """The checkpoints of sizes above `after`, up to `until`, in the order of their sizes."""
    where, values = ("", ()) if until is None else (" AND size <= ?", (until,))
    cursor = query(
        connection, f"SELECT size, note FROM checkpoint WHERE size > ?{where} ORDER BY size", (after, *values)
    )
    while chunk := cursor.fetchmany(FETCH_ROWS):
        yield from (Checkpoint(*row) for row in chunk)


def checkpoint_of(connection: Connection, size: int) -> Checkpoint | None:
    """The checkpoint of a size."""
    return next(checkpoints(connection, size - 1, size), None)


def newest_checkpoint(connection: Connection) -> Checkpoint | None:
    """The checkpoint of the greatest size."""
    row = query(connection, "SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
    return None if row is None else Checkpoint(*row)


def _rows(cursor: DBAPICursor) -> Generator[Row, None, None]:
    make = Row._make
    try:
        while chunk := cursor.fetchmany(FETCH_ROWS):
            for position, stream, version, topic, recorded_at, actor, encoding, payload in chunk:
                plain = payload if encoding == PLAIN else _uncompressed(position, encoding, payload)
                yield make((position, stream, version, topic, recorded_at, actor, plain))
    finally:
        cursor.close()


def _uncompressed(position: int, encoding: Any, payload: Any) -> bytes:
    if encoding != COMPRESSED:
        raise PayloadDamaged(position=position, problem=f"unknown encoding {encoding!r}")
    reader = zlib.decompressobj()
    try:
        # Room for most payloads at once: zlib's own buffer grows from 16 KiB, which takes half as long again.
        plain = reader.decompress(payload, _ROOM * len(payload))
        if reader.unconsumed_tail:
            plain += reader.decompress(reader.unconsumed_tail)
    except (zlib.error, TypeError) as error:
        raise PayloadDamaged(position=position, problem=str(error)) from error
    if not reader.eof or reader.unused_data:
        raise PayloadDamaged(position=position, problem="what was compressed ends too early, or something follows it")
    return plain
