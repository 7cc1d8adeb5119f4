"""What a machine can do to a ledger: full disk, read-only disk, damage, other versions. A clear error, nothing harmed.

Disks are real ones: a small tmpfs and read-only mounts, in a mount namespace that ends with the command.
"""

from __future__ import annotations

import errno
import os
import resource
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from cli import files
from cli.errors import NotWritable
from ledger.store import engine
from tests.cli.conftest import DATA, KEYS, PROGRAM, Result, Waveledger
from tests.cli.test_refusals import assert_refused
from tests.stores import about_files

pytestmark = about_files
slow = pytest.mark.slow
KB = 1024
READS, WRITES = ("status",), ("members", "add", "bob", "--role", "admin")


@pytest.fixture
def mounted() -> Callable[[Waveledger, Sequence[str], Sequence[str]], Result]:
    """Run a command where something was mounted first, which is gone after it."""
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.fail("a disk of one's own needs `unshare --mount`, as root or in a user namespace; neither is allowed")

    def run(shell: Waveledger, mounts: Sequence[str], args: Sequence[str]) -> Result:
        script = "\n".join(["set -e", *mounts, "code=0", f"{shlex.join([*PROGRAM, *args])} || code=$?", "exit $code"])
        came = subprocess.run(
            [*unshare, "sh", "-c", script],
            cwd=shell.cwd,
            env={**shell.environment(), "PATH": os.environ["PATH"]},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        return Result(args, came.returncode, came.stdout, came.stderr)

    return run


def unharmed(shell: Waveledger, before: tuple[int, str]) -> None:
    """Nothing was appended, nothing is damaged, and the next command works."""
    assert shell.head() == before
    with closing(sqlite3.connect(shell.cwd / "waveledger.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert shell.ask("projections", "verify")["ok"] is True
    shell.do(*WRITES)
    assert shell.head()[0] == before[0] + 1


# a disk that takes no more

FLEET = ("devices", "import", "fleet.csv")


@pytest.fixture
def fleet(acme: Waveledger) -> Waveledger:
    """A ledger, and a file of devices that are more than its disk will take."""
    rows = [f"gw-{n},Gateway {n},rpi4,release,canary,true\n" for n in range(20_000)]
    (acme.cwd / "fleet.csv").write_text(
        "uuid,name,hardware_id,tag,group,production\n" + "".join(rows), encoding="ascii"
    )
    return acme


def small_disk(shell: Waveledger, free: int) -> list[str]:
    """Mount a disk with so many bytes free beside the ledger's own, at its place, and copy the ledger back from it."""
    size = (shell.cwd / "waveledger.db").stat().st_size // KB * KB + free
    return [
        "mkdir -p disk",
        f"mount -t tmpfs -o size={size} tmpfs disk",
        "cp waveledger.db disk/",
        "trap 'cp disk/waveledger.db* .' EXIT",
    ]


@pytest.mark.parametrize("free", [40 * KB, pytest.param(4 * KB, marks=slow), pytest.param(400 * KB, marks=slow)])
def test_full_disk(fleet: Waveledger, mounted: Callable[..., Result], free: int) -> None:
    """The disk fills up at the first pages, in the journal or far into the import: exit 7, and all is as before."""
    before = fleet.head()
    result = mounted(fleet, small_disk(fleet, free), ("--store", "sqlite:///disk/waveledger.db", *FLEET))

    assert_refused(result, 7, "the disk is full", "free some space")
    unharmed(fleet, before)


def test_full_disk_can_be_read(acme: Waveledger, mounted: Callable[..., Result]) -> None:
    """Reading needs no space."""
    result = mounted(acme, small_disk(acme, 0), ("--store", "sqlite:///disk/waveledger.db", *READS))

    assert result.rc == 0, result.err


def test_file_as_large_as_it_may_be(fleet: Waveledger) -> None:
    """A limit to the size of files (ulimit -f) is as good as a full disk: exit 7, and all is as before."""
    before = fleet.head()
    most = (fleet.cwd / "waveledger.db").stat().st_size + 100 * KB
    with fleet.start(*FLEET, preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most, most))) as process:
        out, err = process.communicate(timeout=60)

    assert_refused(Result(FLEET, process.returncode, out, err), 7, "failed to read or write", "quotas")
    unharmed(fleet, before)


def test_published_to_a_full_disk(acme: Waveledger, mounted: Callable[..., Result]) -> None:
    """A wave's end is recorded all the same; the publication says what it lacks, and is finished elsewhere later."""
    acme.do("waves", "init", "v48", "48", "release", *KEYS)
    full = ["mkdir -p tree", "mount -t tmpfs -o size=8k tmpfs tree"]
    acme.env["WAVELEDGER_PUBLISH"] = "tree"

    completed = mounted(acme, full, ("waves", "complete", "v48"))
    published = mounted(acme, full, ("tuf", "publish"))

    assert completed.rc == 0, completed.err
    assert "recorded, not yet published" in completed.err
    assert "No space left on device" in completed.err
    assert published.rc == 7
    assert "No space left on device" in published.err
    assert "Traceback" not in published.err
    acme.do("tuf", "publish")
    assert acme.ask("tuf", "verify")["ok"] is True


def to_full_disk(shell: Waveledger, *args: str, lost: str = "stdout") -> Result:
    """A process whose stdout, or stderr, takes nothing."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*PROGRAM, *args],
            cwd=shell.cwd,
            env=shell.environment(),
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, lost: full},
            encoding="utf-8",
            check=False,
        )
    return Result(args, ended.returncode, ended.stdout or "", ended.stderr or "")


@pytest.mark.parametrize(
    "args",
    [
        ("devices", "list", "-f", "json"),
        pytest.param(READS, marks=slow),
        pytest.param(("audit", "show", "1"), marks=slow),
        pytest.param(("waves", "list", "-f", "csv"), marks=slow),
        pytest.param(("keys", "tuf", "show-root", "-f", "json"), marks=slow),
    ],
)
def test_output_to_a_full_disk(acme: Waveledger, args: tuple[str, ...]) -> None:
    """Output that could not be written is a failure, and no bug of ours."""
    assert_refused(to_full_disk(acme, *args), 7, "cannot write to stdout: No space", "audit log")


@pytest.mark.parametrize("args", [("--version",), ("--help",), ("waves", "-h"), ("audit", "export")], ids=" ".join)
def test_what_is_no_document_to_a_full_disk(acme: Waveledger, args: tuple[str, ...]) -> None:
    """The same where the output is not that of a command."""
    result = to_full_disk(acme, *args)

    assert (result.rc, result.err.splitlines()[0]) == (7, "error: cannot write to stdout: No space left on device")
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("waves", "rollout", "v48", "-l", "1", "-f", "json"), 0),
        (("devices", "list", "--limit", "1"), 0),
        (("devices", "show", "nosuch"), 4),
        (("-v", "devices", "show", "nosuch"), 4),
        (("nonsense",), 2),
        (("devices", "list", "--limit", "many"), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_notes_to_a_full_disk(acme: Waveledger, args: tuple[str, ...], code: int) -> None:
    """A note or an error that can't be written changes no exit code: who retries a rollout would reach more devices."""
    acme.do("waves", "init", "v48", "48", "release", *KEYS)

    result = to_full_disk(acme, *args, lost="stderr")

    assert result.rc == code
    assert bool(result.out) == (code == 0)


def test_appended_and_not_told(acme: Waveledger) -> None:
    """Where only the answer was lost, the hint says so: the event is there."""
    before = acme.head()

    assert_refused(to_full_disk(acme, *WRITES), 7, "cannot write to stdout", "was carried out all the same")
    assert acme.head()[0] == before[0] + 1


def test_plan_to_a_full_disk(acme: Waveledger) -> None:
    """A plan that could not be written is a failure."""
    acme.do("waves", "init", "v48", "48", "release", *KEYS)
    result = acme.quick("waves", "rollout", "v48", "-l", "3", "--dry-run", "-o", "/dev/full")

    assert (result.rc, result.out) == (7, "")
    assert result.err.startswith("error: cannot write /dev/full: No space left on device\nhint: check the directory")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan or report that can't be written leaves what was there, and nothing beside it."""
    link = tmp_path / "link"
    link.symlink_to("plan.json")
    files.write(str(link), b"one")

    def full(path: Path, data: bytes) -> int:
        path.open("wb").close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(NotWritable, match="No space"):
        files.write(str(link), b"two")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "plan.json"]
    assert (tmp_path / "plan.json").read_bytes() == b"one"


