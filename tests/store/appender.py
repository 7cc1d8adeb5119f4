"""A writer in a process of its own, for the race test: ``appender.py URL JOURNAL_MODE NAME COUNT``."""

from __future__ import annotations

import sys

from ledger.store import events
from ledger.store.engine import open_engine, writing
from ledger.store.recorder import LedgerRecorder, StoredEnvelope


def append(url: str, journal_mode: str, name: str, count: int) -> None:
    """Appends `count` times one event to the writer's own stream and one to the shared stream."""
    engine = open_engine(url, journal_mode=journal_mode or None)
    for number in range(1, count + 1):
        with writing(engine) as connection:
            shared = events.stream_version(connection, "shared") + 1
            at = 1_700_000_000 + sum(name.encode()) * number  # clocks that disagree
            own = StoredEnvelope(f"own:{name}", number, "own/1", b"{}", at, name)
            common = StoredEnvelope("shared", shared, "shared/1", b"{}", at, name)
            LedgerRecorder(connection=connection).insert_events([own, common])


if __name__ == "__main__":
    append(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
