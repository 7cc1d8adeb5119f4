"""A ledger that moves to another store: the same history, wherever it lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from ledger.store import bulk, events
from ledger.store import engine as store
from ledger.store.errors import CopyDiffers, LeafDamaged, StoreExists
from ledger.store.recorder import LedgerRecorder, StoredEnvelope
from projections import copying, runner
from projections.copying import NothingToCopy
from projections.tables import all_tables
from projections.tuf.destination import Directory
from tests.postgres import server
from tests.support import Factory, device

KINDS = ("sqlite", "postgresql")


@pytest.fixture(name="places")
def _places(tmp_path: Path) -> Iterator[dict[str, Engine]]:
    """An empty store of each kind; in PostgreSQL the events are to belong to a role of their own."""
    database = server().database()
    with ExitStack() as stack:
        urls = {"sqlite": f"sqlite:///{tmp_path}/copy.db", "postgresql": server().url(database, "alice")}
        yield {kind: stack.enter_context(store.opened(url, must_exist=False)) for kind, url in urls.items()}
    server().drop(database)


@pytest.fixture(name="lived")
def _lived(factory: Factory, tmp_path: Path) -> Factory:
    """A factory with some of everything, telemetry and publications too; payloads of all sizes."""
    tree = Directory(tmp_path / "tree")
    factory.build(*range(1, 30))
    factory.register(*[device(f"d{n}", group="canary" if n % 3 else None) for n in range(200)])
    factory.init("w1", 1)
    factory.rollout("w1", group="canary")
    factory.report(("d0", "arm64-lmp-1", None), ("d1", "arm64-lmp-1", None))
    factory.publish(tree)
    factory.complete("w1")
    factory.publish(tree)
    return factory


def everything(engine: Engine, until: int | None = None) -> dict[str, object]:
    """All events as they were appended, their leaves, the head and the checkpoints; all rows that are kept of them."""
    with store.reading(engine) as connection:
        tables = [table for part in all_tables() for table in part.tables]
        return {
            "events": list(events.read(connection, until=until)),
            "leaves": bulk.query(connection, "SELECT leaf FROM event ORDER BY position").fetchall()[:until],
            "head": events.head(connection),
            "checkpoints": bulk.query(connection, "SELECT size, note FROM checkpoint ORDER BY size").fetchall(),
            "rows": {
                table: sorted(map(tuple, connection.execute(text(f"SELECT * FROM {table}"))), key=repr)
                for table in tables
            },
        }


def silent(_what: str, _done: int, _total: int) -> None:
    """No progress."""


@pytest.mark.parametrize("order", [KINDS, pytest.param(KINDS[::-1], marks=pytest.mark.slow)], ids="-".join)
def test_there_and_back(lived: Factory, places: dict[str, Engine], order: tuple[str, str], tmp_path: Path) -> None:
    """From one kind of store to the other and back: not a byte of the history and no answer is another."""
    before = everything(lived.engine)
    with store.opened(f"sqlite:///{tmp_path}/third.db", must_exist=False) as third:
        places = {**places, "third": third}
        chain = [lived.engine, *(places[kind] for kind in order), third]
        for source, target in pairwise(chain):
            copied = copying.copy(source, target, None, silent)

            assert tuple(copied) == lived.head()
            assert everything(target) == before
            assert [d for fold in runner.folds() for d in runner.verify(target, fold.name)] == []


def test_life_goes_on_in_the_copy(lived: Factory, places: dict[str, Engine]) -> None:
    """In PostgreSQL the actors of the past stay, and whoever logs in is the actor from then on."""
    lived.actor = "alice"
    copying.copy(lived.engine, places["postgresql"], None, silent)
    server().role("bob")
    url = store.name_of(places["postgresql"].url).replace("//alice@", "//bob@")
    with store.opened(url) as engine:
        LedgerRecorder(engine).insert_events([StoredEnvelope("new", 1, "t/1", b"{}", 5, "alice")])
        with store.reading(engine) as connection:
            assert [row.actor for row in events.read(connection)] == ["alice"] * lived.head()[0] + ["bob"]


@pytest.mark.parametrize("kind", KINDS)
def test_up_to_a_position(lived: Factory, places: dict[str, Engine], kind: str) -> None:
    """A copy of the past has that past's root, its checkpoints and its answers."""
    until = lived.head()[0] // 2
    copied = copying.copy(lived.engine, places[kind], until, silent)

    there, before = everything(places[kind]), everything(lived.engine, until)
    assert (there["events"], there["leaves"]) == (before["events"], before["leaves"])
    assert copied.position == until
    assert [d for fold in runner.folds() for d in runner.verify(places[kind], fold.name)] == []
    with store.reading(places[kind]) as connection:
        assert all(size <= until for size, _ in bulk.query(connection, "SELECT size, note FROM checkpoint").fetchall())


def test_there_is_a_ledger_already(lived: Factory, places: dict[str, Engine]) -> None:
    """Nothing is copied over a ledger, nor beyond the end of one."""
    copying.copy(lived.engine, places["sqlite"], None, silent)
    with pytest.raises(StoreExists):
        copying.copy(lived.engine, places["sqlite"], None, silent)
    with pytest.raises(NothingToCopy):
        copying.copy(lived.engine, places["postgresql"], lived.head()[0] + 1, silent)


DAMAGE = {
    "an event": ("UPDATE event SET actor = 'mallory' WHERE position = 3", LeafDamaged),
    "a leaf": ("UPDATE event SET leaf = x'00' WHERE position = 3", LeafDamaged),
    "the last event": ("DELETE FROM event WHERE position = (SELECT max(position) FROM event)", CopyDiffers),
    "a gap": ("DELETE FROM event WHERE position = 3", CopyDiffers),
}


@pytest.mark.parametrize(("kind", "damage"), list(zip(KINDS * 2, DAMAGE, strict=True)))
def test_a_damaged_ledger_is_not_copied(
    lived: Factory, places: dict[str, Engine], kind: str, damage: str, tmp_path: Path
) -> None:
    """What does not fit its leaves or its head is refused, and nothing stays of the copy."""
    statement, error = DAMAGE[damage]
    with store.opened(f"sqlite:///{tmp_path}/damaged.db", must_exist=False) as source:
        copying.copy(lived.engine, source, None, silent)
        with store.writing(source) as connection:
            for sql in ("DROP TRIGGER event_never_changes", "DROP TRIGGER event_stays", statement):
                connection.exec_driver_sql(sql)

        with pytest.raises(error):
            copying.copy(source, places[kind], None, silent)

    copying.copy(lived.engine, places[kind], None, silent)
    assert everything(places[kind])["head"] == everything(lived.engine)["head"]


def test_progress_reaches_its_end(lived: Factory, places: dict[str, Engine]) -> None:
    """Whoever watches sees projections come to the ledger's end."""
    seen: list[tuple[str, int, int]] = []
    copying.copy(lived.engine, places["sqlite"], None, lambda *step: seen.append(step))

    size = lived.head()[0]
    assert ("projections", size, size) in seen
    assert all(done <= total for _, done, total in seen)
