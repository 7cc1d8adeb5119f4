"""Opening a store, and the two kinds of transaction that there are: reading and writing.

Rules of this module:

* Writers take turns: `writing` holds the writer lock (SQLite: BEGIN IMMEDIATE) from its first statement to its commit.
  *Lock, read, decide, append, project, commit* is one transaction. Nobody holds it while a human or an HSM signs.
* `reading` sees one snapshot of the store from its first statement to its end.
* Opening never creates a file unless told to, and never runs DDL.
* A driver's error leaves this module as one of `ledger.store.errors`, except a broken constraint or a mistake in
  a statement: those are the caller's own.
* Two kinds of database: what is said of SQLite here, `ledger.store.postgresql` says of PostgreSQL.
* What was committed survives a loss of power (`synchronous=FULL`). WAL only where the linked SQLite has the WAL-reset
  fix, else a rollback journal that is truncated (DESIGN §5).
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from ledger.store import postgresql, turns
from ledger.store.bulk import is_postgresql, query
from ledger.store.errors import (
    OTHER_TABLES,
    BadStoreUrl,
    NetworkFileSystem,
    StoreBusy,
    StoreMissing,
    StoreUnreadable,
)

BUSY_TIMEOUT_SECONDS = 30
CACHE_KIB = 256 * 1024  # of pages; filled only by what a transaction touches
MOUNTINFO = Path("/proc/self/mountinfo")
NETWORK_FILESYSTEMS = frozenset({
    "9p", "afs", "afpfs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
    "nfs4", "smb3", "smbfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.curlftpfs", "fuse.davfs2", "fuse.gcsfuse",
    "fuse.glusterfs", "fuse.juicefs", "fuse.nfs", "fuse.rclone", "fuse.s3fs", "fuse.smbnetfs", "fuse.sshfs",
})  # fmt: skip

_WAL_RESET_FIXED = ((3, 44, 6), (3, 50, 7), (3, 51, 3))  # the first with the fix in its line; all later lines have it

# By SQLite's primary result code: what happened, and what the user can do.
_PROBLEMS = {
    sqlite3.SQLITE_PERM: ("access was denied", "check the permissions of the file and its directory"),
    sqlite3.SQLITE_READONLY: (
        "it is read-only",
        "check the permissions of the file and its directory, and how the disk is mounted",
    ),
    sqlite3.SQLITE_IOERR: (
        "the disk failed to read or write",
        "check the disk, its quotas and the system's log; `waveledger audit log` says whether the command was recorded",
    ),
    sqlite3.SQLITE_CORRUPT: ("the database is damaged", "restore it from a backup"),
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space and run the command again; nothing was changed"),
    sqlite3.SQLITE_CANTOPEN: ("the file could not be opened", "check that its directory exists and is accessible"),
    sqlite3.SQLITE_AUTH: ("access was denied", "check the permissions of the file and its directory"),
    sqlite3.SQLITE_NOTADB: ("the file is not an SQLite database", "check the path given with --store"),
}


def open_engine(url: str, *, must_exist: bool = True, journal_mode: str | None = None) -> Engine:
    """An engine for the store at `url`; the first connection is made by the first transaction.

    Args:
        url: an SQLAlchemy URL; ``sqlite://`` is a store in memory, one connection shared by all transactions.
        must_exist: False only where a store is about to be created.
        journal_mode: WAL or TRUNCATE instead of what `journal_mode_for` says. For tests.

    Raises:
        BadStoreUrl: no kind of store that can be opened.
        DriverMissing: what it takes to talk to the database is not installed.
        StoreMissing: no such file.
        NetworkFileSystem: the file would be where SQLite's locks don't hold.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "postgresql":
        return postgresql.open_engine(parsed)
    mode = journal_mode or journal_mode_for(sqlite3.sqlite_version_info)
    if parsed.database in (None, "", ":memory:"):
        return create_engine(parsed, creator=_connector(":memory:", None), poolclass=StaticPool)
    path = Path(str(parsed.database)).absolute()
    if must_exist and not is_there(path, name_of(parsed)):
        raise StoreMissing(store=name_of(parsed))
    refuse_network_filesystem(path)
    uri = f"{path.as_uri()}?mode={'rw' if must_exist else 'rwc'}"
    return create_engine(parsed, creator=_connector(uri, mode))


