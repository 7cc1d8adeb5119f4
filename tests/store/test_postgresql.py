"""A ledger in PostgreSQL: what the database keeps to itself, who acts, and what becomes of all that can go wrong.

These tests bring a server of their own and run in any case, also where the others run on SQLite.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from ledger import merkle
from ledger.store import bulk, events, migrate, postgresql
from ledger.store.engine import actor_of, open_engine, opened, reading, shown, writing
from ledger.store.errors import BadStoreUrl, DriverMissing, StoreBusy, StoreContended, StoreMissing, StoreUnreadable
from ledger.store.recorder import LedgerRecorder, StoredEnvelope
from projections.runner import install
from projections.tables import all_tables
from tests.postgres import Server

APPENDER = Path(__file__).with_name("appender.py")
REPOSITORY = Path(__file__).parents[2]
INSERT = "INSERT INTO waveledger.event (position, stream, version, topic, recorded_at, actor, encoding, leaf, payload)"


def envelope(stream: str, version: int, payload: bytes = b"{}", at: int = 50) -> StoredEnvelope:
    return StoredEnvelope(stream, version, "t/1", payload, at, "mallory")


@pytest.fixture
def database(running: Server) -> Iterator[str]:
    """A database with an empty ledger, which the owner's role owns."""
    name = running.database()
    with opened(running.url(name, "alice"), must_exist=False) as engine, writing(engine) as connection:
        migrate.create(connection)
    yield name
    running.drop(name)


@pytest.fixture
def engine(running: Server, database: str) -> Iterator[Engine]:
    """The ledger as somebody opens it who may do no more than the application."""
    engine = open_engine(running.url(database, "bob"))
    yield engine
    engine.dispose()


def rows_of(engine: Engine) -> list[events.Row]:
    with reading(engine) as connection:
        return list(events.read(connection))


# what the database writes itself


def test_who_acts_is_who_logged_in(engine: Engine) -> None:
    """Whatever actor a client names, the role of its login is recorded, and the leaf stands for that."""
    LedgerRecorder(engine).insert_events([envelope("a", 1)])

    (row,) = rows_of(engine)
    assert row.actor == "bob"
    with reading(engine) as connection:
        assert actor_of(connection, "mallory") == "bob"
        assert events.head(connection).root == merkle.leaf_hash(merkle.entry(*row))


def test_a_client_of_another_make_can_not_lie(running: Server, database: str, engine: Engine) -> None:
    """A role that inserts by hand, with another's name and a leaf of its choice, leaves a ledger that proves right."""
    with psycopg.connect(**running.dsn(database, "bob")) as connection:
        connection.execute(f"{INSERT} VALUES (1, 'wélle', 1, 't/1', 7, 'alice', 'json+zlib', '\\x00', '{{}}')")

    (row,) = rows_of(engine)
    assert (row.actor, row.stream) == ("bob", "wélle")
    with reading(engine) as connection:
        assert events.head(connection) == (1, merkle.leaf_hash(merkle.entry(*row)), 7)


