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

from atscale import lived  # noqa: E402
from fleets import Shape  # noqa: E402
from measure import Entry  # noqa: E402
from stores import Bare, Place  # noqa: E402

from ledger.store.engine import open_engine, reading  # noqa: E402
from projections import runner  # noqa: E402
from projections.queries import devices  # noqa: E402

BAR = 2.0
BLOCKED_BAR = 0.2  # of the time
NOTICED = 0.1  # seconds


def measure(place: Place, shape: Shape, rounds: int) -> Sequence[Entry]:
    """All projections, one after the other."""
    with lived(place, shape, 0) as (url, ledger):
        engine = ledger.made.ledger.engine
        names = [fold.name for fold in runner.folds()]
        ours, bare, blocked, shown = [], [], [], []
        for _ in range(rounds):
            bare.append(_bare(place, url))
            reader = subprocess.Popen([sys.executable, __file__, url], stdin=-1, stdout=-1, text=True)
            assert reader.stdout is not None
            reader.stdout.readline()
            calls: list[tuple[int, int]] = []
            start = time.perf_counter()
            for name in names:
                runner.rebuild(engine, name, lambda done, total: calls.append((done, total)))
            ours.append(time.perf_counter() - start)
            waited, longest, _ = json.loads(reader.communicate("stop\n")[0])
            blocked.append((waited / ours[-1], longest))
            shown.append(len(calls))
        share = max(part for part, _ in blocked)
        note = "`projections rebuild` of all, while a reader reads, against the bare insert of the resulting rows"
        more = {"blocked": share, "blocked_bar": BLOCKED_BAR, "longest_wait": max(s for _, s in blocked),
                "progress": min(shown)}  # fmt: skip
        size = {"devices": shape.devices, "waves": shape.waves, "reports": shape.devices}
        entry = Entry("rebuild", ours, bare, "time", BAR, size, note, more=more)
        part = Entry(
            "rebuild_blocked", [share] * rounds, [1.0] * rounds, "time", BLOCKED_BAR, size,
            "the part of a rebuild for which a reader is blocked",
        )  # fmt: skip
        return [entry, part]


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
                columns = [f'"{name}"' for name in table.columns.keys()]
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
