"""How far a wave is, as JSON and as tables (fioctl's `waves status`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cli.output import Output, Table, when
from projections.queries.waves import GroupCount, WaveCount

_UNSCHEDULED = {"active": "at completion", "complete": "at completion (done)", "canceled": "never (canceled)"}


def output_of(count: WaveCount, at: str | None = None) -> Output:
    """The document and the tables; CSV is the table of groups. `at` is the moment in the past that was asked for."""
    wave = count.wave
    lines = [f"wave {wave.name} for tag {wave.tag}, version {wave.version}, is {wave.status}"]
    if wave.status != "active":
        lines.append(f"finished {when(wave.finished_at)}; devices are counted as of {at or 'now'}")
    counts = [
        (f"devices on tag {wave.tag}", count.total),
        ("updated", count.updated),
        ("scheduled for update", count.scheduled),
        ("not scheduled", count.unscheduled),
    ]
    groups = [*count.rollout_groups, *count.other_groups]
    tables = [Table.of_facts(counts), _group_table(groups, count), _version_table(groups, count)]
    return Output(_document(count), tables if groups else tables[:1], lines, csv=1 if groups else 0)


def _document(count: WaveCount) -> dict[str, Any]:
    wave = count.wave
    return {
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


def _group_table(groups: Sequence[GroupCount], count: WaveCount) -> Table:
    columns = ["group", "total", "updated", "need update", "scheduled", "online", "rollout at"]
    rows = [
        (
            group.name or "(no group)",
            group.total,
            group.on_wave + group.on_newer,
            group.on_older,
            group.scheduled,
            group.online,
            when(group.rollout_at) or _UNSCHEDULED[count.wave.status],
        )
        for group in groups
    ]
    return Table(columns, rows)


def _version_table(groups: Sequence[GroupCount], count: WaveCount) -> Table:
    rows = [
        (group.name or "(no group)", version or "(none known)", devices, _mark(version, count))
        for group in groups
        for version, devices in sorted(group.versions.items())
    ]
    return Table(["group", "runs version", "devices", "note"], rows)


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
