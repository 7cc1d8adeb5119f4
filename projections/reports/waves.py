"""The waves of a period: outcome, duration, how many devices were reached, and why the canceled ones were canceled.

A wave belongs to a period when it was active at some moment of it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Any

import orjson
from sqlalchemy import Connection, text

from projections.reports.basis import Basis, basis_of
from projections.reports.source import Source
from projections.reports.values import Period, Span, Time, Wanted

_SELECT = (
    "SELECT w.wave, w.number, w.tag, w.status, w.created_at, w.created_by, w.finished_at, w.finished_by, w.reason, "
    "w.prune, r.rollouts, r.devices, r.first FROM release_wave w LEFT JOIN "
    "(SELECT wave, count(*) AS rollouts, sum(devices) AS devices, min(at) AS first FROM release_rollout "
    "GROUP BY wave) r ON r.wave = w.wave"
)


@dataclass(frozen=True, slots=True)
class WaveSummary:
    """One wave. `reached` are the devices that its rollouts delivered it to; `duration` is from init to its end."""

    name: str
    version: int
    tag: str
    status: str
    created_at: Time
    created_by: str
    first_rollout_at: Time | None
    finished_at: Time | None
    finished_by: str | None
    duration: Span | None
    rollouts: int
    reached: int
    prune: tuple[int, ...]
    reason: str | None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why waves were canceled; None: nobody said."""

    reason: str | None
    waves: int


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How many waves came to which end, and the median of how long the finished ones took, to a second."""

    total: int
    active: int
    complete: int
    canceled: int
    median_to_complete: Span | None
    median_to_cancel: Span | None


@dataclass(frozen=True, slots=True)
class WavesReport:
    """All waves of a period, oldest first."""

    basis: Basis
    period: Period
    outcomes: Outcomes
    reasons: tuple[Reason, ...]
    waves: tuple[WaveSummary, ...]


def build(source: Source, wanted: Wanted) -> WavesReport:
    """The report."""
    basis = basis_of(source)
    period = wanted.within(basis.began, basis.at)
    found = summaries(source.tables, period)
    reasons = Counter(wave.reason for wave in found if wave.status == "canceled")
    return WavesReport(
        basis,
        period,
        _outcomes(found),
        tuple(Reason(*pair) for pair in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0] or ""))),
        found,
    )


def summaries(connection: Connection, period: Period, tag: str | None = None) -> tuple[WaveSummary, ...]:
    """The waves that were active at some moment of a period, of one tag or of all, in the order of their init."""
    conditions = ["w.created_at <= :until", "(w.finished_at IS NULL OR w.finished_at >= :since)"]
    if tag is not None:
        conditions.append("w.tag = :tag")
    statement = f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY w.position"
    params = {"since": int(period.since), "until": int(period.until), "tag": tag}
    return tuple(_summary(*row) for row in connection.execute(text(statement), params))


def one(connection: Connection, name: str) -> WaveSummary | None:
    """The wave of that name."""
    row = connection.execute(text(f"{_SELECT} WHERE w.wave = :wave"), {"wave": name}).first()
    return None if row is None else _summary(*row)


def _summary(*row: Any) -> WaveSummary:
    name, version, tag, status, created, by, finished, finished_by, reason, prune, rollouts, devices, first = row
    return WaveSummary(
        name,
        version,
        tag,
        status,
        Time(created),
        by,
        Time.of(first),
        Time.of(finished),
        finished_by,
        Span.between(created, finished),
        rollouts or 0,
        int(devices or 0),
        tuple(orjson.loads(prune)),
        reason,
    )


def _outcomes(found: tuple[WaveSummary, ...]) -> Outcomes:
    counts = Counter(wave.status for wave in found)

    def middle(status: str) -> Span | None:
        spans = [wave.duration for wave in found if wave.status == status and wave.duration is not None]
        return Span(round(median(spans))) if spans else None

    return Outcomes(
        len(found),
        counts["active"],
        counts["complete"],
        counts["canceled"],
        middle("complete"),
        middle("canceled"),
    )
