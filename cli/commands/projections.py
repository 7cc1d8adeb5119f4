"""waveledger projections: the answers that are kept ready."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.context import open_ledger, reading
from cli.options import group
from cli.output import Format, FormatOption, Output, Table, chosen, show

SHOWN = 120  # characters of a row in a table; all of it is in the other formats

app = group("The answers that are kept ready, and how to rebuild them.")

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="All of them if none is named.")]


@app.command("list")
def list_projections(ctx: typer.Context, format: FormatOption = None) -> None:
    """List the projections and how far each one is.

    Example: waveledger projections list
    """
    from projections import runner

    with reading(ctx) as connection:
        found = runner.states(connection)
    document = {
        "projections": [
            {"name": s.name, "position": s.position, "head": s.head, "tables": list(s.tables)} for s in found
        ]
    }
    show(Output(document, [Table(["name", "position", "head"], [(s.name, s.position, s.head) for s in found])]), format)


@app.command("rebuild")
def rebuild(ctx: typer.Context, names: Names = None, format: FormatOption = None) -> None:
    """Drop projections and fold them again from the events. Readers keep the old ones until the new ones are whole.

    Example: waveledger projections rebuild
    """
    from cli.progress import bar
    from projections import runner

    wanted = _known(names)
    ledger = open_ledger(ctx)
    done = []
    for name in wanted:
        with bar(f"rebuilding {name}") as progress:
            done.append({"name": name, "position": runner.rebuild(ledger.engine, name, progress)})
    lines = [f"{entry['name']}: rebuilt up to position {entry['position']}" for entry in done]
    show(Output({"projections": done}, lines=lines), format)


@app.command("verify")
def verify(ctx: typer.Context, names: Names = None, format: FormatOption = None) -> None:
    """Compare projections with a replay of the ledger. Exit 6: rows differ.

    Example: waveledger projections verify
    """
    from cli.errors import ProblemsFound
    from cli.progress import bar
    from projections import runner
    from projections.compare import readable, told

    wanted = _known(names)
    ledger = open_ledger(ctx)
    found = []
    for name in wanted:
        with bar(f"verifying {name}") as progress:
            found += runner.verify(ledger.engine, name, progress=progress)
    findings = [d._asdict() | {"row": {name: readable(name, value) for name, value in d.row.items()}} for d in found]
    document = {"ok": not found, "findings": findings}
    rows = [(d.table, d.problem, told(d.row) if chosen(format) is Format.CSV else told(d.row)[:SHOWN]) for d in found]
    good = [f"{', '.join(wanted)}: equal to a replay of the ledger"]
    show(Output(document, [Table(["table", "problem", "row"], rows)] if found else [], [] if found else good), format)
    if found:
        raise ProblemsFound(count=len(found), what="projections", advice="waveledger projections rebuild mends them")


def _known(names: list[str] | None) -> list[str]:
    from cli.errors import UnknownProjection
    from projections import runner

    known = [fold.name for fold in runner.folds()]
    for name in names or []:
        if name not in known:
            raise UnknownProjection(name=name, known=", ".join(known))
    return list(dict.fromkeys(names or known))
