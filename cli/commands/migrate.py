"""waveledger migrate: bring an older store's schema up to date."""

from __future__ import annotations

import typer

from cli.context import settings_of
from cli.options import single
from cli.output import FormatOption, Output, show

app = single()


@app.command("migrate")
def migrate(ctx: typer.Context, format: FormatOption = None) -> None:
    """Bring an older store's schema up to date. Nothing else does; on one that is up to date it changes nothing.

    Example: waveledger migrate
    """
    from ledger.store import engine as store
    from ledger.store import migrate as schema

    came = schema.migrate(store.open_engine(settings_of(ctx).store))
    changed = "" if came.found == came.now else f", was {came.found}"
    show(Output({"found": came.found, "now": came.now}, lines=[f"schema version {came.now}{changed}"]), format)
