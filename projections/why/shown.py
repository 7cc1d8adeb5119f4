"""What is shown of a device's view, and what brought the target that it is offered."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

from projections.queries.devices import DeviceRow, Rule
from projections.why.evidence import Lacking, Publication
from projections.why.source import Source


def brought_by(source: Source, row: DeviceRow) -> int | None:
    """The event that brought the target that is offered: its import, or the completion of its wave."""
    if row.latest is None:
        return None
    key: dict[str, Any] = {"name": row.latest, "view": row.view, "tag": row.tag}
    if row.rule is Rule.TEST:
        statement = text("SELECT position FROM release_ci_target WHERE name = :name")
        position: int | None = source.tables.execute(statement, key).scalar()
        return position
    # Of targets that a ledger was begun with, only the highest number is a wave's: that one brought them all.
    name = source.tables.execute(
        text(
            "SELECT w.wave FROM release_view_target v JOIN release_wave w ON w.tag = :tag AND w.status = 'complete' "
            "AND w.number >= v.number WHERE v.view = :view AND v.name = :name ORDER BY w.number LIMIT 1"
        ),
        key,
    ).scalar()
    return source.edge(f"wave:{name}", first=False) if name else None


def publication(connection: Connection, row: DeviceRow) -> Publication:
    """The publication that devices see of its view."""
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
