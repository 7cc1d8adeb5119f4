"""The fleet counted: one walk along an index, and what is known of the few devices for which it does not tell enough.

Rules of this module:

* A cell is a set of devices that all counts treat alike: same tag, kind, group, number, and the same relation to the
  tag's active wave and to held views.
* Most devices are told apart by the index that they are counted along. Those with a row of their own in the active
  wave, and held ones, are counted along `fleet_member` and taken out of the first count.
* Sightings are looked up only for whoever asks who is online: a row for each device is most of what that costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, text

from ledger.store import bulk

COUNTED = """
SELECT d.tag, d.production, d.grp, d.number, count(*), sum(CASE WHEN s.seen_at >= :since THEN 1 ELSE 0 END)
FROM fleet_device d LEFT JOIN sighting s ON s.dev = d.dev
WHERE {which} GROUP BY d.tag, d.production, d.grp, d.number
"""
_LOOKED_UP = "LEFT JOIN sighting s ON s.dev = d.dev", "sum(CASE WHEN s.seen_at >= :since THEN 1 ELSE 0 END)"
ALL = COUNTED.format(which="d.tag > 0")
OF_TAG = COUNTED.format(which="d.tag = :tag")

# Rows of their own in the active wave, and rows that hold: a device may have one of the former, several of the latter.
APART = """
SELECT d.tag, d.grp, d.number, x.listed, x.held, count(*), sum(CASE WHEN s.seen_at >= :since THEN 1 ELSE 0 END) FROM (
  SELECT y.dev AS dev, y.tag AS tag, max(y.listed) AS listed, max(y.held) AS held FROM (
    SELECT m.dev AS dev, m.tag AS tag, 1 AS listed, 0 AS held
    FROM fleet_tag a CROSS JOIN fleet_member m
    WHERE a.active > 0 AND (:tag = 0 OR a.tag = :tag) AND m.wave = a.active AND m.tag = a.tag
    UNION ALL
    SELECT m.dev, m.tag, 0, h.number FROM fleet_tag a CROSS JOIN fleet_wave h CROSS JOIN fleet_member m
    WHERE a.held > 0 AND (:tag = 0 OR a.tag = :tag) AND h.tag = a.tag AND h.status = 'canceled'
      AND h.number > a.number AND m.wave = h.wave AND m.installed = 1 AND m.tag = a.tag
  ) y GROUP BY y.dev, y.tag
) x CROSS JOIN fleet_device d LEFT JOIN sighting s ON s.dev = d.dev
WHERE d.dev = x.dev AND d.tag = x.tag AND d.production = 1 GROUP BY 1, 2, 3, 4, 5
"""

GROUPS = """
SELECT a.tag, g.grp FROM fleet_tag a JOIN fleet_wave_group g ON g.wave = a.active AND g.tag = a.tag
WHERE a.active > 0
"""


class Cell(NamedTuple):
    """Devices that are counted alike; `group` is None for none, `held` the number that holds them, 0 for none.

    `listed` and `grouped` say how they are in the tag's active wave.
    """

    tag: str
    production: bool
    group: str | None
    number: int
    listed: bool
    grouped: bool
    held: int
    devices: int
    online: int


def cells(connection: Connection, *, online_since: int | None, tag: str | None = None) -> Iterator[Cell]:
    """The whole fleet, or what follows one tag. `online_since`: None for the past, where nobody is online."""
    tags, groups = _names(connection, "tag"), _names(connection, "group")
    ids = {name: number for number, name in tags.items()}
    params = {"since": online_since, "tag": 0 if tag is None else ids.get(tag, -1)}
    grouped = {(of, group) for of, group in connection.execute(text(GROUPS))}
    apart: dict[tuple[int, int, int], tuple[int, int]] = {}
    apart_of, counted_of = (
        statement if online_since is not None else _without_sightings(statement)
        for statement in (APART, OF_TAG if tag else ALL)
    )
    for of, grp, number, listed, held, devices, online in bulk.ask(connection, apart_of, params).fetchall():
        taken = apart.get((of, grp, number), (0, 0))
        apart[of, grp, number] = (taken[0] + devices, taken[1] + online)
        yield Cell(
            tags[of], True, groups.get(grp), number, bool(listed), (of, grp) in grouped, held, devices, online
        )  # fmt: skip
    for of, production, grp, number, devices, online in bulk.ask(connection, counted_of, params).fetchall():
        less, less_online = apart.get((of, grp, number), (0, 0)) if production else (0, 0)
        if devices > less:
            is_grouped = bool(production) and (of, grp) in grouped
            yield Cell(
                tags[of], bool(production), groups.get(grp), number, False, is_grouped, 0,
                devices - less, online - less_online,
            )  # fmt: skip


def _without_sightings(statement: str) -> str:
    join, seen = _LOOKED_UP
    return statement.replace(join, "").replace(seen, "0")


def _names(connection: Connection, kind: str) -> Mapping[int, str]:
    statement = text("SELECT id, name FROM fleet_name WHERE kind = :kind")
    return {number: name for number, name in connection.execute(statement, {"kind": kind})}  # noqa: C416
