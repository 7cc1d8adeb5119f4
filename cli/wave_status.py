"""How far a wave is, as JSON and as tables (fioctl's `waves status`)."""

from __future__ import annotations

from typing import Any

from cli.output import Output, Table, when
from projections.queries.waves import GroupCount, WaveCount

_UNSCHEDULED = {"active": "at completion", "complete": "at completion (done)", "canceled": "never (canceled)"}


def output_of(count: WaveCount) -> Output:
    """The document and the tables."""
    wave = count.wave
    document = {
        "name": wave.name,
        "tag": wave.tag,
        "version": wave.version,
        "status": wave.status,
        "created_at": when(wave.created_at),
        "finished_at": when(wave.finished_at),
        "total": count.total,
        "updated": count.updated,
        "scheduled": count.scheduled,
        "unscheduled": count.unscheduled,
        "rollout_groups": [_group(group, count) for group in count.rollout_groups],
        "other_groups": [_group(group, count) for group in count.other_groups],
    }
    lines = [f"wave {wave.name} for tag {wave.tag}, version {wave.version}, is {wave.status}"]
    if wave.status != "active":
        lines.append(f"finished {when(wave.finished_at)}; devices are counted as of now")
    counts = [
        (f"devices on tag {wave.tag}", count.total),
        ("updated", count.updated),
        ("scheduled for update", count.scheduled),
        ("not scheduled", count.unscheduled),
    ]
    tables = [Table.of_facts(counts)]
    groups = [*count.rollout_groups, *count.other_groups]
    if groups:
        columns = ["group", "total", "updated", "need update", "scheduled", "online", "rollout at"]
        rows = [
            (
                group.name or "(no group)",
                group.total,
                group.on_wave + group.on_newer,
                group.on_older,
                group.scheduled,
                group.online,
                when(group.rollout_at) or _UNSCHEDULED[wave.status],
            )
            for group in groups
        ]
        tables.append(Table(columns, rows))
    runs = [
        (group.name or "(no group)", version or "(not reported)", devices, _mark(version, count))
        for group in groups
        for version, devices in sorted(group.versions.items())
    ]
    if runs:
        tables.append(Table(["group", "runs version", "devices", "note"], runs))
    return Output(document, tables, lines, csv=1 if groups else 0)


def _group(group: GroupCount, count: WaveCount) -> dict[str, Any]:
    return {
        "name": group.name,
        "rollout_at": when(group.rollout_at),
        "total": group.total,
        "online": group.online,
        "on_wave": group.on_wave,
        "on_newer": group.on_newer,
        "on_older": group.on_older,
        "scheduled": group.scheduled,
        "targets": [
            {"version": version, "devices": devices, "orphan": _orphan(version, count)}
            for version, devices in sorted(group.versions.items())
        ],
    }


def _orphan(version: int, count: WaveCount) -> bool:
    return version > 0 and version not in count.known


def _mark(version: int, count: WaveCount) -> str:
    if version == count.wave.version:
        return "<- this wave"
    return "* orphan" if _orphan(version, count) else ""
