"""Devices, and what each is eligible for: the decision, whether or not it is published yet.

Rules of this module (DESIGN §2, §6):

* A test device sees the CI targets of its tag. A production device in its tag's active wave sees the wave, if it is not
  held by one above it; a held one what it runs; any other the production targets of its tag. A view that does not exist
  yet is no view: null.
* Membership counts only while the device is a production device on the wave's tag.
* A device that left a held view by a report goes to production with the next publication: within one publication
  production's version is below the held view's, and its client would refuse to go back.
* Only what fits the device's hardware is for it; the latest is the one with the highest number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from ledger.store import bulk
from projections.membership import grouped, held_above, holder, in_wave, listed

_IN = 500  # values in one IN list: far below what SQLite (32,766) and PostgreSQL (65,535) take

_NUMBER = "(SELECT w.number FROM fleet_wave w WHERE w.wave = a.active)"

_SELECT = f"""
SELECT c.*, w.name AS wave, h.name AS held, hw.number AS held_number FROM (
  SELECT d.dev, d.uuid, d.name, k.name AS hardware_id, t.name AS tag, g.name AS grp, d.production, r.name AS target,
    d.number AS runs, s.seen_at, a.active, aw.number AS number,
    CASE WHEN {listed("a.active")} THEN 1 ELSE 0 END AS listed,
    CASE WHEN {grouped("a.active")} THEN 1 ELSE 0 END AS grouped,
    CASE WHEN a.held > 0 AND d.production = 1 THEN {holder("a.number")} END AS holder,
    (SELECT max(m.moved) FROM fleet_member m WHERE a.moved > 0 AND m.dev = d.dev AND m.tag = d.tag) AS moved
  FROM fleet_device d
  JOIN fleet_name k ON k.kind = 'hardware' AND k.id = d.hw
  JOIN fleet_name t ON t.kind = 'tag' AND t.id = d.tag
  LEFT JOIN fleet_name g ON g.kind = 'group' AND g.id = d.grp
  LEFT JOIN fleet_name r ON r.kind = 'target' AND r.id = d.target
  LEFT JOIN fleet_tag a ON a.tag = d.tag
  LEFT JOIN fleet_wave aw ON aw.wave = a.active
  LEFT JOIN sighting s ON s.dev = d.dev
  WHERE {{where}}) c
LEFT JOIN fleet_name w ON w.kind = 'wave' AND w.id = c.active
LEFT JOIN fleet_wave hw ON hw.wave = c.holder
LEFT JOIN fleet_name h ON h.kind = 'wave' AND h.id = c.holder
ORDER BY c.dev
"""

# Where a wave reached or held somebody, the view is there, and so is production where one completed or is held: only of
# other tags, and of CI targets, it is asked.
_VIEW = f"""
SELECT CASE WHEN d.production = 0 THEN (SELECT v.view FROM release_view v WHERE v.view = 'ci/' || t.name)
  WHEN a.active > 0 AND {in_wave("a.active")} AND NOT (a.held > {_NUMBER} AND {held_above(_NUMBER)})
    THEN (SELECT 'wave/' || n.name FROM fleet_name n WHERE n.kind = 'wave' AND n.id = a.active)
  WHEN a.held > 0 AND {held_above("a.number")}
    THEN (SELECT 'held/' || n.name FROM fleet_name n WHERE n.kind = 'wave' AND n.id = {holder("a.number")})
  WHEN a.number > 0 OR a.held > 0 THEN 'production/' || t.name
  ELSE (SELECT v.view FROM release_view v WHERE v.view = 'production/' || t.name) END
FROM fleet_device d JOIN fleet_name t ON t.kind = 'tag' AND t.id = d.tag LEFT JOIN fleet_tag a ON a.tag = d.tag
WHERE d.uuid = ? AND d.tag > 0
"""


class Rule(StrEnum):
    """The rules of this module that can decide what a device gets."""

    TEST = "test-device"
    NO_CI_TARGETS = "no-ci-targets"
    IN_WAVE = "in-wave"
    IN_WAVE_BY_GROUP = "in-wave-by-group"
    HELD = "held"
    PRODUCTION = "production"
    LEFT_HELD = "left-held"
    NO_PRODUCTION_TARGETS = "no-production-targets"


class Basis(NamedTuple):
    """What was decided from: the number that the device runs, its tag's active wave, and who holds it.

    `moved` is the position at which it last left a held view of its tag, 0 if it never did.
    """

    dev: int
    runs: int
    wave: str | None
    in_wave: bool
    holder: str | None
    holder_number: int
    moved: int


class ViewContent(NamedTuple):
    """What a view offers: (hardware id, number, target name), and whether it is published as it should be.

    `position` is that of the publication that a destination has, 0 for none.
    """

    targets: list[tuple[str, int, str]]
    published: bool
    position: int


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
    rule: Rule
    basis: Basis


class Page(NamedTuple):
    """Some devices of all that match; `next` is the next page's number."""

    devices: list[DeviceRow]
    total: int
    next: int | None


def view_of(connection: Connection, uuid: str) -> str | None:
    """The view of one device, as decided; None for a view that does not exist yet, and for no device of the fleet.

    The question of a gateway: one statement along keys, whatever the size of the fleet and of its history.
    """
    found = bulk.query(connection, _VIEW, (uuid,)).fetchone()
    return found[0] if found else None


