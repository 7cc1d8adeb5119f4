"""Stores for the tests of this folder: files in the journal mode that this machine's SQLite gets, or databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ledger.store import migrate
from ledger.store.engine import open_engine, writing
from tests import stores


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
