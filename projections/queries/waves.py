"""Waves as they are listed, shown and counted.

Rules of this module (DESIGN §2, "counts"; fioctl's `waves status`):

* total = production devices now on the tag. A device's version is the number of the target it last reported, 0 if none.
* active: updated = members at or above the wave's number, scheduled = members below. complete: all of the tag at or
  above, and below. canceled: all at or above, scheduled 0. unscheduled = below and not scheduled.
* rollout groups are those named by a rollout, in the order of the first time; all others with devices come after.
* Finished waves are counted as of now. An orphan is a version that a device runs and that is neither in the tag's
  production targets nor in its active wave's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, text

from projections.queries.cells import Cell, cells

_WAVE = "SELECT wave, number, tag, status, created_at, created_by, finished_at, finished_by FROM release_wave"


class WaveRow(NamedTuple):
    """A wave in a list; times in seconds since 1970."""

    name: str
    version: int
    tag: str
    status: str
    created_at: int
    created_by: str
    finished_at: int | None
    finished_by: str | None


class RolloutRow(NamedTuple):
    """One rollout of a wave; `digest` is the hash of the choice, `planned` whether a plan said it."""

    at: int
    by: str
    group: str | None
    full_group: bool
    listed: bool
    devices: int
    digest: str
    planned: bool


class WaveDetails(NamedTuple):
    """All about a wave but its targets."""

    wave: WaveRow
    prune: list[int]
    expires: int
    threshold: int
    keyids: list[str]
    rollouts: list[RolloutRow]
    reason: str | None


@dataclass
class GroupCount:
    """The devices of one group on the wave's tag; `versions` counts them by the number they run.

    `online` is None for the past, of which nobody kept who was seen when.
    """

    name: str
    rollout_at: int | None = None
    total: int = 0
    online: int | None = 0
    on_wave: int = 0
    on_newer: int = 0
    on_older: int = 0
    scheduled: int = 0
    versions: Counter[int] = field(default_factory=Counter)

    def add(self, cell: Cell, version: int) -> None:
        """Count devices, for a wave of that number."""
        self.total += cell.devices
        if self.online is not None:
            self.online += cell.online
        self.versions[cell.number] += cell.devices
        if cell.number == version:
            self.on_wave += cell.devices
        elif cell.number > version:
            self.on_newer += cell.devices
        else:
            self.on_older += cell.devices


@dataclass
class WaveCount:
    """How far a wave is; `known` are the numbers that are no orphans."""

    wave: WaveRow
    total: int
    updated: int
    scheduled: int
    unscheduled: int
    rollout_groups: list[GroupCount]
    other_groups: list[GroupCount]
    known: frozenset[int]


def listing(
    connection: Connection, *, status: str | None, tag: str | None, limit: int, page: int
) -> tuple[list[WaveRow], int]:
    """Waves, newest first, and how many match in all."""
    where = " AND ".join(
        condition for condition, given in (("status = :status", status), ("tag = :tag", tag)) if given is not None
    )
    condition = f" WHERE {where}" if where else ""
    params = {"status": status, "tag": tag, "limit": limit, "offset": limit * (page - 1)}
    rows = connection.execute(text(f"{_WAVE}{condition} ORDER BY position DESC LIMIT :limit OFFSET :offset"), params)
    waves = [WaveRow(*row) for row in rows]
    total = connection.execute(text(f"SELECT count(*) FROM release_wave{condition}"), params).scalar_one()
    return waves, total


def find(connection: Connection, name: str) -> WaveRow | None:
    """One wave."""
    row = connection.execute(text(f"{_WAVE} WHERE wave = :wave"), {"wave": name}).first()
    return None if row is None else WaveRow(*row)


def active(connection: Connection) -> list[str]:
    """The names of the active waves."""
    statement = text("SELECT wave FROM release_wave WHERE status = 'active' ORDER BY position")
    return list(connection.execute(statement).scalars())


def details(connection: Connection, wave: WaveRow) -> WaveDetails:
    """All about a wave but its targets."""
    key = {"wave": wave.name}
    prune, expires, threshold, reason = connection.execute(
        text("SELECT prune, expires, threshold, reason FROM release_wave WHERE wave = :wave"), key
    ).one()
    keyids = connection.execute(text("SELECT keyid FROM release_signature WHERE wave = :wave ORDER BY place"), key)
    rollouts = connection.execute(
        text(
            'SELECT at, "by", grp, full_group, listed, devices, digest, plan FROM release_rollout '
            "WHERE wave = :wave ORDER BY rollout"
        ),
        key,
    )
    return WaveDetails(
        wave,
        orjson.loads(prune),
        expires,
        threshold,
        list(keyids.scalars()),
        [
            RolloutRow(at, by, grp, bool(full), bool(listed), devices, digest, plan is not None)
            for at, by, grp, full, listed, devices, digest, plan in rollouts
        ],
        reason,
    )


def count(connection: Connection, wave: WaveRow, *, online_since: int | None) -> WaveCount:
    """How far a wave is: one grouped walk over the devices of its tag. `online_since`: None for the past."""
    unseen = 0 if online_since is not None else None
    groups = {name: GroupCount(name, at, online=unseen) for name, at in _rollout_groups(connection, wave.name)}
    rollout_groups = list(groups.values())
    updated = scheduled = below = 0
    for cell in cells(connection, online_since=online_since, tag=wave.tag):
        if not cell.production:
            continue
        group = groups.setdefault(cell.group or "", GroupCount(cell.group or "", online=unseen))
        group.add(cell, wave.version)
        counted = wave.status != "active" or cell.listed or cell.grouped
        if cell.number >= wave.version:
            updated += cell.devices if counted else 0
        else:
            below += cell.devices
            if counted and wave.status != "canceled":
                scheduled += cell.devices
                group.scheduled += cell.devices
    named = {group.name for group in rollout_groups}
    others = sorted((g for g in groups.values() if g.name not in named), key=lambda g: (g.name == "", g.name))
    total = sum(group.total for group in groups.values())
    return WaveCount(
        wave, total, updated, scheduled, below - scheduled, rollout_groups, others, known_numbers(connection, wave.tag)
    )


def known_numbers(connection: Connection, tag: str) -> frozenset[int]:
    """The numbers in a tag's production targets and in its active wave's: what is no orphan."""
    rows = connection.execute(
        text(
            "SELECT DISTINCT number FROM release_view_target WHERE view = :view OR view IN "
            "(SELECT 'wave/' || wave FROM release_wave WHERE tag = :tag AND status = 'active')"
        ),
        {"view": f"production/{tag}", "tag": tag},
    )
    return frozenset(rows.scalars())


def _rollout_groups(connection: Connection, wave: str) -> Sequence[tuple[str, int]]:
    rows = connection.execute(
        text(
            "SELECT grp, min(at) FROM release_rollout WHERE wave = :wave AND grp IS NOT NULL "
            "GROUP BY grp ORDER BY min(rollout)"
        ),
        {"wave": wave},
    )
    return [(name, at) for name, at in rows]
