"""Keeping up, rebuilding beside readers, verifying."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import Boolean, Column, Table, inspect, select, text

from ledger.application.resign import Versions
from ledger.session import Ledger
from ledger.store import engine as store
from projections import runner
from projections.compare import readable
from projections.tables import NEW
from tests import stores
from tests.support import DAY, Factory, device

REBUILDER = Path(__file__).with_name("rebuilder.py")
REPOSITORY = Path(__file__).parents[2]
SCHEMA = "waveledger_projections" if stores.ON_POSTGRESQL else None
NAMES = [fold.name for fold in runner.folds()]


@pytest.fixture
def lived(factory: Factory) -> Factory:
    """A factory in which something of everything happened, publications too."""
    from projections.tuf.publish import publish

    factory.build(1, 2, 3, 4)
    factory.register(*[device(f"d{n}", group=("canary", "lab", None)[n % 3], production=n < 8) for n in range(9)])
    factory.init("w1", 1)
    factory.rollout("w1", group="canary")
    publish(factory.ledger, factory.online)
    factory.report(("d0", "arm64-lmp-1", None))
    factory.complete("w1")
    factory.set(["d0"], group="lab")
    factory.init("w2", 2)
    factory.rollout("w2", limit="2")
    publish(factory.ledger, factory.online)
    factory.cancel("w2")
    publish(factory.ledger, factory.online)
    factory.wait(9 * DAY)
    publish(factory.ledger, factory.online, refresh=True)
    factory.remove("d3")
    factory.prune("amd64-lmp-4")
    factory.rotate_online("timestamp")
    factory.resign("release", above=Versions(100, 100))
    publish(factory.ledger, factory.online)
    factory.init("w3", 3, prune=(1,))
    factory.rollout("w3", group="lab")
    return factory


def table_names(factory: Factory) -> set[str]:
    with factory.ledger.reading() as connection:
        return set(inspect(connection).get_table_names(schema=SCHEMA))


def literal(column: Column[object], number: int) -> str:
    """A value of the column's type."""
    return "TRUE" if isinstance(column.type, Boolean) else f"'{number}'"


def first_row(factory: Factory, table: Table) -> str:
    """A condition for one of its rows, by the key."""
    keys = list(table.primary_key.columns)
    with factory.ledger.reading() as connection:
        row = connection.execute(select(*keys).order_by(*keys).limit(1)).one()
    return " AND ".join(f"\"{key.name}\" = '{value}'" for key, value in zip(keys, row, strict=True))


def test_every_table_has_rows(lived: Factory) -> None:
    """The story of these tests touches every table, so that comparing rows means something."""
    assert [table for table, rows in lived.rows().items() if not rows] == []
    assert lived.differences() == []


def test_rebuilding_gives_the_same_rows(lived: Factory) -> None:
    """A rebuild, and a second one, give the rows that the appends gave, and telemetry is left alone."""
    lived.report(("d1", None, None))
    before = lived.rows()
    for _ in range(2):
        for name in NAMES:
            assert runner.rebuild(lived.engine, name) == lived.head()[0]
        assert lived.rows() == before
    assert lived.shown("d1").seen_at == lived.now


def test_index_names_are_unique_across_generations(lived: Factory) -> None:
    """Each generation has its own index names, and every table keeps all of its indexes."""

    def indexes() -> set[str]:
        with lived.ledger.reading() as connection:
            found = inspect(connection).get_multi_indexes(schema=SCHEMA)
            ours = {table: found[SCHEMA, table] for table in lived.rows()}
            return {f"{table} {index['name']}" for table, indexes in ours.items() for index in indexes}

    generations = [indexes()]
    for _ in range(2):
        for name in NAMES:
            runner.rebuild(lived.engine, name)
        generations.append(indexes())

    first, second, third = generations
    assert len(first) == len(second) == len(third)
    assert len(first | second | third) == 3 * len(first)
    assert all(NEW not in name for name in third)


