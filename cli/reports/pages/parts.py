"""What the pages of several reports have in common."""

from __future__ import annotations

from collections.abc import Sequence

from cli.reports import words
from cli.reports.page import Bar, Cell, Column, CurveChart, Lane, LaneChart, Mark, Said, Section, Series
from projections.reports.share import Share
from projections.reports.values import Period
from projections.reports.waves import WaveSummary

MOST_LANES, MOST_BARS = 24, 400  # of a chart; the table has them all

WAVE_COLUMNS = (
    Column("name", "Wave"),
    Column("version", "Version", numeric=True),
    Column("tag", "Tag"),
    Column("status", "Outcome"),
    Column("created_at", "Init"),
    Column("created_by", "By"),
    Column("first_rollout_at", "First rollout"),
    Column("finished_at", "End"),
    Column("finished_by", "Ended by"),
    Column("duration_seconds", "Took", numeric=True),
    Column("rollouts", "Rollouts", numeric=True),
    Column("reached", "Rolled out to", numeric=True),
    Column("prune", "Pruned"),
    Column("reason", "Reason"),
)


def wave_row(wave: WaveSummary) -> tuple[Cell, ...]:
    """A wave in a table."""
    return (
        wave.name,
        wave.version,
        wave.tag,
        wave.status,
        wave.created_at,
        wave.created_by,
        wave.first_rollout_at,
        wave.finished_at,
        wave.finished_by,
        wave.duration,
        wave.rollouts,
        wave.reached,
        listed(wave.prune),
        wave.reason,
    )


def waves_section(key: str, title: str, found: Sequence[WaveSummary], period: Period, now: int) -> Section:
    """Waves as a table, and as bars: a lane for each tag, which has one active wave at a time."""
    return Section(key, title, WAVE_COLUMNS, [wave_row(wave) for wave in found], wave_lanes(found, period, now))


def wave_lanes(found: Sequence[WaveSummary], period: Period, now: int) -> LaneChart | None:
    """The newest waves on the lanes of their tags; None without a wave."""
    if not found:
        return None
    shown = found[-MOST_BARS:]
    tags = list(dict.fromkeys(wave.tag for wave in reversed(shown)))[:MOST_LANES]
    lanes = [
        Lane(
            f"tag {tag}",
            [
                Bar(
                    wave.created_at,
                    wave.finished_at,
                    f"{wave.name}, version {wave.version}: {wave.status}",
                    wave.status,
                )
                for wave in shown
                if wave.tag == tag
            ],
            [
                Mark(wave.first_rollout_at, f"{wave.name}: first rollout")
                for wave in shown
                if wave.tag == tag and wave.first_rollout_at is not None
            ],
        )
        for tag in sorted(tags)
    ]
    left = "" if len(shown) == len(found) else f" Only the newest {len(shown)} of {len(found)} are drawn."
    left += "" if len(tags) == len({wave.tag for wave in found}) else f" Only {len(tags)} tags are drawn."
    start = max(period.since, min(wave.created_at for wave in shown)) if left else period.since
    return LaneChart(
        "Waves over time",
        f"A bar for each wave from init to its end, on the lane of its tag; the dot below is its first rollout.{left}",
        start,
        period.until,
        now,
        lanes,
    )


def share_section(share: Share, period: Period, of: str) -> Section:
    """What devices ran over time, by version."""
    columns = [
        Column("at", "From"),
        Column("devices", "Devices", numeric=True),
        *(Column(_key(v), _label(v).capitalize(), numeric=True) for v in share.versions),
        Column("other", "Other", numeric=True),
        Column("orphans", "Orphans", numeric=True),
    ]
    rows = [(p.at, p.devices, *p.counts, p.other, p.orphans) for p in share.points]
    stacked = [
        Series(
            _label(v), "none" if v == 0 else f"s{_step(share.versions, v)}", [(p.at, p.counts[i]) for p in share.points]
        )
        for i, v in enumerate(share.versions)
    ]
    if any(p.other for p in share.points):
        stacked.insert(0, Series("other versions", "other", [(p.at, p.other) for p in share.points]))
    chart = CurveChart(
        f"What {of} ran",
        "Production devices by the version that they last reported, stacked: the newest version on top. "
        "The dashed line is the number of devices that run an orphan.",
        period.since,
        period.until,
        stacked,
        [Series("orphans", "orphans", [(p.at, p.orphans) for p in share.points])],
    )
    return Section("share", "Versions over time", columns, rows, chart, detail=True)


def listed(values: Sequence[object]) -> Said:
    """Names or numbers in one cell, which is a list in JSON."""
    return Said(tuple(values), ", ".join(map(str, values)) or None)


def in_period(period: Period) -> str:
    """A period in words."""
    return f"{words.moment(period.since)} to {words.moment(period.until)} UTC"


def _step(versions: Sequence[int], version: int) -> int:
    """The shade of a version: the newest has the strongest, 6."""
    newest_first = sorted((v for v in versions if v), reverse=True)
    return 6 - newest_first.index(version)


def _label(version: int) -> str:
    return f"version {version}" if version else "none reported"


def _key(version: int) -> str:
    return f"version_{version}"
