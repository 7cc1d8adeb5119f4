"""Where a report's numbers come from: the tables as they were at a moment, and the events up to it.

For the present both are the store itself. For the past the tables are those of `projections.at`, in memory, which hold
but a few events: so whatever is read of events is read from the ledger, and never beyond `position`.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection


class Source(NamedTuple):
    """`now` is the clock, in seconds since 1970; `telemetry` is false for the past, of which nobody kept it."""

    tables: Connection
    ledger: Connection
    position: int
    now: int
    telemetry: bool