@pytest.mark.parametrize("sizes", [[1] * 9, [2, 3, 1, 7, 64], [1000, 1]])
def test_the_head_follows(engine: Engine, sizes: list[int]) -> None:
    """The database's own head is the root over all leaves, however many come at once."""
    recorder = LedgerRecorder(engine)
    version = 0
    for size in sizes:
        new = range(version + 1, version + size + 1)
        recorder.insert_events([envelope("wave:ü", n, b"x" * (n * 37 % 9000), 100 + n) for n in new])
        version += size

    rows = rows_of(engine)
    leaves = [merkle.leaf_hash(merkle.entry(*row)) for row in rows]
    with reading(engine) as connection:
        stored = bulk.query(connection, "SELECT leaf FROM event ORDER BY position").fetchall()
        assert [leaf for (leaf,) in stored] == leaves
        assert events.head(connection) == (version, merkle.root_of(leaves), 100 + version)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE waveledger.event SET actor = 'mallory'",
        "DELETE FROM waveledger.event",
        "TRUNCATE waveledger.event",
        "UPDATE waveledger.checkpoint SET note = 'other'",
        "DELETE FROM waveledger.checkpoint",
        "TRUNCATE waveledger.checkpoint",
        f"{INSERT} VALUES (3, 'a', 3, 't/1', 60, '', '', '', '')",
        f"{INSERT} VALUES (5, 'a', 3, 't/1', 60, '', '', '', '')",
        f"{INSERT} VALUES (0, 'a', 3, 't/1', 60, '', '', '', '')",
        f"{INSERT} VALUES (4, 'a', 3, 't/1', 60, '', '', '', ''), (6, 'a', 4, 't/1', 60, '', '', '', '')",
        f"{INSERT} VALUES (4, 'a', 2, 't/1', 60, '', '', '', '')",
        f"{INSERT} VALUES (4, 'a', 4, 't/1', 10, '', '', '', '')",
        f"{INSERT} VALUES (3, 'a', 3, 't/1', 60, '', '', '', '') ON CONFLICT (position) DO UPDATE SET actor = 'x'",
        "COPY waveledger.event FROM PROGRAM 'echo 9,a,9,t/1,60,x,json,x,x' WITH (FORMAT csv)",
    ],
)
def test_history_refuses_to_change(running: Server, database: str, engine: Engine, statement: str) -> None:
    """Not even a superuser changes an event or a checkpoint, or leaves a gap, with any single statement."""
    LedgerRecorder(engine).insert_events([envelope("a", 1), envelope("a", 2), envelope("b", 1)])
    with writing(engine) as connection:
        events.add_checkpoint(connection, 3, "note")
    before = rows_of(engine)

    with pytest.raises(psycopg.IntegrityError):
        running.run(statement, database)

    assert rows_of(engine) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET actor = 'mallory'",
        "DELETE FROM event",
        "TRUNCATE event",
        "UPDATE head SET size = 0",
        "INSERT INTO head VALUES (1, 0, '', 0)",
        "UPDATE checkpoint SET note = 'other'",
        "UPDATE schema_version SET version = 0",
        "CREATE TABLE waveledger.event2 (id int)",
        "ALTER TABLE event DISABLE TRIGGER ALL",
        "DROP TRIGGER event_is_said ON event",
        "CREATE OR REPLACE FUNCTION waveledger.event_is_said() RETURNS trigger LANGUAGE sql AS ''",
        "SET LOCAL ROLE waveledger_owner",
    ],
)
def test_the_application_may_append_and_read_and_nothing_else(engine: Engine, statement: str) -> None:
    """The role that works with the ledger has no right to change what happened, or what keeps others from it."""
    with pytest.raises(StoreUnreadable, match="access was denied"), writing(engine) as connection:
        bulk.query(connection, statement)


def test_the_owner_works_with_no_more_rights(running: Server, database: str) -> None:
    """Somebody who may migrate appends as the application's role, too."""
    with (
        opened(running.url(database, "alice")) as engine,
        pytest.raises(StoreUnreadable, match="access was denied"),
        writing(engine) as connection,
    ):
        bulk.query(connection, "TRUNCATE event")


def test_a_shadow_of_a_table_is_not_read(running: Server, database: str, engine: Engine) -> None:
    """A table of an event's name, made in the schema that the application may change, is nobody's ledger."""
    LedgerRecorder(engine).insert_events([envelope("a", 1)])
    shadow = "SET ROLE waveledger; CREATE TABLE waveledger_projections.event AS SELECT * FROM waveledger.event LIMIT 0"
    running.run(shadow, database)

    assert len(rows_of(engine)) == 1
    LedgerRecorder(engine).insert_events([envelope("a", 2)])
    assert len(rows_of(engine)) == 2


