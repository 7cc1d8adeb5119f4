"""What a member of the application's role can do to others on PostgreSQL, with SQL of its own, and what stops it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Connection, Engine

from ledger.store import bulk, events, migrate, postgresql
from ledger.store import engine as store
from ledger.store.engine import open_engine, opened, reading, writing
from ledger.store.errors import CheckpointTaken, ForeignCode, StoreBusy
from ledger.store.recorder import LedgerRecorder, StoredEnvelope
from projections import runner
from tests.postgres import Server

INSERT = "INSERT INTO waveledger.event (position, stream, version, topic, recorded_at, actor, encoding, leaf, payload)"
MINE = "CREATE TEMP TABLE mine (position bigint, stream text, version bigint, recorded_at bigint, leaf bytea)"
ON_MINE = """CREATE TRIGGER mine AFTER INSERT ON mine REFERENCING NEW TABLE AS appended
    FOR EACH STATEMENT EXECUTE FUNCTION waveledger.event_is_next()"""


def envelope(stream: str, version: int) -> StoredEnvelope:
    return StoredEnvelope(stream, version, "t/1", b"{}", 50, "mallory")


@pytest.fixture
def engine(running: Server, database: str) -> Iterator[Engine]:
    """The ledger as bob opens it."""
    engine = open_engine(running.url(database, "bob"))
    yield engine
    engine.dispose()


# the functions behind the triggers


@pytest.mark.parametrize("older", [False, True])
def test_nobody_hangs_our_functions_on_a_table_of_theirs(running: Server, database: str, older: bool) -> None:
    """A member may not execute what moves the head; `migrate` takes the right away from an older ledger's members."""
    if older:
        running.run("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA waveledger TO PUBLIC", database)
        with opened(running.url(database, "alice")) as owner:
            migrate.migrate(owner)

    with psycopg.connect(**running.dsn(database, "bob"), autocommit=True) as connection:
        connection.execute(MINE)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for function"):
            connection.execute(ON_MINE)


def test_the_head_moves_with_the_events_only(running: Server, database: str, engine: Engine) -> None:
    """Also who may execute the function can't move the head by another table than that of the events."""
    running.run("GRANT EXECUTE ON FUNCTION waveledger.event_is_next() TO bob", database)
    with psycopg.connect(**running.dsn(database, "bob"), autocommit=True) as connection:
        connection.execute(MINE)
        connection.execute(ON_MINE)
        with pytest.raises(psycopg.IntegrityError, match="events only"):
            connection.execute("INSERT INTO mine VALUES (1, 'a', 1, 50, '\\xdead')")

    assert LedgerRecorder(engine).insert_events([envelope("a", 1)]) == [1]


def test_migrate_makes_the_triggers_anew(running: Server, database: str, engine: Engine) -> None:
    """An older ledger gets this version's functions and triggers, and those that somebody disabled work again."""
    running.run(
        "ALTER TABLE waveledger.event DISABLE TRIGGER ALL; DROP TRIGGER checkpoint_stays ON waveledger.checkpoint",
        database,
    )
    with opened(running.url(database, "alice")) as owner:
        migrate.migrate(owner)

    LedgerRecorder(engine).insert_events([envelope("a", 1)])
    with writing(engine) as connection:
        events.add_checkpoint(connection, 1, "note")
    for table in ("event", "checkpoint"):
        with pytest.raises(psycopg.IntegrityError, match="never changes"):
            running.run(f"TRUNCATE waveledger.{table}", database)
    with reading(engine) as connection:
        assert events.head(connection).size == 1


