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

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count, repeat
from typing import Any, TypeAlias

from sqlalchemy import Connection, MetaData

from ledger.domain.rollout import draw_of
from ledger.store.events import Row
from projections import sticky
from projections.fold import Data, Fold
from projections.tables import fleet_tables

Found: TypeAlias = Sequence[tuple[Row, Data]]

_DEVICE_COLUMNS = (
    "dev", "uuid", "name", "hw", "tag", "grp", "production", "joined", "number", "target", "reported_at", "draw",
)  # fmt: skip


_IDS = "SELECT n.name, n.id FROM $texts CROSS JOIN {fleet_name} n WHERE n.name = texts.value AND n.kind = ?"


class Fleet(Fold):
    """Fold of everything about devices, and of as much about waves as that needs."""

    name = "fleet"

    def __init__(self, suffix: str = "") -> None:
        """Fold into the tables whose names end in `suffix`."""
        super().__init__(suffix)
        self._ids: dict[str, dict[str | None, int]] = {}
        self.handlers = {
            "wave.initialized/1": self._wave_initialized,
            "wave.rolled-out/1": self._wave_rolled_out,
            "tag.wave-opened/1": self._wave_opened,
            "tag.wave-closed/1": self._wave_closed,
        }
        self.batches = {
            "devices.registered/1": self._registered,
            "devices.changed/1": self._changed,
            "devices.removed/1": self._removed,
            "devices.reported/1": self._reported,
            "devices.staged/1": self._staged,
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
        return next(self._ids_of(connection, kind, [name]))

    def _ids_of(self, connection: Connection, kind: str, names: Sequence[str | None]) -> Iterator[int]:
        """The dense integers of many names."""
        ids = self._ids.setdefault(kind, {None: 0})
        strange = [name for name in dict.fromkeys(names) if name not in ids and name is not None]
        if strange:
            ids.update(self.lookup(connection, _IDS, strange, (kind,)))
            new = [name for name in strange if name not in ids]
            if new:
                last = self.scalar(connection, "SELECT max(id) FROM {fleet_name} WHERE kind = :kind", {"kind": kind})
                ids.update(zip(new, count((last or 0) + 1), strict=False))
                self.insert(connection, "fleet_name", ("kind", "id", "name"), [(kind, ids[n], n) for n in new])
        return map(ids.__getitem__, names)

    def _registered(self, connection: Connection, found: Found) -> None:
        known = self._returning(connection, found)
        last = self.scalar(connection, "SELECT max(dev) FROM {fleet_device}") or 0
        new: list[Iterator[tuple[Any, ...]]] = []
        back: list[tuple[Any, ...]] = []
        history: list[Iterator[tuple[int, int]]] = []
        for row, data in found:
            devices = list(zip(data["uuids"], *self._columns(connection, data), strict=True))
            if known:
                back += [(known[uuid], row.position, *rest) for uuid, *rest in devices if uuid in known]
                devices = [device for device in devices if device[0] not in known]
            new.append(_arrivals(last + 1, devices, row.position))
            history.append(zip(range(last + 1, last + 1 + len(devices)), repeat(row.position)))
            last += len(devices)
        self.insert(connection, "fleet_device", _DEVICE_COLUMNS, chain.from_iterable(new))
        if back:
            sticky.come_back(self, connection, back)
        self.insert(connection, "fleet_history", ("dev", "position"), chain.from_iterable(history))
        self._remember(connection, back)

    def _changed(self, connection: Connection, found: Found) -> None:
        devs = self._devs(connection, found, "uuids")
        rows = [
            (devs[uuid], row.position, *columns)
            for row, data in found
            for uuid, *columns in zip(data["uuids"], *self._columns(connection, data), strict=True)
            if uuid in devs
        ]
        sticky.change(self, connection, rows)
        self._remember(connection, rows)

    def _removed(self, connection: Connection, found: Found) -> None:
        devs = self._devs(connection, found, "uuids")
        rows = [(devs[uuid], row.position) for row, data in found for uuid in data["uuids"] if uuid in devs]
        for part in sticky.once_each(rows):
            sticky.remove(self, connection, part)
        self._remember(connection, rows)

    def _columns(self, connection: Connection, data: Data) -> list[Any]:
        """The columns of an event's devices: name, hardware, tag, group, production."""
        return [
            data["names"],
            self._ids_of(connection, "hardware", data["hardware_ids"]),
            self._ids_of(connection, "tag", data["tags"]),
            self._ids_of(connection, "group", data["groups"]),
            map(int, data["production"]),
        ]

    def _devs(self, connection: Connection, found: Found, column: str) -> dict[str, int]:
        """The numbers of all devices of a column of events."""
        uuids = [uuid for _, data in found for uuid in data[column]]
        statement = "SELECT d.uuid, d.dev FROM $texts CROSS JOIN {fleet_device} d WHERE d.uuid = texts.value"
        return dict(self.lookup(connection, statement, uuids))

    def _returning(self, connection: Connection, found: Found) -> dict[str, int]:
        """Those of the devices of registrations that were removed once."""
        if not self.scalar(connection, "SELECT 1 FROM {fleet_device} WHERE tag = 0 LIMIT 1"):
            return {}
        return self._devs(connection, found, "uuids")

    def _remember(self, connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
        # In the order of the key, which costs half of what any other does.
        self.insert(connection, "fleet_history", ("dev", "position"), sorted({row[:2] for row in rows}))

    def _reported(self, connection: Connection, found: Found) -> None:
        devs = self._devs(connection, found, "uuids")
        rows = [
            (devs[uuid], row.position, target, number, seen_at)
            for row, data in found
            for uuid, target, number, seen_at in zip(
                data["uuids"],
                self._ids_of(connection, "target", data["targets"]),
                data["numbers"],
                data["seen_at"],
                strict=True,
            )
            if uuid in devs
        ]
        sticky.report(self, connection, rows)
        self._remember(connection, rows)

    def _staged(self, connection: Connection, found: Found) -> None:
        devs = self._devs(connection, found, "devices")
        rows = [
            (devs[uuid], row.position, wave)
            for row, data in found
            for wave in [self.id_of(connection, "wave", data["wave"])]
            for uuid in data["devices"]
            if uuid in devs
        ]
        sticky.reach(self, connection, rows)
        self._remember(connection, rows)

    def _wave_initialized(self, connection: Connection, row: Row, data: Data) -> None:
        wave = self.id_of(connection, "wave", data["wave"])
        targets = [(wave, target) for target in self._ids_of(connection, "target", data["targets"])]
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


def _arrivals(first: int, devices: Sequence[tuple[Any, ...]], position: int) -> Iterator[tuple[Any, ...]]:
    """Rows of `_DEVICE_COLUMNS`; devices are uuid, name, hardware, tag, group, production."""
    if not devices:
        return iter(())
    columns = list(zip(*devices, strict=True))
    none = repeat(0)
    return zip(count(first), *columns, repeat(position), none, none, none, map(draw_of, columns[0]), strict=False)
