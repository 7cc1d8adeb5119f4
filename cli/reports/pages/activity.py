"""The page of who did what."""

from __future__ import annotations

from cli.reports import words
from cli.reports.page import BarChart, Column, Fact, Page, Section, Series
from cli.reports.pages.parts import in_period
from projections.reports.activity import KINDS, ActivityReport

_WHO = {
    "claims": "Names of actors are what they said they are.",
    "logins": "Actors are who was logged in to the database; in events that were copied from a file, what they said.",
}


def page(report: ActivityReport) -> Page:
    """The page."""
    sums = {kind: sum(getattr(actor, kind) for actor in report.actors) for kind in KINDS}
    columns = [
        Column("actor", "Actor"),
        Column("role", "Role now"),
        Column("first_at", "First"),
        Column("last_at", "Last"),
        Column("events", "Events", numeric=True),
        *(Column(kind, kind.capitalize(), numeric=True) for kind in (*KINDS, "other")),
    ]
    rows = [
        (
            *(actor.actor, actor.role, actor.first_at, actor.last_at, actor.events),
            *(getattr(actor, kind) for kind in KINDS),
            actor.other,
        )
        for actor in report.actors
    ]
    return Page(
        "activity",
        f"Activity in {report.basis.factory}",
        f"{words.counted(report.events, 'event')} from {in_period(report.period)}. {_WHO[report.actors_are]}",
        report.basis,
        report.period,
        [
            Fact("Events", report.events),
            Fact("Actors", len(report.actors)),
            Fact("Waves prepared", sums["inits"]),
            Fact("Completed", sums["completions"]),
            Fact("Canceled", sums["cancels"]),
        ],
        [Section("actors", "By actor", columns, rows), _busy(report)],
    )


def _busy(report: ActivityReport) -> Section:
    width = words.span(report.width)
    chart = BarChart(
        "Events over time",
        f"Each bar is what was recorded in {width}.",
        report.width,
        Series("events", "s6", [(one.since, one.events) for one in report.busy]),
    )
    columns = [Column("since", f"{width.capitalize()} from"), Column("events", "Events", numeric=True)]
    rows = [(one.since, one.events) for one in report.busy]
    return Section("busy", "Over time", columns, rows, chart, detail=True, brief=True)
