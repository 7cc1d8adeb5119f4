"""What happened to single devices, in a ledger of batches of a thousand.

Rules of this module:

* Which events are about a device is told by the live table ``fleet_history``, which only ever grows.
* An event is handed out as if it had been about the devices asked for and no others.
* A name may have been another device's before, and the live tables don't tell: it is looked for in the events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection

from ledger.store import bulk, events
from ledger.store.events import Row

_DESCRIBED = ("devices.registered/1", "devices.changed/1")
_REMOVED, _STAGED = "devices.removed/1", "devices.staged/1"
_POSITIONS = (
    "SELECT h.position FROM fleet_history h JOIN fleet_device d ON d.dev = h.dev WHERE d.uuid = ? AND h.position <= ?"
)


_STEPS = (
    "SELECT h.position FROM fleet_device d JOIN fleet_history h ON h.dev = d.dev "
    "JOIN event e ON e.position = h.position WHERE d.uuid = ? AND h.position <= ? AND e.topic IN (?, ?, ?) "
    "ORDER BY h.position"
)
_GROUP_ROLLOUTS = (
    "SELECT r.position, f.closed FROM release_wave w JOIN release_rollout r ON r.wave = w.wave AND r.full_group "
    "JOIN fleet_name n ON n.kind = 'wave' AND n.name = w.wave JOIN fleet_wave f ON f.wave = n.id "
    "WHERE w.tag = ? AND r.grp = ? AND r.position <= ?"
)


def rows(ledger: Connection, uuids: Sequence[str], until: int) -> list[Row]:
    """The events about some devices up to a position, each with nothing but those devices in it."""
    positions: set[int] = set()
    for uuid in uuids:
        positions.update(position for (position,) in bulk.query(ledger, _POSITIONS, (uuid, until)).fetchall())
    wanted = frozenset(uuids)
    found = (events.get(ledger, position) for position in sorted(positions))
    return [_of_devices(row, wanted) for row in found if row is not None]


def find(ledger: Connection, name: str, until: int) -> list[str]:
    """The device that `name` is the uuid of, if it was in the fleet; else all that were ever called so, as uuids."""
    own = [row for row in rows(ledger, [name], until) if row.topic in {*_DESCRIBED, _REMOVED}]
    if own and own[-1].topic != _REMOVED:
        return [name]
    return list(dict.fromkeys([name, *_called(ledger, name, until)]))


def known_as(ledger: Connection, name: str, until: int) -> list[str]:
    """The device that `name` is the uuid of, if any event is about it; else those that were called so in the end."""
    if rows(ledger, [name], until):
        return [name]
    found = dict.fromkeys(_called(ledger, name, until))
    last = {uuid: [row for row in rows(ledger, [uuid], until) if row.topic in _DESCRIBED][-1:] for uuid in found}
    return [uuid for uuid in found if [column(row, "names")[0] for row in last[uuid]] == [name]]


def positions(ledger: Connection, uuids: Sequence[str], until: int) -> list[int]:
    """Where the events are about some devices, and the rollouts to whole groups that reached them."""
    own = {row.position for row in rows(ledger, uuids, until)}
    return sorted(own.union(*(group_rollouts(ledger, uuid, until) for uuid in uuids)))


def group_rollouts(ledger: Connection, uuid: str, until: int) -> list[int]:
    """Where rollouts to whole groups are that reached a device: it was in the group, or came while the wave was open.

    No event of the device says so: such a rollout names nobody.
    """
    states: list[tuple[int, tuple[str, str] | None]] = []
    for (position,) in bulk.query(ledger, _STEPS, (uuid, until, *_DESCRIBED, _REMOVED)).fetchall():
        row = events.get(ledger, position)
        assert row is not None  # the statement joined it
        states.append((position, _group_of(_of_devices(row, frozenset([uuid])))))
    found: set[int] = set()
    ends = [position for position, _ in states[1:]] + [until + 1]
    for (start, place), end in zip(states, ends, strict=True):
        for position, closed in bulk.query(ledger, _GROUP_ROLLOUTS, (*place, until)).fetchall() if place else ():
            if position < end and (closed is None or start < closed):
                found.add(position)
    return sorted(found)


def _group_of(row: Row) -> tuple[str, str] | None:
    """The tag and the group that a production device has from this event on."""
    if row.topic == _REMOVED or not column(row, "production")[0]:
        return None
    return column(row, "tags")[0], column(row, "groups")[0]


def column(row: Row, name: str) -> list[Any]:
    """One column of a batch of devices, empty where it has none of that name."""
    values: list[Any] = orjson.loads(row.payload).get(name, [])
    return values


def last_states(rows: Iterable[Row]) -> dict[str, tuple[str, bool]]:
    """What devices were in the end: their tag, and whether they were production devices."""
    found: dict[str, tuple[str, bool]] = {}
    for row in rows:
        if row.topic in _DESCRIBED:
            columns = (column(row, name) for name in ("uuids", "tags", "production"))
            found.update((uuid, (tag, production)) for uuid, tag, production in zip(*columns, strict=True))
    return found


def reporters(ledger: Connection, targets: Iterable[str], until: int) -> list[str]:
    """The devices that ever said to run one of the targets."""
    found = [uuid for name in targets for uuid in _with(ledger, ("devices.reported/1",), "targets", name, until)]
    return list(dict.fromkeys(found))


def _called(ledger: Connection, name: str, until: int) -> list[str]:
    """The devices that ever had the name."""
    return _with(ledger, _DESCRIBED, "names", name, until)


def _with(ledger: Connection, topics: Sequence[str], of: str, value: str, until: int) -> list[str]:
    """The devices that have a value in a column. To look for its text is cheaper than to read every batch."""
    text = orjson.dumps(value)
    found: list[str] = []
    for row in events.read(ledger, topics=topics, until=until):
        if text in row.payload:
            data = orjson.loads(row.payload)
            found += [uuid for uuid, has in zip(data["uuids"], data[of], strict=True) if has == value]
    return found


def _of_devices(row: Row, uuids: frozenset[str]) -> Row:
    data: dict[str, Any] = orjson.loads(row.payload)
    if row.topic == _STAGED:
        data["devices"] = [uuid for uuid in data["devices"] if uuid in uuids]
    else:
        places = [place for place, uuid in enumerate(data["uuids"]) if uuid in uuids]
        data = {name: [values[place] for place in places] for name, values in data.items()}
    return row._replace(payload=orjson.dumps(data))
