"""The stores that tests run on: SQLite, or PostgreSQL where $WAVELEDGER_TEST_STORE says so.

A store has a path in both cases. On SQLite it is the store's file; on PostgreSQL a file that names the database, so
that child processes find it. Copying that file copies no database: `copy` does. Who connects is the role that acts.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.postgres import Server, server

ON_POSTGRESQL = os.environ.get("WAVELEDGER_TEST_STORE", "sqlite") == "postgresql"

# For tests that are about a file: its journal, its permissions, its tables as another program sees them.
about_files = pytest.mark.skipif(ON_POSTGRESQL, reason="about a store in a file")


def examples(count: int) -> int:
    """How many random histories to try: a statement takes ten times as long where another process executes it."""
    return max(3, count // 8) if ON_POSTGRESQL else count


def url(path: Path, actor: str = "alice") -> str:
    """The URL of the store at a path, for somebody. On PostgreSQL its database is there from now on."""
    if not ON_POSTGRESQL:
        return f"sqlite:///{path}"
    if not path.exists():
        running = server()
        _name(path, running, running.database())
    running, database = _named(path)
    if actor != "alice":
        running.role(actor)
    return running.url(database, actor)


def owner_url(path: Path) -> str:
    """The URL of the store at a path for somebody who may do everything to it, as an attacker could."""
    if not ON_POSTGRESQL:
        return f"sqlite:///{path}"
    running, database = _named(path)
    return running.url(database, "postgres")


def copy(source: Path, to: Path) -> None:
    """A copy of a store, as it is now. Nobody may be at the source."""
    if not ON_POSTGRESQL:
        shutil.copyfile(source, to)
        return
    running, database = _named(source)
    _name(to, running, running.database(database))


def _name(path: Path, running: Server, database: str) -> None:
    path.write_text(json.dumps([str(path.resolve()), str(running.directory), database]), encoding="utf-8")


def _named(path: Path) -> tuple[Server, str]:
    own, directory, database = json.loads(path.read_text(encoding="utf-8"))
    if own != str(path.resolve()):
        raise RuntimeError(f"{path} was copied as a file, and names the database of {own}")
    return Server(Path(directory)), database
