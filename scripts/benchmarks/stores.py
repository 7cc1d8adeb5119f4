"""The stores to measure on: SQLite, and PostgreSQL; each with our way in and with nothing but the driver.

Bare connections have the same settings as ours: durability, cache, isolation. So what differs is what is done.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from ledger.store.engine import CACHE_KIB, journal_mode_for

REPOSITORY = Path(__file__).parents[2]
DURABLE = {
    "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "shared_buffers": "512MB",
    "max_wal_size": "4GB", "work_mem": "64MB", "maintenance_work_mem": "256MB",
}  # fmt: skip


class Bare:
    """A driver's connection. Statements have `?` placeholders."""

    def __init__(self, url: str) -> None:
        """Connect; an SQLite file is made if there is none."""
        self.on_postgresql = url.startswith("postgresql")
        self.connection: Any
        if self.on_postgresql:
            import psycopg

            self.connection = psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True)
            self.connection.execute("SET search_path = waveledger_projections, waveledger, public")
        else:
            self.connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
            settings = ("synchronous = FULL", f"cache_size = -{CACHE_KIB}", "temp_store = MEMORY")
            for pragma in (*settings, f"journal_mode = {journal_mode_for(sqlite3.sqlite_version_info)}"):
                self.connection.execute(f"PRAGMA {pragma}")

    def run(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """One statement."""
        return self.connection.execute(sql.replace("?", "%s") if self.on_postgresql else sql, values)

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        """Many rows, in the driver's fastest way: executemany, or COPY."""
        names = ", ".join(columns)
        if not self.on_postgresql:
            self.connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})", rows)
            return
        with self.connection.cursor().copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    @contextmanager
    def transaction(self, *, kept: bool = True) -> Iterator[None]:
        """One transaction; rolled back if it is not to be kept."""
        self.run("BEGIN" if self.on_postgresql else "BEGIN IMMEDIATE")
        yield
        self.run("COMMIT" if kept else "ROLLBACK")

    def create(self, table: Table) -> None:
        """A table with its indexes."""
        dialect: Any = (postgresql if self.on_postgresql else sqlite).dialect()
        self.run(str(CreateTable(table).compile(dialect=dialect)))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            self.run(str(CreateIndex(index).compile(dialect=dialect)))

    def create_all(self, tables: MetaData) -> None:
        """Tables with their indexes."""
        for table in tables.tables.values():
            self.create(table)

    def close(self) -> None:
        """End."""
        self.connection.close()


class Place:
    """Where stores are made: a directory, or a PostgreSQL server."""

    name = "sqlite"

    def __init__(self, directory: Path) -> None:
        """Files go into the directory."""
        self.directory = directory

    def new(self, name: str) -> str:
        """The URL of a store that is not there yet."""
        path = self.directory.absolute() / f"{name}.db"
        for left in self.directory.glob(f"{name}.db*"):
            left.unlink()
        return f"sqlite:///{path}"

    def drop(self, url: str) -> None:
        """Remove a store."""
        for left in self.directory.glob(Path(url.removeprefix("sqlite:///")).name + "*"):
            left.unlink()


class Server(Place):
    """A PostgreSQL server of this run's own, as durable as one in earnest."""

    name = "postgresql"

    def __init__(self, directory: Path) -> None:
        """Start it; it ends with this process."""
        super().__init__(directory)
        sys.path.insert(0, str(REPOSITORY))
        from tests import postgres

        postgres.SETTINGS.update(DURABLE)
        self._server = postgres.start()
        self._names: dict[str, str] = {}

    def new(self, name: str) -> str:
        """The URL of an empty database with the schemas."""
        database = self._server.database()
        url = self._server.url(database, "alice")
        self._names[url] = database
        return url

    def drop(self, url: str) -> None:
        """Remove a database."""
        self._server.drop(self._names.pop(url))


PLACES: dict[str, type[Place]] = {"sqlite": Place, "postgresql": Server}
