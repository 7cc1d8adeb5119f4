"""What the packages import, when they change tables, and how long they get (DESIGN §5, §7; STYLE §5)."""

from __future__ import annotations

import ast
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool
from typer.testing import CliRunner

from cli.main import app

ROOT = Path(__file__).parent.parent
PACKAGES = ("ledger", "projections", "cli")
MODULES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
IDS = [str(file.relative_to(ROOT)) for file in MODULES]

MODULE_LINES, FUNCTION_LINES = 350, 40


def target(number):
    """A CI target of that number."""
    custom = {"version": str(number), "hardwareIds": ["rpi4"], "tags": ["main"]}
    return {"length": number, "hashes": {"sha256": "ab" * 32}, "custom": custom}


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    """A directory with a ledger, targets and devices, and ``run(...)`` for a command in it, in this process."""
    directory = tmp_path_factory.mktemp("factory")
    (directory / "targets.json").write_bytes(orjson.dumps({f"a-{number}": target(number) for number in (48, 60)}))
    devices = "".join(f"gw-{i},Gate {i},rpi4,release,canary,true\n" for i in range(5))
    (directory / "devices.csv").write_text("uuid,name,hardware_id,tag,group,production\n" + devices, encoding="ascii")
    (directory / "reports.csv").write_text("uuid,target,seen_at\ngw-0,a-48,\n", encoding="ascii")
    run = _runner(directory)
    for arguments in (
        ["init", "--factory", "acme"],
        ["targets", "import", "targets.json"],
        ["devices", "import", "devices.csv"],
    ):
        run(*arguments)
    return directory, run


def _runner(directory: Path) -> Callable[..., str]:
    # Commands write where they stand, so they get absolute places instead of another working directory.
    places = {"targets.json", "devices.csv", "reports.csv", "plan.json", "keys/targets.only.key.tgz"}

    def run(*arguments: str) -> str:
        given = [str(directory / a) if a in places else a for a in arguments]
        if given[0] == "init":
            given += ["--keys", str(directory / "keys")]
        store = f"sqlite:///{directory}/waveledger.db"
        environment = {
            "WAVELEDGER_STORE": store,
            "WAVELEDGER_ACTOR": "alice",
            "WAVELEDGER_ONLINE_KEYS": str(directory / "keys" / "online"),
            "WAVELEDGER_PUBLISH": str(directory / "tree"),
            "WAVELEDGER_FORMAT": "json",
        }
        result = CliRunner().invoke(app, given, env=environment)
        assert result.exit_code == 0, f"{arguments}: {result.output}"
        return result.stdout

    return run


# start-up: reading is light

HEAVY = {"eventsourcing", "tuf", "securesystemslib", "cryptography", "psycopg", "jinja2"}
READING = [
    ["--help"],
    ["waves", "--help"],
    ["waves", "list"],
    ["waves", "status", "v48"],
    ["waves", "show", "v48"],
    ["devices", "list"],
    ["devices", "show", "gw-1"],
    ["devices", "why", "gw-1"],
    ["status"],
    ["audit", "log"],
    ["audit", "show", "1"],
    ["targets", "list"],
    ["targets", "list", "--production", "--by-tag", "release"],
    ["targets", "show", "48"],
    ["members", "list"],
    ["projections", "list"],
    ["status", "--at", "21"],
    ["waves", "list", "--at", "20"],
    ["waves", "show", "v48", "--at", "20"],
    ["devices", "show", "gw-1", "--at", "20"],
    ["audit", "log", "--device", "gw-1", "--at", "20"],
    ["audit", "diff", "3", "20"],
    ["report", "waves"],
    ["report", "tag", "release"],
    ["report", "wave", "v48", "--format", "markdown"],
    ["report", "fleet", "--format", "json"],
    ["report", "activity", "--format", "csv"],
    ["report", "expiry"],
]

_IMPORTS = """
import sys
from cli.main import main
try:
    main()
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules}), sep="\\n", file=sys.stderr)
"""


