"""What the hot questions and actions cost, counted in SQLite: statements, rows, steps, and no walk of a large table.

Not milliseconds: these tests fail on the change that makes something grow with the fleet or with the past.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from ledger.application import devices as application
from ledger.domain.rollout import draw_of, selection_order
from projections import sticky
from projections.queries import cells, devices, status, waves
from tests.projections.history import TAGS
from tests.stores import about_files
from tests.support import DAY, HOUR, Factory, device

LARGE_TABLES = ("d", "m", "h", "fleet_device", "fleet_member", "fleet_history", "event", "e")
BUILDS = range(1, 40)


@dataclass
class Asked:
    """What SQLite was asked for."""

    statements: list[str] = field(default_factory=list)
    steps: int = 0
    rows: int = 0


@contextmanager
def asked(factory: Factory) -> Iterator[Asked]:
    """Counts while something is done on new connections."""
    work = Asked()
    raws: list[sqlite3.Connection] = []

    def step() -> int:
        work.steps += 1
        return 0

    def watch(raw: Any, _record: Any) -> None:
        raw.set_trace_callback(work.statements.append)
        raw.set_progress_handler(step, 100)
        raws.append(raw)

    factory.engine.dispose()
    event.listen(factory.engine, "connect", watch)
    try:
        yield work
        work.rows = sum(raw.total_changes for raw in raws)
    finally:
        event.remove(factory.engine, "connect", watch)
        factory.engine.dispose()


def lived(factory: Factory, fleet: int, past: int) -> Factory:
    """A factory with a fleet and with earlier waves; ten devices are in the group `canary`."""
    factory.build(*BUILDS)
    factory.register(*[device(f"d{n}", group="canary" if n < 10 else "rest") for n in range(fleet)])
    for n in range(1, past + 1):
        factory.init(f"w{n}", n, prune=(n - 2,) if n > 2 and n % 2 else ())
        factory.rollout(f"w{n}", uuids=[f"d{n % 20}"])
        if n % 2:
            factory.complete(f"w{n}")
        else:
            factory.cancel(f"w{n}")
        factory.wait(DAY)
    return factory


@pytest.fixture
def pair(factory: Factory, tmp_path: Path) -> Iterator[tuple[Factory, Factory]]:
    """A small fleet with a short past, and a large one with a long past."""
    large = Factory(tmp_path / "large.db")
    yield lived(factory, 40, 3), lived(large, 1500, 21)
    large.close()


ACTIONS: dict[str, Callable[[Factory], object]] = {
    "init": lambda made: made.init("m1", 30),
    "rollout of a list": lambda made: made.rollout("m1", uuids=["d0", "d1", "d39"]),
    "rollout to a group": lambda made: made.rollout("m1", group="canary"),
    "cancel": lambda made: made.cancel("m1"),
    "init again": lambda made: made.init("m2", 31),
    "complete": lambda made: made.complete("m2"),
}


@about_files
def test_wave_actions_touch_the_same_rows_whatever_the_fleet_and_the_past(pair: tuple[Factory, Factory]) -> None:
    """Each asks as many statements and changes as many rows; a tree that is a page deeper is all that may differ."""
    for name, action in ACTIONS.items():
        work = []
        for made in pair:
            with asked(made) as one:
                action(made)
            work.append(one)
        small, large = work

        assert len(large.statements) == len(small.statements), name
        assert large.rows == small.rows, name
        assert large.steps <= 1.3 * small.steps + 3, (name, small.steps, large.steps)


@about_files
def test_the_view_of_one_device_is_one_statement(pair: tuple[Factory, Factory]) -> None:
    """The gateway's question costs the same few steps in any fleet, and gets the answer that `devices show` gives."""
    for made in pair:
        made.init("m1", 30)
        made.rollout("m1", uuids=["d0", "d11"])
    sizes = set()
    for made in pair:
        with asked(made) as work, made.ledger.reading() as connection:
            view = devices.view_of(connection, "d11")
        sizes.add((sum(sql.lstrip().startswith("SELECT") for sql in work.statements), work.steps, work.rows))
        assert view == made.shown("d11").view == "wave/m1"

    assert sizes <= {(1, 0, 0), (1, 1, 0)}


@about_files
def test_no_action_walks_a_large_table(pair: tuple[Factory, Factory]) -> None:
    """Every statement of every wave action, and of the gateway's question, finds its rows along an index."""
    made = pair[0]
    with asked(made) as work:
        for action in ACTIONS.values():
            action(made)
        with made.ledger.reading() as connection:
            devices.view_of(connection, "d1")
    changing = ("SELECT", "INSERT", "UPDATE", "DELETE")
    statements = {sql for sql in work.statements if sql.startswith(changing)}

    walks = []
    with made.ledger.writing(dry_run=True) as session:
        staged = ", ".join(f"{name} {kind}" for name, kind in sticky.STAGED_COLUMNS.items())
        session.connection.exec_driver_sql(f"CREATE TEMPORARY TABLE fleet_staged ({staged})")
        raw: Any = session.connection.connection.driver_connection
        for sql in statements:
            walks += [(line, sql) for line in plan(raw, sql) if line.split()[0] == "SCAN" and is_walk(line)]

    assert len(statements) > 30
    assert walks == []


def plan(raw: sqlite3.Connection, sql: str) -> list[str]:
    """How SQLite would carry out a statement."""
    return [str(row[-1]) for row in raw.execute(f"EXPLAIN QUERY PLAN {sql}")]


def is_walk(line: str) -> bool:
    """Whether a line of a plan says that a large table is read from end to end."""
    return line.split()[1] in LARGE_TABLES


