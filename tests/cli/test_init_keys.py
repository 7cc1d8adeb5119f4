"""The keys of a ledger are never taken away by another init, however the first one ended."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from cli import keyfiles, newledger
from cli.settings import Settings
from ledger.application.factory import make_keys
from ledger.domain.errors import LedgerError


def settings(directory: Path, name: str) -> Settings:
    return Settings(
        f"sqlite:///{directory / name}",
        "alice",
        "keys/online",
        None,
        verbose=0,
        now=1_800_000_000,
    )


def create(directory: Path, name: str) -> None:
    newledger.create(settings(directory, name), "acme", directory / "keys", make_keys(["ed25519"], 2), 2)


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_marker_that_was_left_behind_does_not_cost_a_ledger_its_keys(tmp_path: Path) -> None:
    """Killed after the commit: an init of another store in the same directory finds the keys taken, and leaves them."""
    create(tmp_path, "one.db")
    keys = contents(tmp_path / "keys")
    names = [str(Path(path).relative_to(tmp_path / "keys")) for path in keys]
    public = next(
        orjson.loads(row[0])["ledger_key"] for row in _rows(tmp_path / "one.db", "SELECT payload FROM event LIMIT 1")
    )
    marker = tmp_path / "keys" / keyfiles.MARKER
    marker.write_bytes(orjson.dumps([str(tmp_path / "one.db"), public, names]))

    with pytest.raises(LedgerError, match="already"):
        create(tmp_path, "two.db")

    assert contents(tmp_path / "keys") == keys


def test_keys_without_a_ledger_are_taken_away(tmp_path: Path) -> None:
    """Killed before the commit: the next init makes new keys."""
    create(tmp_path, "one.db")
    names = [str(path.relative_to(tmp_path / "keys")) for path in (tmp_path / "keys").rglob("*") if path.is_file()]
    (tmp_path / "keys" / keyfiles.MARKER).write_bytes(orjson.dumps([str(tmp_path / "gone.db"), "00", names]))
    before = contents(tmp_path / "keys")

    create(tmp_path, "two.db")

    after = contents(tmp_path / "keys")
    assert set(after) < set(before)
    assert all(after[path] != before[path] for path in after)


def test_a_marker_names_key_files_only(tmp_path: Path) -> None:
    """What a marker says is not trusted with other paths."""
    (tmp_path / "keys").mkdir()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    names = ["../victim", str(victim), "online/../../victim"]
    (tmp_path / "keys" / keyfiles.MARKER).write_bytes(orjson.dumps([str(tmp_path / "gone.db"), "00", names]))

    create(tmp_path, "one.db")

    assert victim.read_text() == "mine"


def _rows(path: Path, sql: str) -> list[tuple[bytes]]:
    import sqlite3

    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()