def test_one_role_for_everything(running: Server) -> None:
    """A database that one role owns needs nothing but `init`; later the roles can be parted, and `migrate` grants."""
    running.role("solo")
    running.run("REVOKE waveledger FROM solo")
    running.run("CREATE DATABASE solo OWNER solo")
    with opened(running.url("solo", "solo"), must_exist=False) as engine:
        with writing(engine) as connection:
            migrate.create(connection)
        LedgerRecorder(engine).insert_events([envelope("a", 1)])
    running.run(Path(REPOSITORY, "scripts/postgres-grants.sql").read_text(), "solo")
    with opened(running.url("solo", "alice")) as owner:
        assert migrate.migrate(owner) == (1, 1)

    with opened(running.url("solo", "bob")) as engine:
        LedgerRecorder(engine).insert_events([envelope("a", 2)])
        assert [row.actor for row in rows_of(engine)] == ["solo", "bob"]
        with pytest.raises(StoreUnreadable, match="access was denied"), writing(engine) as connection:
            bulk.query(connection, "TRUNCATE event")
    running.drop("solo")


def test_columns_are_what_the_code_relies_on(running: Server) -> None:
    """Texts are ordered byte by byte whatever the database's locale, and every number is as long as a COPY says."""
    name = running.database()
    with opened(running.url(name, "alice"), must_exist=False) as engine, writing(engine) as connection:
        migrate.create(connection, *all_tables())

    found = running.run(
        "SELECT data_type, collation_name, count(*) FROM information_schema.columns "
        "WHERE table_schema IN ('waveledger', 'waveledger_projections') GROUP BY 1, 2",
        name,
    )
    running.drop(name)
    assert {kind: collation for kind, collation, _ in found} == {
        "bigint": None, "boolean": None, "bytea": None, "text": "C",
    }  # fmt: skip
    assert len(found) == 4


# transactions


def test_four_processes_append(running: Server, database: str, engine: Engine) -> None:
    """Four writers lose nothing, leave no gap and agree on the root, though the database's default is SERIALIZABLE."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    url = running.url(database, "bob")
    writers = [
        subprocess.Popen([sys.executable, str(APPENDER), url, "", name, "25"], env=environment) for name in "abcd"
    ]

    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0, 0]
    rows = rows_of(engine)
    assert [row.position for row in rows] == list(range(1, 201))
    assert [row.version for row in rows if row.stream == "shared"] == list(range(1, 101))
    with reading(engine) as connection:
        assert events.head(connection).root == merkle.root_of(merkle.leaf_hash(merkle.entry(*row)) for row in rows)


def test_reading_is_one_snapshot(running: Server, database: str, engine: Engine) -> None:
    """A reader that has begun sees the ledger as it was, and keeps no writer waiting."""
    with opened(running.url(database, "alice")) as other, reading(engine) as connection:
        before = events.head(connection)
        LedgerRecorder(other).insert_events([envelope("a", 1)])
        assert events.head(connection) == before
    with reading(engine) as connection:
        assert events.head(connection).size == 1


def test_a_reader_writes_nothing(engine: Engine) -> None:
    """Not by mistake either."""
    with pytest.raises(StoreUnreadable, match="read-only"), reading(engine) as connection:
        bulk.insert(connection, "tracking", ("name", "position"), [("follower", 1)])


def test_busy(running: Server, database: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for the writers' lock in vain loses a race, with that exit code and a hint."""
    monkeypatch.setattr(postgresql, "BUSY_TIMEOUT_SECONDS", 0.05)
    with (
        opened(running.url(database, "alice")) as other,
        writing(engine),
        pytest.raises(StoreBusy) as caught,
        writing(other),
    ):
        pass
    assert caught.value.exit_code == 5
    assert "try again" in caught.value.render_hint()


STAGED = {"uuid": "TEXT", "position": "INTEGER"}


