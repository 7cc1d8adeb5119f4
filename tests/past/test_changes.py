"""What `audit show` says that an event changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ledger.store import events
from projections import at, changes
from projections.changes import Change
from tests.past.travel import Travel
from tests.support import Factory


def applied(state: dict[str, dict[tuple[Any, ...], dict[str, Any]]], found: list[Change], position: int) -> None:
    """Make the changes, whose rows must have been as they say."""
    for change in found:
        rows, key = state[change.table], tuple(change.key.values())
        if change.before is None:
            assert key not in rows, (position, change)
            rows[key] = dict(change.after or {})
        elif change.after is None:
            assert rows.pop(key) == change.before, (position, change)
        else:
            assert {name: rows[key][name] for name in change.before} == change.before, (position, change)
            rows[key] |= change.after


def check(template: Factory, directory: Path, seed: int, steps: int) -> None:
    factory = template.copy(directory / "ledger.db")
    try:
        told = Travel(factory, directory, seed)
        told.start()
        for _ in range(steps):
            told.step()
        with factory.ledger.reading() as ledger:
            with at.memory() as nothing:
                state = changes._state(nothing)
            for row in events.read(ledger):
                applied(state, changes.of_event(ledger, row), row.position)
            with at.asked(ledger, told.position()) as past:
                whole = changes._state(past)

        assert state == whole
    finally:
        factory.close()


def test_the_changes_of_all_events_add_up(simple: Factory, tmp_path: Path) -> None:
    """One after the other they lead from empty tables to those of today, and each finds the rows that it speaks of."""
    check(simple, tmp_path, 1, 40)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 24))
def test_the_changes_of_long_histories_add_up(simple: Factory, tmp_path: Path, seed: int) -> None:
    """The same for four long histories."""
    check(simple, tmp_path, seed, 150)


def test_devices_are_changed_without_a_walk_through_the_fleet() -> None:
    """The statements of a batch of devices look up each of them: SQLite picks the other way round if it is let."""
    from ledger.store import bulk
    from projections import sticky

    with at.memory() as past:
        bulk.stage(past, "fleet_batch", sticky.COLUMNS, [])
        bulk.stage(past, "fleet_report", sticky.REPORT_COLUMNS, [])
        batches = {sticky._UPDATE: sticky.BATCH, sticky._REMOVE: sticky.BATCH, sticky._REPORT: sticky.REPORT}
        for statement, table in batches.items():
            filled = (statement + sticky._NARROW.replace("{table}", table)).replace("{", "").replace("}", "")
            plan = [row[3] for row in past.exec_driver_sql(f"EXPLAIN QUERY PLAN {filled}")]

            assert [step for step in plan if step.startswith("SCAN fleet_device")] == [], statement
