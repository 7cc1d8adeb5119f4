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
APPENDS = 400
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
            say(f"{name}, {size:,} devices ...")
            found = _measure(place, shape, rounds, parts)
            if "contention" in parts and size == sizes[0]:  # it has no fleet
                found += contention.measure(place, 16 if tiny else APPENDS, rounds)
            entries += [replace(entry, name=f"{name}/{entry.name}") for entry in found]
    return entries


def _measure(place: Place, shape: Shape, rounds: int, parts: Sequence[str]) -> list[Entry]:
    entries: list[Entry] = []
    if "import" in parts:
        entries += importing.measure(place, shape, rounds)
    if {"atscale", "rebuild", "audit"} & set(parts):
        size = {"devices": shape.devices, "waves": shape.waves}
        with atscale.lived(place, shape, rounds) as (url, ledger):
            if "atscale" in parts:
                entries += atscale.measure(place, url, ledger, rounds, size)
            if "rebuild" in parts:
                say("rebuild ...")
                entries += rebuilding.measure(place, url, ledger, 1 if shape.devices >= LARGE else rounds, size)
            if "audit" in parts:
                say("audit ...")
                entries += auditing.measure(url, ledger, 1 if shape.devices >= LARGE else rounds, size)
    return entries


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
