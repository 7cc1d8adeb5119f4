"""Measure, print JSON (and a table), and exit 6 when a bar is missed."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import appends
import lifecycle
import past
import publishing
import scale
import signing
import startup
from measure import FULL, TINY, Entry, Sizes, as_table, machine, say
from stores import PLACES

MISSED = 6  # the program's own code for "a check found problems"

GROUPS: dict[str, Callable[[Path, Sizes], Sequence[Entry]]] = {
    "append": appends.measure,
    "startup": startup.measure,
    "waves": lifecycle.measure,
    "signing": signing.measure,
    "publishing": publishing.measure,
    "past": past.measure,
}


def main() -> int:
    """Run the chosen groups."""
    options = read_options()
    sizes = (TINY if options.tiny else FULL)._replace(seed=options.seed)
    entries: list[Entry] = []
    with tempfile.TemporaryDirectory(prefix="waveledger-bench-", dir=options.dir) as directory:
        on = machine(Path(directory))
        if options.scale:
            entries += scale.measure(
                Path(directory),
                sizes=options.devices or scale.SIZES,
                places=options.store or list(PLACES),
                parts=options.part or scale.PARTS,
                seed=sizes.seed,
                tiny=options.tiny,
            )
        else:
            for name in options.only or GROUPS:
                say(f"{name} ...")
                entries += GROUPS[name](Path(directory), sizes)
    grown = scale.growth(entries)
    missed = [entry.name for entry in entries if not entry.ok]
    missed += [f"growth of {growth.name}" for growth in grown if not growth.ok]
    document = {
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": on,
        "seed": sizes.seed,
        "entries": [entry.as_json() for entry in entries],
        "growth": [growth._asdict() for growth in grown],
        "missed": missed,
    }
    text = json.dumps(document, indent=2) + "\n"
    if options.out:
        options.out.write_text(text)
    if options.table:
        print(scale.as_table(entries) if options.scale else as_table(entries))
    elif not options.out:
        print(text, end="")
    say(f"bars missed: {', '.join(missed)}" if missed else "no bar was missed")
    return MISSED if missed else 0


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Speed as ratios, ours against a baseline.")
    parser.add_argument("--only", action="append", choices=list(GROUPS), help="one group; may be repeated")
    parser.add_argument("--scale", action="store_true", help="large fleets instead: every size on every store")
    parser.add_argument("--devices", action="append", type=int, metavar="N", help="with --scale: a size; repeatable")
    parser.add_argument("--store", action="append", choices=list(PLACES), help="with --scale: one; may be repeated")
    parser.add_argument("--part", action="append", choices=scale.PARTS, help="with --scale: one; may be repeated")
    parser.add_argument("--dir", type=Path, default=Path(), help="on the disk to measure; default: here")
    parser.add_argument("--seed", default="0", help="of the generated data")
    parser.add_argument("--tiny", action="store_true", help="sizes for a smoke test: the figures mean nothing")
    parser.add_argument("-o", dest="out", metavar="FILE", type=Path, help="write the JSON there, not to stdout")
    parser.add_argument("--table", action="store_true", help="print a Markdown table; for the JSON too, give -o")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
