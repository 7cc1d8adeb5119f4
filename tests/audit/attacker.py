"""Whoever has the database: removes the triggers, and changes what they like, on either store.

Attacks are plain SQL over the event store's own tables. What takes the ledger's private key is not possible here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, text

from ledger import merkle
from ledger.store import events
from tests import stores
from tests.support import Factory

COLUMNS = ("position", "stream", "version", "topic", "recorded_at", "actor", "encoding", "leaf", "payload")


class Attacker:
    """One with a copy of a factory's ledger. Each attack is committed."""

    def __init__(self, factory: Factory) -> None:
        self.factory = factory
        tamper(factory.path)

    def database(self) -> AbstractContextManager[Connection]:
        """The database with all rights, in one transaction."""
        return open_database(self.factory.path)

    def run(self, statement: str, **values: Any) -> int:
        """One statement; how many rows it changed."""
        with self.database() as connection:
            return connection.execute(text(statement), values).rowcount

    def rows(self, table: str = "event", order: str = "position") -> list[dict[str, Any]]:
        """All rows of a table."""
        with self.database() as connection:
            found = connection.execute(text(f"SELECT * FROM {table} ORDER BY {order}"))
            return [dict(row) for row in found.mappings()]

    def put(self, rows: list[dict[str, Any]]) -> None:
        """Replace the events by these, as they are."""
        columns = ", ".join(COLUMNS)
        marks = ", ".join(f":{column}" for column in COLUMNS)
        with self.database() as connection:
            connection.execute(text("DELETE FROM event"))
            for row in rows:
                connection.execute(text(f"INSERT INTO event ({columns}) VALUES ({marks})"), row)

    def rehash(self) -> None:
        """Make leaves and head anew, so that the chain is whole again; checkpoints can't be signed anew."""
        rows, frontier, recorded_at = self.rows(), merkle.Frontier(), 0
        for row in rows:
            plain = events.Stored(*(row[column] for column in COLUMNS)).plain()
            row["leaf"] = merkle.leaf_hash(merkle.entry(*(row[column] for column in COLUMNS[:6]), plain))
            frontier, recorded_at = frontier.append(row["leaf"]), row["recorded_at"]
        self.put(rows)
        self.run(
            "UPDATE head SET size = :size, frontier = :frontier, recorded_at = :at",
            size=frontier.size,
            frontier=frontier.to_bytes(),
            at=recorded_at,
        )

    def rebuild(self) -> None:
        """Make the projections those of the changed events, as `projections rebuild` does for everybody."""
        from projections import runner

        for fold in runner.folds():
            runner.rebuild(self.factory.engine, fold.name)


def tamper(path: Path, *statements: str) -> None:
    """Take the triggers away from the store at a path, and execute these."""
    with open_database(path) as connection:
        _unlock(connection)
        for statement in statements:
            connection.execute(text(statement))


@contextmanager
def open_database(path: Path) -> Iterator[Connection]:
    """The database of the store at a path, with all rights, in one transaction."""
    engine = create_engine(stores.owner_url(path))
    try:
        with engine.begin() as connection:
            if stores.ON_POSTGRESQL:
                connection.execute(text("SET search_path = waveledger, waveledger_projections"))
            yield connection
    finally:
        engine.dispose()


def _unlock(connection: Connection) -> None:
    if stores.ON_POSTGRESQL:
        for table in ("event", "checkpoint", "head"):
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        return
    for (name,) in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
        connection.execute(text(f"DROP TRIGGER {name}"))
