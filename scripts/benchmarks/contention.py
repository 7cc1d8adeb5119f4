"""Eight processes that append at once, against the commits that one process gets through the bare driver.

Every append is a whole command's transaction: lock, read, decide, append, project, commit. The baseline commits one row
of the same size and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))

from factory import NOW, create  # noqa: E402
from measure import Entry  # noqa: E402
from stores import Bare, Place  # noqa: E402

from ledger.domain.events import MemberAdded  # noqa: E402
from ledger.session import Ledger  # noqa: E402
from ledger.store.engine import actor_of, open_engine, reading  # noqa: E402
from projections import runner  # noqa: E402

PROCESSES = 8
BAR = 0.5


def measure(place: Place, appends: int, rounds: int) -> Sequence[Entry]:
    """`appends` commits, shared among the processes."""
    ours, bare, waits = [], [], []
    for _ in range(rounds):
        url = place.new("contention")
        with create(url) as made:
            with made.ledger.reading() as connection:
                before = connection.exec_driver_sql("SELECT max(position) FROM event").scalar_one()
            bare.append(_bare(url, appends))
            each = -(-appends // PROCESSES)
            seconds, longest = _together(url, each)
            ours.append(seconds * appends / (each * PROCESSES))
            waits.append(longest)
            with made.ledger.reading() as connection:
                top, number = connection.exec_driver_sql("SELECT max(position), count(*) FROM event").one()
            if not top == number == before + each * PROCESSES:
                raise RuntimeError(f"{each * PROCESSES} appends after {before}, and the ledger ends at {top}, {number}")
        place.drop(url)
    note = f"{PROCESSES} processes append, one event a transaction, against one process's bare commits"
    more = {"longest_wait": max(waits), "appends_a_second": appends / sorted(ours)[len(ours) // 2]}
    return [Entry("contention", ours, bare, "speed", BAR, {"appends": appends}, note, more=more)]


def _bare(url: str, appends: int) -> float:
    bare = Bare(url)
    bare.run("CREATE TABLE bench_row (id BIGINT PRIMARY KEY, payload TEXT)")
    start = time.perf_counter()
    for number in range(appends):
        with bare.transaction():
            bare.run("INSERT INTO bench_row VALUES (?, ?)", (number, "x" * 300))
    taken = time.perf_counter() - start
    bare.run("DROP TABLE bench_row")
    bare.close()
    return taken


def _together(url: str, each: int) -> tuple[float, float]:
    running = [
        subprocess.Popen([sys.executable, __file__, url, str(number), str(each)], stdin=-1, stdout=-1, text=True)
        for number in range(PROCESSES)
    ]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    # None of them ends, which takes its share of the processors, before all are done.
    results = [process.stdout.readline() for process in running if process.stdout]
    for process in running:
        process.communicate("end\n")
    if any(process.returncode for process in running):
        raise RuntimeError("a process that appended failed")
    # By one clock for all of them, so that neither start nor end of a process counts.
    begun, ended, longest = zip(*map(json.loads, results), strict=True)
    return max(ended) - min(begun), max(longest)


def append(url: str, number: int, each: int) -> None:
    """Append so many events; print when it began and ended, and the longest time that one took."""
    engine = open_engine(url)
    with reading(engine) as connection:
        actor = actor_of(connection, "bench")
    ledger = Ledger(engine, [runner.Projector()], actor, NOW)
    with ledger.writing(dry_run=True) as session:  # what the first of a process loads is no part of it
        session.append("factory", [MemberAdded("warm-up", "admin")])
    print("ready", flush=True)
    sys.stdin.readline()
    longest, begun = 0.0, time.monotonic()
    for place in range(each):
        start = time.perf_counter()
        with ledger.writing() as session:
            session.append("factory", [MemberAdded(f"member-{number}-{place}", "admin")])
        longest = max(longest, time.perf_counter() - start)
    print(json.dumps([begun, time.monotonic(), longest]), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    append(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
