"""The stores that crash rounds are played on, each in the way it is opened by default or by choice."""

from __future__ import annotations

import errno
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import psycopg
from sqlalchemy import Connection, event
from sqlalchemy.pool import Pool

import ledger.store.postgresql
from ledger.store import engine
from tests.crashes.processes import Traced
from tests.postgres import Server, server

LOADED = (ledger.store.postgresql,)  # once, before the forks
MOMENT, STATEMENT, WRITE, ERROR, SERVER = MODES = ("moment", "statement", "write", "error", "server")


class Store(Protocol):
    """What a round asks of a store."""

    modes: Sequence[str]

    def prepare(self, directory: Path) -> None:
        """Make room for a new ledger, whose commands run in that directory."""

    def url(self, actor: str) -> str:
        """Where an actor finds it."""

    def check(self, connection: Connection) -> None:
        """The database's own check of itself. Raises: AssertionError."""

    def dying_at_statement(self, number: int) -> Callable[[], object]:
        """What a child does so that it dies right before the statement of that number, counted from 0."""

    def fail(self, traced: Traced, actor: str, write: int, chance: random.Random) -> int:
        """Let a child run to its end, and whatever it writes to the store from that write on fail; its exit code."""

    def strike(self, chance: random.Random) -> None:
        """Break connections, or the whole server; returns when it is there again."""

    def close(self) -> None:
        """Let go of what `prepare` made."""


class Sqlite:
    """A file in the directory, in one journal mode for all processes."""

    modes = (MOMENT, STATEMENT, WRITE, ERROR)

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
        count = Countdown(number)

        def connected(connection: Any, _record: object) -> None:
            connection.set_trace_callback(lambda _: count.tick())

        return lambda: event.listen(Pool, "connect", connected)

    def fail(self, traced: Traced, actor: str, write: int, chance: random.Random) -> int:
        """As a disk does that is full, or broken."""
        return traced.fail_from(write, chance.choice((errno.ENOSPC, errno.EDQUOT, errno.EIO)))

    def strike(self, chance: random.Random) -> None:
        """Nothing: there is no server."""

    def close(self) -> None:
        """Nothing: the file goes with its directory."""


class Postgresql:
    """A database of its own in the tests' server; each writer is a role of it."""

    modes = MODES

    def __init__(self) -> None:
        self.server: Server = server()
        self.database = ""

    @property
    def _others(self) -> str:
        return f"FROM pg_stat_activity WHERE datname = '{self.database}'"

    def prepare(self, directory: Path) -> None:
        """An empty database."""
        self.database = self.server.database()

    def url(self, actor: str) -> str:
        """Who connects is who acts."""
        if actor != "alice":  # who makes the ledger, and is there with the server
            self.server.role(actor)
        return self.server.url(self.database, actor)

    def check(self, connection: Connection) -> None:
        """Nobody is left in a transaction, or with a lock."""
        left = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE locktype = 'advisory'"
        assert self.server.run(f"{left} AND d.datname = '{self.database}'") == [(0,)]

    def dying_at_statement(self, number: int) -> Callable[[], object]:
        """In the driver, before it sends a statement or a row."""
        count = Countdown(number)

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                count.tick()
                return function(*args, **kwargs)

            return call

        def prepare() -> None:
            for name in ("execute", "executemany", "copy"):
                setattr(psycopg.Cursor, name, counted(getattr(psycopg.Cursor, name)))

        return prepare

    def fail(self, traced: Traced, actor: str, write: int, chance: random.Random) -> int:
        """The connection is lost while the child stands at that write; it finds out by itself."""
        if traced.run_to(write):
            self.server.run(f"SELECT pg_terminate_backend(pid) {self._others} AND usename = '{actor}'")
            traced.run_to(sys.maxsize)
        assert traced.code is not None
        return traced.code

    def strike(self, chance: random.Random) -> None:
        """End the connections, or kill one of the server's processes, so that all of it starts anew."""
        if chance.random() < 0.5:
            self.server.run(f"SELECT pg_terminate_backend(pid) {self._others}")
            return
        for (backend,) in self.server.run(f"SELECT pid {self._others}")[:1]:
            os.kill(backend, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.server.run("SELECT 1")
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def close(self) -> None:
        """Drop the database."""
        self.server.drop(self.database)


class Countdown:
    """The end of this process after so many ticks."""

    def __init__(self, left: int) -> None:
        self.left = left

    def tick(self) -> None:
        """One less."""
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1


STORES: dict[str, Callable[[], Store]] = {
    "sqlite-truncate": lambda: Sqlite("TRUNCATE"),
    "sqlite-wal": lambda: Sqlite("WAL"),
    "postgresql": Postgresql,
}
