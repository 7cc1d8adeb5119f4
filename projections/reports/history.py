"""The fleet over time: how many devices ran which number on each tag, and which numbers were no orphans.

Rules of this module:

* It walks the events of the fleet once, in their order. A batch of a thousand devices is counted by what changes in it,
  old and new, inside Counter and dict; no line of Python runs for a single device, so a million of them take seconds.
* Time is the ledger's: a report counts from the moment on at which the ledger knew it.
* Events of one moment are one change; what is measured is the state after all of them.
* A device that was removed keeps what it ran, and counts again when it returns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import repeat
from typing import Any, NamedTuple, TypeVar

import orjson

from ledger.domain.values import known_target
from ledger.store import events
from ledger.store.events import Row
from projections.reports.source import Source
from projections.reports.values import Period

POINTS = 120  # the most that a curve has: a pixel or more each on a phone

_T = TypeVar("_T")

_FLEET = ("devices.registered/1", "devices.changed/1", "devices.removed/1", "devices.reported/1")
_OFFERS = ("wave.initialized/1", "tag.wave-closed/1")


class Follows(NamedTuple):
    """What a device follows: a tag, as a production or as a test device."""

    tag: str
    production: bool


class FleetState:
    """The fleet at one moment: `counts` has devices by what they follow and the number they run, 0 for none."""

    def __init__(self) -> None:
        """Before the first event."""
        self.counts: dict[Follows, Counter[int]] = {}
        self.production: dict[str, frozenset[int]] = {}
        self.active: dict[str, frozenset[int]] = {}
        self._follows = _Codes()
        self._where: dict[str, int] = {}
        self._runs: dict[str, int] = {}

    def known(self, tag: str) -> frozenset[int]:
        """The numbers that are no orphans on a tag."""
        return self.production.get(tag, frozenset()) | self.active.get(tag, frozenset())

    def of(self, tag: str) -> Counter[int]:
        """Production devices on a tag, by the number they run."""
        return self.counts.get(Follows(tag, production=True), Counter())

    def apply(self, row: Row) -> None:
        """Take in one event."""
        data = orjson.loads(row.payload)
        match row.topic:
            case "devices.reported/1":
                self._change(self._runs, dict(zip(data["uuids"], data["numbers"], strict=True)))
            case "devices.removed/1":
                self._change(self._where, dict.fromkeys(data["uuids"], 0))
            case "devices.registered/1" | "devices.changed/1":
                codes = map(self._follows.__getitem__, zip(data["tags"], data["production"], strict=True))
                self._change(self._where, dict(zip(data["uuids"], codes, strict=True)))
            case "wave.initialized/1":
                self.active[data["tag"]] = self._offer(data)
            case "tag.wave-closed/1":
                offered = self.active.pop(data["tag"], frozenset())
                if data["outcome"] == "complete":
                    self.production[data["tag"]] = offered

    def _change(self, facts: dict[str, int], new: dict[str, int]) -> None:
        """Devices run something else, or follow something else: all that go the same way are one step."""
        follow, run = map(self._where.get, new, repeat(0)), map(self._runs.get, new, repeat(0))
        ways = Counter(zip(follow, run, new.values(), strict=True))
        facts.update(new)
        for (code, number, to), devices in ways.items():
            self._count(code, number, -devices)
            if facts is self._runs:
                self._count(code, to, devices)
            else:
                self._count(to, number, devices)

    def _count(self, code: int, number: int, devices: int) -> None:
        if code:  # 0: not in the fleet
            counted = self.counts.setdefault(self._follows.names[code], Counter())
            counted[number] += devices
            if not counted[number]:
                del counted[number]

    def _offer(self, data: dict[str, Any]) -> frozenset[int]:
        """What a wave offers: production, and its own, without what it prunes."""
        production = self.production.get(data["tag"])
        if production:
            return (production | {data["number"]}) - frozenset(data["prune"])
        # A tag's first document may be one that was adopted, with any numbers in it.
        targets = orjson.loads(data["documents"][0]["signed"])["targets"]
        return frozenset(known_target(name, body).number for name, body in targets.items())


class _Codes(dict[tuple[str, bool], int]):
    """A small integer for each thing to follow, from 1; `names` has what they stand for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[Follows] = [Follows("", production=False)]

    def __missing__(self, key: tuple[str, bool]) -> int:
        self.names.append(Follows(key[0], production=bool(key[1])))
        self[key] = len(self.names) - 1
        return self[key]


def walk(
    source: Source,
    period: Period,
    measure: Callable[[FleetState], _T],
    *,
    slices: int = POINTS,
) -> list[tuple[int, _T]]:
    """Measure the fleet over a period: at its start, at the last change in each of so many slices of it, at its end.

    Neighbours that are equal are one point, but for the end.
    """
    state = FleetState()
    points: list[tuple[int, _T]] = []

    def point(at: int) -> None:
        value = measure(state)
        if not points or points[-1][1] != value:
            points.append((max(at, period.since), value))

    length = period.until - period.since + 1
    pending = (-1, int(period.since))
    for row in events.read(source.ledger, topics=(*_FLEET, *_OFFERS), until=source.position):
        if row.recorded_at > period.until:
            break
        slice_ = (row.recorded_at - period.since) * slices // length if row.recorded_at > period.since else -1
        if slice_ != pending[0]:
            point(pending[1])
        state.apply(row)
        if source.progress:
            source.progress(row.position, source.position)
        pending = (slice_, row.recorded_at)
    point(pending[1])
    if points[-1][0] < period.until:
        points.append((int(period.until), points[-1][1]))
    return points


def thin(points: list[tuple[int, _T]], most: int = POINTS) -> list[tuple[int, _T]]:
    """At most so many of the points, in equal slices of their time the last of each; the first and the last stay."""
    if len(points) <= most:
        return points
    first, *inner, last = points
    length = last[0] - first[0] + 1
    kept = {(at - first[0]) * (most - 2) // length: (at, value) for at, value in inner}
    return [first, *kept.values(), last]
