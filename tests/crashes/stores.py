"""The stores that crash rounds are played on, each in the way it is opened by default or by choice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, event
from sqlalchemy.pool import Pool

from ledger.store import engine


class Store(Protocol):
    """What a round asks of a store."""

    def prepare(self, directory: Path) -> None:
        """Make room for a new ledger, whose commands run in that directory."""

    def url(self, actor: str) -> str:
        """Where an actor finds it."""

    def check(self, connection: Connection) -> None:
        """The database's own check of itself. Raises: AssertionError."""

    def dying_at_statement(self, number: int) -> Callable[[], object]:
        """What a child does so that it dies right before the statement of that number, counted from 0."""

    def close(self) -> None:
        """Let go of what `prepare` made."""


class Sqlite:
    """A file in the directory, in one journal mode for all processes."""

    def __init__(self, journal_mode: str) -> None:
        self.path = Path()
        engine.journal_mode_for = lambda _: journal_mode  # as a library of another version would have it

    def prepare(self, directory: Path) -> None:
        """Nothing: the file is made by init."""
        self.path = directory / "waveledger.db"

    def url(self, actor: str) -> str:
        """The same for all."""
        return f"sqlite:///{self.path}"

    def check(self, connection: Connection) -> None:
        """PRAGMA integrity_check."""
        found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        assert found == ["ok"], found

    def dying_at_statement(self, number: int) -> Callable[[], object]:
        """By SQLite's own trace, which tells of each statement before it runs."""
        left = number

        def trace(_: str) -> None:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        def connected(connection: Any, _record: object) -> None:
            connection.set_trace_callback(trace)

        return lambda: event.listen(Pool, "connect", connected)

    def close(self) -> None:
        """Nothing: the file goes with its directory."""


STORES: dict[str, Callable[[], Store]] = {
    "sqlite-truncate": lambda: Sqlite("TRUNCATE"),
    "sqlite-wal": lambda: Sqlite("WAL"),
}