def test_who_worked_with_the_ledger_before_no_longer_writes(running: Server, database: str) -> None:
    """`migrate` takes the rights to write from every role but owner and application; a reader stays one."""
    role = f"former {database}"
    running.run(f'CREATE ROLE "{role}"; GRANT SELECT, INSERT, TRIGGER ON waveledger.event TO "{role}"', database)
    running.run("GRANT UPDATE ON waveledger.head TO PUBLIC", database)
    with opened(running.url(database, "alice")) as owner:
        migrate.migrate(owner)

    kept = running.run(
        "SELECT DISTINCT grantee::text, privilege_type::text FROM information_schema.table_privileges"
        f" WHERE table_schema = 'waveledger' AND grantee IN ('{role}', 'PUBLIC')",
        database,
    )
    running.run(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"', database)
    assert kept == [(role, "SELECT")]
    with opened(running.url(database, "bob")) as engine:
        assert LedgerRecorder(engine).insert_events([envelope("a", 1)]) == [1]


def test_an_event_is_the_next_of_its_stream(running: Server, database: str, engine: Engine) -> None:
    """Versions follow each other from the first on, and times are those that a program can write: no other is taken."""
    LedgerRecorder(engine).insert_events([envelope("a", 1)])
    far = 253_402_300_800  # the year 10000
    for values in (
        "(2, 'x', -5, 't/1', 60, '', '', '', '{}')",
        "(2, 'a', 0, 't/1', 60, '', '', '', '{}')",
        "(2, 'x', 1, 't/1', 60, '', '', '', '{}'), (3, 'x', 0, 't/1', 60, '', '', '', '{}')",
        "(2, 'x', 2, 't/1', 60, '', '', '', '{}')",
        "(2, 'x', 2, 't/1', 60, '', '', '', '{}'), (3, 'x', 1, 't/1', 60, '', '', '', '{}')",
        "(2, 'a', 3, 't/1', 60, '', '', '', '{}')",
        f"(2, 'a', 2, 't/1', {far}, '', '', '', '{{}}')",
        f"(2, 'a', 2, 't/1', {2**63 - 1}, '', '', '', '{{}}')",
    ):
        with psycopg.connect(**running.dsn(database, "bob")) as connection, pytest.raises(psycopg.IntegrityError):
            connection.execute(f"{INSERT} VALUES {values}")

    assert LedgerRecorder(engine).insert_events([envelope("a", 2), envelope("x", 1), envelope("x", 2)]) == [2, 3, 4]


def test_a_checkpoint_is_of_events_that_are_there(running: Server, database: str, engine: Engine) -> None:
    """Nobody takes a size before the ledger has it; one that is taken is said, with a way on."""
    LedgerRecorder(engine).insert_events([envelope("a", 1)])
    with psycopg.connect(**running.dsn(database, "bob"), autocommit=True) as connection:
        with pytest.raises(psycopg.IntegrityError):
            connection.execute("INSERT INTO waveledger.checkpoint SELECT g, 'x' FROM generate_series(1, 200) g")
        connection.execute("INSERT INTO waveledger.checkpoint VALUES (1, 'x')")

    with pytest.raises(CheckpointTaken, match="size 1") as caught, writing(engine) as connection:
        events.add_checkpoint(connection, 1, "note")
    assert caught.value.exit_code == 7
    assert "append" in caught.value.render_hint()


# what a role or a database has as defaults


@pytest.mark.parametrize(
    ("setting", "default", "kept"),
    [
        ("synchronous_commit", "off", "on"),
        ("synchronous_commit", "remote_apply", "remote_apply"),
        ("idle_in_transaction_session_timeout", "1s", "0"),
        ("idle_session_timeout", "1s", "0"),
        ("statement_timeout", "1s", "0"),
        ("transaction_timeout", "1s", "0"),
    ],
)
def test_defaults_of_a_role_take_no_promise_away(
    running: Server, database: str, setting: str, default: str, kept: str
) -> None:
    """What was committed survives a loss of power, and no transaction ends because it takes its time."""
    if setting == "transaction_timeout" and running.run("SHOW server_version_num")[0][0] < "170000":
        pytest.skip("PostgreSQL 17 or later")
    running.run(f"ALTER ROLE bob IN DATABASE {database} SET {setting} = '{default}'")

    with opened(running.url(database, "bob")) as engine, writing(engine) as connection:
        assert bulk.query(connection, f"SHOW {setting}").fetchone() == (kept,)


# code of others on the projections

STEAL = """CREATE FUNCTION public.steal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO waveledger.event SELECT h.size + 1, 'stolen', 1, 't/1', h.recorded_at, '', '', '', '{}'
    FROM waveledger.head h WHERE session_user = 'alice';
    RETURN NEW; END $$"""
HUNG = {
    "trigger projection.steal": "CREATE TRIGGER steal BEFORE UPDATE ON projection EXECUTE FUNCTION public.steal()",
    "rule projection.steal": "CREATE RULE steal AS ON UPDATE TO projection DO ALSO SELECT 1",
    "constraint steal": "ALTER TABLE projection ADD CONSTRAINT steal CHECK (position >= 0)",
    "default projection": "ALTER TABLE projection ALTER position SET DEFAULT 1",
    "function steal": "CREATE FUNCTION steal() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "operator @@@": "CREATE OPERATOR @@@ (LEFTARG = int, RIGHTARG = int, FUNCTION = pg_catalog.int4eq)",
    "policy projection.steal": "CREATE POLICY steal ON projection USING (true)",
    "relation steal": "CREATE VIEW steal AS SELECT 1",
    "heir projection": "CREATE TABLE heir () INHERITS (projection)",
    "statistics projection.steal": "CREATE STATISTICS steal ON name, position FROM projection",
    "dependency steal on function": "CREATE INDEX steal ON projection ((public.same(position)))",
    "constraint other_name_fkey": 'CREATE TABLE other (name text COLLATE "C" REFERENCES projection)',
    "constraint other_check": "CREATE DOMAIN other AS bigint CHECK (VALUE > 0)",
    "dependency t on type": "CREATE TABLE t (value public.mood)",
}


@pytest.mark.parametrize(("found", "statement"), HUNG.items())
def test_nobody_writes_where_code_of_others_hangs(running: Server, database: str, found: str, statement: str) -> None:
    """Whatever a member hangs on the projections that runs code, the next write is refused and says what it is."""
    made = "CREATE FUNCTION public.same(bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT $1'"
    running.run(f"{STEAL}; {made}; CREATE TYPE public.mood AS ENUM ('sad')", database)
    hang = f"SET ROLE waveledger; SET search_path = waveledger_projections; {statement}"
    with psycopg.connect(**running.dsn(database, "bob"), autocommit=True) as connection:
        connection.execute(hang.encode())

    with opened(running.url(database, "alice")) as alice:
        with pytest.raises(ForeignCode) as caught:
            LedgerRecorder(alice).insert_events([envelope("a", 1)])
        with pytest.raises(ForeignCode):
            migrate.migrate(alice)
        with reading(alice) as connection:
            assert events.head(connection).size == 0
    assert found.partition(" ")[2].partition(" ")[0] in str(caught.value)
    assert found.partition(" ")[0] in str(caught.value)
    assert caught.value.exit_code == 7


def test_what_is_ours_is_not_foreign(running: Server, database: str, engine: Engine) -> None:
    """Neither before nor in the middle of a rebuild nor after one; a plain table of somebody's runs no code either."""
    running.run("SET ROLE waveledger; CREATE TABLE waveledger_projections.plain (name text)", database)
    for fold in runner.folds():
        assert runner.rebuild(engine, fold.name) == 0  # a write for each step
    assert LedgerRecorder(engine).insert_events([envelope("a", 1)]) == [1]


# others at work


def test_nobody_waits_behind_a_rebuild_that_waits_for_a_reader(
    running: Server, database: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rebuild that a long reader keeps from its swap lets others read and write meanwhile, and is done after that."""
    monkeypatch.setattr(postgresql, "BUSY_TIMEOUT_SECONDS", 5)
    monkeypatch.setattr(runner, "SWAP_PAUSE_SECONDS", 0.1)
    tried, lock = threading.Event(), store.lock_for_swap
    done: list[int] = []

    def locking(connection: Connection) -> bool:
        tried.set()
        return lock(connection)

    monkeypatch.setattr(store, "lock_for_swap", locking)
    with opened(running.url(database, "alice")) as alice:
        with reading(alice) as long:
            assert bulk.query(long, "SELECT count(*) FROM projection").fetchone() == (2,)
            rebuilding = threading.Thread(target=lambda: done.append(runner.rebuild(engine, "fleet")))
            rebuilding.start()
            assert tried.wait(20)
            for _ in range(3):
                with reading(alice) as connection:
                    events.head(connection)
                with writing(alice) as connection:
                    events.head(connection)
            assert done == []
        rebuilding.join(30)
    assert done == [0]


def test_a_rebuild_gives_up_in_the_end(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a reader never ends, the rebuild ends as busy, and the live tables are as they were."""
    monkeypatch.setattr(runner, "SWAP_PATIENCE_SECONDS", 0)
    with reading(engine) as connection:
        with pytest.raises(StoreBusy) as caught:
            runner.rebuild(engine, "fleet")
        assert bulk.query(connection, "SELECT count(*) FROM fleet_device").fetchone() == (0,)
    assert caught.value.exit_code == 5


def test_rows_come_a_chunk_at_a_time(engine: Engine) -> None:
    """What is compared or copied comes through a cursor of the server's, and is never in memory at once."""
    with reading(engine) as connection:
        rows = bulk.streamed(connection, "SELECT g FROM generate_series(1, 5000) g")
        assert next(rows) == (1,)
        assert bulk.query(connection, "SELECT count(*) FROM pg_cursors").fetchone() == (1,)
        assert sum(1 for _ in rows) == 4_999
        assert bulk.query(connection, "SELECT count(*) FROM pg_cursors").fetchone() == (0,)
