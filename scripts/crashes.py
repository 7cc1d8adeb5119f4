"""Kill -9, long (tests/crashes): rounds of two writers, and commands killed at every one of their writes.

The seed says which commands there are and how they are to be killed. Where a kill at a moment falls is the machine's
affair, so a failure is shown by what was killed and left, and not by a number to have it again.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.crashes.commands import EVENTS
from tests.crashes.rounds import Seen, World
from tests.crashes.stores import MODES, STORES

FAILED = 6  # the program's own code for "a check found problems"
ROUNDS_EACH = 50  # of one ledger; then a new one


def main() -> int:
    """Run, tell, and write what was found."""
    options = read_options()
    began = time.monotonic()
    found: dict[str, Seen] = {}
    gc.freeze()  # so that children share what was loaded
    for name in options.stores.split(","):
        found[name] = Seen()
        try:
            play(options, name, found[name])
            sweep(options, name, found[name])
        except KeyboardInterrupt:
            say("interrupted; this is what was seen until then")
            break
    document = {
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine(),
        "seed": options.seed,
        "seconds": round(time.monotonic() - began, 1),
        "stores": {name: as_data(seen) for name, seen in found.items()},
    }
    if options.out:
        options.out.write_text(json.dumps(document, indent=2) + "\n")
    print(as_text(found))
    return FAILED if any(seen.problems for seen in found.values()) else 0


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/crashes", description="Kill -9, long.")
    parser.add_argument("--rounds", type=int, default=500, help="of each store (default 500)")
    parser.add_argument("--every", type=int, default=0, metavar="N", help="also at every Nth write of each command")
    parser.add_argument("--stores", default=",".join(STORES), help=f"which of {', '.join(STORES)} (default all)")
    parser.add_argument("--seed", type=int, default=1, help="what is done, and how it is killed (default 1)")
    parser.add_argument("-o", dest="out", type=Path, metavar="FILE", help="write JSON here")
    return parser.parse_args()


def play(options: argparse.Namespace, name: str, seen: Seen) -> None:
    """Rounds at random; how a writer comes to its end goes round."""
    for first in range(0, options.rounds, ROUNDS_EACH):
        with a_ledger(name, options.seed + first, seen) as world:
            for number in range(first, min(options.rounds, first + ROUNDS_EACH)):
                world.round(world.store.modes[number % len(world.store.modes)])
        say(f"{name}: {seen.rounds} rounds, {sum(seen.kills.values())} ends, {len(seen.problems)} problems")


def sweep(options: argparse.Namespace, name: str, seen: Seen) -> None:
    """Each kind of command, killed at one of its writes after the other."""
    for kind in EVENTS if options.every else ():
        before = seen.rounds
        with a_ledger(name, options.seed, seen) as world:
            world.sweep(kind, options.every)
        say(f"{name}: {kind} in {seen.rounds - before} rounds, {len(seen.problems)} problems")


@contextmanager
def a_ledger(name: str, seed: int, seen: Seen) -> Iterator[World]:
    """A new ledger; what was seen of it is added."""
    with tempfile.TemporaryDirectory(prefix="crashes-") as directory:
        world = World(Path(directory) / "world", STORES[name](), seed)
        try:
            yield world
        finally:
            for problem in world.seen.problems:
                say(problem)
            seen.add(world.seen)
            world.close()


def machine() -> dict[str, Any]:
    """What it ran on."""
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def as_data(seen: Seen) -> dict[str, Any]:
    """What was seen of a store."""
    return {
        "rounds": seen.rounds,
        "kills": dict(sorted(seen.kills.items())),
        "killed": dict(sorted(seen.killed.items())),
        "commands": dict(sorted(seen.commands.items())),
        "ends": dict(sorted(seen.ends.items())),
        "most_writes": dict(sorted(seen.writes.items())),
        "problems": seen.problems,
    }


def as_text(found: dict[str, Seen]) -> str:
    """What was found, in Markdown."""
    rows: dict[str, list[str]] = {"rounds": [str(seen.rounds) for seen in found.values()]}
    for mode in MODES:
        rows[f"failed by an {mode}" if mode == "error" else f"ended at a {mode}"] = [
            str(seen.kills[mode]) for seen in found.values()
        ]
    for end in sorted({end for seen in found.values() for end in seen.ends}):
        rows[end] = [str(seen.ends[end]) for seen in found.values()]
    rows["problems"] = [str(len(seen.problems)) for seen in found.values()]
    lines = [f"| | {' | '.join(found)} |", "|---|" + "--:|" * len(found)]
    lines += [f"| {name} | {' | '.join(values)} |" for name, values in rows.items()]
    return "\n".join([*lines, *(f"\n{problem}" for seen in found.values() for problem in seen.problems)])


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
