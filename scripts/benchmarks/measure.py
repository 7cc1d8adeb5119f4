"""What all benchmarks share: interleaved rounds, medians, what a result is, and the machine it was made on.

Rules of this folder:

* A figure is the median, over the rounds of one run, of the ratio within a round. Both sides take turns, in changing
  order, so that whatever else the machine does slows both alike. It is not the ratio of the two medians: a disk that
  goes from 1 ms a sync to 20 and back splits the seconds of each side in two heaps, and the medians may fall into
  different ones. That ratio, the quartiles and the seconds are in the file too, and compared with no bar.
* A first round is thrown away: it fills caches and compiles what Python compiles.
* Both sides do the same work, and the benchmark checks that they did.
"""

from __future__ import annotations

import gc
import hashlib
import os
import platform
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

from ledger.store.engine import MOUNTINFO, filesystem_of, journal_mode_for


class Sizes(NamedTuple):
    """How much is measured."""

    rounds: int
    starts: int
    """Rounds of start-up: those are whole processes."""
    singles: int
    """Transactions of one event in a round."""
    bulk: int
    """Events of the large transaction."""
    waves: int
    """Waves that the tag had before."""
    production: int
    """Production targets of the tag."""
    targets: int
    """Targets in the document to sign."""
    tags: int
    """Tags to refresh."""
    facts: int
    """What is known of devices, half of it reports, in the history to look back on."""
    past_tags: int
    """Tags of that history."""
    past_waves: int
    """Waves on each of them."""
    events: int
    """Events in the log to page through."""
    seed: str = "0"


FULL = Sizes(
    rounds=41, starts=25, singles=20, bulk=1000, waves=1000, production=20, targets=1000, tags=1000,
    facts=1_000_000, past_tags=100, past_waves=100, events=1_000_000,
)  # fmt: skip
TINY = Sizes(
    rounds=1, starts=1, singles=2, bulk=5, waves=3, production=2, targets=5, tags=3,
    facts=2000, past_tags=8, past_waves=4, events=3000,
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One result.

    Args:
        name: Of the benchmark.
        ours: Seconds of the program, round by round.
        baseline: Seconds of what it is compared with, in the same rounds.
        ratio_of: "speed" is baseline / ours, and the bar is the least that is good enough; "time" is ours / baseline,
            and the bar is the most.
        bar: None for what is only reported.
        sizes: Of what was measured.
        note: What exactly is compared.
        seconds_bar: The most seconds of ours, None for no such bar.
        memory: The most memory that ours had, in MiB, where it was measured; `memory_bar` the most that is allowed.
        more: Other figures to report.
    """

    name: str
    ours: Sequence[float]
    baseline: Sequence[float]
    ratio_of: Literal["speed", "time"]
    bar: float | None
    sizes: Mapping[str, int]
    note: str
    seconds_bar: float | None = None
    memory: int | None = None
    memory_bar: int | None = None
    more: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """The ratio of each round, least first."""
        return sorted(self._divided(ours, baseline) for ours, baseline in zip(self.ours, self.baseline, strict=True))

    @property
    def ratio(self) -> float:
        """The figure."""
        return median(self.ratios)

    @property
    def ok(self) -> bool:
        """Whether the bars are reached."""
        if self.seconds_bar is not None and median(self.ours) > self.seconds_bar:
            return False
        if self.memory is not None and self.memory_bar is not None and self.memory > self.memory_bar:
            return False
        if self.bar is None:
            return True
        return self.ratio >= self.bar if self.ratio_of == "speed" else self.ratio <= self.bar

    def as_json(self) -> dict[str, Any]:
        """The entry as it is written to the file."""
        ratios, ours, baseline = self.ratios, median(self.ours), median(self.baseline)
        quarter = len(ratios) // 4
        return {
            "name": self.name,
            "ours": ours,
            "baseline": baseline,
            "ratio": round(self.ratio, 3),
            "ratio_of": self.ratio_of,
            "bar": self.bar,
            "ok": self.ok,
            "quartiles": [round(ratios[quarter], 3), round(ratios[-1 - quarter], 3)],
            "ratio_of_medians": round(self._divided(ours, baseline), 3),
            "rounds": len(ratios),
            "sizes": self.sizes,
            "note": self.note,
            "seconds_bar": self.seconds_bar,
            "memory_mib": self.memory,
            "memory_mib_bar": self.memory_bar,
            **self.more,
        }

    def _divided(self, ours: float, baseline: float) -> float:
        return baseline / ours if self.ratio_of == "speed" else ours / baseline


Timed = Callable[[], float]


def interleaved(rounds: int, sides: Mapping[str, Timed]) -> dict[str, list[float]]:
    """The seconds of each side, round by round. Each side takes its own time, and leaves out what only prepares it."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds + 1):
        for name in names:
            gc.collect()  # no side pays for the garbage of another
            taken = sides[name]()
            if number:
                seconds[name].append(taken)
        names.reverse()
    return seconds


def machine(directory: Path) -> dict[str, Any]:
    """What the figures were made on. `directory` is where files are written."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "journal_mode": journal_mode_for(sqlite3.sqlite_version_info),
        "filesystem": filesystem_of(directory, MOUNTINFO.read_text()) if MOUNTINFO.exists() else "",
    }


def as_table(entries: list[Entry]) -> str:
    """The results in Markdown."""
    lines = [
        "| benchmark | ours | baseline | ratio | bar | ok | compared |",
        "|---|--:|--:|--:|--:|---|---|",
    ]
    for entry in entries:
        sign = "≥" if entry.ratio_of == "speed" else "≤"
        bar = "" if entry.bar is None else f"{sign} {entry.bar:g}"
        ok = "" if entry.bar is None else "yes" if entry.ok else "**no**"
        figures = f"{_milliseconds(median(entry.ours))} | {_milliseconds(median(entry.baseline))} | {entry.ratio:.2f}"
        lines.append(f"| {entry.name} | {figures} | {bar} | {ok} | {entry.note} |")
    return "\n".join(lines)


def made_up(*of: object) -> str:
    """64 hex digits that look random and are the same for the same arguments, the seed among them."""
    return hashlib.sha256("/".join(map(str, of)).encode()).hexdigest()


def say(line: str) -> None:
    """Progress, on stderr."""
    print(f"bench: {line}", file=sys.stderr, flush=True)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
