"""Devices, and what each is eligible for: the decision, whether or not it is published yet.

Rules of this module (DESIGN §2, §6):

* A test device sees the CI targets of its tag. A production device in its tag's active wave sees the wave; any other
  the production targets of its tag. A view that does not exist yet is no view: null.
* Membership counts only while the device is a production device on the wave's tag.
* Only what fits the device's hardware is for it; the latest is the one with the highest number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

_SELECT = """
SELECT d.dev, d.uuid, d.name, h.name AS hardware_id, t.name AS tag, g.name AS grp, d.production, r.name AS target,
  s.seen_at, w.name AS wave,
  (SELECT 1 FROM fleet_member m WHERE m.dev = d.dev AND m.tag = d.tag AND m.wave = a.active) AS listed,
  (SELECT 1 FROM fleet_wave_group x WHERE x.tag = d.tag AND x.grp = d.grp AND x.wave = a.active) AS grouped
FROM fleet_device d
JOIN fleet_name h ON h.kind = 'hardware' AND h.id = d.hw
JOIN fleet_name t ON t.kind = 'tag' AND t.id = d.tag
LEFT JOIN fleet_name g ON g.kind = 'group' AND g.id = d.grp
LEFT JOIN fleet_name r ON r.kind = 'target' AND r.id = d.target
LEFT JOIN fleet_tag a ON a.tag = d.tag AND a.active > 0
LEFT JOIN fleet_name w ON w.kind = 'wave' AND w.id = a.active
LEFT JOIN sighting s ON s.dev = d.dev
"""


class ViewContent(NamedTuple):
    """What a view offers: (hardware id, number, target name), and whether it is published as it should be."""

    targets: list[tuple[str, int, str]]
    published: bool


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device with what it is eligible for."""

    uuid: str
    name: str
    hardware_id: str
    tag: str
    group: str | None
    production: bool
    target: str | None
    seen_at: int | None
    view: str | None
    targets: tuple[str, ...]
    latest: str | None
    published: bool
    reason: str


class Page(NamedTuple):
    """Some devices of all that match; `next` is the next page's number."""

    devices: list[DeviceRow]
    total: int
    next: int | None


def show(connection: Connection, name: str) -> list[DeviceRow]:
    """The device with that uuid; else those with that name (names are not unique)."""
    for column in ("uuid", "name"):
        statement = text(f"{_SELECT} WHERE d.{column} = :name AND d.tag > 0 ORDER BY d.dev")
        found = connection.execute(statement, {"name": name}).mappings().all()
        if found:
            return _decide(connection, found)
    return []


def page(
    connection: Connection,
    *,
    tag: str | None = None,
    group: str | None = None,
    production: bool | None = None,
    limit: int,
    number: int = 1,
) -> Page:
    """Devices in the order in which they came to the fleet, `limit` a page; pages are numbered from 1."""
    where, params = ["d.tag > 0"], {}
    for kind, column, name in (("tag", "tag", tag), ("group", "grp", group)):
        if name is not None:
            where.append(f"d.{column} = (SELECT id FROM fleet_name WHERE kind = '{kind}' AND name = :{kind})")
            params[kind] = name
    if production is not None:
        where.append(f"d.production = {int(production)}")
    condition = " AND ".join(where)
    total = connection.execute(text(f"SELECT count(*) FROM fleet_device d WHERE {condition}"), params).scalar_one()
    statement = text(f"{_SELECT} WHERE {condition} ORDER BY d.dev LIMIT {limit} OFFSET {limit * (number - 1)}")
    found = connection.execute(statement, params).mappings().all()
    return Page(_decide(connection, found), total, number + 1 if limit * number < total else None)


def _decide(connection: Connection, rows: Sequence[Any]) -> list[DeviceRow]:
    contents: dict[str, ViewContent | None] = {}
    decided = []
    for row in rows:
        wave = row["wave"] if row["production"] and (row["listed"] or row["grouped"]) else None
        view = f"wave/{wave}" if wave else f"{'production' if row['production'] else 'ci'}/{row['tag']}"
        if view not in contents:
            contents[view] = content(connection, view)
        offered = contents[view]
        fitting = sorted((n, name) for hw, n, name in offered.targets if hw == row["hardware_id"]) if offered else []
        decided.append(
            DeviceRow(
                row["uuid"],
                row["name"],
                row["hardware_id"],
                row["tag"],
                row["grp"],
                bool(row["production"]),
                row["target"],
                row["seen_at"],
                view if offered else None,
                tuple(name for _, name in fitting),
                fitting[-1][1] if fitting else None,
                offered.published if offered else False,
                _reason(row, wave, exists=offered is not None),
            )
        )
    return decided


def content(connection: Connection, view: str) -> ViewContent | None:
    """What a view offers, None while it does not exist."""
    found = connection.execute(
        text(
            "SELECT v.version, v.content_position, p.targets_version, p.content_position FROM release_view v "
            "LEFT JOIN written w ON w.repository = v.repository "
            "LEFT JOIN release_published p ON p.view = v.view AND NOT p.closed AND p.version <= w.version "
            "WHERE v.view = :view"
        ),
        {"view": view},
    ).first()
    if found is None:
        return None
    version, position, shown_version, shown_position = found
    published = shown_version is not None and (
        position == shown_position if version is None else version == shown_version
    )
    if view.startswith("ci/"):
        statement = text(
            "SELECT t.hardware_id, t.number, t.name FROM release_ci_tag g JOIN release_ci_target t ON t.name = g.name "
            "WHERE g.tag = :key"
        )
        key = view.removeprefix("ci/")
    else:
        statement = text("SELECT hardware_id, number, name FROM release_view_target WHERE view = :key")
        key = view
    return ViewContent([(hw, n, name) for hw, n, name in connection.execute(statement, {"key": key})], published)


def _reason(row: Any, wave: str | None, *, exists: bool) -> str:
    tag = row["tag"]
    if not row["production"]:
        return f"a test device sees the CI targets of its tag, {tag}" + ("" if exists else ", and there are none yet")
    if wave:
        how = f"to its group, {row['grp']}" if row["grouped"] else "to it"
        return f"wave {wave} was rolled out {how}"
    if not exists:
        return f"tag {tag} has no production targets yet, and no wave was rolled out to it"
    if row["wave"]:
        return f"the production targets of its tag, {tag}; wave {row['wave']} was not rolled out to it"
    return f"the production targets of its tag, {tag}"
