"""The page of the waves of a period."""

from __future__ import annotations

from cli.reports import words
from cli.reports.page import Column, Fact, Page, Said, Section
from cli.reports.pages.parts import in_period, waves_section
from projections.reports.waves import WavesReport


def page(report: WavesReport) -> Page:
    """The page."""
    outcomes = report.outcomes
    reasons = Section(
        "reasons",
        "Why waves were canceled",
        [Column("reason", "Reason"), Column("waves", "Waves", numeric=True)],
        [(reason.reason or Said(None, "(nobody said)"), reason.waves) for reason in report.reasons],
    )
    return Page(
        "waves",
        f"Waves of {report.basis.factory}",
        f"{words.counted(outcomes.total, 'wave')} active at some time from {in_period(report.period)}.",
        report.basis,
        report.period,
        [
            Fact("Waves", outcomes.total),
            Fact("Complete", outcomes.complete, words.part(outcomes.complete, outcomes.total)),
            Fact("Canceled", outcomes.canceled, words.part(outcomes.canceled, outcomes.total)),
            Fact("Active", outcomes.active),
            Fact("Init to complete", outcomes.median_to_complete, "median"),
        ],
        [waves_section("waves", "Waves", report.waves, report.period, report.basis.at), reasons],
    )
