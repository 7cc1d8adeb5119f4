"""Who did what in a period: the ledger's events by actor and kind, and how busy it was over time.

Rules of this module:

* Everything is counted where it lies, grouped by actor and topic; no event is read.
* An actor is a claim in a file, a login in PostgreSQL (`actors_are`); there, too, it is what was said before, in events
  that came with a copy from elsewhere.
* Facts about devices come in batches of up to a thousand: they count as imports, not as devices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from ledger.store.bulk import is_postgresql
from projections.reports.basis import Basis, basis_of
from projections.reports.source import Source
from projections.reports.values import Period, Span, Time, Wanted

HOUR, DAY = 3600, 86_400
_BARS = 60  # the most that a chart has
_WIDTHS = (HOUR, 6 * HOUR, DAY, 7 * DAY, 28 * DAY, 364 * DAY)

KINDS = ("inits", "signatures", "rollouts", "completions", "cancels", "imports", "publications", "keys", "members")
_KIND_OF = {
    "wave.initialized/1": "inits",
    "wave.signed/1": "signatures",
    "wave.rolled-out/1": "rollouts",
    "wave.completed/1": "completions",
    "wave.canceled/1": "cancels",
    "ci-targets.imported/1": "imports",
    "devices.registered/1": "imports",
    "devices.changed/1": "imports",
    "devices.reported/1": "imports",
    "metadata.published/1": "publications",
    "bundle.exported/1": "publications",
    "root.published/1": "keys",
    "root.proposed/1": "keys",
    "root.signed/1": "keys",
    "root.update-closed/1": "keys",
    "online-key.set/1": "keys",
    "targets.resigned/1": "keys",
    "wave.resigned/1": "keys",
    "proposed-targets.signed/1": "keys",
    "member.added/1": "members",
    "member.removed/1": "members",
}


@dataclass(frozen=True, slots=True)
class Actor:
    """One actor: the role that it has now (None: it is no member), and its events, by kind those of `KINDS`.

    `other` are those of no kind: what a command recorded besides, a tag that was opened for a wave for instance.
    """

    actor: str
    role: str | None
    first_at: Time
    last_at: Time
    events: int
    inits: int
    signatures: int
    rollouts: int
    completions: int
    cancels: int
    imports: int
    publications: int
    keys: int
    members: int
    other: int


@dataclass(frozen=True, slots=True)
class Busy:
    """The events of a stretch of time that begins at `since`."""

    since: Time
    events: int


@dataclass(frozen=True, slots=True)
class ActivityReport:
    """Actors (``claims`` or ``logins``), the busiest first; `busy` has a stretch of `width` each, none left out."""

    basis: Basis
    period: Period
    events: int
    actors_are: str
    actors: tuple[Actor, ...]
    width: Span
    busy: tuple[Busy, ...]


def build(source: Source, wanted: Wanted) -> ActivityReport:
    """The report."""
    basis = basis_of(source)
    period = wanted.within(basis.began, basis.at)
    limits = {"since": int(period.since), "until": int(period.until), "position": basis.head.position}
    where = "position <= :position AND recorded_at >= :since AND recorded_at <= :until"
    rows = source.ledger.execute(
        text(
            "SELECT actor, topic, count(*), min(recorded_at), max(recorded_at) FROM event "
            f"WHERE {where} GROUP BY actor, topic ORDER BY actor, topic"
        ),
        limits,
    ).all()
    roles: dict[str, str] = dict(source.tables.execute(text("SELECT member, role FROM release_member")).all())
    actors = _actors(rows, roles)
    width = next((w for w in _WIDTHS if (period.until - period.since) // w < _BARS), _WIDTHS[-1])
    counted = source.ledger.execute(
        text(f"SELECT recorded_at / {width} AS stretch, count(*) FROM event WHERE {where} GROUP BY 1"), limits
    )
    counts: dict[int, int] = dict(counted.all())
    stretches = range(period.since // width, period.until // width + 1)
    return ActivityReport(
        basis,
        period,
        sum(actor.events for actor in actors),
        "logins" if is_postgresql(source.ledger) else "claims",
        tuple(actors),
        Span(width),
        tuple(Busy(Time(stretch * width), counts.get(stretch, 0)) for stretch in stretches),
    )


def _actors(rows: Iterable[Any], roles: dict[str, str]) -> list[Actor]:
    kinds: dict[str, Counter[str]] = {}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for actor, topic, count, earliest, latest in rows:
        counted = kinds.setdefault(actor, Counter())
        counted["events"] += count
        counted[_KIND_OF.get(topic, "")] += count
        first[actor] = min(first.get(actor, earliest), earliest)
        last[actor] = max(last.get(actor, latest), latest)
    found = [
        Actor(
            actor,
            roles.get(actor),
            Time(first[actor]),
            Time(last[actor]),
            counted["events"],
            *(counted[kind] for kind in (*KINDS, "")),
        )
        for actor, counted in kinds.items()
    ]
    return sorted(found, key=lambda actor: (-actor.events, actor.actor))
