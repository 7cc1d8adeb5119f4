"""Version shares over time: the devices by the number that they run, with the most common numbers by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from projections.reports.history import FleetState, Follows
from projections.reports.values import Time

NAMED = 7  # numbers that get a colour of their own; all others are "other"


@dataclass(frozen=True, slots=True)
class SharePoint:
    """Devices from that moment on: `counts[i]` run the i-th of the share's versions, `other` any other one."""

    at: Time
    devices: int
    orphans: int
    counts: tuple[int, ...]
    other: int


@dataclass(frozen=True, slots=True)
class Share:
    """Production devices by the number they run, lowest first; 0 is none reported."""

    versions: tuple[int, ...]
    points: tuple[SharePoint, ...]


Measure = tuple[tuple[tuple[int, int], ...], int]
"""Devices by number, sorted, and how many of them run an orphan."""


def measure(state: FleetState, tag: str | None = None) -> Measure:
    """Production devices of one tag, or of all."""
    chosen = [f for f in state.counts if f.production] if tag is None else [Follows(tag, production=True)]
    numbers: Counter[int] = Counter()
    orphans = 0
    for follows in chosen:
        counted = state.counts.get(follows, Counter())
        numbers.update(counted)
        known = state.known(follows.tag)
        orphans += sum(devices for number, devices in counted.items() if number and number not in known)
    return tuple(sorted(numbers.items())), orphans


def of(measured: Sequence[tuple[int, Measure]]) -> Share:
    """The share of what was measured; the numbers with a name are those that most devices ran at some moment."""
    highest: Counter[int] = Counter()
    for _, (numbers, _) in measured:
        highest |= Counter(dict(numbers))
    versions = tuple(sorted(sorted(highest, key=lambda number: (-highest[number], -number))[:NAMED]))
    points = []
    for at, (numbers, orphans) in measured:
        counted = dict(numbers)
        counts = tuple(counted.get(version, 0) for version in versions)
        devices = sum(counted.values())
        points.append(SharePoint(Time(at), devices, orphans, counts, devices - sum(counts)))
    return Share(versions, tuple(points))
