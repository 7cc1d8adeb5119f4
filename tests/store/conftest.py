"""Stores for the tests of this folder: files in the journal mode that this machine's SQLite gets, or databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ledger.store import migrate
from ledger.store.engine import open_engine, opened, writing
from projections import runner
from projections.tables import all_tables
from tests import stores
from tests.postgres import Server, server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store's file is."""
    return tmp_path / "ledger.db"


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    """A new, empty ledger."""
    engine = open_engine(stores.url(path), must_exist=False)
    with writing(engine) as connection:
        migrate.create(connection)
    yield engine
    engine.dispose()


@pytest.fixture(name="running")
def _running() -> Server:
    running = server()
    running.role("bob")
    return running


@pytest.fixture
def database(running: Server) -> Iterator[str]:
    """A database with an empty ledger and its projections, which alice made."""
    name = running.database()
    with opened(running.url(name, "alice"), must_exist=False) as engine, writing(engine) as connection:
        migrate.create(connection, *all_tables())
        runner.install(connection)
    yield name
    running.drop(name)
