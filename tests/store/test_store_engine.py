"""Opening stores, and what becomes of everything that can go wrong with a file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine

from ledger.store import bulk, events, migrate
from ledger.store import engine as engine_module
from ledger.store.engine import filesystem_of, journal_mode_for, open_engine, reading, writing
from ledger.store.errors import BadStoreUrl, NetworkFileSystem, StoreBusy, StoreMissing, StoreUnreadable
from ledger.store.recorder import LedgerRecorder, StoredEnvelope
from tests import stores

pytestmark = stores.about_files

MOUNTS = r"""
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 21 0:40 / /srv rw - nfs4 server:/srv rw
31 30 254:1 / /srv/local rw - xfs /dev/vdb rw
32 21 0:41 / /mnt/with\040space rw - cifs //server/share rw
33 21 254:2 / /over rw - ext4 /dev/vdc rw
34 33 0:42 / /over rw - fuse.sshfs host: rw
a line that is nothing
"""


def pragma(engine: Engine, name: str) -> object:
    with reading(engine) as connection:
        row = bulk.query(connection, f"PRAGMA {name}").fetchone()
        return row and row[0]


def append(engine: Engine, count: int = 1, payload: bytes = b"{}") -> None:
    with writing(engine) as connection:
        version = events.stream_version(connection, "fleet")
        LedgerRecorder(connection=connection).insert_events(
            [StoredEnvelope("fleet", version + n, "t/1", payload, 5, "alice") for n in range(1, count + 1)]
        )


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[Path]:
    """A directory for everyone, and this process without root's right to ignore permissions."""
    directory = Path(tempfile.mkdtemp(prefix="waveledger-"))
    directory.chmod(0o755)
    root = os.geteuid() == 0
    yield directory
    if root:
        os.seteuid(0)
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 34, 1), "TRUNCATE"),
        ((3, 44, 5), "TRUNCATE"),
        ((3, 44, 6), "WAL"),
        ((3, 45, 0), "TRUNCATE"),
        ((3, 50, 6), "TRUNCATE"),
        ((3, 50, 7), "WAL"),
        ((3, 50, 12), "WAL"),
        ((3, 51, 0), "TRUNCATE"),
        ((3, 51, 2), "TRUNCATE"),
        ((3, 51, 3), "WAL"),
        ((3, 52, 0), "WAL"),
        ((4, 0, 0), "WAL"),
    ],
)
def test_journal_mode_of_a_version(version: tuple[int, ...], mode: str) -> None:
    """WAL is for the versions with the WAL-reset fix, each in its line."""
    assert journal_mode_for(version) == mode


def test_settings_of_a_connection(engine: Engine) -> None:
    """Every connection waits for locks, survives a loss of power, and keeps its constraints."""
    assert pragma(engine, "busy_timeout") == 30_000
    assert pragma(engine, "synchronous") == 2
    assert pragma(engine, "foreign_keys") == 1
    assert pragma(engine, "recursive_triggers") == 1
    assert pragma(engine, "journal_mode") == journal_mode_for(sqlite3.sqlite_version_info).lower()


def test_journal_mode_follows_the_program(path: Path, engine: Engine) -> None:
    """A file that is in WAL leaves it under a program that must not use it, and the other way round."""
    append(engine)
    engine.dispose()
    for mode in ("WAL", "TRUNCATE", "WAL", "WAL"):
        again = open_engine(f"sqlite:///{path}", journal_mode=mode)
        assert pragma(again, "journal_mode") == mode.lower()
        append(again)
        again.dispose()


@pytest.mark.parametrize("mode", ["WAL", "TRUNCATE"])
def test_opening_needs_no_lock(path: Path, engine: Engine, mode: str) -> None:
    """A store that is in the right mode opens and is read while another connection is in the middle of a write."""
    engine.dispose()
    first = open_engine(f"sqlite:///{path}", journal_mode=mode)
    second = open_engine(f"sqlite:///{path}", journal_mode=mode)
    with writing(first), reading(second) as connection:
        assert events.head(connection).size == 0
    first.dispose()
    second.dispose()


