"""waveledger audit verify: the whole ledger, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import open_store, settings_of
from cli.output import Format, FormatOption, Output, Table, chosen, say, show

if TYPE_CHECKING:
    from projections.audit.findings import Finding

SHOWN = 50  # findings in a table; all of them are in the JSON
MOST = 10_000  # findings that are kept: one cause may have many


def register(app: typer.Typer) -> None:
    """Add the command to its group."""
    app.command("verify")(verify)


def verify(
    ctx: typer.Context,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", metavar="FILE", help="A checkpoint that was kept elsewhere.")
    ] = None,
    root: Annotated[
        str | None, typer.Option("--root", metavar="ROOT.json", help="A production root that came another way.")
    ] = None,
    format: FormatOption = None,
) -> None:
    """Check the whole ledger: chain, signatures, rules, published metadata, projections.

    Without a checkpoint that was kept elsewhere, nobody can tell a ledger whose end was cut off, or an older copy, from
    one that is whole. Exit 6: something was found. Exit 7: it could not be checked. Nothing is changed, no key needed.

    Example: waveledger audit verify --checkpoint /mnt/safe/2027-01.note
    """
    from cli.auditing import read_checkpoint, read_root
    from cli.errors import ProblemsFound
    from cli.progress import bar
    from ledger.store import engine as store
    from ledger.store import migrate
    from projections.audit.history import Audit
    from projections.tables import shared_tables

    kept = read_checkpoint(checkpoint) if checkpoint else None
    trusted = read_root(root) if root else None
    engine = open_store(ctx)
    with store.reading(engine) as connection:
        migrate.check(connection, shared_tables())
    found: list[Finding] = []
    with bar("verifying") as progress:
        audit = Audit(engine, kept, trusted, progress, settings_of(ctx).now)
        for finding in audit.findings():
            found.append(finding)
            if len(found) == MOST:
                break
    show(_output(audit, found, chosen(format), checkpoint), format)
    if len(found) == MOST:
        say(f"stopped at {MOST:,} findings")
    if found:
        raise ProblemsFound(count=len(found), what="the ledger", advice=_advice({finding.kind for finding in found}))


_HISTORY = "look at the first one; then compare with a backup, an export or a mirror, and restore what is whole"
_MENDED = {  # kinds that say nothing against the history itself
    "projection": "the history is whole: waveledger projections rebuild makes its answers anew",
    "database": "the history is whole: waveledger migrate puts back what protects it; find out who took it away",
    "time": "set the clocks right, of the machines that record and of this one",
}


def _advice(kinds: set[str]) -> str:
    """What helps: of what is wrong with the history first, and then of what only stands around it."""
    known = [_MENDED[kind] for kind in _MENDED if kind in kinds]
    return "; ".join(known) if kinds <= _MENDED.keys() else _HISTORY


def _output(audit: Any, found: list[Finding], format_: Format, checkpoint: str | None) -> Output:
    size, root = audit.chain.rows, audit.chain.hashed.root().hex()
    document = {
        "ok": not found,
        "head": {"position": size, "root": root},
        "checked": {"events": size, "checkpoints": len(audit.checkpoints.seen), "fits": audit.checkpoints.fits},
        "findings": [f._asdict() for f in found],
    }
    rows = [(f.position, f.kind, f.field, f.message) for f in found]
    if format_ is Format.TABLE and len(rows) > SHOWN:
        rows = [*rows[:SHOWN], (None, "", "", f"and {len(rows) - SHOWN:,} more (all of them with --format json)")]
    columns = ["position", "kind", "field", "message"]
    if found or format_ is Format.CSV:
        return Output(document, [Table(columns, rows)])
    proven = audit.checkpoints.fits
    lines = [
        f"{size:,} events, root {root}: as they were recorded, legal and signed; projections are theirs",
        f"{len(audit.checkpoints.seen):,} checkpoints fit, the newest one up to position {proven:,}",
    ]
    if checkpoint:
        lines.append(f"and so does {checkpoint}: the first {audit.kept.size:,} events are those that it was signed for")
    return Output(document, lines=lines)
