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

from collections.abc import Iterator, Sequence
from itertools import chain, count, repeat
from typing import Any, TypeAlias

from sqlalchemy import Connection, MetaData

from ledger.domain.rollout import draw_of
from ledger.store.events import Row
from projections import sticky
from projections.fold import Data, Fold
from projections.tables import BY_TARGET, BY_UUID, fleet_tables

Found: TypeAlias = Sequence[tuple[Row, Data]]

_DEVICE_COLUMNS = (
    "dev", "uuid", "name", "hw", "tag", "grp", "production", "joined", "number", "target", "reported_at", "draw",
)  # fmt: skip


_BEGIN_HISTORY = (
    "INSERT INTO {fleet_history} (dev, position) SELECT d.dev, d.joined FROM {fleet_device} d "
    "WHERE d.dev BETWEEN :first AND :last ORDER BY d.dev"
)
_IDS = "SELECT n.name, n.id FROM $texts CROSS JOIN {fleet_name} n WHERE n.name = texts.value AND n.kind = ?"


class Fleet(Fold):
    """Fold of everything about devices, and of as much about waves as that needs."""

    name = "fleet"

    def __init__(self, suffix: str = "") -> None:
        """Fold into the tables whose names end in `suffix`."""
        super().__init__(suffix)
        self._ids: dict[str, dict[str | None, int]] = {}
        self._first: dict[str, int] = {}  # by kind: the highest id that the table had
        self._last: dict[str, int] = {}  # by kind: the highest id that was given here
        self._names: list[tuple[str, int, str]] = []  # that the table does not have yet
        self._tags = self.keep("fleet_tag", "tag active number held moved")
        self._waves = self.keep("fleet_wave", "wave tag number status opened closed")
        self._targets = self.keep("fleet_wave_target", "wave target")
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
        # Who is reached by a wave has it whatever becomes of the wave. A rollout to a whole group has it settled first.
        self.passes = {"devices.staged/1": self.handlers}

    def tables(self, generation: int) -> MetaData:
        """The tables to fold into, with the indexes of that generation."""
        return fleet_tables(self.suffix, generation)

    def forget(self) -> None:
        """Begin anew. A rolled back transaction takes its ids with it, but where nothing else writes the tables."""
        super().forget()
        if not self.alone:
            self._ids.clear()
            self._first.clear()
            self._last.clear()
        self._names.clear()

    def write(self, connection: Connection) -> None:
        """Write what is kept."""
        super().write(connection)
        names, self._names = self._names, []
        self.insert(connection, "fleet_name", ("kind", "id", "name"), names)

    def id_of(self, connection: Connection, kind: str, name: str | None) -> int:
        """The dense integer of a name, given when it is first seen; 0 for none."""
        return next(self._ids_of(connection, kind, [name]))

    def _ids_of(self, connection: Connection, kind: str, names: Sequence[str | None]) -> Iterator[int]:
        """The dense integers of many names."""
        ids = self._ids.setdefault(kind, {None: 0})
        if ids.keys() >= set(names):
            return map(ids.__getitem__, names)
        strange = [name for name in dict.fromkeys(names) if name not in ids and name is not None]
        if not self.alone or self._first_id(connection, kind):  # else there is none that is not known here
            ids.update(self.lookup(connection, _IDS, strange, (kind,)))
        new = [name for name in strange if name not in ids]
        if new:
            last = self._last.get(kind) or self._first_id(connection, kind)
            ids.update(zip(new, count(last + 1), strict=False))
            self._last[kind] = last + len(new)
            self._names += [(kind, ids[name], name) for name in new]
        return map(ids.__getitem__, names)

    def _first_id(self, connection: Connection, kind: str) -> int:
        if kind not in self._first:
            statement = "SELECT max(id) FROM {fleet_name} WHERE kind = :kind"
            self._first[kind] = self.scalar(connection, statement, {"kind": kind}) or 0
        return self._first[kind]

    def _registered(self, connection: Connection, found: Found) -> None:
        self.write(connection)
        known = self._returning(connection, found)
        first = last = self.scalar(connection, "SELECT max(dev) FROM {fleet_device}") or 0
        new: list[Iterator[tuple[Any, ...]]] = []
        back: list[tuple[Any, ...]] = []
        for row, data in found:
            devices = list(zip(data["uuids"], *self._columns(connection, data), strict=True))
            if known:
                back += [(uuid, row.position, *rest) for uuid, *rest in devices if uuid in known]
                devices = [device for device in devices if device[0] not in known]
            new.append(_arrivals(last + 1, devices, row.position))
            last += len(devices)
        self.insert(connection, "fleet_device", _DEVICE_COLUMNS, chain.from_iterable(new))
        if back:
            sticky.come_back(self, connection, back)
        # A range with both its ends, which is looked up by the key also where there are no figures of the table yet.
        self.run(connection, _BEGIN_HISTORY, {"first": first + 1, "last": last})

    def _changed(self, connection: Connection, found: Found) -> None:
        self.write(connection)
        rows = [
            (uuid, row.position, *columns)
            for row, data in found
            for uuid, *columns in zip(data["uuids"], *self._columns(connection, data), strict=True)
        ]
        sticky.change(self, connection, rows)

    def _removed(self, connection: Connection, found: Found) -> None:
        self.write(connection)
        sticky.remove(self, connection, [(uuid, row.position) for row, data in found for uuid in data["uuids"]])

    def _columns(self, connection: Connection, data: Data) -> list[Any]:
        """The columns of an event's devices: name, hardware, tag, group, production."""
        return [
            data["names"],
            self._ids_of(connection, "hardware", data["hardware_ids"]),
            self._ids_of(connection, "tag", data["tags"]),
            self._ids_of(connection, "group", data["groups"]),
            map(int, data["production"]),
        ]

    def _returning(self, connection: Connection, found: Found) -> set[str]:
        """Those of the devices of registrations that were removed once."""
        if not self.scalar(connection, "SELECT 1 FROM {fleet_device} WHERE tag = 0 LIMIT 1"):
            return set()
        self.need(connection, BY_UUID)
        uuids = [uuid for _, data in found for uuid in data["uuids"]]
        statement = "SELECT d.uuid FROM $texts CROSS JOIN {fleet_device} d WHERE d.uuid = texts.value"
        return {uuid for (uuid,) in self.lookup(connection, statement, uuids)}

    def _reported(self, connection: Connection, found: Found) -> None:
        self.write(connection)
        rows: list[tuple[Any, ...]] = []
        for row, data in found:
            targets = self._ids_of(connection, "target", data["targets"])
            rows += zip(data["uuids"], repeat(row.position), targets, data["numbers"], data["seen_at"], strict=False)
        sticky.report(self, connection, rows)

    def _staged(self, connection: Connection, found: Found) -> None:
        self.write(connection)
        rows: list[tuple[Any, ...]] = []
        for row, data in found:
            rows += zip(data["devices"], repeat(row.position), repeat(self.id_of(connection, "wave", data["wave"])))
        sticky.reach(self, connection, rows)

    def _wave_initialized(self, connection: Connection, row: Row, data: Data) -> None:
        wave = self.id_of(connection, "wave", data["wave"])
        self._targets.add(wave, [(target,) for target in self._ids_of(connection, "target", data["targets"])])

    def _wave_rolled_out(self, connection: Connection, row: Row, data: Data) -> None:
        if not data["full_group"]:
            return
        reached = {
            "grp": self.id_of(connection, "group", data["selector"]["group"]),
            "wave": self.id_of(connection, "wave", data["wave"]),
            "position": row.position,
        }
        self.settle(connection)
        self.need(connection, BY_TARGET)
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
        self._waves.new(wave, [(tag, data["number"], "active", row.position, None)])
        if self._tags.rows(connection, tag):
            self._tags.change(connection, tag, active=wave)
        else:
            self._tags.new(tag, [(wave, 0, 0, 0)])

    def _wave_closed(self, connection: Connection, row: Row, data: Data) -> None:
        id_, tag = self.id_of(connection, "wave", data["wave"]), self.id_of(connection, "tag", data["tag"])
        wave, state = self._waves.row(connection, id_), self._tags.row(connection, tag)
        self._waves.change(connection, id_, status=data["outcome"], closed=row.position)
        if wave is None or state is None:
            return
        number, held = wave["number"], state["held"]
        if data["outcome"] == "complete":
            self._tags.change(connection, tag, active=0, number=number, held=held if held > number else 0)
        elif data["recovered"]:  # it was rolled out, so some may run it
            self._tags.change(connection, tag, active=0, held=max(held, number))
        else:
            self._tags.change(connection, tag, active=0)


def _arrivals(first: int, devices: Sequence[tuple[Any, ...]], position: int) -> Iterator[tuple[Any, ...]]:
    """Rows of `_DEVICE_COLUMNS`; devices are uuid, name, hardware, tag, group, production."""
    if not devices:
        return iter(())
    columns = list(zip(*devices, strict=True))
    none = repeat(0)
    return zip(count(first), *columns, repeat(position), none, none, none, map(draw_of, columns[0]), strict=False)
