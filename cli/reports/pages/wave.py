"""The page of one wave."""

from __future__ import annotations

from collections.abc import Iterator

from cli.reports import words
from cli.reports.page import Bar, Column, CurveChart, Fact, Lane, LaneChart, Mark, Page, Said, Section, Series
from projections.reports.wave import Rollout, Stragglers, WaveReport

_WHAT = {
    "init": "Prepared",
    "signed": "Signed",
    "signed anew": "Signed anew",
    "published": "Published",
    "rollout": "Rollout",
    "complete": "Completed",
    "cancel": "Canceled",
    "promoted": "Published as production",
    "withdrawn": "Published without it",
}


def page(report: WaveReport) -> Page:
    """The page."""
    wave = report.wave
    end = f"; canceled: {wave.reason}" if wave.reason else ""
    return Page(
        "wave",
        f"Wave {wave.name}",
        f"Version {wave.version} for tag {wave.tag} of {report.basis.factory}, prepared by {wave.created_by} on "
        f"{words.moment(wave.created_at)} UTC{end}.",
        report.basis,
        report.period,
        list(_facts(report)),
        [
            _timeline(report),
            _adoption(report),
            _milestones(report),
            _rollouts(report),
            Section(
                "signatures",
                "Offline signatures",
                [Column("at", "When"), Column("by", "By"), Column("keyid", "Key"), Column("again", "What")],
                [
                    (s.at, s.by, s.keyid, Said(s.again, "signed anew" if s.again else "signed"))
                    for s in report.signatures
                ],
            ),
            Section("targets", "New targets", [Column("name", "Target")], [(name,) for name in report.targets]),
            Section(
                "pruned",
                "Pruned from production",
                [Column("name", "Target")],
                [(name,) for name in report.pruned_targets],
                note=f"Numbers asked for: {', '.join(map(str, wave.prune))}." if wave.prune else "",
            ),
        ],
    )


def _facts(report: WaveReport) -> Iterator[Fact]:
    wave = report.wave
    ended = f"{words.moment(wave.finished_at)} UTC, by {wave.finished_by}" if wave.finished_at is not None else ""
    yield Fact("Outcome", wave.status, ended)
    yield Fact("Init to end", wave.duration, "" if wave.finished_at is not None else "not ended")
    yield Fact("Devices rolled out to", wave.reached, f"in {words.counted(wave.rollouts, 'rollout')}")
    yield _running(report)
    yield Fact(
        "Signatures",
        len({s.keyid for s in report.signatures}),
        f"{words.counted(report.threshold - 1, 'offline one')} needed",
    )


def _running(report: WaveReport) -> Fact:
    version, counts = report.wave.version, report.counts
    of_all = f"of {words.counted(counts.total, 'device')} on the tag"
    match report.wave.status:
        case "canceled":  # who runs something newer by now says nothing of this wave
            return Fact(f"Still on version {version} now", counts.on_wave, of_all)
        case "complete":
            return Fact(f"On version {version} or above now", counts.updated, of_all)
        case _:
            inside = counts.updated + counts.scheduled
            return Fact("Updated so far", counts.updated, f"of {words.counted(inside, 'device')} in the wave")


def _timeline(report: WaveReport) -> Section:
    wave = report.wave
    columns = [
        Column("position", "Position", numeric=True),
        Column("at", "When"),
        Column("by", "By"),
        Column("what", "What"),
    ]
    marks = [
        Mark(m.at, f"{_WHAT.get(m.what, m.what)} by {m.by}", "rollout" if m.what == "rollout" else "step")
        for m in report.timeline
    ]
    bar = Bar(wave.created_at, wave.finished_at, wave.status, wave.status)
    start, end = wave.created_at, max(report.timeline[-1].at, wave.finished_at or report.basis.at)
    chart = LaneChart(
        "From init to end",
        "The bar is the wave's life, each dot something that happened to it; the table tells what.",
        start,
        end,
        report.basis.at,
        [Lane(f"{wave.name}, version {wave.version}", [bar], marks)],
    )
    rows = [(m.position, m.at, m.by, Said(m.what, _WHAT.get(m.what, m.what))) for m in report.timeline]
    return Section("timeline", "Timeline", columns, rows, chart)


def _adoption(report: WaveReport) -> Section:
    points = report.adoption
    columns = [
        Column("at", "From"),
        Column("devices", "Devices", numeric=True),
        Column("updated", "At or above", numeric=True),
        Column("on_wave", "On the wave", numeric=True),
    ]
    version, late = report.wave.version, report.stragglers
    end = int(report.period.until if late is None else late.after)
    drawn = [p for p in points if p.at <= end]
    reached = [(int(report.period.since), 0), *((int(r.at), r.reached) for r in report.rollouts)]
    reached.append((end, report.wave.reached))
    lines = [Series("devices on the tag", "total", [(p.at, p.devices) for p in drawn])]
    if report.rollouts:
        lines.append(Series("devices rolled out to", "reached", reached))
    chart = CurveChart(
        f"Devices that run version {version}",
        f"The area is the number of production devices on tag {report.wave.tag} that run version {version} or above. "
        "The dashed line is how many devices the tag has, the thin one to how many it was rolled out."
        + ("" if late is None else _late(late)),
        report.period.since,
        end,
        [Series(f"run version {version} or above", "s3", [(p.at, p.updated) for p in drawn])],
        lines,
        [Mark(m.at, _WHAT.get(m.what, m.what), m.what) for m in report.timeline if m.what in {"complete", "cancel"}],
    )
    rows = [(p.at, p.devices, p.updated, p.on_wave) for p in points]
    return Section("adoption", "Adoption", columns, rows, chart, detail=True)


def _late(late: Stragglers) -> str:
    return (
        f" {words.counted(late.devices, 'more device')} followed much later, the last one on "
        f"{words.moment(late.last_at)} UTC: not drawn here, but among the numbers of the table."
    )


def _milestones(report: WaveReport) -> Section:
    columns = [
        Column("percent", "Percent of devices", numeric=True),
        Column("at", "When"),
        Column("after_seconds", "After init", numeric=True),
    ]
    rows = [
        (one.percent, Said(None, "not so far") if one.at is None else one.at, one.after) for one in report.milestones
    ]
    return Section("milestones", "How fast it went", columns, rows)


def _rollouts(report: WaveReport) -> Section:
    columns = [
        Column("at", "When"),
        Column("by", "By"),
        Column("group", "To"),
        Column("full_group", ""),
        Column("listed", ""),
        Column("devices", "Devices", numeric=True),
        Column("reached", "In all so far", numeric=True),
    ]
    rows = [
        (one.at, one.by, Said(one.group, _to(one)), one.full_group, one.listed, one.devices, one.reached)
        for one in report.rollouts
    ]
    return Section("rollouts", "Rollouts", columns, rows)


def _to(rollout: Rollout) -> str:
    if rollout.full_group:
        return f"group {rollout.group}, and whoever joins it"
    if rollout.listed:
        return "listed devices"
    return f"some of group {rollout.group}" if rollout.group else "some of the tag"
