"""The page of the fleet."""

from __future__ import annotations

from cli.reports import words
from cli.reports.page import Cell, Column, Fact, Page, Said, Section
from cli.reports.pages.parts import in_period, share_section
from projections.reports.fleet import FleetReport, Offered, Silence, Silences

_NEWEST_OFFERED = (
    "Each device is compared with the newest that it is offered itself: one in an active wave with the wave's version, "
    "any other one with production's."
)


def page(report: FleetReport) -> Page:
    """The page."""
    orphans = sum(version.orphans for version in report.versions)
    newest = sum(row.on_latest for row in report.offered if row.kind != "ci")
    facts = [
        Fact("Production devices", report.production, f"and {words.counted(report.test, 'test device')}"),
        Fact("On the newest offered", newest, words.part(newest, report.production)),
        Fact("On an orphan", orphans, words.part(orphans, report.production)),
        Fact("Held", sum(row.held for row in report.offered), "on what a canceled wave brought"),
    ]
    sections = [_offered(report), _versions(report), share_section(report.share, report.period, "the fleet")]
    if report.silence is not None:
        heard = report.silence.steps[0].devices + report.silence.steps[1].devices
        facts.append(Fact("Heard of within a day", heard, words.part(heard, report.production + report.test)))
        sections += _silence(report)
    return Page(
        "fleet",
        f"Fleet of {report.basis.factory}",
        f"{words.counted(report.production + report.test, 'device')} at {words.moment(report.basis.at)} UTC, and what "
        f"they ran from {in_period(report.period)}.",
        report.basis,
        report.period,
        facts,
        sections,
    )


def _offered(report: FleetReport) -> Section:
    columns = [
        Column("tag", "Tag"),
        Column("kind", "Offered"),
        Column("wave", "Wave"),
        Column("latest", "Newest offered", numeric=True),
        Column("devices", "Devices", numeric=True),
        Column("on_latest", "On the newest offered", numeric=True),
        Column("orphans", "On an orphan", numeric=True),
        Column("held", "Held", numeric=True),
    ]
    rows = [
        (row.tag, row.kind, row.wave, _newest(row), row.devices, row.on_latest, row.orphans, row.held)
        for row in report.offered
    ]
    return Section("offered", "By what devices are offered", columns, rows, note=_NEWEST_OFFERED)


def _newest(row: Offered) -> Cell:
    return row.latest or Said(0, "nothing")


def _versions(report: FleetReport) -> Section:
    columns = [
        Column("version", "Version", numeric=True),
        Column("devices", "Production devices", numeric=True),
        Column("orphans", "Orphans among them", numeric=True),
    ]
    rows = [(row.version or Said(0, "none"), row.devices, row.orphans) for row in report.versions]
    note = "None: nothing reported yet, or nothing that this ledger knows."
    return Section("versions", "By version", columns, rows, note=note)


def _silence(report: FleetReport) -> list[Section]:
    assert report.silence is not None
    steps = Section(
        "silence",
        "When devices were last heard of",
        [
            Column("within_seconds", "Last sign of life"),
            Column("never", ""),
            Column("devices", "Devices", numeric=True),
        ],
        [(Said(step.within, _within(step)), step.never, step.devices) for step in report.silence.steps],
    )
    longest = Section(
        "longest",
        "Longest silent",
        [Column("uuid", "Device"), Column("name", "Name"), Column("tag", "Tag"), Column("seen_at", "Last heard of")],
        [(device.uuid, device.name, device.tag, device.seen_at) for device in report.silence.longest],
        note=_longest(report.silence),
    )
    return [steps, longest]


def _longest(silence: Silences) -> str:
    never = f"Never heard of, and not in this table: {silence.never:,}." if silence.never else ""
    if not silence.silent:
        return f"Who was ever heard of was heard of within a day. {never}".rstrip()
    shown = len(silence.longest)
    which = "All" if shown == silence.silent else f"The first {shown} of"
    told = f"{which} {words.counted(silence.silent, 'device')} last heard of more than a day ago. {never}"
    return told.rstrip()


def _within(step: Silence) -> str:
    if step.never:
        return "never"
    return "longer ago" if step.within is None else f"within {words.span(step.within)}"
