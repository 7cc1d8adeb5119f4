"""The projection ``fleet``: devices, their membership in waves, and where each one's history is.

Rules of this module (DESIGN §2, §6):

* Membership is sticky. A rollout to a whole group is one row, and whoever is in the group has the wave; a device that
  leaves the group or the tag, or the fleet, gets a row of its own first, so that it keeps the wave.
* Membership rests while a device is off the tag, removed or a test device: the rows stay, the view asks for both.
* `installed` says that a member's last report named one of the wave's own new targets: reported while in the wave, or
  before the wave reached it. While the wave is active it follows every report, so a cancel freezes it without a write:
  those who have it are held. After that it only ever goes, with the first report of another target.
* Who leaves a held view by a report goes to production with the next publication only, because within one publication
  production's version is below the held view's. `moved` is the position of leaving, on the member's row and the tag's.
* Device numbers are dense and given in the order of first registration: a rebuild gives the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, MetaData

from ledger.domain.rollout import draw_of
from ledger.store.events import Row
from projections.fold import Data, Fold
from projections.tables import fleet_tables

_DEVICE_COLUMNS = (
    "dev", "uuid", "name", "hw", "tag", "grp", "production", "joined", "number", "target", "reported_at", "draw",
)  # fmt: skip

# A device's full-group rollouts of active waves become rows of its own: it is about to leave the group, or its report
# is about to be looked at.
_KEEP = (
    "INSERT INTO {fleet_member} (dev, tag, wave, installed, moved) "
    "SELECT d.dev, d.tag, g.wave, 0, 0 FROM {fleet_device} d "
    "JOIN {fleet_wave_group} g ON g.tag = d.tag AND g.grp = d.grp "
    "JOIN {fleet_wave} w ON w.wave = g.wave AND w.status = 'active' "
    "WHERE d.uuid = ? AND d.production = 1 ON CONFLICT DO NOTHING"
)

# Who comes into a group that an active wave reached, and runs its target already, from before or by another way.
_JOIN = (
    "INSERT INTO {fleet_member} (dev, tag, wave, installed, moved) "
    "SELECT d.dev, d.tag, g.wave, 1, 0 FROM {fleet_device} d "
    "JOIN {fleet_wave_group} g ON g.tag = d.tag AND g.grp = d.grp "
    "JOIN {fleet_wave} w ON w.wave = g.wave AND w.status = 'active' "
    "JOIN {fleet_wave_target} t ON t.wave = w.wave AND t.target = d.target "
    "WHERE d.uuid = ? AND d.production = 1 ON CONFLICT DO NOTHING"
)

_INSTALLED = (
    "UPDATE {fleet_member} SET installed = (SELECT count(*) FROM {fleet_device} d "
    "JOIN {fleet_wave_target} t ON t.target = d.target "
    "WHERE d.dev = {fleet_member}.dev AND t.wave = {fleet_member}.wave) "
    "WHERE dev = (SELECT dev FROM {fleet_device} WHERE uuid = ?) "
    "AND wave IN (SELECT active FROM {fleet_tag} WHERE active > 0)"
)

# Held members that now run something else. To those whose tag's active wave has them, production is not the next view.
_LEAVE = (
    "UPDATE {fleet_member} SET installed = 0, moved = CASE WHEN EXISTS (SELECT 1 FROM {fleet_member} m "
    "JOIN {fleet_tag} a ON a.tag = m.tag AND a.active = m.wave "
    "WHERE m.dev = {fleet_member}.dev AND m.tag = {fleet_member}.tag) THEN moved ELSE ? END "
    "WHERE dev = (SELECT dev FROM {fleet_device} WHERE uuid = ?) AND installed = 1 "
    "AND EXISTS (SELECT 1 FROM {fleet_wave} w JOIN {fleet_tag} a ON a.tag = w.tag "
    "WHERE w.wave = {fleet_member}.wave AND w.status = 'canceled' AND w.number > a.number) "
    "AND NOT EXISTS (SELECT 1 FROM {fleet_device} d JOIN {fleet_wave_target} t ON t.target = d.target "
    "WHERE d.dev = {fleet_member}.dev AND t.wave = {fleet_member}.wave)"
)
_MOVED = (
    "UPDATE {fleet_tag} SET moved = ? WHERE held > 0 AND EXISTS (SELECT 1 FROM {fleet_member} m "
    "WHERE m.dev = (SELECT dev FROM {fleet_device} WHERE uuid = ?) AND m.tag = {fleet_tag}.tag AND m.moved = ?)"
)


class Fleet(Fold):
    """Fold of everything about devices, and of as much about waves as that needs."""

    name = "fleet"

    def __init__(self, suffix: str = "") -> None:
        """Fold into the tables whose names end in `suffix`."""
        super().__init__(suffix)
        self._ids: dict[tuple[str, str], int] = {}
        self.handlers = {
            "devices.registered/1": self._registered,
            "devices.changed/1": self._changed,
            "devices.removed/1": self._removed,
            "devices.reported/1": self._reported,
            "devices.staged/1": self._staged,
            "wave.initialized/1": self._wave_initialized,
            "wave.rolled-out/1": self._wave_rolled_out,
            "tag.wave-opened/1": self._wave_opened,
            "tag.wave-closed/1": self._wave_closed,
        }

    def tables(self, generation: int) -> MetaData:
        """The tables to fold into, with the indexes of that generation."""
        return fleet_tables(self.suffix, generation)

    def fold(self, connection: Connection, events: Iterable[Row]) -> None:
        """Fold events. Ids are remembered within one call only: a rolled back transaction takes its ids with it."""
        self._ids.clear()
        super().fold(connection, events)

    def id_of(self, connection: Connection, kind: str, name: str | None) -> int:
        """The dense integer of a name, given when it is first seen; 0 for none."""
        if name is None:
            return 0
        found = self._ids.get((kind, name))
        if found is None:
            key = {"kind": kind, "name": name}
            found = self.scalar(connection, "SELECT id FROM {fleet_name} WHERE kind = :kind AND name = :name", key)
            if found is None:
                last = self.scalar(connection, "SELECT max(id) FROM {fleet_name} WHERE kind = :kind", key)
                found = (last or 0) + 1
                self.insert(connection, "fleet_name", ("kind", "id", "name"), [(kind, found, name)])
            self._ids[kind, name] = found
        return int(found)

    def _registered(self, connection: Connection, row: Row, data: Data) -> None:
        returning = self._removed_among(connection, data["uuids"])
        last = self.scalar(connection, "SELECT max(dev) FROM {fleet_device}") or 0
        arrivals = [device for device in self._rows(connection, data) if device[0] not in returning]
        new = [
            (dev, uuid, name, hw, tag, grp, production, row.position, 0, 0, 0, draw_of(uuid))
            for dev, (uuid, name, hw, tag, grp, production) in enumerate(arrivals, start=last + 1)
        ]
        self.insert(connection, "fleet_device", _DEVICE_COLUMNS, new)
        if returning:
            self._update(connection, row, data, returning)
        self._join(connection, returning)
        self._remember(connection, row, data["uuids"])

    def _changed(self, connection: Connection, row: Row, data: Data) -> None:
        self._keep_membership(connection, data["uuids"])
        self._update(connection, row, data, set(data["uuids"]))
        self._join(connection, data["uuids"])
        self._remember(connection, row, data["uuids"])

    def _removed(self, connection: Connection, row: Row, data: Data) -> None:
        self._keep_membership(connection, data["uuids"])
        self.many(
            connection,
            "UPDATE {fleet_device} SET tag = 0, grp = 0, joined = ? WHERE uuid = ?",
            [(row.position, uuid) for uuid in data["uuids"]],
        )
        self._remember(connection, row, data["uuids"])

    def _rows(self, connection: Connection, data: Data) -> list[tuple[str, str, int, int, int, int]]:
        """The devices of an event: uuid, name, hardware, tag, group, production."""
        return [
            (
                uuid,
                name,
                self.id_of(connection, "hardware", hardware_id),
                self.id_of(connection, "tag", tag),
                self.id_of(connection, "group", group),
                int(production),
            )
            for uuid, name, hardware_id, tag, group, production in zip(
                *(data[c] for c in ("uuids", "names", "hardware_ids", "tags", "groups", "production")), strict=True
            )
        ]

    def _update(self, connection: Connection, row: Row, data: Data, uuids: set[str]) -> None:
        # SET reads the row as it was, so `joined` is decided on the old tag and group.
        self.many(
            connection,
            "UPDATE {fleet_device} SET name = ?, hw = ?, tag = ?, grp = ?, production = ?, "
            "joined = CASE WHEN tag = ? AND grp = ? THEN joined ELSE ? END WHERE uuid = ?",
            [
                (name, hw, tag, grp, production, tag, grp, row.position, uuid)
                for uuid, name, hw, tag, grp, production in self._rows(connection, data)
                if uuid in uuids
            ],
        )

    def _removed_among(self, connection: Connection, uuids: list[str]) -> set[str]:
        if not self.scalar(connection, "SELECT 1 FROM {fleet_device} WHERE tag = 0 LIMIT 1"):
            return set()
        statement = self.sql("SELECT 1 FROM {fleet_device} WHERE uuid = :uuid")
        return {uuid for uuid in uuids if connection.execute(statement, {"uuid": uuid}).first()}

    def _keep_membership(self, connection: Connection, uuids: list[str]) -> None:
        if self._groups_reached(connection):
            self.many(connection, _KEEP, [(uuid,) for uuid in uuids])

    def _join(self, connection: Connection, uuids: Iterable[str]) -> None:
        if self._groups_reached(connection):
            self.many(connection, _JOIN, [(uuid,) for uuid in uuids])

    def _groups_reached(self, connection: Connection) -> bool:
        statement = (
            "SELECT 1 FROM {fleet_tag} a JOIN {fleet_wave_group} g ON g.tag = a.tag AND g.wave = a.active LIMIT 1"
        )
        return self.scalar(connection, statement) is not None

    def _remember(self, connection: Connection, row: Row, uuids: list[str]) -> None:
        self.many(
            connection,
            "INSERT INTO {fleet_history} (dev, position) SELECT dev, ? FROM {fleet_device} WHERE uuid = ?",
            [(row.position, uuid) for uuid in dict.fromkeys(uuids)],
        )

    def _reported(self, connection: Connection, row: Row, data: Data) -> None:
        reports = [
            (self.id_of(connection, "target", target), number, seen_at, uuid)
            for uuid, target, number, seen_at in zip(
                data["uuids"], data["targets"], data["numbers"], data["seen_at"], strict=True
            )
        ]
        for part in _once_each(reports):
            self._take_in(connection, row, part)
        self._remember(connection, row, data["uuids"])

    def _take_in(self, connection: Connection, row: Row, reports: list[tuple[int, int, int, str]]) -> None:
        self.many(
            connection, "UPDATE {fleet_device} SET target = ?, number = ?, reported_at = ? WHERE uuid = ?", reports
        )
        uuids = [(uuid,) for *_, uuid in reports]
        if self.scalar(connection, "SELECT 1 FROM {fleet_tag} WHERE active > 0 LIMIT 1"):
            self.many(connection, _KEEP, uuids)
            self.many(connection, _INSTALLED, uuids)
        if self.scalar(connection, "SELECT 1 FROM {fleet_tag} WHERE held > 0 LIMIT 1"):
            self.many(connection, _LEAVE, [(row.position, uuid) for (uuid,) in uuids])
            self.many(connection, _MOVED, [(row.position, uuid, row.position) for (uuid,) in uuids])

    def _staged(self, connection: Connection, row: Row, data: Data) -> None:
        wave = self.id_of(connection, "wave", data["wave"])
        self.many(
            connection,
            "INSERT INTO {fleet_member} (dev, tag, wave, installed, moved) "
            "SELECT dev, tag, ?, (SELECT count(*) FROM {fleet_wave_target} t WHERE t.wave = ? "
            "AND t.target = {fleet_device}.target), 0 FROM {fleet_device} WHERE uuid = ? ON CONFLICT DO NOTHING",
            [(wave, wave, uuid) for uuid in data["devices"]],
        )
        self._remember(connection, row, data["devices"])

    def _wave_initialized(self, connection: Connection, row: Row, data: Data) -> None:
        wave = self.id_of(connection, "wave", data["wave"])
        targets = [(wave, self.id_of(connection, "target", name)) for name in data["targets"]]
        self.insert(connection, "fleet_wave_target", ("wave", "target"), targets)

    def _wave_rolled_out(self, connection: Connection, row: Row, data: Data) -> None:
        if not data["full_group"]:
            return
        reached = {
            "grp": self.id_of(connection, "group", data["selector"]["group"]),
            "wave": self.id_of(connection, "wave", data["wave"]),
            "position": row.position,
        }
        self.run(
            connection,
            "INSERT INTO {fleet_wave_group} (tag, grp, wave, position) "
            "SELECT tag, :grp, wave, :position FROM {fleet_wave} WHERE wave = :wave",
            reached,
        )
        # Who runs it already, which an index tells; to all others the one row above is enough.
        self.run(
            connection,
            "INSERT INTO {fleet_member} (dev, tag, wave, installed, moved) SELECT d.dev, d.tag, w.wave, 1, 0 "
            "FROM {fleet_wave} w JOIN {fleet_wave_target} t ON t.wave = w.wave "
            "JOIN {fleet_device} d ON d.target = t.target AND d.target > 0 AND d.tag = w.tag AND d.grp = :grp "
            "WHERE w.wave = :wave AND d.production = 1 ON CONFLICT DO NOTHING",
            reached,
        )

    def _wave_opened(self, connection: Connection, row: Row, data: Data) -> None:
        tag = self.id_of(connection, "tag", data["tag"])
        wave = self.id_of(connection, "wave", data["wave"])
        self.insert(
            connection,
            "fleet_wave",
            ("wave", "tag", "number", "status", "opened"),
            [(wave, tag, data["number"], "active", row.position)],
        )
        opened = {"tag": tag, "wave": wave}
        self.run(
            connection,
            "INSERT INTO {fleet_tag} (tag, active, number, held, moved) VALUES (:tag, :wave, 0, 0, 0) "
            "ON CONFLICT (tag) DO UPDATE SET active = excluded.active",
            opened,
        )

    def _wave_closed(self, connection: Connection, row: Row, data: Data) -> None:
        closed = {
            "tag": self.id_of(connection, "tag", data["tag"]),
            "wave": self.id_of(connection, "wave", data["wave"]),
            "outcome": data["outcome"],
            "position": row.position,
        }
        number = self.scalar(connection, "SELECT number FROM {fleet_wave} WHERE wave = :wave", closed)
        self.run(connection, "UPDATE {fleet_wave} SET status = :outcome, closed = :position WHERE wave = :wave", closed)
        if data["outcome"] == "complete":
            change = "number = :number, held = CASE WHEN held > :number THEN held ELSE 0 END"
        elif data["recovered"]:  # it was rolled out, so some may run it
            change = "held = CASE WHEN held > :number THEN held ELSE :number END"
        else:
            change = "held = held"
        self.run(
            connection,
            f"UPDATE {{fleet_tag}} SET active = 0, {change} WHERE tag = :tag",
            {"tag": closed["tag"], "number": number},
        )


def _once_each(reports: list[tuple[int, int, int, str]]) -> Iterator[list[tuple[int, int, int, str]]]:
    """The reports in parts that have no device twice: what one ran in between makes a difference."""
    parts: list[list[tuple[int, int, int, str]]] = []
    seen: dict[str, int] = {}
    for report in reports:
        place = seen.get(report[-1], 0)
        if place == len(parts):
            parts.append([])
        parts[place].append(report)
        seen[report[-1]] = place + 1
    return iter(parts)
