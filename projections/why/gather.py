"""Finding out about one device: every question is asked by a key or an index, whatever the size of the fleet.

Rules of this module:

* The decision is `projections.queries.devices`'s; nothing here decides again.
* Who is in the fleet goes before who was removed from it, a uuid before a name.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from projections.queries import devices
from projections.queries.devices import DeviceRow, Rule
from projections.queries.waves import known_numbers
from projections.why import history, shown, waves
from projections.why.evidence import About, Evidence, Registered, Removed, Unknown
from projections.why.history import Past
from projections.why.source import Source


def matching(connection: Connection, asked: str) -> list[str]:
    """The uuids that a uuid or name stands for: of the fleet, else of devices that were removed from it."""
    for removed in ("d.tag > 0", "d.tag = 0"):
        for column in ("uuid", "name"):
            statement = text(
                f"SELECT d.uuid FROM fleet_device d WHERE d.{column} = :asked AND {removed} ORDER BY d.dev"
            )
            found = list(connection.execute(statement, {"asked": asked}).scalars())
            if found:
                return found
    return []


def evidence(source: Source, uuid: str) -> Evidence:
    """All that bears on what the device of a uuid gets."""
    connection = source.tables
    found = devices.of(connection, [uuid])
    if found:
        return _registered(source, found[0])
    row = connection.execute(
        text(
            "SELECT d.dev, d.name, r.name AS target FROM fleet_device d "
            "LEFT JOIN fleet_name r ON r.kind = 'target' AND r.id = d.target WHERE d.uuid = :uuid"
        ),
        {"uuid": uuid},
    ).first()
    if row is None:
        return Unknown(uuid)
    past = Past(source, row.dev, uuid)
    at = past.newest(history.REMOVED) or 0
    removal = source.event(at)
    found_events = _events((About.DEVICE, past.newest(history.REGISTERED)), (About.DEVICE, at))
    return Removed(
        uuid,
        row.name,
        row.target,
        removal.recorded_at if removal else 0,
        removal.actor if removal else "",
        waves.resting(connection, row.dev),
        found_events,
    )


def _registered(source: Source, row: DeviceRow) -> Registered:
    connection, basis = source.tables, row.basis
    past = Past(source, basis.dev, row.uuid)
    joined, reported_at = connection.execute(
        text("SELECT joined, reported_at FROM fleet_device WHERE dev = :dev"), {"dev": basis.dev}
    ).one()
    offered = devices.content(connection, row.view or "")
    targets = offered.targets if offered else []
    known = known_numbers(connection, row.tag) if row.production else {number for _, number, _ in targets}
    active = waves.active(connection, row.tag)
    wave = waves.gather(connection, active, past) if active else None
    holder = waves.gather(connection, basis.holder, past) if basis.holder else None
    publication = shown.publication(connection, row)
    found = [
        (About.DEVICE, past.newest(history.REGISTERED)),
        (About.PLACE, joined),
        (About.KIND, past.kind_since() if not row.production else None),
        (About.REPORT, past.newest(history.REPORTED)),
        (About.REPORT, basis.moved if row.rule is Rule.LEFT_HELD else None),
        *waves.behind(source, row, wave, holder),
        (About.TARGETS, shown.brought_by(source, row)),
        (About.PUBLICATION, publication.position),
    ]
    return Registered(
        row,
        next((number for _, number, name in targets if name == row.latest), 0),
        basis.runs > 0 and basis.runs not in known,
        None if row.target is None else reported_at,
        tuple(sorted({hardware for hardware, _, _ in targets})),
        wave,
        holder,
        waves.resting(connection, basis.dev),
        waves.others(source, row.tag),
        publication,
        _events(*found),
    )


def _events(*found: tuple[About, int | None]) -> tuple[tuple[About, int], ...]:
    """In the order in which they happened, each once, under what it was first asked for."""
    first: dict[int, About] = {}
    for about, position in found:
        if position:
            first.setdefault(position, about)
    return tuple((first[position], position) for position in sorted(first))
