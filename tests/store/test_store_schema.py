"""The tables: created at once, checked by version, and append-only by their own force."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, inspect
from sqlalchemy.exc import OperationalError

from ledger.store import bulk, events, migrate
from ledger.store.engine import open_engine, reading, writing
from ledger.store.errors import SchemaMismatch, StoreExists, StoreMissing
from ledger.store.recorder import LedgerRecorder, StoredEnvelope
from tests import stores

pytestmark = stores.about_files

INSERT = "INTO event (position, stream, version, topic, recorded_at, actor, encoding, leaf, payload)"
OTHERS = "'t/1', 5, 'mallory', 'json', x'00', x'00'"


def set_version(engine: Engine, version: int) -> None:
    with writing(engine) as connection:
        bulk.execute(connection, "UPDATE schema_version SET version = ?", [(version,)])


@pytest.fixture(name="shell")
def _shell(path: Path, engine: Engine) -> Iterator[sqlite3.Connection]:
    """Another program on a ledger of three events and a checkpoint, with none of our connection's settings."""
    with writing(engine) as connection:
        rows = [StoredEnvelope("a", version, "t/1", b"{}", 5, "alice") for version in (1, 2, 3)]
        LedgerRecorder(connection=connection).insert_events(rows)
        events.add_checkpoint(connection, 3, "note")
    shell = sqlite3.connect(path, isolation_level=None)
    yield shell
    shell.close()


@pytest.mark.parametrize("recursive_triggers", ["OFF", "ON"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET actor = 'mallory'",
        "UPDATE OR REPLACE event SET version = 1 WHERE position = 2",
        "DELETE FROM event",
        "DELETE FROM event WHERE position = 3",
        "UPDATE checkpoint SET note = 'other'",
        "DELETE FROM checkpoint",
        "INSERT INTO checkpoint (size, note) VALUES (3, 'other')",
        "INSERT OR REPLACE INTO checkpoint (size, note) VALUES (3, 'other')",
        f"INSERT {INSERT} VALUES (5, 'a', 4, {OTHERS})",
        f"INSERT {INSERT} VALUES (3, 'a', 4, {OTHERS})",
        f"INSERT {INSERT} VALUES (0, 'a', 4, {OTHERS})",
        f"INSERT {INSERT} VALUES (NULL, 'a', 4, {OTHERS})",
        f"INSERT {INSERT} VALUES (4, 'a', 3, {OTHERS})",
        f"INSERT OR REPLACE {INSERT} VALUES (2, 'a', 2, {OTHERS})",
        f"INSERT OR REPLACE {INSERT} VALUES (2, 'b', 1, {OTHERS})",
        f"INSERT OR REPLACE {INSERT} VALUES (4, 'a', 2, {OTHERS})",
        f"REPLACE {INSERT} VALUES (4, 'a', 2, {OTHERS})",
        f"INSERT OR IGNORE {INSERT} VALUES (7, 'a', 4, {OTHERS})",
        f"INSERT {INSERT} VALUES (3, 'a', 3, {OTHERS}) ON CONFLICT DO UPDATE SET actor = 'mallory'",
    ],
)
def test_history_refuses_to_change(shell: sqlite3.Connection, statement: str, recursive_triggers: str) -> None:
    """Whatever SQL another program sends to events and checkpoints, the database refuses and keeps what it has."""
    shell.execute(f"PRAGMA recursive_triggers = {recursive_triggers}")
    everything = "SELECT * FROM event", "SELECT * FROM checkpoint"
    before = [shell.execute(query).fetchall() for query in everything]

    with pytest.raises(sqlite3.IntegrityError):
        shell.execute(statement)

    assert [shell.execute(query).fetchall() for query in everything] == before


def test_head_is_one_row(shell: sqlite3.Connection) -> None:
    """There is no second head."""
    with pytest.raises(sqlite3.IntegrityError):
        shell.execute("INSERT INTO head VALUES (2, 0, x'00', 0)")


def test_created_store_passes_the_check(engine: Engine) -> None:
    """A new store has this program's version."""
    with reading(engine) as connection:
        migrate.check(connection)


def test_second_create(engine: Engine) -> None:
    """Where a ledger is, none is created, and the one that is there stays."""
    LedgerRecorder(engine).insert_events([StoredEnvelope("a", 1, "t/1", b"{}", 5, "alice")])
    with pytest.raises(StoreExists), writing(engine) as connection:
        migrate.create(connection)
    assert LedgerRecorder(engine).max_notification_id() == 1


def test_create_with_other_tables(path: Path) -> None:
    """The read side's tables are created along with ours, and checked by a version of their own."""
    views = MetaData(info={"component": "views", "version": 3})
    Table("view", views, Column("id", Integer, primary_key=True))
    engine = open_engine(f"sqlite:///{path}", must_exist=False)
    with writing(engine) as connection:
        migrate.create(connection, views)

    with reading(engine) as connection:
        migrate.check(connection, views)
        assert inspect(connection).has_table("view")
    views.info["version"] = 4
    with pytest.raises(SchemaMismatch), reading(engine) as connection:
        migrate.check(connection, views)
    engine.dispose()


def test_create_is_atomic(path: Path) -> None:
    """When one table can't be created, none is."""
    clash = MetaData()
    Table("event", clash, Column("id", Integer, primary_key=True))
    engine = open_engine(f"sqlite:///{path}", must_exist=False)
    with pytest.raises(OperationalError), writing(engine) as connection:
        migrate.create(connection, clash)

    with reading(engine) as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()


def test_check_without_a_ledger(path: Path) -> None:
    """An empty file, as a create that was killed leaves it, is a missing ledger."""
    path.touch()
    engine = open_engine(f"sqlite:///{path}")
    with pytest.raises(StoreMissing), reading(engine) as connection:
        migrate.check(connection)
    with pytest.raises(StoreMissing):
        migrate.migrate(engine)
    engine.dispose()


@pytest.mark.parametrize(("version", "hint"), [(0, "waveledger migrate"), (2, "newer version")])
def test_other_version(engine: Engine, version: int, hint: str) -> None:
    """An older store names the command that helps, a newer one says that this program is too old."""
    set_version(engine, version)
    with pytest.raises(SchemaMismatch) as caught, reading(engine) as connection:
        migrate.check(connection)
    assert hint in caught.value.render_hint()


def test_migrate_what_is_current(engine: Engine) -> None:
    """Migrating twice changes nothing and says the versions."""
    assert migrate.migrate(engine) == (1, 1)
    assert migrate.migrate(engine) == (1, 1)


def test_migrate_what_is_newer(engine: Engine) -> None:
    """A newer store is not migrated backwards."""
    set_version(engine, 2)
    with pytest.raises(SchemaMismatch):
        migrate.migrate(engine)
