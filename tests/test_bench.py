"""Speed, as far as a test can hold it: the benchmarks run, and operations and imports are counted, not milliseconds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from ledger.domain.events import MemberAdded
from ledger.session import Ledger, Session
from ledger.store import migrate
from ledger.store.engine import open_engine, writing
from projections import runner
from projections.tables import all_tables

BENCHMARKS = Path(__file__).parents[1] / "scripts" / "benchmarks"

BARS = {
    "append_1": 0.6,
    "append_5": 0.6,
    "help": 1.5,
    "waves_list": 1.3,
    "wave_init": 1.3,
    "wave_complete": 1.3,
    "wave_cancel": 1.3,
    "sign_5": 5,
    "publish_action": 2,
    "publish_action_complete": 2,
    "publish_action_cancel": 2,
    "refresh_tags": 1.5,
    "refresh_tags_cpu": 1.5,
}
REPORTED = {
    "publish_action_check",
    "append_1_session_bare",
    "append_1_recorder_bare",
    "append_5_session_bare",
    "append_5_recorder_bare",
}

SCALE_BARS = {
    "import": 2,
    "rollout_10_percent": 4,
    "rollout_uuids": 4,
    "init_at_scale": 2,
    "complete_at_scale": 2,
    "cancel_at_scale": 2,
    "view_of_device": 3,
    "waves_status": 1.5,
    "status": 1.5,
    "rebuild": 2,
    "rebuild_blocked": 0.2,
    "audit_chain": 3,
    "audit_verify": 2,
    "contention": 0.5,
}

HEAVY = {"eventsourcing", "tuf", "securesystemslib", "cryptography", "psycopg", "rich", "requests", "alembic"}

RUN_AND_LIST_MODULES = """
import sys
from cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A ledger without events."""
    path = tmp_path / "ledger.db"
    engine = open_engine(f"sqlite:///{path}", must_exist=False)
    with writing(engine) as connection:
        migrate.create(connection, *all_tables())
        runner.install(connection)
    engine.dispose()
    return path


@pytest.fixture
def connection(store: Path) -> Iterator[Connection]:
    """An open write transaction."""
    engine = open_engine(f"sqlite:///{store}")
    with writing(engine) as connection:
        yield connection
    engine.dispose()


def test_benchmarks_run(tmp_path: Path) -> None:
    """All benchmarks run at a tiny size, and every promised ratio is in the file, judged by its bar."""
    out = tmp_path / "bench.json"

    command = [sys.executable, BENCHMARKS, "--tiny", "--dir", tmp_path, "-o", out, "--table", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode in {0, 6}, done.stderr
    document: dict[str, Any] = json.loads(out.read_text())
    entries = {entry["name"]: entry for entry in document["entries"]}
    assert entries.keys() >= BARS.keys() | REPORTED
    assert {name: entries[name]["bar"] for name in BARS} == BARS
    assert {name: entries[name]["bar"] for name in REPORTED} == dict.fromkeys(REPORTED)
    for entry in entries.values():
        by_time = entry["ours"] / entry["baseline"]
        ratio = 1 / by_time if entry["ratio_of"] == "speed" else by_time  # of one round: the median is that round's
        assert entry["ratio"] == entry["ratio_of_medians"] == pytest.approx(ratio, abs=0.001)
        bar = entry["bar"]
        reached = bar is None or (ratio >= bar if entry["ratio_of"] == "speed" else ratio <= bar)
        assert entry["ok"] == reached
        assert entry["rounds"] == 1
        assert entry["name"] in done.stdout
    missed = [name for name, entry in entries.items() if not entry["ok"]]
    assert (document["missed"], done.returncode) == (missed, 6 if missed else 0)
    assert document["machine"].keys() >= {"processor", "cores", "python", "sqlite", "journal_mode", "filesystem"}
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_benchmarks_of_large_fleets_run(tmp_path: Path, kind: str) -> None:
    """Every row of the table of a million devices is measured, at sizes that are asked for, and how it grows."""
    out = tmp_path / "bench.json"

    sizes = ["--devices", "200", "--devices", "400"]
    command = [sys.executable, BENCHMARKS, "--scale", "--tiny", "--store", kind, *sizes, "--dir", tmp_path, "-o", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode in {0, 6}, done.stderr
    document: dict[str, Any] = json.loads(out.read_text())
    bars = {(entry["name"], entry["sizes"].get("devices")): entry["bar"] for entry in document["entries"]}
    wanted = {(f"{kind}/{name}", size): bar for name, bar in SCALE_BARS.items() for size in (200, 400)}
    for size in (200, 400):  # it has no fleet, and is measured once
        del wanted[f"{kind}/contention", size]
    assert bars == {**wanted, (f"{kind}/contention", None): 0.5}
    assert {entry["memory_mib_bar"] for entry in document["entries"]} == {None, 1000}
    grown = {f"{kind}/{name}" for name in SCALE_BARS} - {f"{kind}/contention", f"{kind}/rebuild_blocked"}
    assert {growth["name"] for growth in document["growth"]} == grown
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("count", [1, 1000])
def test_append_statements(connection: Connection, count: int) -> None:
    """An append is one INSERT an event, and three statements more however many events there are."""
    statements: list[str] = []
    session = Session(connection, "alice", 1_800_000_000, [])
    members = [MemberAdded(f"member-{number}", "admin") for number in range(count)]
    driver: Any = connection.connection.driver_connection

    driver.set_trace_callback(statements.append)
    session.append("factory", members)
    driver.set_trace_callback(None)

    kinds = Counter(sql.partition(" ")[0] for sql in set(statements))  # set: a trigger traces its statement again

    assert kinds == {"INSERT": count, "SELECT": 2, "UPDATE": 1}


def test_a_command_asks_little_beside_what_it_is_about(store: Path) -> None:
    """While others wait: where the ledger ends, the stream's version, and one statement that moves projections on."""
    engine = open_engine(f"sqlite:///{store}")
    ledger = Ledger(engine, [runner.Projector()], "alice", 1_800_000_000)
    for _ in range(2):  # whoever looked before is told of what is new only
        statements: list[str] = []
        with engine.connect() as connection:  # the pool hands out this one again and again
            driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(statements.append)
        with ledger.writing() as session:
            session.append("factory", [MemberAdded("alice", "owner")])
        driver.set_trace_callback(None)
    engine.dispose()
    kinds = Counter(sql.split()[0] for sql in set(statements) - {sql for sql in statements if sql.startswith("--")})

    assert kinds == {"BEGIN": 1, "SELECT": 2, "INSERT": 2, "UPDATE": 2, "COMMIT": 1}


def test_help_imports(tmp_path: Path) -> None:
    """Help imports Typer and a handful of our own modules: no database, no cryptography, no validation."""
    modules = _modules("--help")
    alone = _loaded_by("import typer")

    assert not _packages(modules) & (HEAVY | {"sqlalchemy", "pydantic", "orjson", "projections"})
    assert len(modules - alone) <= 20


def test_waves_list_imports(store: Path) -> None:
    """A reading command imports neither the write side nor what signs."""
    modules = _modules("--store", f"sqlite:///{store}", "waves", "list")
    alone = _loaded_by("import typer, pydantic, typer._adapters, sqlalchemy, sqlalchemy.dialects.sqlite, orjson")

    assert not _packages(modules) & HEAVY
    assert not [name for name in modules if name.startswith(("ledger.application", "ledger.tuf", "projections.runner"))]
    assert len(modules - alone) <= 60


def _modules(*arguments: str) -> set[str]:
    command = [sys.executable, "-c", RUN_AND_LIST_MODULES, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def _loaded_by(statement: str) -> set[str]:
    command = [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def _packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}