@about_files
@pytest.mark.parametrize("sql", [cells.ALL, cells.OF_TAG])
def test_the_fleet_is_counted_along_one_index(factory: Factory, sql: str) -> None:
    """Counts never read the rows of devices, nor sort them: the index has all that they ask, in their order."""
    with factory.ledger.reading() as connection:
        found = connection.execute(text(f"EXPLAIN QUERY PLAN {sql}"), {"since": 0, "tag": 1})
        lines = [str(row[-1]) for row in found]

    assert any(line.startswith("SEARCH d USING COVERING INDEX") for line in lines), lines
    assert not any("TEMP B-TREE" in line for line in lines), lines


@about_files
def test_counts_ask_as_many_statements_whatever_the_fleet(pair: tuple[Factory, Factory]) -> None:
    """`waves status` and `status` are a handful of statements, however many devices there are."""
    counts = []
    for made in pair:
        made.init("m1", 30)
        made.rollout("m1", group="canary")
        with asked(made) as work, made.ledger.reading() as connection:
            row = waves.find(connection, "m1")
            assert row is not None
            counted = waves.count(connection, row, online_since=made.now - 4 * HOUR)
            status.tags(connection, online_since=made.now - 4 * HOUR)
        counts.append(len(work.statements))
        assert (counted.scheduled, len(counted.rollout_groups)) == (10, 1)

    assert counts[0] == counts[1]


@about_files
def test_who_asks_for_nobody_online_reads_no_sightings(pair: tuple[Factory, Factory]) -> None:
    """A report counts versions, not sightings: it looks up none, and counts the same devices."""
    for made in pair:
        made.init("m1", 30)
        made.rollout("m1", uuids=["d1"])
        with asked(made) as work, made.ledger.reading() as connection:
            told = status.tags(connection, online_since=None)
        with made.ledger.reading() as connection:
            also = status.tags(connection, online_since=made.now - 4 * HOUR)

        assert [row.all.versions for row in told] == [row.all.versions for row in also]
        assert not any("sighting" in statement for statement in work.statements)


def test_devices_online_on_another_tag_hide_nobody(factory: Factory) -> None:
    """More devices are online elsewhere than match here: those that are not online are chosen all the same."""
    factory.build(1)
    factory.register(device("a"), *[device(f"b{n}", "beta") for n in range(5)])
    factory.report(*[(f"b{n}", None, None) for n in range(5)])
    factory.init("w", 1)

    assert factory.rollout("w", limit="99%").uuids == ("a",)


@pytest.mark.parametrize("seed", range(4))
def test_the_choice_is_that_of_ordering_all(factory: Factory, seed: int) -> None:
    """Whoever is online first, then by the wave's order: the same devices as a full sort gives, rollout by rollout."""
    chance = random.Random(seed)
    factory.build(1)
    uuids = [f"d{seed}-{n}" for n in range(260)]
    tags = {uuid: chance.choice((*TAGS[:1] * 3, TAGS[1])) for uuid in uuids}
    factory.register(*[device(uuid, tag) for uuid, tag in tags.items()])
    seen = [uuid for uuid in uuids if chance.random() < (0, 0.05, 0.5, 1)[seed]]
    factory.report(*[(uuid, None, factory.now - chance.randrange(2) * 5 * HOUR) for uuid in seen])
    factory.init("w", 1)
    matching = [uuid for uuid in uuids if tags[uuid] == TAGS[0]]
    online = {uuid for uuid in seen if (factory.shown(uuid).seen_at or 0) >= factory.now - 4 * HOUR}
    odd = selection_order("w")

    ordered = sorted(matching, key=lambda uuid: (uuid not in online, draw_of(uuid) * odd % 2147483647))

    for amount in (1, 7, 40, 90):
        assert factory.rollout("w", limit=str(amount)).uuids == tuple(ordered[:amount])
        ordered = ordered[amount:]


@about_files
def test_a_rollout_asks_as_many_statements_for_many_devices_as_for_few(factory: Factory) -> None:
    """However many are chosen or listed: they are looked up, written and remembered together."""
    factory.build(1)
    factory.register(*[device(f"d{n}") for n in range(900)])
    factory.init("w", 1)
    factory.rollout("w", uuids=["d899"])
    counts = []
    for some in (range(3), range(3, 803)):
        with asked(factory) as work:
            factory.rollout("w", uuids=[f"d{n}" for n in some])
        seen = {sql for sql in work.statements if sql.startswith(("SELECT", "WITH", "DELETE", "UPDATE"))}
        counts.append(len(seen))

    assert counts[0] == counts[1]


@about_files
def test_a_choice_asks_little_more_than_it_takes(factory: Factory) -> None:
    """Of the devices that a small rollout can't reach it asks their index entries only, also if most are offline."""
    factory.build(1)
    factory.register(*[device(f"d{n}") for n in range(2000)])
    factory.report(*[(f"d{n}", None, None) for n in range(0, 2000, 3)])
    factory.init("w", 1)
    steps = []
    for limit in ("20", "2000"):
        with asked(factory) as work:
            factory.rollout("w", limit=limit, dry_run=True)
        steps.append(work.steps)

    assert steps[0] < steps[1] / 3


def test_nobody_is_looked_for_in_an_empty_fleet(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first import asks for none of its devices, in none of its chunks; the next one asks for all."""
    monkeypatch.setattr(application, "CHUNK", 10)
    asked_for: list[str] = []
    find = factory.facts.devices
    monkeypatch.setattr(factory.facts, "devices", lambda c, uuids: asked_for.extend(uuids) or find(c, uuids))
    fleet = [device(f"new-{number}") for number in range(25)]

    assert factory.register(*fleet) == application.Imported(added=25)
    assert asked_for == []
    assert factory.register(*fleet, device("later")) == application.Imported(added=1, same=25)
    assert len(asked_for) == 26
