"""Several processes append at once to one file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledger import merkle
from ledger.store import events, migrate
from ledger.store.engine import open_engine, reading, writing

APPENDER = Path(__file__).with_name("appender.py")
REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("created_in", "journal_mode"), [("WAL", "WAL"), ("TRUNCATE", "TRUNCATE"), ("WAL", "TRUNCATE")]
)
def test_four_processes_append(path: Path, created_in: str, journal_mode: str) -> None:
    """Four writers lose nothing, leave no gap, keep every stream's versions in order, and agree on the root.

    Also when all of them first have to take the file out of WAL.
    """
    url = f"sqlite:///{path}"
    engine = open_engine(url, must_exist=False, journal_mode=created_in)
    with writing(engine) as connection:
        migrate.create(connection)
    engine.dispose()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}

    writers = [
        subprocess.Popen([sys.executable, str(APPENDER), url, journal_mode, name, "25"], env=environment)
        for name in "abcd"
    ]
    codes = [writer.wait(timeout=60) for writer in writers]

    assert codes == [0, 0, 0, 0]
    with reading(engine) as connection:
        rows = list(events.read(connection))
        head = events.head(connection)
    assert [row.position for row in rows] == list(range(1, 201))
    assert [row.version for row in rows if row.stream == "shared"] == list(range(1, 101))
    for name in "abcd":
        assert [row.version for row in rows if row.stream == f"own:{name}"] == list(range(1, 26))
    assert [row.recorded_at for row in rows] == sorted(row.recorded_at for row in rows)
    assert head == (200, merkle.root_of(merkle.leaf_hash(merkle.entry(*row)) for row in rows), rows[-1].recorded_at)
    engine.dispose()
