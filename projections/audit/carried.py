"""The moment that a publication was drawn from, as its snapshots say it."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from ledger.domain.errors import LedgerError
from ledger.domain.events import ViewPublished
from ledger.tuf import note
from ledger.tuf.documents import EXTENSION


def carried_by(views: Sequence[ViewPublished]) -> int | None:
    """The size of the one checkpoint that all these snapshots carry; None if they carry none, or several."""
    try:
        found = {_size(view.snapshot) for view in views}
    except (LedgerError, ValueError, KeyError, TypeError):
        return None
    return found.pop() if len(found) == 1 else None


def _size(snapshot: str) -> int:
    return note.from_field(orjson.loads(snapshot)["signed"][EXTENSION]["checkpoint"]).size
