"""`audit replay`: a ledger and a tree from the events alone, equal to those of that time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ledger.store import engine as store
from ledger.store import triggers
from projections import at, replay, runner
from projections.audit.history import Audit
from projections.replay import Replayed
from tests.past.travel import Travel
from tests.stores import about_files
from tests.support import Factory, files


def replayed(factory: Factory, directory: Path, until: int, now: int) -> Replayed:
    directory.mkdir()
    with factory.ledger.reading() as connection:
        return replay.replay(connection, directory, at.Moment(until, now), lambda *_: None)


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    engine = store.open_engine(f"sqlite:///{path}")
    with store.reading(engine) as connection:
        tables = [table for fold in runner.folds() for table in fold.tables(0).tables]
        found = {
            table: sorted(map(tuple, connection.exec_driver_sql(f"SELECT * FROM {table}")), key=repr)
            for table in tables
        }
    engine.dispose()
    return found


def test_it_builds_the_store_and_the_tree_of_that_time(simple: Factory, tmp_path: Path) -> None:
    """Positions, root and rows are those of then; each file that was served then is there, byte for byte."""
    factory = simple.copy(tmp_path / "ledger.db")
    told = Travel(factory, tmp_path, 5)
    told.start()
    then = []
    for _ in range(2):
        for _ in range(12):
            told.step()
        factory.publish(told.destination)
        then.append((told.position(), factory.now, factory.head()[1], factory.rows(), files(tmp_path / "public")))
    for position, now, root, kept, served in then:
        found = replayed(factory, tmp_path / f"past-{position}", position, now)

        assert found.problems == []
        assert (found.position, found.root) == (position, root)
        assert found.checkpoints > 0
        assert rows(tmp_path / f"past-{position}" / replay.STORE) == kept
        built = files(tmp_path / f"past-{position}" / replay.TREE)
        assert {path: data for path, data in built.items() if not path.startswith(".")}.items() <= served.items()
        assert {path for path in served if path.endswith("timestamp.json")} <= built.keys()
    factory.close()


def test_what_it_built_is_a_ledger_that_can_be_verified(simple: Factory, tmp_path: Path) -> None:
    """Checkpoints that agree are kept in the new store, so an audit of it finds nothing."""
    factory = simple.copy(tmp_path / "ledger.db")
    told = Travel(factory, tmp_path, 8)
    told.start()
    factory.publish(told.destination)
    found = replayed(factory, tmp_path / "past", told.position(), factory.now)
    engine = store.open_engine(f"sqlite:///{tmp_path / 'past' / replay.STORE}")

    audit = Audit(engine, None, None, lambda *_: None, factory.now)
    assert list(audit.findings()) == []
    assert len(audit.checkpoints.seen) == found.checkpoints > 0
    engine.dispose()
    factory.close()


def test_metadata_that_had_expired_is_told_and_is_no_problem(simple: Factory, tmp_path: Path) -> None:
    """A ledger that nobody refreshed for a month is equal to its replay; clients of then refused its views."""
    factory = simple.copy(tmp_path / "ledger.db")
    told = Travel(factory, tmp_path, 9)
    told.start()
    factory.publish(told.destination)
    fresh = replayed(factory, tmp_path / "fresh", told.position(), factory.now)
    old = replayed(factory, tmp_path / "old", told.position(), factory.now + 30 * 86_400)

    assert (fresh.expired, fresh.problems) == ([], [])
    assert old.problems == []
    assert old.expired == sorted(checked.view for checked in fresh.views)
    factory.close()


@about_files
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("UPDATE event SET actor = 'mallory' WHERE position = 12", "root"),
        ("UPDATE event SET recorded_at = recorded_at + 1 WHERE position = (SELECT max(position) FROM event)", "root"),
        ("DELETE FROM event WHERE position = 17", "root"),
    ],
)
def test_it_tells_of_a_history_that_was_changed(simple: Factory, tmp_path: Path, change: str, kind: str) -> None:
    """Whoever takes the triggers away and changes an event is found by the root that the events give."""
    factory = simple.copy(tmp_path / "ledger.db")
    told = Travel(factory, tmp_path, 6)
    told.start()
    position = told.position()
    with store.writing(factory.engine) as connection:
        for trigger in triggers.SQLITE:
            connection.exec_driver_sql(f"DROP TRIGGER {trigger.split()[2]}")
        connection.exec_driver_sql(change)

    found = replayed(factory, tmp_path / "past", position, factory.now)

    assert kind in {problem.kind for problem in found.problems}
    factory.close()
    shutil.rmtree(tmp_path / "past")


def test_it_compares_the_answers_of_now(simple: Factory, tmp_path: Path) -> None:
    """Up to the head the rows that are kept ready are those of the replay; each that is not is told."""
    factory = simple.copy(tmp_path / "ledger.db")
    told = Travel(factory, tmp_path, 7)
    told.start()
    position = told.position()
    with store.writing(factory.engine) as connection:
        connection.exec_driver_sql(
            "UPDATE fleet_device SET name = 'x' WHERE uuid = (SELECT min(uuid) FROM fleet_device)"
        )

    now = replayed(factory, tmp_path / "now", position, factory.now)
    before = replayed(factory, tmp_path / "before", position - 1, factory.now)

    (found,) = now.problems
    assert (found.kind, found.where) == ("projection", "fleet_device.name")
    assert found.message.startswith("name is 'x', a replay gives ")
    assert before.problems == []
    factory.close()