@pytest.fixture(scope="module")
def waved(factory):
    """The factory after a first completed wave."""
    directory, run = factory
    run("waves", "init", "v48", "48", "release", "-k", "keys/targets.only.key.tgz")
    run("waves", "complete", "v48")
    return directory, run


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_reading_commands_start_light(waved, command):
    """A process that reads imports no event-sourcing library, TUF, cryptography, database driver or template engine."""
    directory, _ = waved
    result = subprocess.run(
        [sys.executable, "-c", _IMPORTS, *command], cwd=directory, capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr
    assert set(result.stderr.split()) & HEAVY == set()


def test_only_html_needs_the_template_engine(waved):
    """It is imported for that, and nothing else that is heavy."""
    directory, _ = waved
    command = ["report", "waves", "--format", "html"]
    result = subprocess.run(
        [sys.executable, "-c", _IMPORTS, *command], cwd=directory, capture_output=True, text=True, check=True
    )

    assert set(result.stderr.split()) & HEAVY == {"jinja2"}


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_is_light(package):
    """The packages themselves import nothing."""
    code = f"import sys; before = set(sys.modules); import {package}; print(sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert result.stdout == f"['{package}']\n"


# tables change in init, migrate and rebuild, and nowhere else

DDL = re.compile(r"\b(CREATE|DROP|ALTER|REINDEX|VACUUM)\s+(?!TEMP)", re.IGNORECASE)
MAY_CHANGE_TABLES = {
    "projections/upgrade.py",
    "ledger/store/migrate.py",
    "ledger/store/postgresql.py",
    "ledger/store/tables.py",
    "ledger/store/triggers.py",
    "projections/runner.py",
    "projections/tables.py",
}
ORDINARY = [
    ["targets", "import", "targets.json"],
    ["devices", "import", "devices.csv"],
    ["devices", "report", "reports.csv"],
    ["devices", "set", "gw-4", "--group", "late"],
    ["members", "add", "bob", "--role", "admin"],
    ["members", "remove", "bob"],
    ["waves", "init", "v60", "60", "release", "-k", "keys/targets.only.key.tgz"],
    ["waves", "rollout", "v60", "--uuids", "gw-0,gw-1"],
    ["waves", "rollout", "v60", "--limit", "25%"],
    ["waves", "rollout", "v60", "--limit", "1", "--dry-run", "-o", "plan.json"],
    ["waves", "rollout", "v60", "--plan", "plan.json"],
    ["waves", "rollout", "v60", "--group", "canary"],
    ["waves", "cancel", "v60", "--reason", "battery drain"],
    ["devices", "remove", "gw-3"],
    ["tuf", "publish"],
    ["tuf", "refresh", "--force"],
    ["projections", "verify"],
    *READING[2:],
]


@pytest.fixture
def statements():
    """Every statement that SQLite runs on a ledger in a file, whoever sends it."""
    seen: list[str] = []

    def trace(connection: sqlite3.Connection, _record: object) -> None:
        if any(file for _, _, file in connection.execute("PRAGMA database_list")):  # a replay in memory is no ledger
            connection.set_trace_callback(seen.append)

    event.listen(Pool, "connect", trace)
    yield seen
    event.remove(Pool, "connect", trace)


def test_ordinary_commands_change_no_table(waved, statements):
    """Nothing but init, migrate and rebuild does; a temporary table is not the ledger's."""
    _, run = waved
    for command in ORDINARY:
        statements.clear()
        run(*command)

        assert statements, f"{command} was not traced"
        assert [s for s in statements if DDL.match(s.lstrip())] == [], command


def test_the_trace_sees_tables_change(waved, statements):
    """The same trace catches a rebuild, which may."""
    _, run = waved
    run("projections", "rebuild")

    assert any(DDL.match(s.lstrip()) for s in statements)


@pytest.mark.parametrize("file", MODULES, ids=IDS)
def test_only_some_modules_know_how_to_change_tables(file):
    """No DDL in the text of any other module, except for temporary tables."""
    strings = [
        node.value
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    found = [s for s in strings if re.match(r"\s*(CREATE|DROP|ALTER) (?!TEMP)[A-Z]+ ", s)]
    calls = re.findall(r"\.(?:create_all|drop_all)\(", file.read_text(encoding="utf-8"))

    if str(file.relative_to(ROOT)) not in MAY_CHANGE_TABLES:
        assert found + calls == []


# size

LONG_MODULES = {
    "ledger/check.py": "one file that an auditor takes along and reads",
    "ledger/domain/events.py": "the list of all events: one place to read what can have happened",
}


@pytest.mark.parametrize("file", MODULES, ids=IDS)
def test_modules_are_short(file):
    """At most 350 lines; what is longer has a reason here."""
    lines = len(file.read_text(encoding="utf-8").splitlines())

    assert lines <= MODULE_LINES or str(file.relative_to(ROOT)) in LONG_MODULES, f"{lines} lines"


@pytest.mark.parametrize("file", MODULES, ids=IDS)
def test_functions_are_short(file):
    """At most 40 lines of body: a signature of many options and a docstring are for the reader."""
    found = {
        node.name: length
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.FunctionDef) and (length := _body_lines(node)) > FUNCTION_LINES
    }

    assert found == {}


def _body_lines(function: ast.FunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
