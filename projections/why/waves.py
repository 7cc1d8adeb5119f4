"""Waves as one device meets them: the one that is active for its tag, the one that holds it, those that rest."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from projections.queries.devices import DeviceRow
from projections.why import history
from projections.why.evidence import About, Resting, Rollout, Wave
from projections.why.history import Past
from projections.why.source import Source

MOST_OTHERS = 100  # active waves of other tags that are named
MOST_ROLLOUTS = 20  # of those that passed a device by

_RESTING = (
    "SELECT n.name, w.number, t.name, w.status FROM fleet_member m JOIN fleet_device d ON d.dev = m.dev "
    "JOIN fleet_wave w ON w.wave = m.wave LEFT JOIN fleet_tag a ON a.tag = m.tag "
    "JOIN fleet_name n ON n.kind = 'wave' AND n.id = m.wave JOIN fleet_name t ON t.kind = 'tag' AND t.id = m.tag "
    "WHERE m.dev = :dev AND (m.tag <> d.tag OR d.production = 0) AND (w.status = 'active' "
    "OR (w.status = 'canceled' AND m.installed = 1 AND w.number > a.number)) ORDER BY w.opened"
)


def active(connection: Connection, tag: str) -> str | None:
    """The wave that is active for a tag."""
    statement = text("SELECT wave FROM release_wave WHERE tag = :tag AND status = 'active'")
    name: str | None = connection.execute(statement, {"tag": tag}).scalar()
    return name


def gather(connection: Connection, name: str, past: Past) -> Wave:
    """A wave, and how the device of a past got into it."""
    row = connection.execute(
        text(
            "SELECT w.number, w.tag, w.status, f.opened, f.closed, w.finished_at, w.finished_by, w.threshold, "
            "(SELECT count(*) FROM release_signature s WHERE s.wave = w.wave) AS signatures FROM release_wave w "
            "JOIN fleet_name n ON n.kind = 'wave' AND n.name = w.wave JOIN fleet_wave f ON f.wave = n.id "
            "WHERE w.wave = :wave"
        ),
        {"wave": name},
    ).one()
    rollouts = _rollouts(connection, name)
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


def _rollouts(connection: Connection, wave: str) -> tuple[Rollout, ...]:
    found = connection.execute(
        text(
            "SELECT rollout, position, grp, full_group, devices FROM release_rollout WHERE wave = :wave "
            "ORDER BY rollout"
        ),
        {"wave": wave},
    )
    return tuple(Rollout(number, position, group, bool(full), count) for number, position, group, full, count in found)


def resting(connection: Connection, dev: int) -> tuple[Resting, ...]:
    """The memberships of a device that do not count now."""
    return tuple(Resting(*row) for row in connection.execute(text(_RESTING), {"dev": dev}))


def others(source: Source, tag: str) -> tuple[tuple[str, str], ...]:
    """The active waves of other tags: wave and tag."""
    return tuple((wave, other) for wave, other in source.active_waves(MOST_OTHERS) if other != tag)


def behind(
    source: Source, row: DeviceRow, wave: Wave | None, holder: Wave | None
) -> Iterator[tuple[About, int | None]]:
    """What opened its tag's active wave and brought the device into it; the same of the wave that holds it."""
    for one in (holder, wave) if row.production else ():
        if one is None:
            continue
        yield About.WAVE, source.edge(f"wave:{one.name}", first=True)
        if one.reached:
            yield About.ROLLOUT, one.reached.rollout
            yield About.ROLLOUT, one.reached.since
        else:
            yield from ((About.ROLLOUT, rollout.position) for rollout in one.rollouts[-MOST_ROLLOUTS:])
        if one.closed:
            yield About.WAVE, source.edge(f"wave:{one.name}", first=False)
