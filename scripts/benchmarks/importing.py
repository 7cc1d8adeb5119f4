"""Import from CSV with all projections, against `csv` and the driver's fastest insert into an equally indexed table.

Each side is a process of its own, so that its peak memory is known. What it takes to start and to load the program is
left out on both sides. Baseline: the rows as `fleet_device` has them, with its key and its indexes, in one transaction.
"""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))

from fleets import Shape, write_csv  # noqa: E402  after the path, for the processes that are measured
from measure import Entry  # noqa: E402
from stores import Bare, Place  # noqa: E402

from projections.tables import fleet_tables  # noqa: E402

BAR = 2.0
MEMORY_BAR = 1000  # MiB


class Side(NamedTuple):
    """What one process took."""

    seconds: float
    memory: int


def measure(place: Place, shape: Shape, rounds: int) -> Sequence[Entry]:
    """Whole imports into new stores, in turns."""
    path = place.directory / "devices.csv"
    write_csv(path, shape)
    sides: dict[str, list[Side]] = {"ours": [], "bare": []}
    for number in range(rounds):
        for side in sorted(sides, reverse=bool(number % 2)):
            sides[side].append(_run(place, side, path))
    path.unlink()
    ours, bare = sides["ours"], sides["bare"]
    note = "`devices import` of a CSV against `csv` and executemany or COPY into a table with the same indexes"
    return [
        Entry(
            "import", [s.seconds for s in ours], [s.seconds for s in bare], "time", BAR, {"devices": shape.devices},
            note, memory=max(s.memory for s in ours), memory_bar=MEMORY_BAR,
        )
    ]  # fmt: skip


def _run(place: Place, side: str, path: Path) -> Side:
    url = place.new("import")
    done = subprocess.run([sys.executable, __file__, side, url, path], capture_output=True, text=True, check=False)
    place.drop(url)
    if done.returncode:
        raise RuntimeError(f"import, {side}: {done.stderr}")
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return Side(seconds, memory)


def ours(url: str, path: str) -> float:
    """What `devices import` does."""
    from factory import create

    from cli.formats.devices import read_devices
    from ledger.application import devices
    from projections.facts import Facts

    with create(url) as made:
        start = time.perf_counter()
        devices.import_devices(made.ledger, Facts(), read_devices(path))
        return time.perf_counter() - start


def bare(url: str, path: str) -> float:
    """The rows and nothing else."""
    table = fleet_tables().tables["fleet_device"]
    connection = Bare(url)
    connection.create(table)
    start = time.perf_counter()
    with connection.transaction():
        connection.insert("fleet_device", tuple(table.columns.keys()), _rows(path))
    return time.perf_counter() - start


def _rows(path: str) -> Iterator[tuple[Any, ...]]:
    ids: dict[str, int] = {}

    def number(name: str) -> int:
        return ids.setdefault(name, len(ids) + 1)

    with Path(path).open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        for dev, (uuid, name, hardware, tag, group, production) in enumerate(reader, 1):
            draw = int(uuid[:8], 16) >> 1
            kind = int(production == "true")
            yield dev, uuid, name, number(hardware), number(tag), number(group), kind, 1, 0, 0, 0, draw


if __name__ == "__main__":
    taken = {"ours": ours, "bare": bare}[sys.argv[1]](*sys.argv[2:])
    print(json.dumps([taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]))