def show(connection: Connection, name: str) -> list[DeviceRow]:
    """The device with that uuid; else those with that name (names are not unique)."""
    for column in ("uuid", "name"):
        statement = text(_SELECT.format(where=f"d.{column} = :name AND d.tag > 0"))
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
    # The devices of the page first: whoever asks for a late page pays for the devices before it with a step each.
    these = (
        f"SELECT d.dev FROM fleet_device d WHERE {condition} ORDER BY d.dev LIMIT {limit} OFFSET {limit * (number - 1)}"
    )
    statement = text(_SELECT.format(where=f"d.dev IN ({these})"))
    found = connection.execute(statement, params).mappings().all()
    return Page(_decide(connection, found), total, number + 1 if limit * number < total else None)


def of(connection: Connection, uuids: Sequence[str]) -> list[DeviceRow]:
    """Those of the devices that are in the fleet, in the order in which they came to it."""
    found: list[Any] = []
    for start in range(0, len(uuids), _IN):
        part = dict(enumerate(uuids[start : start + _IN]))
        names = ", ".join(f":u{place}" for place in part)
        statement = text(_SELECT.format(where=f"d.uuid IN ({names}) AND d.tag > 0"))
        found += connection.execute(statement, {f"u{place}": uuid for place, uuid in part.items()}).mappings().all()
    return _decide(connection, found)


def moved_since(connection: Connection, position: int) -> bool:
    """Whether a device left a held view after that position, so that it waits for a publication."""
    statement = text("SELECT 1 FROM fleet_tag WHERE moved > :position LIMIT 1")
    return connection.execute(statement, {"position": position}).first() is not None


def _decide(connection: Connection, rows: Sequence[Any]) -> list[DeviceRow]:
    contents: dict[str, ViewContent | None] = {}
    decided = []
    for row in rows:
        view = _view(row)
        if view not in contents:
            contents[view] = content(connection, view)
        offered = contents[view]
        fitting = sorted((n, name) for hw, n, name in offered.targets if hw == row["hardware_id"]) if offered else []
        waits = offered is not None and view.startswith("production/") and (row["moved"] or 0) > offered.position
        rule = _rule(row, view, exists=offered is not None, waits=waits)
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
                offered.published and not waits if offered else False,
                _reason(row, rule),
                rule,
                _basis(row),
            )
        )
    return decided


def _basis(row: Any) -> Basis:
    in_wave = bool(row["production"] and row["active"] and (row["listed"] or row["grouped"]))
    return Basis(row["dev"], row["runs"], row["wave"], in_wave, row["held"], row["held_number"] or 0, row["moved"] or 0)


def _view(row: Any) -> str:
    if not row["production"]:
        return f"ci/{row['tag']}"
    in_wave = row["active"] and (row["listed"] or row["grouped"])
    if in_wave and (row["held"] is None or row["number"] >= row["held_number"]):
        return f"wave/{row['wave']}"
    return f"held/{row['held']}" if row["held"] else f"production/{row['tag']}"


def content(connection: Connection, view: str) -> ViewContent | None:
    """What a view offers, None while it does not exist."""
    found = connection.execute(
        text(
            "SELECT v.version, v.content_position, p.targets_version, p.content_position, p.position "
            "FROM release_view v LEFT JOIN written w ON w.repository = v.repository "
            "LEFT JOIN release_published p ON p.view = v.view AND NOT p.closed AND p.version <= w.version "
            "WHERE v.view = :view"
        ),
        {"view": view},
    ).first()
    if found is None:
        return None
    version, position, shown_version, shown_position, published_at = found
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
    targets = [(hw, n, name) for hw, n, name in connection.execute(statement, {"key": key})]
    return ViewContent(targets, published, published_at or 0)


def _rule(row: Any, view: str, *, exists: bool, waits: bool) -> Rule:
    match view.partition("/")[0]:
        case "ci":
            return Rule.TEST if exists else Rule.NO_CI_TARGETS
        case "wave":
            return Rule.IN_WAVE_BY_GROUP if row["grouped"] else Rule.IN_WAVE
        case "held":
            return Rule.HELD
    if not exists:
        return Rule.NO_PRODUCTION_TARGETS
    return Rule.LEFT_HELD if waits else Rule.PRODUCTION


def _reason(row: Any, rule: Rule) -> str:
    tag, wave, number = row["tag"], row["wave"], row["held_number"]
    not_in = f"; wave {wave} was not rolled out to it" if wave else ""
    return {
        Rule.TEST: f"a test device sees the CI targets of its tag, {tag}",
        Rule.NO_CI_TARGETS: f"a test device sees the CI targets of its tag, {tag}, and there are none yet",
        Rule.IN_WAVE: f"wave {wave} was rolled out to it",
        Rule.IN_WAVE_BY_GROUP: f"wave {wave} was rolled out to its group, {row['grp']}",
        Rule.HELD: f"it runs number {number} of the canceled wave {row['held']}, and keeps it until a wave of {number} "
        "or above is rolled out to it or completes, or it reports another target",
        Rule.PRODUCTION: f"the production targets of its tag, {tag}{not_in}",
        Rule.LEFT_HELD: f"the production targets of its tag, {tag}, with the next publication: it no longer runs the "
        "target that it was held on",
        Rule.NO_PRODUCTION_TARGETS: f"tag {tag} has no production targets yet, and no wave was rolled out to it",
    }[rule]
