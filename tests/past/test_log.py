"""The log: every filter against the plain definition of it, pages, and what the database does for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from sqlalchemy import event

from ledger.store import events
from ledger.store.events import Row
from projections.queries import audit
from projections.queries.audit import Filter
from projections.tuf.destination import Directory
from tests.past.travel import Travel
from tests.stores import about_files
from tests.support import Factory, device


@pytest.fixture(scope="module")
def told(simple: Factory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Travel]:
    """A history of some fifty steps."""
    directory: Path = tmp_path_factory.mktemp("log")
    factory = simple.copy(directory / "ledger.db")
    travel = Travel(factory, directory, 2)
    travel.start()
    for _ in range(50):
        travel.step()
    yield travel
    factory.close()


def positions(told: Travel, wanted: Filter, limit: int = 7) -> list[int]:
    """Of all pages."""
    found: list[int] = []
    number: int | None = 1
    with told.factory.ledger.reading() as connection:
        while number:
            page = audit.page(connection, wanted, limit=limit, number=number)
            assert len(page.rows) <= limit
            found += [row.position for row in page.rows]
            number = page.next
    return found


def matching(told: Travel, test: Callable[[Row], bool]) -> list[int]:
    with told.factory.ledger.reading() as connection:
        return [row.position for row in events.read(connection) if test(row)]


def is_about(row: Row, uuid: str) -> bool:
    data = orjson.loads(row.payload)
    return uuid in data.get("uuids", ()) or (row.topic == "devices.staged/1" and uuid in data["devices"])


def test_without_a_filter_pages_hold_everything(told: Travel) -> None:
    """In order, each event once."""
    assert positions(told, Filter()) == list(range(1, told.position() + 1))


@pytest.mark.parametrize("at", [None, 60])
def test_a_device_has_the_events_it_is_in(told: Travel, at: int | None) -> None:
    """By its uuid; and the rollouts to whole groups that reached it, which name nobody."""
    reached = 0
    for uuid in (*(f"device-{number:02}" for number in range(12)), "no-such-device"):
        wanted = set(group_rollouts(told, uuid, at or told.position()))
        reached += len(wanted)
        own = matching(told, lambda row, uuid=uuid: is_about(row, uuid) and row.position <= (at or row.position))
        assert positions(told, Filter(device=uuid, at=at)) == sorted({*own, *wanted})
    assert at or reached > 3


def group_rollouts(told: Travel, uuid: str, until: int) -> Iterator[int]:
    """Walked through event by event: open rollouts to whole groups, and the place of the device."""
    place: tuple[object, ...] | None = None
    tags: dict[str, str] = {}
    open_: dict[tuple[object, ...], list[tuple[str, int]]] = {}
    with told.factory.ledger.reading() as connection:
        rows = list(events.read(connection, until=until))
    for row in rows:
        data = orjson.loads(row.payload)
        match row.topic:
            case "wave.initialized/1":
                tags[data["wave"]] = data["tag"]
            case "wave.rolled-out/1" if data["full_group"]:
                group = (tags[data["wave"]], data["selector"]["group"], True)
                open_.setdefault(group, []).append((data["wave"], row.position))
                if place == group:
                    yield row.position
            case "tag.wave-closed/1":
                for of in open_.values():
                    of[:] = [rollout for rollout in of if rollout[0] != data["wave"]]
            case "devices.registered/1" | "devices.changed/1" if uuid in data["uuids"]:
                at = data["uuids"].index(uuid)
                place = (data["tags"][at], data["groups"][at], data["production"][at])
                yield from (position for _, position in open_.get(place, ()))
            case "devices.removed/1" if uuid in data["uuids"]:
                place = None


def test_a_tag_has_its_own_its_waves_and_its_publications(told: Travel) -> None:
    """And nothing of another tag's."""

    def of_tag(row: Row) -> bool:
        kind, _, name = row.stream.partition(":")
        wave = name.partition(":")[0] if kind in {"wave", "rollout"} else None
        return row.stream in {
            "tag:release",
            "publication:production:release",
            "publication:ci:release",
        } or bool(wave and told.history.model.waves[wave].tag == "release")

    assert positions(told, Filter(tag="release")) == matching(told, of_tag)