@pytest.mark.parametrize("args", [READS, WRITES, ("init", "--factory", "acme"), ("migrate",), ("audit", "verify")])
def test_a_store_that_can_not_be_looked_for(acme: Waveledger, args: tuple[str, ...]) -> None:
    """Where the system does not even say whether there is a file: exit 7."""
    result = acme.quick("--store", f"sqlite:////tmp/{'x' * 300}/l.db", *args)

    assert_refused(result, 7, "the file could not be opened: File name too long", "accessible")


def test_a_copy_that_can_not_be_cleared_away(acme: Waveledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is why there is no copy, not why what there is of it can't be removed."""

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    result = acme.quick("store", "copy", "sqlite:///none/copy.db")

    assert_refused(result, 7, "could not be opened", "directory exists")


# a disk that may only be read

FILE_ONLY = ["mount --bind waveledger.db waveledger.db", "mount -o remount,bind,ro waveledger.db"]
ALL_OF_IT = ["mount --bind . .", "mount -o remount,bind,ro .", 'cd "$PWD"']
DIRECTORY_ONLY = [
    "mkdir -p /tmp/waveledger-$$ && touch /tmp/waveledger-$$/db && mount --bind waveledger.db /tmp/waveledger-$$/db",
    *ALL_OF_IT,
    "mount --bind /tmp/waveledger-$$/db waveledger.db",
]


@pytest.mark.parametrize(
    "mounts",
    [
        pytest.param(ALL_OF_IT, id="all of it"),
        pytest.param(FILE_ONLY, id="the file", marks=slow),
        pytest.param(DIRECTORY_ONLY, id="the directory", marks=slow),
    ],
)
def test_read_only(acme: Waveledger, mounted: Callable[..., Result], mounts: list[str]) -> None:
    """A ledger on a read-only disk is read; a write says why it is not done."""
    before = acme.head()
    read = mounted(acme, mounts, READS)
    written = mounted(acme, mounts, WRITES)

    assert read.rc == 0, read.err
    problem = "it is read-only" if mounts is not DIRECTORY_ONLY else "the store sqlite:///waveledger.db cannot be used"
    assert_refused(written, 7, problem, "check")
    unharmed(acme, before)


# files that are no ledger, or no longer one


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(8192))


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path, size: int) -> None:
    os.truncate(path, size)


