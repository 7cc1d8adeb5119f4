"""What protects the history in the database: what is missing of it, changed, or was added by others, is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.store import guards, migrate
from ledger.store.engine import opened, reading, writing
from projections import runner
from projections.tables import all_tables
from tests.postgres import Server

DATA = Path(__file__).parent.parent / "data"


def made(url: str) -> str:
    """A ledger without events at this URL."""
    with opened(url, must_exist=False) as engine, writing(engine) as connection:
        migrate.create(connection, *all_tables())
        runner.install(connection)
    return url


def gaps(url: str) -> list[guards.Gap]:
    with opened(url) as engine, reading(engine) as connection:
        return guards.gaps(connection)


# SQLite


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A ledger in a file."""
    return made(f"sqlite:///{tmp_path / 'ledger.db'}")


def change(url: str, script: str) -> None:
    with opened(url) as engine, engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.executescript(script)


ON_SQLITE = {
    "a trigger that was dropped": ("DROP TRIGGER event_stays", "event_stays", "it is missing"),
    "a trigger that does nothing": (
        "DROP TRIGGER event_stays; CREATE TRIGGER event_stays BEFORE DELETE ON event BEGIN SELECT 1; END",
        "event_stays", "it was changed",
    ),
    "a trigger of others": (
        "CREATE TRIGGER steal AFTER INSERT ON fleet_device BEGIN DELETE FROM fleet_device; END",
        "steal", "a trigger on fleet_device that waveledger did not make",
    ),
    "a view of others": ("CREATE VIEW steal AS SELECT 1", "steal", "a view that waveledger did not make"),
}  # fmt: skip


def test_nothing_is_missing_in_a_new_file(file: str) -> None:
    """A new ledger in a file has all of it."""
    assert gaps(file) == []


@pytest.mark.parametrize("case", ON_SQLITE)
def test_what_was_changed_in_a_file(file: str, case: str) -> None:
    """Each change is one gap, with its name; `migrate` makes our triggers anew, and leaves those of others."""
    script, name, problem = ON_SQLITE[case]
    change(file, script)
    found = gaps(file)
    with opened(file) as engine:
        migrate.migrate(engine)

    assert [gap.name for gap in found] == [name]
    assert found[0].problem.startswith(problem)
    assert [gap.name for gap in gaps(file)] == ([] if name == "event_stays" else [name])


def test_an_old_file_has_the_same_triggers(tmp_path: Path) -> None:
    """A ledger that version 0.1 made has nothing missing."""
    import sqlite3

    store = sqlite3.connect(tmp_path / "old.db")
    store.executescript((DATA / "ledger-0.1-schema-1.sql").read_text())
    store.close()

    assert gaps(f"sqlite:///{tmp_path / 'old.db'}") == []


# PostgreSQL


ON_POSTGRESQL = {
    "a trigger that was disabled": (
        "ALTER TABLE event DISABLE TRIGGER event_stays", "event.event_stays", "it is disabled", True,
    ),
    "all triggers disabled": (
        "ALTER TABLE event DISABLE TRIGGER USER",
        "event.event_is_next, event.event_is_said, event.event_stays", "it is disabled", True,
    ),
    "a trigger that was dropped": (
        "DROP TRIGGER checkpoint_stays ON checkpoint", "checkpoint.checkpoint_stays", "it is missing", True,
    ),
    "a trigger that looks at less": (
        """CREATE OR REPLACE TRIGGER event_stays BEFORE UPDATE ON event
        FOR EACH STATEMENT EXECUTE FUNCTION waveledger.history_stays()""",
        "event.event_stays", "it was changed", True,
    ),
    "a trigger on a condition": (
        """CREATE OR REPLACE TRIGGER event_is_said BEFORE INSERT ON event
        FOR EACH ROW WHEN (NEW.position < 0) EXECUTE FUNCTION waveledger.event_is_said()""",
        "event.event_is_said", "it was changed", True,
    ),
    "a function that does nothing": (
        """CREATE OR REPLACE FUNCTION waveledger.history_stays() RETURNS trigger LANGUAGE plpgsql
        SET search_path = waveledger, pg_catalog, pg_temp AS 'BEGIN RETURN NULL; END'""",
        "history_stays", "it was changed", True,
    ),
    "a function that finds other tables": (
        "ALTER FUNCTION waveledger.event_is_next() RESET search_path", "event_is_next", "it was changed", True,
    ),
    "a function of another": (
        "ALTER FUNCTION waveledger.event_is_next() OWNER TO bob", "event_is_next", "it belongs to bob", False,
    ),
    "a function for everybody": (
        "GRANT EXECUTE ON FUNCTION waveledger.event_is_next() TO PUBLIC",
        "event_is_next", "others than its owner may execute it", True,
    ),
    "a table of another": ("ALTER TABLE head OWNER TO bob", "head", "it belongs to bob", False),
    "a right of another on a column": ("GRANT UPDATE (actor) ON event TO bob", "event", "bob may UPDATE it", True),
    "a right of another": ("GRANT UPDATE ON head TO bob", "head", "bob may UPDATE it", True),
    "a right of everybody": ("GRANT INSERT ON event TO PUBLIC", "event", "PUBLIC may INSERT it", True),
    "a right too many of the application's": (
        "GRANT TRUNCATE ON event TO waveledger", "event", "waveledger may TRUNCATE it", True,
    ),
    "code on the events": (
        "CREATE RULE steal AS ON INSERT TO event DO ALSO SELECT 1",
        "rule event.steal", "waveledger did not make it, and it runs as whoever writes", False,
    ),
    "code on projections": (
        "SET ROLE waveledger; CREATE VIEW waveledger_projections.steal AS SELECT 1",
        "relation steal, rule steal._RETURN", "waveledger did not make it, and it runs as whoever writes", False,
    ),
}  # fmt: skip


def test_nothing_is_missing_in_a_new_database(running: Server, database: str) -> None:
    """A new ledger has all of it, for each of those who look; and with a single role for everything."""
    assert gaps(running.url(database, "bob")) == gaps(running.url(database, "alice")) == []
    alone = running.database("template0")
    running.run(f"GRANT CREATE ON DATABASE {alone} TO alice")
    assert gaps(made(running.url(alone, "alice"))) == []
    running.drop(alone)


@pytest.mark.parametrize("case", ON_POSTGRESQL)
def test_what_was_changed_in_a_database(running: Server, database: str, case: str) -> None:
    """Each change is told with its name, to whoever looks; what `migrate` can mend is whole after it."""
    script, names, problem, mended = ON_POSTGRESQL[case]
    running.run(f"SET search_path = waveledger; {script}", database)
    found = gaps(running.url(database, "bob"))

    assert [gap.name for gap in found] == names.split(", ")
    assert all(gap.problem.startswith(problem) for gap in found)
    if mended:
        with opened(running.url(database, "alice")) as engine:
            migrate.migrate(engine)
        assert gaps(running.url(database, "bob")) == []
