"""Hostile arguments, names and files, as a shell hands them over: refused, and no terminal acts on what is shown.

Each parser by itself is in tests/formats; here is what only the whole program can get wrong.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import KEYS, PROGRAM, Result, Waveledger
from tests.cli.test_refusals import assert_refused
from tests.formats.parsers import CORPUS

slow = pytest.mark.slow
# What a terminal acts on: C0 but for line ends, DEL, C1; in our own messages also what changes the direction of text.
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")
DIRECTIONS = re.compile("[\u200e\u200f\u2028-\u202e\u2066-\u2069]")
NOT_UTF_8 = "\udcff\udcfe"  # how Python holds the bytes ff fe of an argument
ESCAPE = "\x1b[31m\x9b1mred\u202e"
SQL = "x'; DROP TABLE event; --"
CLIMBING = "../../../../tmp/evil"

# A command line with a hole in it, for each kind of argument there is.
HOLES: dict[str, tuple[str, ...]] = {
    "command": ("{}",),
    "subcommand": ("waves", "{}"),
    "option": ("waves", "list", "--{}"),
    "wave": ("waves", "show", "{}"),
    "wave to end": ("waves", "complete", "{}"),
    "wave's name": ("waves", "init", "{}", "48", "release", *KEYS),
    "number": ("waves", "init", "w", "{}", "release", *KEYS),
    "tag": ("waves", "init", "w", "48", "{}", *KEYS),
    "key": ("waves", "init", "w", "48", "release", "-k", "{}"),
    "expiry": ("waves", "init", "w", "48", "release", *KEYS, "-E", "{}"),
    "prune": ("waves", "init", "w", "48", "release", *KEYS, "--prune", "{}"),
    "source tag": ("waves", "init", "w", "48", "release", *KEYS, "--source-tag", "{}"),
    "limit": ("waves", "rollout", "w", "--limit", "{}"),
    "group": ("waves", "rollout", "w", "--group", "{}"),
    "uuids": ("waves", "rollout", "w", "--uuids", "{}"),
    "file of uuids": ("waves", "rollout", "w", "--uuids", "@{}"),
    "plan": ("waves", "rollout", "w", "--plan", "{}"),
    "reason": ("waves", "cancel", "w", "--reason", "{}"),
    "status": ("waves", "list", "--status", "{}"),
    "format": ("status", "--format", "{}"),
    "page": ("waves", "list", "--page", "{}"),
    "hours": ("status", "--offline-threshold", "{}"),
    "position": ("audit", "show", "{}"),
    "since": ("audit", "log", "--since", "{}"),
    "device": ("devices", "show", "{}"),
    "devices": ("devices", "import", "{}"),
    "device to move": ("devices", "set", "{}", "--tag", "release"),
    "tag to follow": ("devices", "set", "a", "--tag", "{}"),
    "device to remove": ("devices", "remove", "{}"),
    "reports": ("devices", "report", "{}"),
    "targets": ("targets", "import", "{}"),
    "target": ("targets", "show", "{}"),
    "target to prune": ("targets", "prune", "{}"),
    "member": ("members", "remove", "{}"),
    "new member": ("members", "add", "{} ", "--role", "admin"),
    "role": ("members", "add", "bob", "--role", "{}"),
    "actor": ("--actor", "{} ", "waves", "complete", "w"),
    "store": ("--store", "{}", "status"),
    "factory": ("--store", "sqlite:///new.db", "init", "--factory", "{} "),
    "view": ("tuf", "export", "{}", "bundle"),
    "projection": ("projections", "verify", "{}"),
    "time": ("tuf", "verify", "tree", "--now", "{}"),
    "version of a root": ("keys", "tuf", "show-root", "--version", "{}"),
}
FILTERS = (
    ("waves", "list", "--tag", "{}"), ("devices", "list", "--tag", "{}"), ("devices", "list", "--group", "{}"),
    ("targets", "list", "--by-tag", "{}"), ("audit", "log", "--wave", "{}"), ("audit", "log", "--device", "{}"),
    ("audit", "log", "--actor", "{}"),
)  # fmt: skip


def filled(args: tuple[str, ...], text: str) -> tuple[str, ...]:
    return tuple(arg.replace("{}", text) for arg in args)


def clean(result: Result) -> None:
    """Nothing that a terminal would act on, and no bug of ours."""
    assert CONTROLS.search(result.out + result.err) is None, result
    assert result.rc == 2 or DIRECTIONS.search(result.out + result.err) is None, result
    assert result.rc != 1, result.err


TEXTS = {"escapes": ESCAPE, "SQL": SQL, "path": CLIMBING, "digits": "9" * 70, "template": "{0}{x}%s"}


@pytest.mark.parametrize("text", ["escapes", *(pytest.param(name, marks=slow) for name in TEXTS if name != "escapes")])
@pytest.mark.parametrize("hole", HOLES)
def test_refused_in_the_open(acme_to_read: Waveledger, hole: str, text: str) -> None:
    """Whatever stands there, it ends with a documented code, shows no control character, and appends nothing."""
    before = acme_to_read.head()
    result = acme_to_read.quick(*filled(HOLES[hole], TEXTS[text]))

    clean(result)
    assert result.rc in {2, 3, 4, 7, 8}, result
    assert acme_to_read.head() == before


@pytest.mark.parametrize("args", FILTERS, ids=" ".join)
@pytest.mark.parametrize("text", [SQL, *(pytest.param(text, marks=slow) for text in (ESCAPE, CLIMBING, "%", "*", "_"))])
def test_filters_take_text_as_it_is(acme_to_read: Waveledger, args: tuple[str, ...], text: str) -> None:
    """A filter that nothing matches finds nothing: no wildcard, no SQL."""
    result = acme_to_read.quick(*filled(args, text), "--format", "json")

    clean(result)
    found = json.loads(result.out) if result.rc == 0 else {}
    assert [found[name] for name in ("waves", "devices", "targets", "events") if found.get(name)] == []


@pytest.mark.parametrize("args", [*FILTERS, *(pytest.param(args, marks=slow) for args in HOLES.values())], ids=" ".join)
def test_bytes_that_are_no_text(acme_to_read: Waveledger, args: tuple[str, ...]) -> None:
    """Bytes that are not UTF-8 are a usage error everywhere, and shown as what they are."""
    result = acme_to_read.quick(*filled(args, NOT_UTF_8))

    assert result.rc == 2
    assert "\\udcff\\udcfe" in result.err
    assert "is not UTF-8 text" in result.err
    clean(result)


def test_bytes_that_are_no_text_as_a_process(acme_to_read: Waveledger) -> None:
    """A process ends in the same way."""
    ended = subprocess.run(
        [*map(os.fsencode, PROGRAM), b"devices", b"show", b"\xff\xfe"],
        cwd=acme_to_read.cwd,
        env=acme_to_read.environment(),
        capture_output=True,
        check=False,
    )

    assert ended.returncode == 2
    assert b"is not UTF-8 text" in ended.stderr
    assert ended.stdout == b""


@pytest.mark.parametrize("name", ["WAVELEDGER_STORE", "WAVELEDGER_ACTOR", "WAVELEDGER_PUBLISH", "WAVELEDGER_FORMAT"])
def test_variables_that_are_no_text(acme_to_read: Waveledger, name: str) -> None:
    """Nor are they taken from the environment."""
    result = acme_to_read.quick("status", env={name: NOT_UTF_8})

    assert_refused(result, 2, f"{name} is not UTF-8 text", "UTF-8")


NUMBERS = [
    ("audit", "show", "{}"), ("waves", "list", "--page", "{}"), ("devices", "list", "--page", "{}"),
    ("audit", "log", "--page", "{}"), ("waves", "list", "--limit", "{}"), ("devices", "list", "--limit", "{}"),
    ("status", "--offline-threshold", "{}"), ("waves", "status", "w", "--offline-threshold", "{}"),
    ("keys", "tuf", "show-root", "--version", "{}"),
    ("targets", "prune", "--by-tag", "main", "--keep-last", "{}", "-d"),
]  # fmt: skip


@pytest.mark.parametrize(
    "number",
    ["9223372036854775808", *(pytest.param(text, marks=slow) for text in (str(2**31), str(2**63 - 1), "9" * 5000))],
)
@pytest.mark.parametrize("args", NUMBERS, ids=" ".join)
def test_huge_numbers(acme_to_read: Waveledger, args: tuple[str, ...], number: str) -> None:
    """A number that is no integer of a database is too large, or finds nothing."""
    result = acme_to_read.quick(*filled(args, number))

    clean(result)
    assert result.rc in {0, 2, 4}, result


@pytest.mark.parametrize("kind", [pytest.param("archive", marks=slow), "pem"])
def test_hostile_key_files(acme_to_read: Waveledger, tmp_path: Path, kind: str) -> None:
    """No archive and no PEM file of the corpus is a key here, and none leaves a file, wherever it may want to."""
    files = sorted(acme_to_read.cwd.rglob("*"))
    env = {"TMPDIR": str(tmp_path)}
    for path in sorted(CORPUS.glob(f"{kind}/*/*")):
        result = acme_to_read.quick("waves", "init", "w", "48", "release", "-k", str(path), env=env)
        clean(result)
        assert result.rc == 8, (path, result)
    assert sorted(acme_to_read.cwd.rglob("*")) == files
    assert list(tmp_path.iterdir()) == []
    assert not Path("/tmp/evil.sec").exists()


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        pytest.param("devices", ("devices", "import"), marks=slow),
        ("reports", ("devices", "report")),
        pytest.param("targets", ("targets", "import"), marks=slow),
        ("plan", ("waves", "rollout", "w", "--plan")),
    ],
)
def test_hostile_files(acme_to_read: Waveledger, kind: str, args: tuple[str, ...]) -> None:
    """What a parser refuses changes nothing, and no message repeats a control character of it."""
    before = acme_to_read.head()
    for path in sorted(CORPUS.glob(f"{kind}/refused/*")):
        result = acme_to_read.quick(*args, str(path))
        clean(result)
        assert result.rc in {3, 4}, (path, result)
    assert acme_to_read.head() == before


def test_names_that_a_shell_or_sql_would_act_on(acme: Waveledger) -> None:
    """What is allowed in a name and means something elsewhere is kept as it is, in every format."""
    name = "=cmd|'/C calc'!A0'); DROP TABLE event;--"
    uuid = "x'--DROP-TABLE-event"
    row = f'{uuid},"{name}",rpi4,release,canary,true\n'
    acme.do("devices", "import", "-", stdin="uuid,name,hardware_id,tag,group,production\n" + row)

    assert acme.ask("devices", "show", uuid)["name"] == name
    assert acme.ask("devices", "show", name)["uuid"] == uuid
    assert name in acme.do("devices", "list", "--limit", "1000").out
    assert name in acme.do("devices", "list", "--limit", "1000", "-f", "csv").out
    assert acme.ask("projections", "verify")["ok"] is True


def test_endless_files(acme_to_read: Waveledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without an end is refused where its limit is, and not read into memory."""
    from cli import plans
    from cli.formats import targets

    for module, limit in ((plans, "_SIZE_LIMIT"), (targets, "SIZE_LIMIT")):
        monkeypatch.setattr(module, limit, 1 << 20)
    for args in (
        ("devices", "import", "/dev/zero"),
        ("devices", "report", "/dev/zero"),
        ("targets", "import", "/dev/zero"),
        ("waves", "rollout", "w", "--plan", "/dev/zero"),
        ("waves", "rollout", "w", "--uuids", "@/dev/zero"),
    ):
        result = acme_to_read.quick(*args)
        assert result.rc == 3, result
        assert re.search("larger than|longer than|NUL", result.err), result
    assert acme_to_read.quick("waves", "init", "w", "48", "release", "-k", "/dev/zero").rc == 8


@pytest.fixture(scope="module")
def acme_to_read(imported: Callable[..., Waveledger], tmp_path_factory: pytest.TempPathFactory) -> Waveledger:
    """A ledger that all of these leave as it is."""
    shell = imported("acme").copy(tmp_path_factory.mktemp("hostile") / "acme")
    (shell.cwd / "tree").mkdir()
    shell.head()
    return shell
