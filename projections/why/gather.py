"""Finding out about one device: every question is asked by a key or an index, whatever the size of the fleet.

Rules of this module:

* The decision is `projections.queries.devices`'s; nothing here decides again.
* Who is in the fleet goes before who was removed from it, a uuid before a name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, text

from ledger.store import events
from projections.queries import devices
from projections.queries.devices import DeviceRow, Rule
from projections.queries.waves import known_numbers
from projections.why import history
from projections.why.evidence import (
    About,
    Evidence,
    Lacking,
    Publication,
    Registered,
    Removed,
    Resting,
    Rollout,
    Unknown,
    Wave,
)
from projections.why.history import Past

MOST_OTHERS = 100  # active waves of other tags that are named
MOST_ROLLOUTS = 20  # of those that passed a device by

_RESTING = (
    "SELECT n.name, w.number, t.name, w.status FROM fleet_member m JOIN fleet_device d ON d.dev = m.dev "
    "JOIN fleet_wave w ON w.wave = m.wave LEFT JOIN fleet_tag a ON a.tag = m.tag "
    "JOIN fleet_name n ON n.kind = 'wave' AND n.id = m.wave JOIN fleet_name t ON t.kind = 'tag' AND t.id = m.tag "
    "WHERE m.dev = :dev AND (m.tag <> d.tag OR d.production = 0) AND (w.status = 'active' "
    "OR (w.status = 'canceled' AND m.installed = 1 AND w.number > a.number)) ORDER BY w.opened"
)


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


def evidence(connection: Connection, uuid: str) -> Evidence:
    """All that bears on what the device of a uuid gets."""
    found = devices.of(connection, [uuid])
    if found:
        return _registered(connection, found[0])
    row = connection.execute(
        text(
            "SELECT d.dev, d.name, r.name AS target FROM fleet_device d "
            "LEFT JOIN fleet_name r ON r.kind = 'target' AND r.id = d.target WHERE d.uuid = :uuid"
        ),
        {"uuid": uuid},
    ).first()
    if row is None:
        return Unknown(uuid)
    past = Past(connection, row.dev, uuid)
    at = past.newest(history.REMOVED) or 0
    removal = events.get(connection, at)
    found_events = _events((About.DEVICE, past.newest(history.REGISTERED)), (About.DEVICE, at))
    return Removed(
        uuid,
        row.name,
        row.target,
        removal.recorded_at if removal else 0,
        removal.actor if removal else "",
        _resting(connection, row.dev),
        found_events,
    )


def _registered(connection: Connection, row: DeviceRow) -> Registered:
    basis = row.basis
    past = Past(connection, basis.dev, row.uuid)
    joined, reported_at, confirmed_at = connection.execute(
        text(
            "SELECT d.joined, d.reported_at, s.confirmed_at FROM fleet_device d "
            "LEFT JOIN sighting s ON s.dev = d.dev WHERE d.dev = :dev"
        ),
        {"dev": basis.dev},
    ).one()
    view = row.view or ""
    offered = devices.content(connection, view)
    targets = offered.targets if offered else []
    known = known_numbers(connection, row.tag) if row.production else {number for _, number, _ in targets}
    active = _active(connection, row.tag)
    wave = _wave(connection, active, past) if active else None
    holder = _wave(connection, basis.holder, past) if basis.holder else None
    publication = _publication(connection, row)
    registered = past.newest(history.REGISTERED)
    found = [
        (About.DEVICE, registered),
        (About.PLACE, joined),
        (About.KIND, past.kind_since() if not row.production else None),
        (About.REPORT, past.newest(history.REPORTED)),
        (About.REPORT, basis.moved if row.rule is Rule.LEFT_HELD else None),
        *_of_waves(connection, row, wave, holder),
        (About.TARGETS, _brought_by(connection, row)),
        (About.PUBLICATION, publication.position),
    ]
    return Registered(
        row,
        next((number for _, number, name in targets if name == row.latest), 0),
        basis.runs > 0 and basis.runs not in known,
        max(reported_at, confirmed_at or 0) or None,
        tuple(sorted({hardware for hardware, _, _ in targets})),
        wave,
        holder,
        _resting(connection, basis.dev),
        _others(connection, row.tag),
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


def _of_waves(
    connection: Connection, row: DeviceRow, wave: Wave | None, holder: Wave | None
) -> Iterator[tuple[About, int | None]]:
    """What opened its tag's active wave and brought the device into it; the same of the wave that holds it."""
    for one in (holder, wave) if row.production else ():
        if one is None:
            continue
        yield About.WAVE, _position_in(connection, f"wave:{one.name}", first=True)
        if one.reached:
            yield About.ROLLOUT, one.reached.rollout
            yield About.ROLLOUT, one.reached.since
        else:
            yield from ((About.ROLLOUT, rollout.position) for rollout in one.rollouts[-MOST_ROLLOUTS:])
        if one.closed:
            yield About.WAVE, _position_in(connection, f"wave:{one.name}", first=False)


