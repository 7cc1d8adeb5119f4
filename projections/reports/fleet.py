"""The fleet: what devices run now, which of it is orphaned, who is silent; and how that came to be.

Rules of this module:

* A version is counted over all tags; on some it may be an orphan, on others not: `orphans` counts the former.
* What has no devices and offers nothing is left out: a tag whose CI targets were all pruned, for instance.
* Silent devices are told by their last sign of life: a report, or a sighting. Sightings are telemetry and not history,
  so of the past there is no answer: `silence` is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, text

from projections.queries import status
from projections.queries.status import TagRow
from projections.reports import history, share
from projections.reports.basis import Basis, basis_of
from projections.reports.history import FleetState
from projections.reports.share import Share
from projections.reports.source import Source
from projections.reports.values import Period, Span, Time, Wanted

HOUR, DAY = 3600, 86_400
SILENCES = (4 * HOUR, DAY, 7 * DAY, 30 * DAY)  # the first: what counts as online everywhere else
_LONGEST = 10

_LAST_SEEN = "CASE WHEN coalesce(s.seen_at, 0) > d.reported_at THEN s.seen_at ELSE d.reported_at END"


@dataclass(frozen=True, slots=True)
class Offered:
    """The devices that are offered one thing: a tag's production targets, its active wave, or its CI targets."""

    tag: str
    kind: str
    wave: str | None
    latest: int
    devices: int
    on_latest: int
    orphans: int
    held: int


@dataclass(frozen=True, slots=True)
class Version:
    """Production devices that run a number, 0 for none reported; on how many of them it is an orphan."""

    version: int
    devices: int
    orphans: int


@dataclass(frozen=True, slots=True)
class Silence:
    """Devices whose last sign of life is at most so long ago, and not in the step before. None: longer; or `never`."""

    within: Span | None
    never: bool
    devices: int


@dataclass(frozen=True, slots=True)
class SilentDevice:
    """A device that was not heard of for long."""

    uuid: str
    name: str
    tag: str
    seen_at: Time


@dataclass(frozen=True, slots=True)
class Silences:
    """Who was heard of when: `steps` together are the whole fleet.

    `silent` devices were heard of, but not for a day; `longest` are those of them with the oldest sign of life. `never`
    heard of were others.
    """

    steps: tuple[Silence, ...]
    silent: int
    never: int
    longest: tuple[SilentDevice, ...]


@dataclass(frozen=True, slots=True)
class FleetReport:
    """The fleet now and over a period."""

    basis: Basis
    period: Period
    production: int
    test: int
    offered: tuple[Offered, ...]
    versions: tuple[Version, ...]
    silence: Silences | None
    share: Share


class _Parts(NamedTuple):
    offered: tuple[Offered, ...]
    versions: tuple[Version, ...]


def build(source: Source, wanted: Wanted) -> FleetReport:
    """The report."""
    basis = basis_of(source)
    period = wanted.within(basis.began, basis.at)
    rows = status.tags(source.tables, online_since=None)
    parts = _parts(rows)
    measured = history.walk(source, period, _measure)
    return FleetReport(
        basis,
        period,
        *status.devices(source.tables),
        parts.offered,
        parts.versions,
        _silences(source.tables, basis.at) if source.telemetry else None,
        share.of(measured),
    )


def _measure(state: FleetState) -> share.Measure:
    return share.measure(state)


def _parts(rows: list[TagRow]) -> _Parts:
    offered = tuple(
        Offered(
            row.tag,
            row.kind,
            row.wave,
            row.latest,
            row.all.devices,
            row.all.on_latest,
            row.all.on_orphan,
            row.all.held,
        )
        for row in rows
        if row.all.devices or row.latest
    )
    versions: dict[int, list[int]] = {}
    for row in rows:
        for number, devices in row.all.versions.items() if row.kind != "ci" else ():
            counted = versions.setdefault(number, [0, 0])
            counted[0] += devices
            counted[1] += devices if number and number not in row.known else 0
    return _Parts(offered, tuple(Version(number, *versions[number]) for number in sorted(versions)))


def _silences(connection: Connection, now: int) -> Silences:
    cases = " ".join(f"WHEN c.seen >= :t{place} THEN {place}" for place in range(len(SILENCES)))
    rows = connection.execute(
        text(
            f"SELECT CASE WHEN c.seen = 0 THEN -1 {cases} ELSE {len(SILENCES)} END AS step, count(*) FROM "
            f"(SELECT {_LAST_SEEN} AS seen FROM fleet_device d LEFT JOIN sighting s ON s.dev = d.dev "
            "WHERE d.tag > 0) c GROUP BY 1"
        ),
        {f"t{place}": now - silence for place, silence in enumerate(SILENCES)},
    )
    counts: dict[int, int] = dict(rows.all())
    steps = [Silence(Span(limit), never=False, devices=counts.get(n, 0)) for n, limit in enumerate(SILENCES)]
    steps.append(Silence(None, never=False, devices=counts.get(len(SILENCES), 0)))
    steps.append(Silence(None, never=True, devices=counts.get(-1, 0)))
    longest = connection.execute(
        text(
            "SELECT d.uuid, d.name, t.name, l.seen FROM (SELECT c.dev, c.seen FROM ("
            f"SELECT d.dev, {_LAST_SEEN} AS seen FROM fleet_device d LEFT JOIN sighting s ON s.dev = d.dev "
            "WHERE d.tag > 0) c WHERE c.seen > 0 AND c.seen < :since ORDER BY c.seen, c.dev LIMIT :most) l "
            "JOIN fleet_device d ON d.dev = l.dev JOIN fleet_name t ON t.kind = 'tag' AND t.id = d.tag "
            "ORDER BY l.seen, l.dev"
        ),
        {"since": now - SILENCES[1], "most": _LONGEST},
    )
    silent = tuple(SilentDevice(uuid, name, tag, Time(seen)) for uuid, name, tag, seen in longest)
    longer = sum(counts.get(n, 0) for n in range(2, len(SILENCES) + 1))
    return Silences(tuple(steps), longer, counts.get(-1, 0), silent)