def test_a_reader_keeps_what_it_opened(lived: Factory) -> None:
    """A reader that began before the swap sees the old rows to its end, one that begins after it the new ones."""
    with store.writing(lived.engine) as connection:
        connection.execute(text("UPDATE fleet_device SET name = 'old'"))
    other = store.open_engine(lived.url)
    names = text("SELECT DISTINCT name FROM fleet_device")
    with store.reading(lived.engine) as reader:
        assert reader.execute(names).scalars().all() == ["old"]
        rebuilding = threading.Thread(target=runner.rebuild, args=(other, "fleet"))
        rebuilding.start()
        rebuilding.join(0.3)
        assert reader.execute(names).scalars().all() == ["old"]
    rebuilding.join(30)
    other.dispose()

    assert not rebuilding.is_alive()
    assert "old" not in {row[2] for row in lived.rows()["fleet_device"]}
    assert lived.differences() == []


def test_readers_never_see_half(lived: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads while projections are rebuilt chunk by chunk sees all devices and all waves, every time."""
    monkeypatch.setattr(runner, "CHUNK", 3)
    expected = {uuid: row.view for uuid, row in lived.fleet().items()}
    stop = threading.Event()
    problems: list[object] = []
    reads = 0

    def read() -> None:
        nonlocal reads
        while not stop.is_set():
            found = {uuid: row.view for uuid, row in lived.fleet().items()}
            reads += 1
            if found != expected:
                problems.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    other = store.open_engine(lived.url)
    for name in NAMES:
        runner.rebuild(other, name)
    stop.set()
    reader.join(30)
    other.dispose()

    assert problems == []
    assert reads > 5


def test_appends_during_a_rebuild_are_in_it(lived: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is appended between two chunks of a rebuild is folded into the old tables and into the new ones."""
    monkeypatch.setattr(runner, "CHUNK", 4)
    arrivals = iter(range(3))

    def append(position: int, head: int) -> None:
        if position < head and (n := next(arrivals, None)) is not None:
            waiting.append(n)

    waiting: list[int] = []
    threads: list[threading.Thread] = []
    for name in NAMES:
        # `progress` is called under the lock, so the append waits for the chunk's commit in a thread of its own.
        def late(position: int, head: int, name: str = name) -> None:
            append(position, head)
            if waiting:
                n = waiting.pop()
                thread = threading.Thread(target=lived.register, args=(device(f"late-{name}-{n}"),))
                thread.start()
                threads.append(thread)

        runner.rebuild(lived.engine, name, late)
    for thread in threads:
        thread.join(30)
    assert lived.differences() == []
    assert len([uuid for uuid in lived.fleet() if uuid.startswith("late-")]) == 3


def test_a_chunk_may_end_before_its_events_do(lived: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk that is full by its payload ends what it streams with its transaction, in a rebuild as in a replay."""
    monkeypatch.setattr(runner, "CHUNK_BYTES", 0)
    monkeypatch.setattr(runner, "REPLAY_BYTES", 0)
    before = lived.rows()
    for name in NAMES:
        runner.rebuild(lived.engine, name)

    assert lived.rows() == before
    assert [found for name in NAMES for found in runner.verify(lived.engine, name)] == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("chunks", [1, 2, 0], ids=["after one chunk", "after two", "in the swap"])
def test_a_killed_rebuild_is_cleaned_up_by_the_next(lived: Factory, name: str, chunks: int) -> None:
    """A rebuild killed anywhere leaves the live rows as they were; the next one leaves no new tables behind."""
    before = lived.rows()
    command = [sys.executable, str(REBUILDER), lived.url, name, str(chunks)]

    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, timeout=60, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert any(table.endswith(NEW) for table in table_names(lived))
    assert lived.rows() == before
    lived.register(device("meanwhile"))
    assert lived.differences() == []
    runner.rebuild(lived.engine, name)
    assert not any(table.endswith(NEW) for table in table_names(lived))
    assert lived.differences() == []
    assert "meanwhile" in lived.fleet()


@pytest.mark.parametrize("table", [table for fold in runner.folds() for table in fold.tables(0).tables])
def test_verify_finds_what_no_event_gives(lived: Factory, table: str) -> None:
    """A row that was changed, deleted or added by hand is found, in its table; a rebuild mends it."""
    owner = next(fold.name for fold in runner.folds() if table in fold.tables(0).tables)
    found_in = next(fold.tables(0).tables[table] for fold in runner.folds() if table in fold.tables(0).tables)
    columns = found_in.columns
    # A column outside keys: changing it never collides.
    free = next((c for c in columns if not c.primary_key and not isinstance(c.type, Boolean)), None)
    one = first_row(lived, found_in)
    changes = {"delete": f"DELETE FROM {table} WHERE {one}"}
    if free is not None:
        changes["change"] = f'UPDATE {table} SET "{free.name}" = {literal(free, 77777)} WHERE {one}'
    added = ", ".join(literal(column, 88888) for column in columns)
    changes["add"] = f"INSERT INTO {table} VALUES ({added})"

    for kind, statement in changes.items():
        with store.writing(lived.engine) as connection:
            connection.execute(text(statement))
        found = runner.verify(lived.engine, owner)
        assert [(d.projection, d.table) for d in found] == [(owner, table)]
        if kind == "change" and free is not None:
            assert found[0].field == free.name
            assert found[0].problem.startswith(f"{free.name} is ")
            told = found[0].problem.partition(",")[0].strip("'")
            assert told.endswith(str(readable(free.name, 77777)))
        else:
            problems = {"delete": "this row is missing", "add": "no event gives this row"}
            assert found[0].problem == problems[kind]
        runner.rebuild(lived.engine, owner)
        assert runner.verify(lived.engine, owner) == []


def test_verify_stops_at_its_limit(lived: Factory) -> None:
    """A projection that is all wrong is reported up to the limit, and nothing of it is changed."""
    with store.writing(lived.engine) as connection:
        connection.execute(text("UPDATE fleet_device SET name = 'x'"))

    assert len(runner.verify(lived.engine, "fleet", most=4)) == 4
    assert len(runner.verify(lived.engine, "fleet")) == 9


def test_a_projection_that_is_behind_catches_up(lived: Factory) -> None:
    """Events that were appended without a projector are folded by the next append, before its own."""
    blind = Ledger(lived.engine, [], "alice", lived.now)
    from ledger.application import devices, waves

    devices.import_devices(blind, lived.facts, [device("unseen", group="lab")])
    waves.cancel(blind, lived.facts, "w3", None)
    with lived.ledger.reading() as connection:
        assert {(s.position < s.head) for s in runner.states(connection)} == {True}
    assert "unseen" not in lived.fleet()

    lived.register(device("seen"))

    with lived.ledger.reading() as connection:
        assert {(s.position == s.head) for s in runner.states(connection)} == {True}
    assert {"unseen", "seen"} <= set(lived.fleet())
    assert lived.differences() == []


def test_appends_leave_the_marks_of_a_rebuild_alone(lived: Factory) -> None:
    """A rebuild under way, or one that was killed, has a mark that no append moves: its tables are not folded into."""
    marks = text(f"SELECT name, position FROM projection WHERE name LIKE '%{NEW}'")
    with store.writing(lived.engine) as connection:
        runner._checkpoint(connection, f"fleet{NEW}", 0, 7)

    lived.register(device("seen"))

    with lived.ledger.reading() as connection:
        assert connection.execute(marks).all() == [(f"fleet{NEW}", 0)]


def test_one_projection_behind_the_other(lived: Factory) -> None:
    """A projection that was set back alone catches up alone."""
    with store.writing(lived.engine) as connection:
        head = lived.head()[0]
        connection.execute(text("UPDATE projection SET position = :at WHERE name = 'fleet'"), {"at": head})
    runner.rebuild(lived.engine, "fleet")
    devices_before = lived.rows()["fleet_device"]
    blind = Ledger(lived.engine, [], "alice", lived.now)
    from ledger.application import devices

    devices.import_devices(blind, lived.facts, [device("unseen")])
    runner.rebuild(lived.engine, "releases")  # this one is up to date now, the other is not
    assert lived.rows()["fleet_device"] == devices_before

    lived.register(device("seen"))

    assert lived.differences() == []
