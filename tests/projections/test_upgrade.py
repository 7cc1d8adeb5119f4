"""Stores that an older version of the program wrote."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from ledger.session import Ledger
from ledger.store import engine as store
from projections import runner, upgrade
from projections.queries.devices import show
from projections.tables import SCHEMA_VERSION
from projections.tuf import emitter, verify
from projections.tuf.destination import Directory
from tests.support import START

OLD = Path(__file__).parents[1] / "data" / "ledger-0.1-schema-1.sql"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The file of a store with schema version 1."""
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD.read_text())
    connection.close()
    return path


def run(path: Path, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["--store", f"sqlite:///{path}", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_an_older_store_asks_for_its_migration(old: Path) -> None:
    """Whatever the command: nothing is read from tables of another shape."""
    for command in (("status",), ("waves", "list"), ("targets", "prune", "x")):
        code, out, err = run(old, *command)

        assert (code, out) == (7, "")
        assert "waveledger migrate" in err


def test_migrate_rebuilds_what_is_folded_and_keeps_the_events(old: Path) -> None:
    """Once is enough; afterwards the projections are equal to a replay, and answer."""
    before = sqlite3.connect(old).execute("SELECT * FROM event").fetchall()

    code, out, err = run(old, "migrate", "--dry-run")
    assert (code, out) == (0, f"event store: version 1\nprojections: would be version {SCHEMA_VERSION}, is 1\n")
    assert "nothing was written" in err
    assert run(old, "migrate")[:2] == (0, f"event store: version 1\nprojections: version {SCHEMA_VERSION}, was 1\n")
    assert run(old, "migrate")[:2] == (0, f"event store: version 1\nprojections: version {SCHEMA_VERSION}\n")

    engine = store.open_engine(f"sqlite:///{old}")
    assert [runner.verify(engine, fold.name) for fold in runner.folds()] == [[], []]
    assert sqlite3.connect(old).execute("SELECT * FROM event").fetchall() == before
    with store.reading(engine) as connection:
        assert show(connection, "d0")[0].view == "production/release"
        assert show(connection, "d2")[0].view == "production/release"
    assert run(old, "status")[0] == 0


def test_an_upgraded_ledger_publishes_what_it_published(old: Path, tmp_path: Path) -> None:
    """The tree comes from the events alone, and a client accepts each view of it."""
    engine = store.open_engine(f"sqlite:///{old}")
    upgrade.upgrade(engine)
    tree = Directory(tmp_path / "tree")

    emitter.emit(Ledger(engine, [runner.Projector()], "alice", START + 3600), None, tree)

    for view in ("production/release", "wave/w3", "ci/main"):
        assert verify.check_view(tree, view, now=_moment()).targets


def _moment() -> datetime:
    return datetime.fromtimestamp(START + 3600, UTC)