def is_there(path: Path, store: str) -> bool:
    """Whether the file of a store exists. Raises: StoreUnreadable, where that can't be seen."""
    try:
        return path.exists()
    except OSError as error:
        problem, advice = _PROBLEMS[sqlite3.SQLITE_CANTOPEN]
        raise StoreUnreadable(store=store, problem=f"{problem}: {error.strerror}", advice=advice) from None


@contextmanager
def opened(url: str, *, must_exist: bool = True) -> Iterator[Engine]:
    """As `open_engine`; its connections are closed at the end."""
    engine = open_engine(url, must_exist=must_exist)
    try:
        yield engine
    finally:
        engine.dispose()


def name_of(url: URL) -> str:
    """The store's URL as it may be shown: without a password."""
    secret = [key for key in url.query if "password" in key]
    return url.difference_update_query(secret).render_as_string(hide_password=True)


def shown(url: str) -> str:
    """A store's URL as it may be shown. Raises: BadStoreUrl."""
    return name_of(_parse(url))


def actor_of(connection: Connection, claimed: str) -> str:
    """Who acts: on PostgreSQL the role that logged in, whatever is claimed; on SQLite it is a claim."""
    return postgresql.actor(connection) if is_postgresql(connection) else claimed


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one snapshot and changes nothing."""
    with _translated(engine), engine.connect() as connection:
        connection.begin()  # SQLAlchemy's notion of a transaction; it sends nothing
        if is_postgresql(connection):
            postgresql.begin_reading(connection)
        else:
            query(connection, "BEGIN")
        yield connection


@contextmanager
def writing(engine: Engine, *, dry_run: bool = False) -> Iterator[Connection]:
    """A transaction under the writer lock: committed at the end, rolled back on any exception and on a dry run.

    Raises:
        StoreBusy: other writers held the lock for longer than the busy timeout.
    """
    with _translated(engine), engine.connect() as connection, _turn(engine):
        connection.begin()
        if is_postgresql(connection):
            postgresql.begin_writing(connection)
        else:
            query(connection, "BEGIN IMMEDIATE")
        yield connection
        if dry_run:
            connection.rollback()
        else:
            connection.commit()


@contextmanager
def _turn(engine: Engine) -> Iterator[None]:
    """On SQLite the queue of those who write. Raises: StoreBusy."""
    path = engine.url.database
    if is_postgresql(engine) or path in (None, "", ":memory:"):
        yield
        return
    with turns.turn(str(path), BUSY_TIMEOUT_SECONDS) as came:
        if not came:
            raise StoreBusy(store=name_of(engine.url), waited_seconds=BUSY_TIMEOUT_SECONDS)
        yield


def lock_for_swap(connection: Connection) -> bool:
    """Before tables are swapped in a write: keep readers out until its end; False where somebody reads just now.

    On SQLite tables belong to a reader's snapshot like their rows.
    """
    return not is_postgresql(connection) or postgresql.lock_for_swap(connection)


def after_filling(connection: Connection, tables: Iterable[str]) -> None:
    """Before new tables are asked for the first time: PostgreSQL plans by statistics, which nobody has gathered yet."""
    if is_postgresql(connection):
        for table in tables:
            query(connection, f"ANALYZE {table}")


def journal_mode_for(version: tuple[int, ...]) -> str:
    """WAL where this version of SQLite has the WAL-reset fix, else TRUNCATE."""
    *lines, newest = _WAL_RESET_FIXED
    fixed = version >= newest or any(version[:2] == first[:2] and version >= first for first in lines)
    return "WAL" if fixed else "TRUNCATE"


def filesystem_of(path: Path, mountinfo: str) -> str:
    """The type of the file system that a path is on, from the text of /proc/self/mountinfo; empty if unknown."""
    real = os.path.realpath(path)
    longest, found = "", ""
    for line in mountinfo.splitlines():
        mount, separator, source = line.partition(" - ")
        fields = mount.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(longest):  # equal: a later mount hides the earlier one
            longest, found = point, source.split(" ")[0]
    return found


def refuse_network_filesystem(path: Path) -> None:
    """Raises NetworkFileSystem where SQLite's locks don't hold. Where there is no mountinfo nothing is known."""
    try:
        mountinfo = MOUNTINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    filesystem = filesystem_of(path, mountinfo)
    if filesystem in NETWORK_FILESYSTEMS:
        raise NetworkFileSystem(path=str(path), filesystem=filesystem)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text is not shown: what can't be parsed may still hold a password.
        raise BadStoreUrl(url=url.partition(":")[0] + ":...", problem="it is not an SQLAlchemy URL") from None
    if parsed.drivername in postgresql.DRIVERS:
        if not parsed.database and "service" not in parsed.query:
            raise BadStoreUrl(url=name_of(parsed), problem="it names no database")
        return parsed
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise BadStoreUrl(url=name_of(parsed), problem="only sqlite: and postgresql+psycopg: are stores")
    if parsed.query or parsed.host:
        raise BadStoreUrl(url=name_of(parsed), problem="an SQLite URL holds a path and nothing else")
    return parsed


def _connector(database: str, journal_mode: str | None) -> Callable[[], sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
        while True:
            try:
                return _connect(database, journal_mode)
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise
            # Others have the file open in WAL, which SQLite does not wait for. Closed in between, lest two such wait
            # for each other; for 10 to 100 ms as the clock's last digits say, lest they meet again.
            time.sleep(0.01 + time.monotonic_ns() % 90_000 / 1_000_000)

    return connect


def _connect(database: str, journal_mode: str | None) -> sqlite3.Connection:
    # The busy timeout is in force from here on, before anything that may need to wait for a lock.
    connection = sqlite3.connect(
        database,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,  # transactions begin where this module says so
        check_same_thread=False,  # the pool hands a connection to one thread at a time
        uri=True,
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA recursive_triggers = ON")
        # A transaction larger than the cache locks readers out from then on, and writes its pages again and again.
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA temp_store = MEMORY")
        if journal_mode is not None:
            _set_journal_mode(connection, journal_mode)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_journal_mode(connection: sqlite3.Connection, wanted: str) -> None:
    """Only a change between WAL and the rest takes a lock and writes to the file, so only then is it asked for."""
    (found,) = connection.execute("PRAGMA journal_mode").fetchone()
    if wanted == "WAL":
        if found == "wal":
            return
        # Busy or read-only: without WAL the store is as safe, and the next connection tries again.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")
            return
    connection.execute("PRAGMA journal_mode = TRUNCATE")


@contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    driver = engine.dialect.loaded_dbapi
    try:
        yield
    except (DBAPIError, driver.Error) as error:
        translate = postgresql.translate if is_postgresql(engine) else _translate
        translated = translate(error.orig if isinstance(error, DBAPIError) else error, name_of(engine.url))
        if translated is None:
            raise
        raise translated from error


def _translate(error: BaseException | None, store: str) -> StoreBusy | StoreUnreadable | None:
    code = _primary_code(error)
    if _is_busy(error):
        return StoreBusy(store=store, waited_seconds=BUSY_TIMEOUT_SECONDS)
    if code in _PROBLEMS:
        problem, advice = _PROBLEMS[code]
        return StoreUnreadable(store=store, problem=problem, advice=advice)
    if "no such table" in str(error) or "no such column" in str(error):
        return StoreUnreadable(store=store, problem=str(error), advice=OTHER_TABLES)
    return None


def _is_busy(error: BaseException | None) -> bool:
    return _primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _primary_code(error: BaseException | None) -> int:
    """SQLite's result code without its extension; 0 for what is not SQLite's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