def _position_in(connection: Connection, stream: str, *, first: bool) -> int | None:
    row = next(events.read(connection, stream=stream, descending=not first, limit=1), None)
    return row.position if row else None


def _active(connection: Connection, tag: str) -> str | None:
    statement = text("SELECT wave FROM release_wave WHERE tag = :tag AND status = 'active'")
    name: str | None = connection.execute(statement, {"tag": tag}).scalar()
    return name


def _wave(connection: Connection, name: str, past: Past) -> Wave:
    row = connection.execute(
        text(
            "SELECT w.number, w.tag, w.status, f.opened, f.closed, w.finished_at, w.finished_by, w.threshold, "
            "(SELECT count(*) FROM release_signature s WHERE s.wave = w.wave) AS signatures FROM release_wave w "
            "JOIN fleet_name n ON n.kind = 'wave' AND n.name = w.wave JOIN fleet_wave f ON f.wave = n.id "
            "WHERE w.wave = :wave"
        ),
        {"wave": name},
    ).one()
    rollouts = tuple(
        Rollout(number, position, group, bool(full_group), count)
        for number, position, group, full_group, count in connection.execute(
            text(
                "SELECT rollout, position, grp, full_group, devices FROM release_rollout WHERE wave = :wave "
                "ORDER BY rollout"
            ),
            {"wave": name},
        )
    )
    hardware = connection.execute(
        text(
            "SELECT DISTINCT hardware_id FROM release_view_target WHERE view IN (:wave, :held) AND number = :number "
            "ORDER BY hardware_id"
        ),
        {"wave": f"wave/{name}", "held": f"held/{name}", "number": row.number},
    )
    steps = past.steps_since(row.opened)
    return Wave(
        name,
        row.number,
        row.tag,
        row.status,
        row.opened,
        row.closed,
        row.finished_at,
        row.finished_by,
        row.signatures,
        max(1, row.threshold - 1),
        rollouts,
        tuple(hardware.scalars()),
        history.reached(row.tag, rollouts, steps, past.staged(name), row.closed),
    )


def _resting(connection: Connection, dev: int) -> tuple[Resting, ...]:
    return tuple(Resting(*row) for row in connection.execute(text(_RESTING), {"dev": dev}))


def _others(connection: Connection, tag: str) -> tuple[tuple[str, str], ...]:
    statement = text(
        "SELECT wave, tag FROM release_wave WHERE status = 'active' AND tag <> :tag ORDER BY tag LIMIT :most"
    )
    found = connection.execute(statement, {"tag": tag, "most": MOST_OTHERS})
    return tuple((wave, other) for wave, other in found)


def _brought_by(connection: Connection, row: DeviceRow) -> int | None:
    """The event that brought the target that is offered: its import, or the completion of its wave."""
    if row.latest is None:
        return None
    key: dict[str, Any] = {"name": row.latest, "view": row.view, "tag": row.tag}
    if row.rule is Rule.TEST:
        statement = text("SELECT position FROM release_ci_target WHERE name = :name")
        position: int | None = connection.execute(statement, key).scalar()
        return position
    # Of targets that a ledger was begun with, only the highest number is a wave's: that one brought them all.
    name = connection.execute(
        text(
            "SELECT w.wave FROM release_view_target v JOIN release_wave w ON w.tag = :tag AND w.status = 'complete' "
            "AND w.number >= v.number WHERE v.view = :view AND v.name = :name ORDER BY w.number LIMIT 1"
        ),
        key,
    ).scalar()
    return _position_in(connection, f"wave:{name}", first=False) if name else None


def _publication(connection: Connection, row: DeviceRow) -> Publication:
    found = connection.execute(
        text(
            "SELECT v.version AS decided, v.expires, v.content_position AS state, r.version AS written, "
            "p.content_position AS shown, p.position, p.signed_at, p.version, p.targets_version, p.snapshot_expires, "
            "p.timestamp_expires, b.root_version, k.expires AS root_expires FROM release_view v "
            "LEFT JOIN written r ON r.repository = v.repository "
            "LEFT JOIN release_published p ON p.view = v.view AND NOT p.closed "
            "LEFT JOIN release_publication b ON b.repository = v.repository "
            "LEFT JOIN release_root k ON k.repository = :chain AND k.version = b.root_version WHERE v.view = :view"
        ),
        {"view": row.view, "chain": "production" if row.production else "ci"},
    ).first()
    if found is None:
        return Publication()
    if found.position is None:
        return Publication(Lacking.NEVER)
    current = found.state == found.shown if found.decided is None else found.decided == found.targets_version
    if found.written is None or found.version > found.written:
        state = Lacking.SIGNED
    elif not current:
        state = Lacking.OLDER
    else:
        state = Lacking.NOTHING if row.published else Lacking.WAITS
    # CI's documents live as long as the snapshot that shows them.
    expires = found.snapshot_expires if found.decided is None else found.expires if current else None
    return Publication(
        state,
        found.position,
        found.signed_at,
        found.root_version,
        found.version,
        found.targets_version,
        found.root_expires,
        expires,
        found.snapshot_expires,
        found.timestamp_expires,
    )
