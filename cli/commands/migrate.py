"""waveledger migrate: bring an older store's schema up to date."""

from __future__ import annotations

import typer

from cli.context import open_store
from cli.options import DryRun, single
from cli.output import FormatOption, Output, say, show

app = single()


@app.command("migrate")
def migrate(ctx: typer.Context, dry_run: DryRun = False, format: FormatOption = None) -> None:
    """Bring an older store's schema up to date. Nothing else does; one that is up to date gets its triggers back.

    Events stay as they are; projections are rebuilt from them. What protects the events in the database (triggers; in
    PostgreSQL functions and rights, too) is made anew where it is not as this version makes it.

    Example: waveledger migrate
    """
    from cli.progress import bar
    from ledger.store import migrate as schema
    from projections.upgrade import upgrade

    engine = open_store(ctx)
    came = schema.migrate(engine, dry_run=dry_run)
    with bar("events") as progress:
        projections = upgrade(engine, progress, dry_run=dry_run)
    document = {"found": came.found, "now": came.now, "projections": projections._asdict(), "dry_run": dry_run}
    would, was = ("would be ", "is") if dry_run else ("", "was")
    lines = [
        f"{what}: version {version.now}"
        if version.found == version.now
        else f"{what}: {would}version {version.now}, {was} {version.found}"
        for what, version in (("event store", came), ("projections", projections))
    ]
    show(Output(document, lines=lines), format)
    if dry_run:
        say("dry run, nothing was written")