def test_a_wave_has_its_own_its_rollouts_and_what_it_did_to_its_tag(told: Travel) -> None:
    """From where it was opened to where it was closed; and how that reached devices: its tag's publications."""
    published = 0
    for name, wave in told.history.model.waves.items():
        own = matching(told, lambda row, name=name: row.stream in {f"wave:{name}", *rollouts(name)})
        found = positions(told, Filter(wave=name))

        assert set(own) <= set(found)
        with told.factory.ledger.reading() as connection:
            rest = [events.get(connection, position) for position in found if position not in own]
        publications = [row for row in rest if row and row.topic == "metadata.published/1"]
        assert {row.stream for row in rest if row and row not in publications} == {f"tag:{wave.tag}"}
        assert publications == list(about(told, name, wave.tag))
        published += len(publications)
    assert published > 3


def test_a_wave_that_ended_has_its_publications_before_the_next_one(simple: Factory, tmp_path: Path) -> None:
    """Nothing was published since it ended: what was published before is there all the same."""
    factory = simple.copy(tmp_path / "ledger.db")
    factory.build(1)
    factory.register(device("a"))
    factory.init("w", 1)
    factory.rollout("w", uuids=["a"])
    factory.publish(Directory(tmp_path / "public"))
    factory.complete("w")
    with factory.ledger.reading() as connection:
        found = audit.page(connection, Filter(wave="w"), limit=100, number=1).rows

    assert [row.topic for row in found].count("metadata.published/1") == 1
    assert found[-1].topic == "tag.wave-closed/1"
    factory.close()


def about(told: Travel, wave: str, tag: str) -> Iterator[Row]:
    """The publications of a tag from a wave's first rollout on, up to the first one after its end."""
    rolled_out = ended = False
    with told.factory.ledger.reading() as connection:
        for row in list(events.read(connection)):
            data = orjson.loads(row.payload)
            rolled_out |= row.topic == "wave.rolled-out/1" and data["wave"] == wave
            ended |= row.topic == "tag.wave-closed/1" and data["wave"] == wave
            if row.stream == f"publication:production:{tag}" and (rolled_out or ended):
                yield row
                if ended:
                    return


def rollouts(name: str) -> set[str]:
    return {f"rollout:{name}:{number}" for number in range(1, 99)}


def test_people_and_times_narrow_it_further(told: Travel) -> None:
    """All filters hold together."""
    with told.factory.ledger.reading() as connection:
        middle = events.get(connection, told.position() // 2)
    assert middle is not None
    since, until = middle.recorded_at, told.factory.now - 1

    assert positions(told, Filter(actor="bob", since=since)) == matching(
        told, lambda row: row.actor == "bob" and row.recorded_at >= since
    )
    assert positions(told, Filter(until=until, after=5)) == matching(
        told, lambda row: row.recorded_at <= until and row.position > 5
    )
    assert positions(told, Filter(device="device-01", at=30)) == matching(
        told, lambda row: row.position <= 30 and is_about(row, "device-01")
    )


@about_files  # PostgreSQL plans by statistics, which a small table has none of
@pytest.mark.parametrize(
    "wanted", [Filter(wave="w0"), Filter(tag="release"), Filter(device="device-01"), Filter(since=1, until=9**10)]
)
def test_no_filter_walks_through_the_ledger(told: Travel, wanted: Filter) -> None:
    """Of events, only rows that an index names are looked at."""
    seen: list[tuple[str, object]] = []

    def remember(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        seen.append((statement, parameters))

    event.listen(told.factory.engine, "before_cursor_execute", remember)
    try:
        with told.factory.ledger.reading() as connection:
            audit.page(connection, wanted, limit=10, number=1)
    finally:
        event.remove(told.factory.engine, "before_cursor_execute", remember)
    with told.factory.ledger.reading() as connection:
        plan = [
            row[3]
            for statement, parameters in seen
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]

    assert seen
    assert [step for step in plan if step.startswith(("SCAN event", "SCAN e", "SCAN t", "SCAN p", "SCAN q"))] == []
