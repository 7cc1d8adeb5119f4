"""Reports of made-up numbers, byte for byte: a change of what people see is a change of these files.

`GOLDEN_REPORTS=write` writes them anew; then look at them before they are committed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.reports import plain
from cli.reports.html import html
from cli.reports.pages import wave, waves
from projections.reports.basis import Basis, Head, SignedCheckpoint
from projections.reports.values import Period, Span, Time
from projections.reports.wave import Adoption, Counts, Milestone, Moment, Rollout, Signature, WaveReport
from projections.reports.waves import Outcomes, Reason, WavesReport, WaveSummary
from tests.support import DAY, HOUR, START

GOLDEN = Path(__file__).parents[1] / "golden" / "reports"


def at(hours: int) -> Time:
    return Time(START + hours * HOUR)


CHECKPOINT = SignedCheckpoint(40, "waveledger/acme\n40\ncm9vdA==\n\n— waveledger/acme c2lnbmF0dXJl\n")
BASIS = Basis("acme", Head(42, "5f" * 32), CHECKPOINT, at(100), at(0))
COMPLETE = WaveSummary(
    "v7", 7, "stable", "complete", at(1), "alice", at(2), at(25), "bob", Span(DAY), 2, 1200, (3, 4), None
)  # fmt: skip
CANCELED = WaveSummary(
    "v8", 8, "beta", "canceled", at(30), "bob", None, at(31), "bob", Span(HOUR), 0, 0, (), "reboots | under <load>"
)  # fmt: skip
WAVES = WavesReport(
    BASIS,
    Period(at(0), at(100)),
    Outcomes(2, 0, 1, 1, Span(DAY), Span(HOUR)),
    (Reason("reboots | under <load>", 1),),
    (COMPLETE, CANCELED),
)
WAVE = WaveReport(
    BASIS,
    Period(at(1), at(40)),
    COMPLETE,
    "main",
    at(24 * 365),
    2,
    ("arm64-lmp-7",),
    ("arm64-lmp-3",),
    (Signature(at(1), "alice", "ab" * 32, again=False),),
    (
        Rollout(at(2), "alice", "canary", full_group=True, listed=False, devices=200, reached=200),
        Rollout(at(8), "alice", None, full_group=False, listed=False, devices=1000, reached=1200),
    ),
    (
        Moment(10, at(1), "alice", "init"),
        Moment(11, at(1), "alice", "signed"),
        Moment(14, at(2), "alice", "rollout"),
        Moment(30, at(25), "bob", "complete"),
        Moment(31, at(25), "bob", "promoted"),
    ),
    Counts(1500, 1400, 100, 0, 1390),
    (Milestone(10, at(3), Span(2 * HOUR)), Milestone(90, at(40), Span(39 * HOUR)), Milestone(100, None, None)),
    (
        Adoption(at(1), 1480, 0, 0),
        Adoption(at(3), 1500, 180, 180),
        Adoption(at(9), 1500, 900, 890),
        Adoption(at(40), 1500, 1400, 1390),
    ),
    None,
)
TEXTS = {
    "waves.md": lambda: plain.markdown(waves.page(WAVES)),
    "wave.md": lambda: plain.markdown(wave.page(WAVE)),
    "waves.csv": lambda: plain.csv(waves.page(WAVES).sections[0]),
    "waves.html": lambda: _main(html(waves.page(WAVES))),
    "wave.html": lambda: _main(html(wave.page(WAVE))),
}


def _main(text: str) -> str:
    """Without the style, which is looked at and not read."""
    return text[text.index("<body>") :]


@pytest.mark.parametrize("name", TEXTS)
def test_reports_are_written_as_they_were(name: str) -> None:
    """The whole text."""
    text = TEXTS[name]()
    if os.environ.get("GOLDEN_REPORTS") == "write":
        (GOLDEN / name).write_text(text, encoding="utf-8")

    assert text == (GOLDEN / name).read_text(encoding="utf-8")
