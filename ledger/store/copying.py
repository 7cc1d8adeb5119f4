"""Moving the events of one store into another: the same positions, actors, leaves and root.

Rules of this module:

* The source is held to its own word: every leaf is computed from its row, and all leaves have to give the head's root.
* The copy is held to the source's: what was written is read back, and has to give the same root.
* How a payload is stored is each store's own business; leaves stand for what it holds.
* Everything happens in the caller's two transactions, so a copy that fails was none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlalchemy import Connection

from ledger import merkle
from ledger.merkle import Frontier
from ledger.store import bulk, events
from ledger.store.errors import CopyDiffers, LeafDamaged

Progress = Callable[[int, int], None]


def fill(source: Connection, target: Connection, until: int, progress: Progress) -> tuple[Frontier, int]:
    """Copy events and checkpoints up to a position into new tables; returns the frontier and the time of the end.

    Raises:
        LeafDamaged: an event of the source is not what its leaf stands for.
        CopyDiffers: the source's leaves do not give its head.
    """
    end = _End()
    bulk.insert(target, "event", events.COLUMNS, _checked(source, target, until, end, progress))
    head = events.head(source)
    whole = end.frontier.extend(_leaves_of(source, "position > ?", until))
    if (whole.size, whole.root()) != (head.size, head.root):
        raise CopyDiffers(problem="the leaves of the source do not give its head")
    notes = bulk.query(source, "SELECT size, note FROM checkpoint WHERE size <= ? ORDER BY size", (until,))
    bulk.insert(target, "checkpoint", ("size", "note"), notes.fetchall())
    return end.frontier, end.recorded_at


def verify(source: Connection, target: Connection, until: int, progress: Progress) -> Frontier:
    """Read the copy back and compare it with the source; returns the frontier of both. Raises: CopyDiffers."""
    frontier = Frontier().extend(_computed(events.read(target), until, progress))
    there = Frontier().extend(_leaves_of(source, "position <= ?", until))
    head = events.head(target)
    if frontier != there or (head.size, head.root) != (frontier.size, frontier.root()):
        raise CopyDiffers(problem=f"its root is {head.root.hex()}, the source's {there.root().hex()}")
    notes = "SELECT size, note FROM checkpoint WHERE size <= ? ORDER BY size"
    if bulk.query(target, notes, (until,)).fetchall() != bulk.query(source, notes, (until,)).fetchall():
        raise CopyDiffers(problem="checkpoints are missing")
    return frontier


class _End:
    """Where the events that went by ended."""

    def __init__(self) -> None:
        self.frontier, self.recorded_at = Frontier(), 0


def _checked(
    source: Connection, target: Connection, until: int, end: _End, progress: Progress
) -> Iterator[tuple[bulk.SqlValue, ...]]:
    plain = bulk.is_postgresql(target)
    found = _leaves_of(source, "position <= ?", until)
    leaves: list[bytes] = []
    for row, leaf in zip(events.read(source, until=until), found, strict=True):
        if leaf != merkle.leaf_hash(merkle.entry(*row)):
            raise LeafDamaged(position=row.position)
        leaves.append(leaf)
        if len(leaves) == events.FETCH_ROWS:
            end.frontier, leaves = end.frontier.extend(leaves), []
            progress(row.position, until)
        end.recorded_at = row.recorded_at
        encoding, payload = (events.PLAIN, row.payload) if plain else events.packed(row.payload)
        yield (*row[:6], encoding, leaf, payload)
    end.frontier = end.frontier.extend(leaves)


def _leaves_of(connection: Connection, condition: str, position: int) -> Iterator[bytes]:
    cursor = bulk.stream(connection, f"SELECT leaf FROM event WHERE {condition} ORDER BY position", (position,))
    while chunk := cursor.fetchmany(events.FETCH_ROWS):
        for (leaf,) in chunk:
            yield leaf


def _computed(rows: Iterator[events.Row], until: int, progress: Progress) -> Iterator[bytes]:
    for row in rows:
        if row.position % events.FETCH_ROWS == 0:
            progress(row.position, until)
        yield merkle.leaf_hash(merkle.entry(*row))
