"""waveledger store copy, as a user sees it, and a PostgreSQL store through the same commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import KEYS, Waveledger
from tests.postgres import server

PROGRAM = Path(sys.executable).with_name("waveledger")
IMPORTS = """
import sys
from cli.main import main
try:
    main()
finally:
    print(*sorted({"module:" + name.partition(".")[0] for name in sys.modules}), sep="\\n", file=sys.stderr)
"""


@pytest.fixture
def database() -> Iterator[str]:
    """A database with the two schemas and nothing in them."""
    name = server().database()
    yield name
    server().drop(name)


def test_from_a_file_to_a_team(acme: Waveledger, database: str) -> None:
    """A ledger moves to PostgreSQL in the middle of a wave, and people with logins of their own go on there."""
    alice, bob = (server().url(database, name) for name in ("alice", "bob"))
    server().role("bob")
    acme.do("members", "add", "bob", "--role", "admin")
    acme.do("waves", "init", "w", "50", "release", *KEYS)
    acme.do("waves", "rollout", "w", "--group", "canary")
    before = acme.ask("status")

    copied = acme.do("store", "copy", alice, "--format", "json").json

    assert (copied["position"], copied["root"]) == (before["head"]["position"], before["head"]["root"])
    assert copied["to"] == alice.replace("/tmp/", "%2Ftmp%2F")
    assert acme.ask("--store", bob, "status") == before
    acme.do("--store", bob, "--actor", "alice", "waves", "complete", "w")
    last = acme.ask("--store", bob, "waves", "show", "w")
    assert (last["status"], last["created_by"], last["finished_by"]) == ("complete", "alice", "bob")
    assert acme.ask("--store", bob, "projections", "verify")["ok"]
    assert acme.ask("status") == before, "the old store knows nothing of it"


def test_who_is_no_member_is_refused(acme: Waveledger, database: str) -> None:
    """Membership is checked against the login, not against what --actor claims."""
    server().role("bob")
    acme.do("store", "copy", server().url(database, "alice"))

    command = ("members", "add", "carol", "--role", "admin")
    refused = acme.quick("--store", server().url(database, "bob"), "--actor", "alice", *command)

    assert refused.rc == 3
    assert "acting as bob, who logged in to the database, not as alice" in refused.err
    assert "bob is not a member" in refused.err


def test_a_copy_that_is_tried(acme: Waveledger, database: str) -> None:
    """A dry copy does all of it, verifies it, and keeps nothing: neither a file, nor tables in a database."""
    files = sorted(path.name for path in acme.cwd.iterdir())
    position, root = acme.head()
    for url in ("sqlite:///tried.db", server().url(database, "alice")):
        for _ in range(2):
            tried = acme.do("store", "copy", url, "--dry-run", "--format", "json")
            assert (tried.json["position"], tried.json["root"], tried.json["dry_run"]) == (position, root, True)
            assert "nothing was written" in tried.err
    assert sorted(path.name for path in acme.cwd.iterdir()) == files
    assert acme.quick("--store", server().url(database, "alice"), "status").rc == 7


def test_copies_that_are_refused(acme: Waveledger, database: str) -> None:
    """Onto a ledger, into memory, by who may not create tables, beyond the end: nothing is left of any of them."""
    server().role("bob")
    files = sorted(path.name for path in acme.cwd.iterdir())
    position = acme.head()[0]
    for url, options, rc, text in [
        (acme.environment().get("WAVELEDGER_STORE", "sqlite:///waveledger.db"), (), 7, "there already is a ledger"),
        ("sqlite://", (), 7, "in memory"),
        ("sqlite:///new.db", ("--until", str(position + 1)), 4, "ends at position"),
        ("sqlite:///new.db", ("--until", "0"), 2, ""),
        ("mysql://db/x", (), 7, "is not a store"),
        (server().url(database, "bob"), (), 7, "access was denied"),
    ]:
        refused = acme.quick("store", "copy", url, *options)
        assert (refused.rc, refused.out) == (rc, ""), refused.err
        assert text in refused.err
    assert sorted(path.name for path in acme.cwd.iterdir()) == files


def test_reading_in_postgresql_starts_light(acme: Waveledger, database: str) -> None:
    """A command that reads imports the driver and nothing else that is heavy."""
    url = server().url(database, "alice")
    acme.do("store", "copy", url)

    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, "--store", url, "status"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    loaded = {line.removeprefix("module:") for line in done.stderr.splitlines() if line.startswith("module:")}
    assert "psycopg" in loaded
    assert loaded & {"eventsourcing", "tuf", "securesystemslib", "cryptography"} == set()


def test_names_are_completed_from_postgresql(acme: Waveledger, database: str) -> None:
    """The shell's completion asks the store that was named, and is silent where it can't."""
    acme.do("waves", "init", "w1", "50", "release", *KEYS)
    acme.do("store", "copy", server().url(database, "alice"))

    def complete(url: str) -> str:
        asked = {"COMP_WORDS": f"waveledger --store {url} waves show ", "COMP_CWORD": "5"}
        environment = acme.environment({"_WAVELEDGER_COMPLETE": "complete_bash", **asked})
        done = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.stdout

    assert "w1" in complete(server().url(database, "alice"))
    assert complete("postgresql+psycopg://nobody@/nothing?host=/nowhere").strip() == ""
