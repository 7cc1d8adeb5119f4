"""What happens to membership and held devices when devices move, report, or are staged: statements over a batch.

Rules of this module:

* The devices of a batch are in a temporary table, each once, with what an event says of it; every statement is about
  all of them, so that a batch costs as many statements as a single device.
* Statements start at the batch and go along primary keys: never a walk over the fleet, nor over the waves of the past.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from projections.fold import Fold

BATCH = "fleet_batch"

COLUMNS = {
    "dev": "INTEGER PRIMARY KEY", "position": "INTEGER", "name": "TEXT", "hw": "INTEGER", "tag": "INTEGER",
    "grp": "INTEGER", "production": "INTEGER",
}  # fmt: skip
REPORT_COLUMNS = {
    "dev": "INTEGER PRIMARY KEY", "position": "INTEGER", "target": "INTEGER", "number": "INTEGER",
    "reported_at": "INTEGER",
}  # fmt: skip
STAGED_COLUMNS = {"dev": "INTEGER PRIMARY KEY", "position": "INTEGER", "wave": "INTEGER"}

_UPDATE = (
    "UPDATE {fleet_device} SET name = b.name, hw = b.hw, tag = b.tag, grp = b.grp, production = b.production, "
    "joined = CASE WHEN {fleet_device}.tag = b.tag AND {fleet_device}.grp = b.grp THEN {fleet_device}.joined "
    "ELSE b.position END FROM fleet_batch b WHERE b.dev = {fleet_device}.dev "
    "AND {fleet_device}.dev IN (SELECT dev FROM fleet_batch)"  # else SQLite walks through the fleet
)
_REMOVE = (
    "UPDATE {fleet_device} SET tag = 0, grp = 0, joined = b.position FROM fleet_batch b "
    "WHERE b.dev = {fleet_device}.dev AND {fleet_device}.dev IN (SELECT dev FROM fleet_batch)"
)
_REPORT = (
    "UPDATE {fleet_device} SET target = b.target, number = b.number, reported_at = b.reported_at "
    "FROM fleet_report b WHERE b.dev = {fleet_device}.dev AND {fleet_device}.dev IN (SELECT dev FROM fleet_report)"
)
_STAGE = (
    "INSERT INTO {fleet_member} (dev, tag, wave, installed, moved) "
    "SELECT d.dev, d.tag, b.wave, (SELECT count(*) FROM {fleet_wave_target} t WHERE t.wave = b.wave "
    "AND t.target = d.target), 0 FROM fleet_staged b CROSS JOIN {fleet_device} d WHERE d.dev = b.dev "
    "ORDER BY d.dev ON CONFLICT DO NOTHING"
)

# A device's full-group rollouts of active waves become rows of its own: it is about to leave the group, or its report
# is about to be looked at.
_KEEP = (
    "INSERT INTO {fleet_member} (dev, tag, wave, installed, moved) SELECT d.dev, d.tag, g.wave, 0, 0 "
    "FROM {table} b CROSS JOIN {fleet_device} d JOIN {fleet_tag} a ON a.tag = d.tag AND a.active > 0 "
    "JOIN {fleet_wave_group} g ON g.tag = d.tag AND g.grp = d.grp AND g.wave = a.active "
    "WHERE d.dev = b.dev AND d.production = 1 ON CONFLICT DO NOTHING"
)

# Who comes into a group that an active wave reached, and runs its target already, from before or by another way.
_JOIN = (
    "INSERT INTO {fleet_member} (dev, tag, wave, installed, moved) SELECT d.dev, d.tag, g.wave, 1, 0 "
    "FROM fleet_batch b CROSS JOIN {fleet_device} d JOIN {fleet_tag} a ON a.tag = d.tag AND a.active > 0 "
    "JOIN {fleet_wave_group} g ON g.tag = d.tag AND g.grp = d.grp AND g.wave = a.active "
    "JOIN {fleet_wave_target} t ON t.wave = a.active AND t.target = d.target "
    "WHERE d.dev = b.dev AND d.production = 1 ON CONFLICT DO NOTHING"
)

_INSTALLED = (
    "UPDATE {fleet_member} SET installed = (SELECT count(*) FROM {fleet_device} d "
    "JOIN {fleet_wave_target} t ON t.target = d.target "
    "WHERE d.dev = {fleet_member}.dev AND t.wave = {fleet_member}.wave) "
    "WHERE dev IN (SELECT dev FROM fleet_report) AND wave IN (SELECT active FROM {fleet_tag} WHERE active > 0)"
)

# Held members that now run something else. To those whose tag's active wave has them, production is not the next view.
_LEAVE = (
    "UPDATE {fleet_member} SET installed = 0, moved = CASE WHEN EXISTS (SELECT 1 FROM {fleet_member} m "
    "JOIN {fleet_tag} a ON a.tag = m.tag AND a.active = m.wave "
    "WHERE m.dev = {fleet_member}.dev AND m.tag = {fleet_member}.tag) THEN moved "
    "ELSE (SELECT b.position FROM fleet_report b WHERE b.dev = {fleet_member}.dev) END "
    "WHERE dev IN (SELECT dev FROM fleet_report) AND installed = 1 "
    "AND EXISTS (SELECT 1 FROM {fleet_wave} w JOIN {fleet_tag} a ON a.tag = w.tag "
    "WHERE w.wave = {fleet_member}.wave AND w.status = 'canceled' AND w.number > a.number) "
    "AND NOT EXISTS (SELECT 1 FROM {fleet_device} d JOIN {fleet_wave_target} t ON t.target = d.target "
    "WHERE d.dev = {fleet_member}.dev AND t.wave = {fleet_member}.wave)"
)
_MOVED = (
    "UPDATE {fleet_tag} SET moved = l.position FROM (SELECT m.tag AS tag, max(m.moved) AS position "
    "FROM fleet_report b JOIN {fleet_member} m ON m.dev = b.dev AND m.moved = b.position GROUP BY m.tag) l "
    "WHERE {fleet_tag}.tag = l.tag AND {fleet_tag}.held > 0 AND l.position > {fleet_tag}.moved"
)

Staged = tuple[Any, ...]


def change(fold: Fold, connection: Connection, rows: Sequence[Staged]) -> None:
    """Devices as they are now; rows as `COLUMNS`."""
    for part in once_each(rows):
        fold.stage(connection, BATCH, COLUMNS, part)
        reached = _groups_reached(fold, connection)
        if reached:
            fold.sweep(connection, _KEEP.replace("{table}", BATCH))
        fold.sweep(connection, _UPDATE)
        if reached:
            fold.sweep(connection, _JOIN)


def come_back(fold: Fold, connection: Connection, rows: Sequence[Staged]) -> None:
    """Devices that were removed once, as they are now; rows as `COLUMNS`."""
    fold.stage(connection, BATCH, COLUMNS, rows)
    fold.sweep(connection, _UPDATE)
    if _groups_reached(fold, connection):
        fold.sweep(connection, _JOIN)


def remove(fold: Fold, connection: Connection, rows: Sequence[tuple[int, int]]) -> None:
    """Devices that leave: device and position."""
    fold.stage(connection, BATCH, COLUMNS, [(*row, *(None,) * 5) for row in rows])
    if _groups_reached(fold, connection):
        fold.sweep(connection, _KEEP.replace("{table}", BATCH))
    fold.sweep(connection, _REMOVE)


def report(fold: Fold, connection: Connection, rows: Sequence[Staged]) -> None:
    """What devices run now; rows as `REPORT_COLUMNS`."""
    active = fold.scalar(connection, "SELECT 1 FROM {fleet_tag} WHERE active > 0 LIMIT 1")
    held = fold.scalar(connection, "SELECT 1 FROM {fleet_tag} WHERE held > 0 LIMIT 1")
    for part in once_each(rows):
        fold.stage(connection, "fleet_report", REPORT_COLUMNS, part)
        fold.sweep(connection, _REPORT)
        if active:
            fold.sweep(connection, _KEEP.replace("{table}", "fleet_report"))
            fold.sweep(connection, _INSTALLED)
        if held:
            fold.sweep(connection, _LEAVE)
            fold.sweep(connection, _MOVED)


def reach(fold: Fold, connection: Connection, rows: Sequence[tuple[int, int, int]]) -> None:
    """Devices that a rollout reached; rows as `STAGED_COLUMNS`."""
    for part in once_each(rows):
        fold.stage(connection, "fleet_staged", STAGED_COLUMNS, part)
        fold.sweep(connection, _STAGE)


def once_each(rows: Iterable[Staged]) -> Sequence[Sequence[Staged]]:
    """Rows in parts that have no device (the first field) twice, in their order: what was in between counts."""
    parts: list[list[Staged]] = []
    places: dict[int, int] = {}
    for row in rows:
        place = places.get(row[0], 0)
        if place == len(parts):
            parts.append([])
        parts[place].append(row)
        places[row[0]] = place + 1
    return parts


def _groups_reached(fold: Fold, connection: Connection) -> bool:
    statement = "SELECT 1 FROM {fleet_tag} a JOIN {fleet_wave_group} g ON g.tag = a.tag AND g.wave = a.active LIMIT 1"
    return fold.scalar(connection, statement) is not None