def test_what_was_staged_is_gone_with_its_transaction(engine: Engine) -> None:
    """No vacuum comes to a temporary table: what is only deleted stays, and each plan takes it for rows."""
    for number in range(300):
        with writing(engine) as connection:
            bulk.stage(connection, "batch", STAGED, [(f"device-{number}", number), ("other", 1), ("third", 2)])

    with reading(engine) as connection:
        size = bulk.query(connection, "SELECT pg_relation_size('batch'), (SELECT count(*) FROM batch)").fetchone()
    assert size == (0, 0)


@pytest.mark.parametrize("count", [1, 3, bulk.FETCH_ROWS, 20 * bulk.FETCH_ROWS])
def test_the_planner_knows_how_much_was_staged(engine: Engine, count: int) -> None:
    """A few devices are looked up by their keys; for want of figures a thousand would be expected."""
    with writing(engine) as connection:
        for _ in range(2):
            bulk.stage(connection, "batch", STAGED, [(f"device-{number:030}", number) for number in range(count)])
        plan = "\n".join(line for (line,) in bulk.sweep(connection, "EXPLAIN SELECT * FROM batch").fetchall())

    expected = int(re.search(r"rows=(\d+)", plan)[1])
    assert count / 2 <= expected <= 2 * count


def test_a_lost_connection(running: Server, database: str, engine: Engine) -> None:
    """A connection that breaks in the middle of a transaction takes it along, and the next one works."""

    def append_and_lose() -> None:
        with writing(engine) as connection:
            LedgerRecorder(connection=connection).insert_events([envelope("a", 1)])
            running.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
            events.head(connection)

    with pytest.raises(StoreUnreadable, match="connection was lost") as caught:
        append_and_lose()

    assert "audit log" in caught.value.render_hint()
    assert rows_of(engine) == []
    LedgerRecorder(engine).insert_events([envelope("a", 1)])


def test_a_deadlock_is_a_lost_race() -> None:
    """Where the database gives up on a transaction for others' sake, it can be tried again."""
    translated = postgresql.translate(psycopg.errors.DeadlockDetected("deadlock detected"), "store")

    assert isinstance(translated, StoreContended)
    assert translated.exit_code == 5


def test_a_server_that_does_not_answer_in_time_is_no_bug() -> None:
    """The driver has an error of its own for it, below the one of all failed connections."""
    translated = postgresql.translate(psycopg.errors.ConnectionTimeout("connection timeout expired"), "store")

    assert isinstance(translated, StoreUnreadable)
    assert "nobody answers there" in str(translated)


# connecting


def test_no_ledger_in_the_database(running: Server) -> None:
    """A database without a ledger says so, with the command that makes one."""
    name = running.database()
    with (
        opened(running.url(name, "bob")) as engine,
        pytest.raises(StoreMissing, match="no ledger") as caught,
        reading(engine) as connection,
    ):
        migrate.check(connection)
    running.drop(name)
    assert "waveledger init" in caught.value.render_hint()


def _without(url: str, part: str, other: str) -> str:
    assert part in url
    return url.replace(part, other)


