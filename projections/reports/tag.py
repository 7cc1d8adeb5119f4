"""The release history of one tag: its waves in a period, its production targets now, and what its devices ran."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from ledger.domain.errors import NotFound
from ledger.domain.values import known_target
from projections.queries import status, targets
from projections.reports import history, share, waves
from projections.reports.basis import Basis, basis_of
from projections.reports.share import Share
from projections.reports.source import Source
from projections.reports.values import Period, Time, Wanted
from projections.reports.waves import WaveSummary


class UnknownTag(NotFound):
    """No device follows it, no wave was ever for it."""

    message = "there is no tag {tag!r}: no device follows it, and no wave was ever for it"
    hint = "waveledger report fleet shows all tags"
    tag: str


@dataclass(frozen=True, slots=True)
class ProductionTarget:
    """A target that production devices of the tag may install."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class TagNow:
    """The tag as it is: the highest production number (0: none), and its production devices.

    `on_latest` run the newest that they are offered themselves, as in `projections.queries.status`.
    """

    latest: int
    expires: Time | None
    active_wave: str | None
    devices: int
    on_latest: int
    on_orphan: int
    targets: tuple[ProductionTarget, ...]


@dataclass(frozen=True, slots=True)
class TagReport:
    """A tag's releases, oldest first."""

    basis: Basis
    period: Period
    tag: str
    now: TagNow
    releases: tuple[WaveSummary, ...]
    share: Share


def build(source: Source, name: str, wanted: Wanted) -> TagReport:
    """The report. Raises: UnknownTag."""
    basis = basis_of(source)
    known = text(
        "SELECT 1 FROM fleet_name WHERE kind = 'tag' AND name = :tag UNION SELECT 1 FROM release_wave WHERE tag = :tag"
    )
    if source.tables.execute(known, {"tag": name}).first() is None:
        raise UnknownTag(tag=name[:100])
    period = wanted.within(basis.began, basis.at)
    measured = history.walk(source, period, lambda state: share.measure(state, name))
    return TagReport(
        basis,
        period,
        name,
        _now(source.tables, name),
        waves.summaries(source.tables, period, name),
        share.of(measured),
    )


def _now(connection: Connection, tag: str) -> TagNow:
    production = targets.production(connection, tag)
    rows = [row.all for row in status.tags(connection, online_since=None, tag=tag) if row.kind != "ci"]
    active = text("SELECT wave FROM release_wave WHERE tag = :tag AND status = 'active'")
    return TagNow(
        production.version,
        Time.of(production.expires),
        connection.execute(active, {"tag": tag}).scalar(),
        sum(row.devices for row in rows),
        sum(row.on_latest for row in rows),
        sum(row.on_orphan for row in rows),
        tuple(ProductionTarget(name, known_target(name, body).number) for name, body in production.targets.items()),
    )
