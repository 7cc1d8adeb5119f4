"""What happens to membership and held devices when devices move, report, or are staged: statements over a batch.

Rules of this module:

* The devices of a batch are in a temporary table, each once, with what an event says of it; every statement is about
  all of them, so that a batch costs as many statements as a single device. Uuids become numbers in the database, too:
  who is in no fleet drops out there.
* Statements start at the batch and go along primary keys: never a walk over the fleet, nor over the waves of the past.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from ledger.store import bulk
from projections.fold import Fold
from projections.tables import BY_UUID

BATCH, REPORT = "fleet_batch", "fleet_report"

COLUMNS = {
    "dev": "INTEGER PRIMARY KEY", "position": "INTEGER", "name": "TEXT", "hw": "INTEGER", "tag": "INTEGER",
    "grp": "INTEGER", "production": "INTEGER",
}  # fmt: skip
REPORT_COLUMNS = {
    "dev": "INTEGER PRIMARY KEY", "position": "INTEGER", "target": "INTEGER", "number": "INTEGER",
    "reported_at": "INTEGER",
}  # fmt: skip
STAGED_COLUMNS = {"uuid": "TEXT", "position": "INTEGER", "wave": "INTEGER"}

_UPDATE = (
    "UPDATE {fleet_device} SET name = b.name, hw = b.hw, tag = b.tag, grp = b.grp, production = b.production, "
    "joined = CASE WHEN {fleet_device}.tag = b.tag AND {fleet_device}.grp = b.grp THEN {fleet_device}.joined "
    "ELSE b.position END FROM fleet_batch b WHERE b.dev = {fleet_device}.dev "
)
_REMOVE = (
    "UPDATE {fleet_device} SET tag = 0, grp = 0, joined = b.position FROM fleet_batch b "
    "WHERE b.dev = {fleet_device}.dev "
)
_REPORT = (
    "UPDATE {fleet_device} SET target = b.target, number = b.number, reported_at = b.reported_at "
    "FROM fleet_report b WHERE b.dev = {fleet_device}.dev "
)
_NARROW = "AND {fleet_device}.dev IN (SELECT dev FROM {table})"  # else SQLite walks through the fleet

_RESOLVE = (
    "INSERT INTO {table} ({columns}) SELECT d.dev, {values} FROM {table}_told b CROSS JOIN {fleet_device} d "
    "WHERE d.uuid = b.uuid"
)
_REMEMBER = "INSERT INTO {fleet_history} (dev, position) SELECT b.dev, b.position FROM {table} b"
# An event may have a device twice, which is then in parts of their own. Not for all: it costs twice as much.
_KNOWN = " WHERE NOT EXISTS (SELECT 1 FROM {fleet_history} h WHERE h.dev = b.dev AND h.position = b.position)"
_STAGE = (
    "INSERT INTO {fleet_member} (dev, tag, wave, installed, moved) "
    "SELECT d.dev, d.tag, b.wave, (SELECT count(*) FROM {fleet_wave_target} t WHERE t.wave = b.wave "
    "AND t.target = d.target), 0 FROM fleet_staged b CROSS JOIN {fleet_device} d WHERE d.uuid = b.uuid "
    "ORDER BY d.dev ON CONFLICT DO NOTHING"
)
_REMEMBER_STAGED = (
    "INSERT INTO {fleet_history} (dev, position) SELECT DISTINCT d.dev, b.position FROM fleet_staged b "
    "CROSS JOIN {fleet_device} d WHERE d.uuid = b.uuid ORDER BY d.dev, b.position"
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
    """Devices as they are now; rows as `COLUMNS`, with a uuid for the number."""
    for place, part in enumerate(once_each(rows)):
        _put(fold, connection, BATCH, COLUMNS, part, again=place > 0)
        reached = _groups_reached(fold, connection)
        if reached:
            fold.sweep(connection, _KEEP.replace("{table}", BATCH))
        _update(fold, connection, _UPDATE, BATCH)
        if reached:
            fold.sweep(connection, _JOIN)


def come_back(fold: Fold, connection: Connection, rows: Sequence[Staged]) -> None:
    """Devices that were removed once, as they are now; rows as those of `change`."""
    for place, part in enumerate(once_each(rows)):
        _put(fold, connection, BATCH, COLUMNS, part, again=place > 0)
        _update(fold, connection, _UPDATE, BATCH)
        if _groups_reached(fold, connection):
            fold.sweep(connection, _JOIN)


def remove(fold: Fold, connection: Connection, rows: Sequence[tuple[str, int]]) -> None:
    """Devices that leave: uuid and position."""
    for place, part in enumerate(once_each(rows)):
        _put(fold, connection, BATCH, COLUMNS, [(*row, *(None,) * 5) for row in part], again=place > 0)
        if _groups_reached(fold, connection):
            fold.sweep(connection, _KEEP.replace("{table}", BATCH))
        _update(fold, connection, _REMOVE, BATCH)


def report(fold: Fold, connection: Connection, rows: Sequence[Staged]) -> None:
    """What devices run now; rows as `REPORT_COLUMNS`, with a uuid for the number."""
    active = fold.scalar(connection, "SELECT 1 FROM {fleet_tag} WHERE active > 0 LIMIT 1")
    held = fold.scalar(connection, "SELECT 1 FROM {fleet_tag} WHERE held > 0 LIMIT 1")
    for place, part in enumerate(once_each(rows)):
        _put(fold, connection, REPORT, REPORT_COLUMNS, part, again=place > 0)
        _update(fold, connection, _REPORT, REPORT)
        if active:
            fold.sweep(connection, _KEEP.replace("{table}", REPORT))
            fold.sweep(connection, _INSTALLED)
        if held:
            fold.sweep(connection, _LEAVE)
            fold.sweep(connection, _MOVED)


def reach(fold: Fold, connection: Connection, rows: Sequence[Staged]) -> None:
    """Devices that a rollout reached; rows as `STAGED_COLUMNS`. What is between two of a device changes nothing."""
    fold.need(connection, BY_UUID)
    fold.stage(connection, "fleet_staged", STAGED_COLUMNS, rows)
    fold.sweep(connection, _STAGE)
    fold.sweep(connection, _REMEMBER_STAGED)


def once_each(rows: Sequence[Staged]) -> Sequence[Sequence[Staged]]:
    """Rows in parts that have no device (the first field) twice, in their order: what was in between counts."""
    if len({row[0] for row in rows}) == len(rows):
        return [rows] if rows else []
    parts: list[list[Staged]] = []
    places: dict[str, int] = {}
    for row in rows:
        place = places.get(row[0], 0)
        if place == len(parts):
            parts.append([])
        parts[place].append(row)
        places[row[0]] = place + 1
    return parts


def _put(
    fold: Fold, connection: Connection, table: str, columns: Mapping[str, str], rows: Sequence[Staged], *, again: bool
) -> None:
    """Fill a temporary table with the devices of a part, by their numbers, and keep where their history is."""
    fold.need(connection, BY_UUID)
    rest = list(columns)[1:]
    fold.stage(connection, f"{table}_told", {"uuid": "TEXT", **{name: columns[name] for name in rest}}, rows)
    bulk.empty(connection, table, columns, len(rows))
    values = ", ".join(f"b.{name}" for name in rest)
    resolve = _RESOLVE.replace("{columns}", ", ".join(columns)).replace("{values}", values)
    fold.sweep(connection, resolve.replace("{table}", table))
    bulk.settle(connection, table, len(rows))
    fold.sweep(connection, (_REMEMBER + _KNOWN if again else _REMEMBER).replace("{table}", table))


def _update(fold: Fold, connection: Connection, statement: str, table: str) -> None:
    narrow = "" if bulk.is_postgresql(connection) else _NARROW.replace("{table}", table)
    fold.sweep(connection, statement + narrow)


def _groups_reached(fold: Fold, connection: Connection) -> bool:
    statement = "SELECT 1 FROM {fleet_tag} a JOIN {fleet_wave_group} g ON g.tag = a.tag AND g.wave = a.active LIMIT 1"
    return fold.scalar(connection, statement) is not None