@pytest.mark.parametrize(
    ("change", "problem", "hint"),
    [
        (("/ledger_", "/nothing_"), 'database "nothing_.*" does not exist', "createdb"),
        (("//bob@", "//stranger@"), 'role "stranger" does not exist', "role"),
        (("//bob@", "//locked@"), "no password supplied", "PGPASSWORD"),
        (("//bob@", "//locked:wrong-secret@"), "password authentication failed", "password"),
        (("host=", "host=/nowhere"), "nobody answers", "host and port"),
        (("?host=", "?host=127.0.0.1&port=1&other="), "nobody answers", "host and port"),
        (("?host=", "?host=no-such-host.invalid&other="), "no such host", "host"),
        (("?host=", "?foo=bar&host="), 'invalid connection option "foo"', "parameters"),
        (("?host=", "?connect_timeout=abc&host="), "bad value for connect_timeout", "parameters"),
        (("?host=", "?sslmode=bogus&host="), "invalid sslmode value", "parameters"),
        (("?host=", "?service=nosuch&host="), 'definition of service "nosuch" not found', "parameters"),
    ],
)
def test_connections_that_fail(
    running: Server, database: str, change: tuple[str, str], problem: str, hint: str
) -> None:
    """Each says what happened and what to do, ends with exit code 7, and shows no password."""
    url = _without(running.url(database, "bob"), *change).replace("&other=" + str(running.directory), "")

    with (
        opened(url) as engine,
        pytest.raises(StoreUnreadable, match=problem) as caught,
        reading(engine) as connection,
    ):
        events.head(connection)

    assert caught.value.exit_code == 7
    assert hint in caught.value.render_hint()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("parameter", ["port=abc", "plugin=x"])
def test_urls_that_nothing_can_be_made_of(running: Server, database: str, parameter: str) -> None:
    """Exit code 7, before anything is connected."""
    with pytest.raises(BadStoreUrl, match="a parameter can't be") as caught:
        open_engine(f"{running.url(database, 'bob')}&{parameter}")

    assert caught.value.exit_code == 7
    assert str(running.directory) not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('FATAL: too many connections for role "bob"', "more allowed"),
        ('FATAL: too many connections for database "x"', "more allowed"),
        ('FATAL: database "x" is not currently accepting connections', "administrator"),
    ],
)
def test_who_is_turned_away(text: str, hint: str) -> None:
    """Not who is unknown, and not a database that is missing."""
    found = postgresql.translate(psycopg.OperationalError(text), "s")

    assert isinstance(found, StoreUnreadable)
    assert hint in found.render_hint()


def test_canceled_by_an_administrator() -> None:
    """No bug, and no loss: exit 7."""
    found = postgresql.translate(psycopg.errors.QueryCanceled("canceling statement due to user request"), "s")

    assert isinstance(found, StoreUnreadable)
    assert "nothing was changed" in found.render_hint()


@pytest.mark.parametrize("setting", ["quote_all_identifiers = on", "standard_conforming_strings = off"])
def test_how_a_role_has_names_written_changes_nothing(running: Server, setting: str) -> None:
    """What is compared with the server's own words is not taken for somebody's work."""
    name = running.database()
    with opened(running.url(name, "alice"), must_exist=False) as engine, writing(engine) as connection:
        migrate.create(connection, *all_tables())
        install(connection)
    running.role("bob")
    running.run(f"ALTER ROLE bob IN DATABASE {name} SET {setting}")
    with opened(running.url(name, "bob")) as engine, writing(engine) as connection:
        bulk.query(connection, "UPDATE projection SET position = 0")
    running.drop(name)


def test_a_stranger_sees_nothing(running: Server) -> None:
    """A role that was granted nothing is told which role it should be a member of."""
    name = running.database()
    with opened(running.url(name, "alice"), must_exist=False) as engine, writing(engine) as connection:
        migrate.create(connection, *all_tables())
    with (
        opened(running.url(name, "eve")) as engine,
        pytest.raises(StoreUnreadable, match="access was denied") as caught,
        reading(engine),
    ):
        pass
    running.drop(name)
    assert "application's role" in caught.value.render_hint()


def test_no_password_is_shown() -> None:
    """Neither the one before the host nor the one among the parameters."""
    url = "postgresql+psycopg://alice:secret@db/fleet?password=secret&sslmode=require&sslpassword=secret"

    assert shown(url) == "postgresql+psycopg://alice:***@db/fleet?sslmode=require"


def test_without_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not installed the extra is told to."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DriverMissing, match="psycopg") as caught:
        open_engine("postgresql+psycopg://alice@db/fleet")
    assert "waveledger[postgres]" in caught.value.render_hint()