def test_wal_that_can_not_be_had_now(path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a lock keeps the file from entering WAL, the connection works without."""
    monkeypatch.setattr(engine_module, "BUSY_TIMEOUT_SECONDS", 0.05)
    other = open_engine(f"sqlite:///{path}", journal_mode="WAL")
    with writing(engine):
        assert pragma(other, "journal_mode") == "truncate"
    other.dispose()


def test_missing_file_is_not_created(path: Path) -> None:
    """Opening a store that does not exist says so, with the command that makes one, and leaves no file."""
    with pytest.raises(StoreMissing) as caught:
        open_engine(f"sqlite:///{path}")

    assert "waveledger init" in caught.value.render_hint()
    assert not path.exists()


def test_file_that_vanished_is_not_created(path: Path, engine: Engine) -> None:
    """A file that is removed after the store was opened is not made anew by the next connection."""
    engine.dispose()
    again = open_engine(f"sqlite:///{path}")
    path.unlink()
    with pytest.raises(StoreUnreadable, match="could not be opened"), reading(again):
        pass
    assert not path.exists()


def test_directory_that_does_not_exist(tmp_path: Path) -> None:
    """A new store in a directory that is not there can't be created."""
    engine = open_engine(f"sqlite:///{tmp_path}/nowhere/ledger.db", must_exist=False)
    with pytest.raises(StoreUnreadable, match="could not be opened"), writing(engine):
        pass


def test_odd_characters_in_the_path(tmp_path: Path) -> None:
    """Characters that mean something in a URI are only characters of a file name."""
    path = tmp_path / "a?mode=memory&b#c%41 d.db"
    url = URL.create("sqlite", database=str(path)).render_as_string()
    engine = open_engine(url, must_exist=False)
    with writing(engine) as connection:
        migrate.create(connection)
    engine.dispose()
    assert path.exists()


def test_not_a_database(path: Path) -> None:
    """A file that is no database is refused in words."""
    path.write_bytes(b"release notes\n" * 100)
    with pytest.raises(StoreUnreadable, match="not an SQLite database"), reading(open_engine(f"sqlite:///{path}")):
        pass


def test_directory_instead_of_a_file(tmp_path: Path) -> None:
    """A directory is refused in words."""
    with pytest.raises(StoreUnreadable), reading(open_engine(f"sqlite:///{tmp_path}")):
        pass


def test_damaged_database(path: Path, engine: Engine) -> None:
    """Pages overwritten with noise are noticed and named."""
    append(engine, 200, b"x" * 1000)
    engine.dispose()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    with pytest.raises(StoreUnreadable, match="damaged"), reading(engine) as connection:
        list(events.read(connection))


def test_disk_full(engine: Engine) -> None:
    """A write for which there is no space is refused, and leaves what was there."""
    append(engine)
    with reading(engine) as connection:
        bulk.query(connection, "PRAGMA max_page_count = 1")  # SQLite takes the present size if that is more
    with pytest.raises(StoreUnreadable, match="disk is full"):
        append(engine, 100, os.urandom(4000))
    with reading(engine) as connection:
        assert events.head(connection).size == 1


def test_read_only_file(unprivileged: Path) -> None:
    """A store that may only be read is read, and a write says why it is not done."""
    path = unprivileged / "ledger.db"
    engine = open_engine(f"sqlite:///{path}", must_exist=False)
    with writing(engine) as connection:
        migrate.create(connection)
    append(engine)
    engine.dispose()
    path.chmod(0o444)
    if os.geteuid() == 0:
        os.seteuid(65534)

    again = open_engine(f"sqlite:///{path}", journal_mode="TRUNCATE")
    with reading(again) as connection:
        assert events.head(connection).size == 1
    with pytest.raises(StoreUnreadable, match="read-only"):
        append(again)
    again.dispose()


def test_busy(path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for the writer lock in vain loses a race, with that exit code."""
    monkeypatch.setattr(engine_module, "BUSY_TIMEOUT_SECONDS", 0.05)
    other = open_engine(f"sqlite:///{path}")
    with writing(engine), pytest.raises(StoreBusy) as caught, writing(other):
        pass
    assert caught.value.exit_code == 5


def test_tables_of_something_else(path: Path) -> None:
    """A database without our tables gives no traceback but a reason."""
    sqlite3.connect(path).executescript("CREATE TABLE cooking (recipe)")
    with (
        pytest.raises(StoreUnreadable, match="no such table: head"),
        reading(open_engine(f"sqlite:///{path}")) as connection,
    ):
        events.head(connection)


def test_a_failed_command_changes_nothing(engine: Engine) -> None:
    """Any exception inside a write rolls it back, also one that has nothing to do with the store."""

    def interrupted() -> None:
        with writing(engine) as connection:
            LedgerRecorder(connection=connection).insert_events([StoredEnvelope("a", 1, "t/1", b"{}", 5, "alice")])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with reading(engine) as connection:
        assert events.head(connection).size == 0


def test_dry_run(engine: Engine) -> None:
    """A dry run sees its own appends, and nobody else ever does."""
    with writing(engine, dry_run=True) as connection:
        LedgerRecorder(connection=connection).insert_events([StoredEnvelope("a", 1, "t/1", b"{}", 5, "alice")])
        assert events.head(connection).size == 1
    with reading(engine) as connection:
        assert events.head(connection).size == 0


@pytest.mark.parametrize("mode", ["WAL", "TRUNCATE"])
def test_reading_is_one_snapshot(path: Path, engine: Engine, mode: str) -> None:
    """A reader that has begun sees the ledger as it was, whatever a writer that started later has written by then."""
    engine.dispose()
    engine = open_engine(f"sqlite:///{path}", journal_mode=mode)
    with reading(engine) as connection:
        before = events.head(connection)
        with writing(engine, dry_run=mode == "TRUNCATE") as other:  # there a commit would wait for the reader
            LedgerRecorder(connection=other).insert_events([StoredEnvelope("a", 1, "t/1", b"{}", 5, "alice")])
        assert events.head(connection) == before
    engine.dispose()


def test_store_in_memory() -> None:
    """A store in memory lives as long as its engine, over many transactions."""
    engine = open_engine("sqlite://")
    with writing(engine) as connection:
        migrate.create(connection)
    append(engine, 3)
    with reading(engine) as connection:
        migrate.check(connection)
        assert events.head(connection).size == 3
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "waveledger.db",
        "",
        "postgresql+psycopg2://user:secret@host/db",
        "postgresql://user:secret@host/",
        "mysql://host/db",
        "sqlite:///a.db?mode=ro",
        "sqlite://host/a.db",
        "sqlite+aiosqlite:///a.db",
    ],
)
def test_url_of_no_store(url: str) -> None:
    """What names no store that we can open is refused, and no password is shown."""
    with pytest.raises(BadStoreUrl) as caught:
        open_engine(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "filesystem"),
    [
        ("/home/ledger.db", "ext4"),
        ("/srv/ledger.db", "nfs4"),
        ("/srv/local/ledger.db", "xfs"),
        ("/srvlocal/ledger.db", "ext4"),
        ("/mnt/with space/ledger.db", "cifs"),
        ("/over/ledger.db", "fuse.sshfs"),
    ],
)
def test_filesystem_of_a_path(path: str, filesystem: str) -> None:
    """The innermost and latest mount decides, with its name's escapes undone."""
    assert filesystem_of(Path(path), MOUNTS) == filesystem


def test_filesystem_through_a_link(tmp_path: Path) -> None:
    """A link to a directory elsewhere is followed."""
    (tmp_path / "link").symlink_to("/srv")
    assert filesystem_of(tmp_path / "link" / "ledger.db", MOUNTS) == "nfs4"


def test_network_file_system_is_refused(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store on a network file system is not opened or created, and the way out is named."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"21 1 0:40 / {tmp_path} rw - nfs4 server:/export rw\n", encoding="utf-8")
    monkeypatch.setattr(engine_module, "MOUNTINFO", mounts)

    with pytest.raises(NetworkFileSystem, match="nfs4") as caught:
        open_engine(f"sqlite:///{path}", must_exist=False)

    assert "PostgreSQL" in caught.value.render_hint()
    assert not path.exists()


def test_system_without_mountinfo(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no mountinfo, nothing is refused for it."""
    monkeypatch.setattr(engine_module, "MOUNTINFO", path)
    open_engine(f"sqlite:///{path}", must_exist=False)


def test_reading_imports_little() -> None:
    """What every reading command needs of the store does not import the heavy libraries."""
    program = (
        "import sys, ledger.store.engine, ledger.store.events, ledger.store.migrate\n"
        "print({'eventsourcing', 'tuf', 'securesystemslib', 'cryptography', 'psycopg'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert printed == "set()\n"
