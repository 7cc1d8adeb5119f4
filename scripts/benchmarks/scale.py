"""The benchmarks that grow with the fleet: at every size, on every store, and how they grow.

Growth is the exponent between the smallest and the largest size that were measured: 1 is linear, 0 does not grow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import atscale
import auditing
import contention
import importing
import rebuilding
from fleets import TAGS, Shape
from measure import Entry, say
from stores import PLACES, Place

SIZES = (10_000, 100_000, 1_000_000)
WAVES = 100 * TAGS  # before the ones that are measured, at the largest size; fewer in proportion at a smaller one
LARGE = 300_000  # from here on a round takes long, and fewer do
GROWTH_BAR = 1.1  # linear, and what a deeper tree and a colder cache add
PARTS = ("import", "atscale", "rebuild", "audit", "contention")


class Growth(NamedTuple):
    """How the time of a benchmark grows with the fleet."""

    name: str
    exponent: float
    ok: bool


def measure(
    directory: Path, *, sizes: Sequence[int], places: Sequence[str], parts: Sequence[str], seed: str, tiny: bool
) -> list[Entry]:
    """All of it."""
    entries: list[Entry] = []
    for name in places:
        place = PLACES[name](directory)
        for size in sizes:
            shape = Shape(size, seed, min(WAVES, size // 100))
            rounds = 1 if tiny else 3 if size >= LARGE else 5
            for part in parts:
                if part == "contention" and size != sizes[0]:
                    continue  # it has no fleet
                say(f"{name}, {size:,} devices: {part} ...")
                entries += [
                    replace(entry, name=f"{name}/{entry.name}")
                    for entry in _part(part, place, shape, rounds, tiny=tiny)
                ]
    return entries


def _part(part: str, place: Place, shape: Shape, rounds: int, *, tiny: bool) -> Sequence[Entry]:
    match part:
        case "import":
            return importing.measure(place, shape, rounds)
        case "atscale":
            return atscale.measure(place, shape, rounds)
        case "rebuild":
            return rebuilding.measure(place, shape, 1 if shape.devices >= LARGE else rounds)
        case "audit":
            return auditing.measure(place, shape, 1 if shape.devices >= LARGE else rounds)
        case _:
            return contention.measure(place, 16 if tiny else 400, rounds)


def growth(entries: Sequence[Entry]) -> list[Growth]:
    """The exponents of what was measured at more than one size."""
    by_name: dict[str, dict[int, float]] = {}
    for entry in entries:
        if "devices" in entry.sizes and not entry.name.endswith("_blocked"):
            by_name.setdefault(entry.name, {})[entry.sizes["devices"]] = median(entry.ours)
    found = []
    for name, seconds in by_name.items():
        small, large = min(seconds), max(seconds)
        if small < large:
            exponent = math.log(seconds[large] / seconds[small]) / math.log(large / small)
            found.append(Growth(name, round(exponent, 2), exponent <= GROWTH_BAR))
    return found


def as_table(entries: Sequence[Entry]) -> str:
    """The README's table: a line for each benchmark and size."""
    exponents = {grown.name: grown for grown in growth(entries)}
    lines = [
        "| store / benchmark | devices | ours | baseline | ratio | bar | memory | growth |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for entry in entries:
        sign = "≥" if entry.ratio_of == "speed" else "≤"
        bar = "" if entry.bar is None else f"{sign} {entry.bar:g}"
        bar += f", {entry.seconds_bar:g} s" if entry.seconds_bar else ""
        ratio = f"{entry.ratio:.2f}" if entry.ok else f"**{entry.ratio:.2f}**"
        memory = f"{entry.memory} MiB" if entry.memory else ""
        grown = exponents.get(entry.name)
        largest = max((e.sizes.get("devices", 0) for e in entries if e.name == entry.name), default=0)
        exponent = f"{grown.exponent:.2f}" if grown and entry.sizes.get("devices") == largest else ""
        lines.append(
            f"| {entry.name} | {_devices(entry)} | {_seconds(median(entry.ours))} | "
            f"{_seconds(median(entry.baseline))} | {ratio} | {bar} | {memory} | {exponent} |"
        )
    return "\n".join(lines)


def _devices(entry: Entry) -> str:
    return f"{entry.sizes['devices']:,}" if "devices" in entry.sizes else ""


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
