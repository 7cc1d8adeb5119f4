"""One device's way through the fleet: what its own events say, and how it got into a wave.

Rules of this module:

* `Past` knows the positions, topics and streams of the device's events; of those only the ones that are needed are
  read, newest first.
* A device got into a wave by the first of: a rollout that listed it, a rollout to all of the group it was in, or its
  coming into such a group, as a production device on the wave's tag, while the wave was active.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import text

from projections.why.evidence import By, Reached, Rollout, Step
from projections.why.source import Source

_IN = 500  # values in one IN list: far below what SQLite (32,766) and PostgreSQL (65,535) take

REGISTERED, CHANGED, REMOVED = "devices.registered/1", "devices.changed/1", "devices.removed/1"
REPORTED, STAGED = "devices.reported/1", "devices.staged/1"


class Entry(NamedTuple):
    """An event of the device."""

    position: int
    topic: str
    stream: str


class Past:
    """The events of one device, newest first."""

    def __init__(self, source: Source, dev: int, uuid: str) -> None:
        """Read where they are."""
        self.source, self.uuid = source, uuid
        statement = text("SELECT position FROM fleet_history WHERE dev = :dev ORDER BY position DESC")
        positions = source.tables.execute(statement, {"dev": dev}).scalars().all()
        self.entries = [entry for start in range(0, len(positions), _IN) for entry in self._of(positions[start:][:_IN])]

    def _of(self, positions: Sequence[int]) -> list[Entry]:
        # By position alone: of a topic, a large fleet has many events.
        names = ", ".join(f":p{place}" for place in range(len(positions)))
        found = self.source.ledger.execute(
            text(f"SELECT position, topic, stream FROM event WHERE position IN ({names}) ORDER BY position DESC"),
            {f"p{place}": position for place, position in enumerate(positions)},
        )
        return [Entry(*row) for row in found]

    def newest(self, topic: str) -> int | None:
        """The position of the newest event of a topic."""
        return next((entry.position for entry in self.entries if entry.topic == topic), None)

    def steps(self) -> Iterator[Step]:
        """How it stood after each change, newest first; each step is read when it is asked for."""
        for entry in self.entries:
            if entry.topic in (REGISTERED, CHANGED, REMOVED):
                yield self._step(entry)

    def steps_since(self, position: int) -> list[Step]:
        """The step that held at a position, and all after it, oldest first."""
        found: list[Step] = []
        for step in self.steps():
            found.append(step)
            if step.position <= position:
                break
        return found[::-1]

    def kind_since(self) -> int | None:
        """The event that made it the production or test device that it is."""
        since, kind = None, None
        for step in self.steps():
            if step.tag is None or kind not in (None, step.production):
                break
            since, kind = step.position, step.production
        return since

    def staged(self, wave: str) -> dict[int, int]:
        """The positions at which a wave's rollouts listed it, by the number of the rollout."""
        prefix = f"rollout:{wave}:"
        return {
            int(entry.stream.removeprefix(prefix)): entry.position
            for entry in self.entries
            if entry.topic == STAGED and entry.stream.startswith(prefix)
        }

    def _step(self, entry: Entry) -> Step:
        if entry.topic == REMOVED:
            return Step(entry.position, None, None, production=False)
        row = self.source.event(entry.position)
        data: dict[str, Any] = orjson.loads(row.payload) if row else {}
        place = data["uuids"].index(self.uuid)
        return Step(entry.position, data["tags"][place], data["groups"][place], data["production"][place])


def reached(
    tag: str, rollouts: Sequence[Rollout], steps: Sequence[Step], staged: dict[int, int], closed: int | None
) -> Reached | None:
    """How a device got into a wave of a tag, None if it never did. `steps` begin at the wave's first event."""
    ways = [
        Reached(By.LIST, rollout.group, rollout.position, staged[rollout.number])
        for rollout in rollouts
        if rollout.number in staged
    ]
    ends = [step.position for step in steps[1:]] + [closed]
    for rollout in rollouts:
        for step, end in zip(steps, ends, strict=True):
            in_it = (step.tag, step.group, step.production) == (tag, rollout.group, True)
            if not (rollout.full_group and in_it) or (end is not None and end < rollout.position):
                continue
            if closed is not None and step.position > closed:
                continue
            by = By.GROUP if step.position < rollout.position else By.JOINED
            ways.append(Reached(by, rollout.group, rollout.position, max(step.position, rollout.position)))
    return min(ways, key=lambda way: way.since, default=None)