def scrambled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for place in range(4096, len(data), 7):
        data[place] ^= 0x55
    path.write_bytes(data)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def another(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")


def changed(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(statement)
        connection.commit()


DAMAGES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "garbage": (garbage, "not an SQLite database", "--store"),
    "nothing": (nothing, "there is no ledger", "waveledger init"),
    "a header": (partial(cut, size=100), "is damaged", "backup"),
    "half of it": (partial(cut, size=20_000), "is damaged", "backup"),
    "scrambled": (scrambled, "is damaged", "backup"),
    "a directory": (directory, "could not be opened", "directory"),
    "another program's": (another, "there is no ledger", "waveledger init"),
    "a table is missing": (partial(changed, statement="DROP TABLE head"), "no such table: head", "migrate"),
    "the head is missing": (partial(changed, statement="DELETE FROM head"), "head is damaged", "audit verify"),
    "the head is another": (
        partial(changed, statement="UPDATE head SET size = size + 1"), "head is damaged", "audit verify"),
    "an older schema": (
        partial(changed, statement="UPDATE schema_version SET version = 0 WHERE component = 'ledger'"),
        "version 0", "waveledger migrate"),
    "a newer schema": (
        partial(changed, statement="UPDATE schema_version SET version = 9 WHERE component = 'ledger'"),
        "version 9", "install that one"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("args", [READS, WRITES])
def test_damage(acme: Waveledger, damage: str, args: tuple[str, ...]) -> None:
    """Exit 7 with what is wrong and what to do, for reading and for writing; the file is left as it was found."""
    spoil, error, hint = DAMAGES[damage]
    path = acme.cwd / "waveledger.db"
    spoil(path)
    found = path.read_bytes() if path.is_file() else None

    assert_refused(acme.quick(*args), 7, error, hint)
    assert (path.read_bytes() if path.is_file() else None) == found


@pytest.mark.parametrize("damage", ["half of it", pytest.param("garbage", marks=slow)])
def test_damage_as_a_process(acme: Waveledger, damage: str) -> None:
    """A process ends in the same way."""
    spoil, error, hint = DAMAGES[damage]
    spoil(acme.cwd / "waveledger.db")

    assert_refused(acme.run(*WRITES), 7, error, hint)


@pytest.mark.parametrize("topic", ["wave.initialized/9", pytest.param("carrier-pigeon.sent/1", marks=slow)])
def test_events_of_a_newer_version(acme: Waveledger, topic: str) -> None:
    """With one event in it that this version does not know, a ledger takes no command, and says why."""
    with closing(sqlite3.connect(acme.cwd / "waveledger.db")) as connection:
        connection.execute("DROP TRIGGER event_never_changes")
        connection.execute("UPDATE event SET topic = ? WHERE position = (SELECT max(position) FROM event)", (topic,))
        connection.commit()
    before = acme.head()

    assert_refused(acme.run(*WRITES), 7, f"an event {topic}, written by a newer version", "upgrade")
    assert acme.head() == before


def test_network_file_system(acme: Waveledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger on a network file system is neither read nor written."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"36 35 0:31 / {acme.cwd} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(engine, "MOUNTINFO", mountinfo)

    for args in (READS, WRITES):
        assert_refused(acme.quick(*args), 7, "network file system (nfs4)", "PostgreSQL")


# others at the ledger


def test_busy(acme: Waveledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits too long for other writers ends with exit 5, and may try again."""
    before = acme.head()
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_SECONDS", 0.05)
    with closing(sqlite3.connect(acme.cwd / "waveledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        result = acme.quick(*WRITES)
        other.execute("ROLLBACK")

    assert_refused(result, 5, "is busy", "try again")
    unharmed(acme, before)


_STOPPED = """
import os, signal, sys
from ledger.store import recorder
insert = recorder.bulk.insert
def stop(connection, table, columns, rows):
    insert(connection, table, columns, rows)
    if table == "event":
        os.kill(os.getpid(), signal.SIGSTOP)
recorder.bulk.insert = stop
from cli.main import main
main()
"""


def test_a_command_that_hangs_in_its_transaction(acme: Waveledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one stands still in the middle, readers read what was before, writers wait; killed, it was never there."""
    before = acme.head()
    hanging = subprocess.Popen([sys.executable, "-c", _STOPPED, *WRITES], cwd=acme.cwd, env=acme.environment())
    os.waitid(os.P_PID, hanging.pid, os.WSTOPPED)
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_SECONDS", 0.05)

    assert acme.head() == before
    assert acme.quick(*WRITES).rc == 5
    hanging.send_signal(signal.SIGKILL)
    hanging.wait()
    unharmed(acme, before)


def test_a_store_that_was_moved_away(acme: Waveledger) -> None:
    """A command where the ledger was until now makes no new one."""
    shutil.move(acme.cwd / "waveledger.db", acme.cwd / "elsewhere.db")

    assert_refused(acme.run(*WRITES), 7, "there is no ledger at sqlite:///waveledger.db", "waveledger init")
    assert not (acme.cwd / "waveledger.db").exists()
    assert acme.do("--store", "sqlite:///elsewhere.db", *READS)


def test_devices_from_a_file_that_fails(acme: Waveledger) -> None:
    """A file that is read while it is a directory, or that cannot be read to its end, imports nothing."""
    before = acme.head()

    assert_refused(acme.quick("devices", "import", str(DATA)), 3, "cannot be read: Is a directory", "a file")
    assert_refused(acme.quick("devices", "import", "/proc/self/mem"), 3, "cannot be read", "a file")
    assert acme.head() == before
