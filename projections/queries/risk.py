"""Devices that run something above what they are offered, or that are held on a canceled wave.

A change of root keys makes clients forget which versions they saw (TUF 1.0 §5.3.11): who changes keys wants to know
which devices could be asked to go back.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, text

from projections.queries import devices

_ABOVE = """
SELECT d.uuid, d.number FROM fleet_device d JOIN fleet_tag a ON a.tag = d.tag
WHERE d.tag > 0 AND d.production = 1 AND d.number > a.number ORDER BY d.dev
"""


class DeviceAtRisk(NamedTuple):
    """A production device that runs more than its tag's production targets; `held`: and is offered that."""

    uuid: str
    target: str | None
    view: str | None
    offered: str | None
    held: bool


def devices_above_offer(connection: Connection) -> list[DeviceAtRisk]:
    """Those devices, in the order in which they came to the fleet."""
    numbers: dict[str, int] = dict(connection.execute(text(_ABOVE)).all())
    offered: dict[tuple[str | None, str | None], int] = {}
    found = []
    for row in devices.of(connection, list(numbers)):
        key = (row.view, row.latest)
        if key not in offered:
            offered[key] = _number(connection, row.view, row.latest)
        held = (row.view or "").startswith("held/")
        if held or numbers[row.uuid] > offered[key]:
            found.append(DeviceAtRisk(row.uuid, row.target, row.view, row.latest, held))
    return found


def _number(connection: Connection, view: str | None, name: str | None) -> int:
    statement = text("SELECT number FROM release_view_target WHERE view = :view AND name = :name")
    return connection.execute(statement, {"view": view, "name": name}).scalar() or 0
