"""waveledger migrate: bring an older store's schema up to date."""

from __future__ import annotations

import typer

from cli.context import open_store
from cli.options import single
from cli.output import FormatOption, Output, show

app = single()


@app.command("migrate")
def migrate(ctx: typer.Context, format: FormatOption = None) -> None:
    """Bring an older store's schema up to date. Nothing else does; on one that is up to date it changes nothing.

    Events stay as they are; projections are rebuilt from them.

    Example: waveledger migrate
    """
    from cli.progress import bar
    from ledger.store import migrate as schema
    from projections.upgrade import upgrade

    engine = open_store(ctx)
    came = schema.migrate(engine)
    with bar("events") as progress:
        projections = upgrade(engine, progress)
    document = {"found": came.found, "now": came.now, "projections": projections._asdict()}
    lines = [
        f"{what}: version {version.now}" + ("" if version.found == version.now else f", was {version.found}")
        for what, version in (("event store", came), ("projections", projections))
    ]
    show(Output(document, lines=lines), format)
