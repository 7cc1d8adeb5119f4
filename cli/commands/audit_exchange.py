"""waveledger audit export, import, schema: the ledger as a file, and what is in it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.context import open_store, reading, settings_of
from cli.options import DryRun
from cli.output import FormatOption, Output, Table, say, show, to_stdout


def register(app: typer.Typer) -> None:
    """Add the commands to their group."""
    app.command("export")(export)
    app.command("import")(import_)
    app.command("schema")(schema)


def export(
    ctx: typer.Context,
    out: Annotated[str | None, typer.Option("-o", metavar="FILE.jsonl", help="A new file, never overwritten.")] = None,
    format: FormatOption = None,
) -> None:
    """Write the whole ledger as JSON Lines: a manifest with the newest checkpoint, then every event.

    Without -o it goes to standard output. No private key is in it: the ledger has none.

    Example: waveledger audit export -o acme.jsonl
    """
    from cli import files
    from cli.auditing import checkpoint_or_none
    from ledger.application import exchange
    from ledger.application.proofs import read_tree
    from ledger.store import engine as store

    with reading(ctx) as connection:
        tree = read_tree(connection)
    checkpoint = checkpoint_or_none(ctx, tree)
    engine = open_store(ctx)
    with store.reading(engine) as connection:
        found = exchange.Export.begin(connection, tree, checkpoint)
    manifest, lines = found.manifest, found.lines(lambda: store.reading(engine))
    if out is None:
        with to_stdout():
            sys.stdout.buffer.writelines(lines)
            sys.stdout.buffer.flush()
    else:
        with files.new(out) as file:
            file.writelines(lines)
    told = f"{manifest.size:,} events and {manifest.checkpoints:,} checkpoints, root {manifest.root}"
    if out is None:
        say(f"exported {told}")
        return
    show(Output({**manifest._asdict(), "file": out}, lines=[f"exported to {out}: {told}"]), format)


def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE.jsonl|-", help="What audit export wrote.")],
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Make a new store from an export, or refuse it: positions, leaves, root and checkpoints are as they were.

    The store is the one that --store names, and must not hold a ledger. No key comes with it. What an import does not
    judge is whether the history is legal and well signed: waveledger audit verify does.

    Example: waveledger audit import acme.jsonl
    """
    from cli import files
    from cli.importing import create
    from cli.progress import stages

    with files.opened(file) as source, stages() as progress:
        manifest = create(settings_of(ctx), source, progress, dry_run=dry_run)
    did = "would import" if dry_run else "imported"
    told = f"{did} {manifest.size:,} events of {manifest.factory}, root {manifest.root}"
    show(Output({**manifest._asdict(), "file": file, "dry_run": dry_run}, lines=[told]), format)
    say("dry run, nothing was written" if dry_run else "next: waveledger audit verify, with a checkpoint that was kept")


def schema(format: FormatOption = None) -> None:
    """Show what is in an export: the topics of events with their fields, or with --format json its JSON Schema.

    The schema describes every line: the manifest, a checkpoint, and an event by its topic.

    Example: waveledger audit schema --format json
    """
    from ledger.codec import REGISTRY
    from ledger.schema import event_schema, export_schema

    rows = [(topic, ", ".join(event_schema(topic)["properties"])) for topic in sorted(REGISTRY)]
    show(Output(export_schema(), [Table(["topic", "fields"], rows)]), format)
