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
from tests.past.travel import Travel
from tests.stores import about_files
from tests.support import Factory


@pytest.fixture(scope="module")
def told(simple: Factory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Travel]:
    """A history of some fifty steps."""
    directory: Path = tmp_path_factory.mktemp("log")
    factory = simple.copy(directory / "ledger.db")
    travel = Travel(factory, directory, 3)
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


def test_a_device_has_the_events_it_is_in(told: Travel) -> None:
    """By its uuid."""
    for uuid in ("device-00", "device-07", "no-such-device"):
        assert positions(told, Filter(device=uuid)) == matching(told, lambda row, uuid=uuid: is_about(row, uuid))


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
    """From where it was opened to where it was closed."""
    for name, wave in told.history.model.waves.items():
        own = matching(told, lambda row, name=name: row.stream in {f"wave:{name}", *rollouts(name)})
        found = positions(told, Filter(wave=name))

        assert set(own) <= set(found)
        with told.factory.ledger.reading() as connection:
            rest = [events.get(connection, position) for position in found if position not in own]
        assert {row.stream for row in rest if row} == {f"tag:{wave.tag}"}


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
    [(statement, parameters)] = seen
    with told.factory.ledger.reading() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]

    assert [step for step in plan if step.startswith(("SCAN event", "SCAN e", "SCAN t"))] == []
