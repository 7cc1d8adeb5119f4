"""waveledger store: what is about the store itself."""

from __future__ import annotations

from shlex import quote
from typing import Annotated

import typer

from cli.context import open_store
from cli.options import MOST, DryRun, group
from cli.output import FormatOption, Output, say, show

app = group("The store that the ledger is in.")


@app.callback()
def store() -> None:
    """The store that the ledger is in."""


@app.command("copy")
def copy(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="The new store; there must be no ledger in it.")],
    until: Annotated[
        int | None,
        typer.Option(min=1, max=MOST, metavar="POSITION", help="Only up to this position. Default: all of it."),
    ] = None,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Copy the ledger into another, empty store: the same events, positions and root. All of it or nothing.

    The copy is read back and compared. The store that is copied from stays as it is, and so does where commands look.

    Example: waveledger store copy postgresql+psycopg://alice@db/fleet
    """
    from cli import newledger
    from cli.progress import stages
    from ledger.store import engine
    from ledger.store.errors import CopyExists
    from projections import copying

    source = open_store(ctx)
    name = engine.shown(url)
    with (
        engine.opened(url, must_exist=False) as target,
        newledger.empty(target, dry_run=dry_run, exists=CopyExists),
        stages() as progress,
    ):
        copied = copying.copy(source, target, until, progress, dry_run=dry_run)
    document = {
        "from": engine.name_of(source.url),
        "to": name,
        "position": copied.position,
        "root": copied.root.hex(),
        "dry_run": dry_run,
    }
    did, checked = ("would copy", "they fit") if dry_run else ("copied", "verified them")
    lines = [f"{did} {copied.position} events to {name}, and {checked}: root {copied.root.hex()}"]
    show(Output(document, lines=lines), format)
    if dry_run:
        say("dry run, nothing was written")
        return
    own = ", with everybody's own login in it" if name.startswith("postgresql") else ""
    say(f"to work with the copy: export WAVELEDGER_STORE={quote(name)}{own}")
    say("next: waveledger status there; and write to the old store no more, or the two grow apart")
