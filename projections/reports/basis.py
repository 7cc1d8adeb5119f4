"""What a report was made from: the position and root of the ledger, and the checkpoint that was signed before it.

The checkpoint is the newest one *below* the position: one is signed over a ledger and stored by an event that follows,
so this is the one that was there when the ledger was so long, and the past has the same answer as the present had.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from sqlalchemy import text

from ledger.store import events
from projections.reports.source import Source
from projections.reports.values import Time


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A C2SP signed note over the ledger's first `position` events."""

    position: int
    note: str


@dataclass(frozen=True, slots=True)
class Head:
    """How long the ledger was, and the Merkle root (hex) over all of it."""

    position: int
    root: str


@dataclass(frozen=True, slots=True)
class Basis:
    """Which ledger, how much of it, and the moment that the answers are for."""

    factory: str
    head: Head
    checkpoint: SignedCheckpoint | None
    at: Time
    began: Time


def basis_of(source: Source) -> Basis:
    """What a report is made from."""
    root = events.frontier_at(source.ledger, source.position).root()
    first = events.get(source.ledger, 1)
    found = source.ledger.execute(
        text("SELECT size, note FROM checkpoint WHERE size < :position ORDER BY size DESC LIMIT 1"),
        {"position": source.position},
    ).first()
    return Basis(
        orjson.loads(first.payload)["factory"] if first else "",
        Head(source.position, root.hex()),
        SignedCheckpoint(*found) if found else None,
        Time(source.now),
        Time(first.recorded_at if first else source.now),
    )
