"""What can happen between a command and a PostgreSQL server: a connection lost, a server gone, a client killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from ledger.store import postgresql
from tests import postgres
from tests.cli.conftest import Result, Waveledger
from tests.cli.test_refusals import assert_refused

READS, WRITES = ("status",), ("members", "add", "bob", "--role", "admin")
LOST = re.compile("connection (was lost|failed)")

# Stands still in the middle of its transaction: the event is inserted, nothing is committed.
_STOPPING = """
import os, signal
from ledger.store import recorder
insert = recorder.bulk.insert
def stop(connection, table, *rest):
    insert(connection, table, *rest)
    if table == "event":
        os.kill(os.getpid(), signal.SIGSTOP)
recorder.bulk.insert = stop
from cli.main import main
main()
"""


class OnServer(Waveledger):
    """A user of a ledger in a server."""

    server: postgres.Server
    database: str

    def hang(self) -> subprocess.Popen[str]:
        """A command that stands still in its transaction."""
        process = subprocess.Popen(
            [sys.executable, "-c", _STOPPING, *WRITES],
            cwd=self.cwd,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        return process

    def sql(self, statement: str) -> None:
        """As the superuser, on the ledger's database."""
        self.server.run(statement, self.database)

    def end(self, process: subprocess.Popen[str]) -> Result:
        """Let a command go on, to its end."""
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=60)
        return Result(WRITES, process.returncode, out, err)


def on_server(shell: Waveledger, server: postgres.Server) -> OnServer:
    database = server.database()
    url = server.url(database, "alice")
    shell.do("store", "copy", url)
    made = OnServer(shell.cwd, WAVELEDGER_STORE=url)
    made.server, made.database = server, database
    return made


@pytest.fixture
def acme_there(imported: Callable[..., Waveledger], tmp_path: Path) -> Iterator[OnServer]:
    """The ledger of acme on the tests' server."""
    made = on_server(imported("acme").copy(tmp_path / "acme"), postgres.server())
    yield made
    made.server.drop(made.database)


def unharmed(shell: OnServer, before: tuple[int, str]) -> None:
    """Nothing was appended, projections are whole, and the next command works."""
    assert shell.head() == before
    assert shell.ask("projections", "verify")["ok"] is True
    shell.do(*WRITES)
    assert shell.head()[0] == before[0] + 1


def test_connection_lost_in_a_transaction(acme_there: OnServer) -> None:
    """Exit 7, a hint to look whether it was recorded, and nothing is there: the server rolled it back."""
    before = acme_there.head()
    hanging = acme_there.hang()
    acme_there.server.run(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{acme_there.database}'"
    )
    result = acme_there.end(hanging)

    assert_refused(result, 7, "connection", "audit log")
    assert LOST.search(result.err)
    unharmed(acme_there, before)


def test_client_killed_in_a_transaction(acme_there: OnServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it stands still, readers read what was before, writers wait and end with 5; killed, it was never there."""
    before = acme_there.head()
    hanging = acme_there.hang()
    monkeypatch.setattr(postgresql, "BUSY_TIMEOUT_SECONDS", 0.1)

    assert acme_there.head() == before
    assert_refused(acme_there.quick(*WRITES), 5, "is busy", "try again")
    hanging.kill()
    hanging.communicate()
    monkeypatch.undo()
    unharmed(acme_there, before)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGQUIT, signal.SIGKILL], ids=["the server", "one process of it"])
def test_server_killed_in_a_transaction(
    imported: Callable[..., Waveledger], tmp_path: Path, ending: signal.Signals
) -> None:
    """A server that is killed, or recovers from the death of a process, has nothing of what was under way."""
    server = postgres.start()
    shell = on_server(imported("acme").copy(tmp_path / "acme"), server)
    before = shell.head()
    hanging = shell.hang()
    ((backend,),) = server.run(
        f"SELECT pid FROM pg_stat_activity WHERE datname = '{shell.database}' AND state LIKE 'idle in transaction%'"
    )
    parent = int(Path(server.directory, "data", "postmaster.pid").read_text().split()[0])
    os.kill(backend if ending == signal.SIGKILL else parent, ending)
    result = shell.end(hanging)

    assert_refused(result, 7, "connection", "audit log")
    if ending == signal.SIGQUIT:
        assert_refused(shell.quick(*READS), 7, "nobody answers there", "check host")
        return
    wait_for(server)
    unharmed(shell, before)


def wait_for(server: postgres.Server) -> None:
    """Until a server has recovered."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            server.run("SELECT 1")
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the server did not recover")


@pytest.mark.parametrize(
    ("statement", "error", "hint"),
    [
        (
            "UPDATE waveledger.schema_version SET version = 9 WHERE component = 'ledger'",
            "version 9",
            "install that one",
        ),
        ("UPDATE waveledger.schema_version SET version = 0 WHERE component = 'ledger'", "version 0", "migrate"),
        ("ALTER TABLE waveledger.head RENAME TO tail", "head", "migrate"),
        ("DROP TABLE waveledger_projections.fleet_device", "fleet_device", "migrate"),
        ("REVOKE SELECT ON waveledger.event FROM waveledger", "access was denied", "README"),
    ],
    ids=["newer schema", "older schema", "a table is missing", "a projection is missing", "no right to read"],
)
def test_damage(acme_there: OnServer, statement: str, error: str, hint: str) -> None:
    """Exit 7 with what is wrong and what to do."""
    acme_there.sql(statement)

    assert_refused(
        acme_there.quick("devices", "set", "f6fadfa7-e5c1-4b62-9362-da5cc13da58a", "--tag", "b"), 7, error, hint
    )


def test_events_of_a_newer_version(acme_there: OnServer) -> None:
    """With one event in it that this version does not know, a ledger takes no command, and says why."""
    acme_there.sql(
        "SET session_replication_role = replica; "
        "UPDATE waveledger.event SET topic = 'wave.initialized/9' WHERE position = 3"
    )
    before = acme_there.head()

    assert_refused(acme_there.quick(*WRITES), 7, "an event wave.initialized/9, written by a newer version", "upgrade")
    assert acme_there.head() == before


def test_database_gone(acme_there: OnServer) -> None:
    """A database that is not there is not made."""
    acme_there.server.drop(acme_there.database)

    assert_refused(acme_there.quick(*WRITES), 7, "does not exist", "createdb")
