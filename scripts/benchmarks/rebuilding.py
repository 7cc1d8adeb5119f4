"""Rebuilding all projections while readers read, against the bare insert of the rows that come of it.

The baseline inserts the rows of all tables, which it has in memory, into equal tables with their keys and indexes in
place, in one transaction. A reader in a process of its own asks for one device again and again, and notes its longest
waits: blocked is what a question took above a tenth of a second.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))

from atscale import Lived  # noqa: E402
from measure import Entry  # noqa: E402
from stores import Bare, Place  # noqa: E402

from ledger.store.engine import open_engine, reading  # noqa: E402
from projections import runner  # noqa: E402
from projections.queries import devices  # noqa: E402

BAR = 2.0
BLOCKED_BAR = 0.2  # of the time
NOTICED = 0.1  # seconds


def measure(place: Place, url: str, ledger: Lived, rounds: int, size: dict[str, int]) -> Sequence[Entry]:
    """All projections, one after the other."""
    ours, bare, blocked, longest, shown = [], [], [], [], []
    for _ in range(rounds):
        bare.append(_bare(place, url))
        calls: list[int] = []
        reader = subprocess.Popen([sys.executable, __file__, url], stdin=-1, stdout=-1, text=True)
        assert reader.stdout is not None
        reader.stdout.readline()
        ours.append(_rebuilt(ledger, calls))
        waited, wait, _ = json.loads(reader.communicate("stop\n")[0])
        blocked.append(waited)
        longest.append(wait)
        shown.append(len(calls))
    more = {"longest_wait": max(longest), "progress": min(shown)}
    size = {**size, "reports": size["devices"]}
    note = "`projections rebuild` of all, while a reader reads, against the bare insert of the resulting rows"
    part = "for how much of that time a reader is blocked"
    return [
        Entry("rebuild", ours, bare, "time", BAR, size, note, more=more),
        Entry("rebuild_blocked", blocked, ours, "time", BLOCKED_BAR, size, part),
    ]


def _rebuilt(ledger: Lived, calls: list[int]) -> float:
    start = time.perf_counter()
    for fold in runner.folds():
        runner.rebuild(ledger.made.ledger.engine, fold.name, lambda done, _: calls.append(done))
    return time.perf_counter() - start


def _bare(place: Place, url: str) -> float:
    source = Bare(url)
    tables = [fold.tables(0) for fold in runner.folds()]
    to = place.new("rows")
    target = Bare(to)
    for metadata in tables:
        target.create_all(metadata)
    taken = 0.0
    with target.transaction():
        for metadata in tables:
            for table in metadata.sorted_tables:
                columns = [f'"{name}"' for name in table.columns.keys()]  # noqa: SIM118  columns are no dictionary
                rows: list[tuple[Any, ...]] = source.run(f"SELECT {', '.join(columns)} FROM {table.name}").fetchall()
                start = time.perf_counter()
                target.insert(table.name, columns, rows)
                taken += time.perf_counter() - start
        start = time.perf_counter()
    taken += time.perf_counter() - start
    source.close()
    target.close()
    place.drop(to)
    return taken


def read(url: str) -> None:
    """Ask until told to stop; print the seconds blocked, the longest wait and the number of questions."""
    import selectors

    engine = open_engine(url)
    with reading(engine) as connection:
        uuid = connection.exec_driver_sql("SELECT uuid FROM fleet_device LIMIT 1").scalar_one()
    print("ready", flush=True)
    told = selectors.DefaultSelector()
    told.register(sys.stdin, selectors.EVENT_READ)
    blocked = longest = 0.0
    asked = 0
    while not told.select(0.005):
        start = time.perf_counter()
        with reading(engine) as connection:
            devices.view_of(connection, uuid)
        taken = time.perf_counter() - start
        asked += 1
        longest = max(longest, taken)
        blocked += taken if taken > NOTICED else 0.0
    print(json.dumps([blocked, longest, asked]))


if __name__ == "__main__":
    read(sys.argv[1])
