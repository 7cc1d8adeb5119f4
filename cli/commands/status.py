"""waveledger status: the whole factory at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from cli import attention
from cli.context import reading, settings_of
from cli.options import At, OfflineThreshold, single
from cli.output import FormatOption, Output, Table, show, warn

app = single()


@app.command("status")
def status(
    ctx: typer.Context, offline_threshold: OfflineThreshold = 4, at: At = None, format: FormatOption = None
) -> None:
    """Show the factory: its devices by what they are offered, and what needs attention.

    Every device is in one row: that of its tag's production targets, of the wave it is in, or of its CI targets.

    Example: waveledger status
    """
    import orjson

    from ledger.store import events
    from projections.queries import status as query

    with reading(ctx, at) as connection:
        now = settings_of(ctx).now
        head = events.head(connection)
        first = events.get(connection, 1)
        production, test = query.devices(connection)
        rows = query.tags(connection, online_since=None if at else now - offline_threshold * 3600)
        warnings = attention.warnings(connection, now)
        warnings += [
            f"view {view} is recorded, not yet published: waveledger tuf publish"
            for view in query.unpublished(connection)
        ]
    factory = orjson.loads(first.payload)["factory"] if first else ""
    document = {
        "factory": factory,
        "head": {"position": head.size, "root": head.root.hex()},
        "devices": {"total": production + test, "production": production, "test": test},
        "tags": [_row(row) for row in rows],
        "warnings": warnings,
    }
    lines = [
        f"factory {factory}: {production + test} devices, {production} production and {test} test",
        f"ledger at position {head.size}, root {head.root.hex()[:16]}",
    ]
    show(Output(document, [_table(rows)], lines), format)
    for warning in warnings:
        warn(warning)


def _table(rows: Sequence[Any]) -> Table:
    columns = ["tag", "kind", "latest", "devices", "on latest", "on orphan", "online"]
    cells = [
        (
            row.tag,
            f"wave {row.wave}" if row.wave else row.kind,
            row.latest,
            row.all.devices,
            row.all.on_latest,
            row.all.on_orphan,
            row.all.online,
        )
        for row in rows
    ]
    return Table(columns, cells)


def _row(row: Any) -> dict[str, Any]:
    return {
        "tag": row.tag,
        "kind": row.kind,
        "wave": row.wave,
        "latest": row.latest,
        **_part(row, row.all),
        "groups": [{"name": name, **_part(row, part)} for name, part in sorted(row.groups.items())],
    }


def _part(row: Any, part: Any) -> dict[str, Any]:
    return {
        "devices": part.devices,
        "on_latest": part.on_latest,
        "on_orphan": part.on_orphan,
        "online": part.online,
        "held": part.held,
        "targets": [
            {"version": number, "devices": devices, "orphan": number > 0 and number not in row.known}
            for number, devices in sorted(part.versions.items())
        ],
    }
