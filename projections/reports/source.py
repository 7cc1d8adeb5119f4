"""Where a report's numbers come from: the tables as they were at a moment, and the events up to it.

For the present both are the store itself. For the past the tables are those of `projections.at`, in memory, which hold
but a few events: so whatever is read of events is read from the ledger, and never beyond `position`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection


class Source(NamedTuple):
    """`now` is the clock, in seconds since 1970; `telemetry` is false for the past, of which nobody kept it.

    `progress` gets the position that a walk over the events has come to, and where it ends.
    """

    tables: Connection
    ledger: Connection
    position: int
    now: int
    telemetry: bool
    progress: Callable[[int, int], None] | None = None
