"""The page of a tag's release history."""

from __future__ import annotations

from cli.reports import words
from cli.reports.page import Column, Fact, Page, Section
from cli.reports.pages.parts import in_period, share_section, waves_section
from projections.reports.tag import TagReport


def page(report: TagReport) -> Page:
    """The page."""
    now = report.now
    targets = Section(
        "targets",
        "Production targets now",
        [Column("name", "Target"), Column("version", "Version", numeric=True)],
        [(target.name, target.version) for target in now.targets],
    )
    return Page(
        "tag",
        f"Releases of tag {report.tag}",
        f"{words.counted(len(report.releases), 'wave')} from {in_period(report.period)}, and what the tag's "
        "production devices ran meanwhile.",
        report.basis,
        report.period,
        [
            Fact("In production", f"version {now.latest}" if now.latest else "nothing yet", _until(report)),
            Fact("Active wave", now.active_wave),
            Fact("Production devices", now.devices),
            Fact("On the newest offered", now.on_latest, _newest(report)),
            Fact("On an orphan", now.on_orphan, words.part(now.on_orphan, now.devices)),
        ],
        [
            waves_section("releases", "Releases", report.releases, report.period, report.basis.at),
            share_section(report.share, report.period, f"devices of tag {report.tag}"),
            targets,
        ],
    )


def _newest(report: TagReport) -> str:
    if report.now.active_wave is None:
        return words.part(report.now.on_latest, report.now.devices)
    share = words.part(report.now.on_latest, report.now.devices) or "none"
    return f"{share}; {report.now.active_wave}'s to devices in it, else production's"


def _until(report: TagReport) -> str:
    return f"signed until {words.day(report.now.expires)}" if report.now.expires is not None else ""
