"""What `tuf export` does: export, publish above it, and say what is in the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from cli.context import open_ledger, publish_now, say_dry_run, settings_of
from cli.output import Format, Output, Table, say, show, when


def export(
    ctx: typer.Context, name: str, directory: Path, days: int | None, format: Format | None, *, dry_run: bool
) -> None:
    """Export a wave, a tag or a view. Raises: NothingToPublishWith, and what exporting raises."""
    from cli.errors import NothingToPublishWith
    from cli.signing import open_online
    from projections.tuf import export as exporting

    ledger = open_ledger(ctx)
    keys = open_online(ctx)
    if keys is None:
        raise NothingToPublishWith(where=settings_of(ctx).online_keys)
    came = exporting.export(ledger, keys, name, directory, days=days, dry_run=dry_run)
    show(_output(came, directory, dry_run=dry_run), format)
    if came.chosen.wave:
        # A wave's document is above production's, a held one below it.
        say(
            "for the devices that are held: others that take it are offered what the canceled wave brought"
            if came.chosen.view.startswith("held/")
            else "for the wave's own devices: others that take it are refused online while the wave is active"
        )
    if came.life.bound:
        say(f"it lives shorter than {exporting.DEFAULT_DAYS} days: {came.life.bound}")
    if dry_run:
        say_dry_run([*(["metadata.published/1"] if came.published else []), "bundle.exported/1"])
    else:
        # Until then, a device that comes online from the bundle would see a number go down, and refuse.
        publish_now(ctx, ledger)


def _output(came: Any, directory: Path, *, dry_run: bool) -> Output:
    document = {
        "bundle": str(directory),
        "view": came.chosen.view,
        "repository": came.chosen.repository,
        "version": came.event.bundle.version if came.event else None,
        "targets_version": came.event.bundle.targets_version if came.event else None,
        "expires": when(came.life.expires),
        "targets": came.targets,
        "dry_run": dry_run,
    }
    count = f"{len(came.targets)} target" + ("" if len(came.targets) == 1 else "s")
    told = f"{'would export' if dry_run else 'exported'} {came.chosen.view} with {count} to {directory}"
    table = Table(
        ["name", "length", "hardware", "uri"],
        [(t["name"], t["length"], ",".join(t["hardware_ids"]), t["uri"]) for t in came.targets],
    )
    return Output(document, [table], [f"{told}, valid until {when(came.life.expires)}"])
