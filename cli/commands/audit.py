"""waveledger audit: the history."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.context import reading
from cli.options import MOST, Limit, Page, group
from cli.output import Format, FormatOption, Output, Table, chosen, put, say, show, when

app = group("The history of the ledger.")


@app.callback()
def audit() -> None:
    """The history of the ledger."""


@app.command("log")
def log(
    ctx: typer.Context,
    wave: Annotated[str | None, typer.Option(metavar="W", help="Only events of this wave.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="T", help="Only events of this tag.")] = None,
    device: Annotated[str | None, typer.Option(metavar="U", help="Only events of this device.")] = None,
    actor: Annotated[str | None, typer.Option(metavar="A", help="Only what this actor did.")] = None,
    since: Annotated[str | None, typer.Option(metavar="T", help="From this time on (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Up to this time (RFC 3339).")] = None,
    limit: Limit = 1000,
    page: Page = 1,
    format: FormatOption = None,
) -> None:
    """List what happened, oldest first, one line an event.

    Example: waveledger audit log --wave v48
    """
    from ledger.domain.values import parse_time, to_epoch
    from ledger.store import events
    from projections.queries import audit as query

    wanted = query.Filter(
        wave,
        tag,
        device,
        actor,
        to_epoch(parse_time(since)) if since else None,
        to_epoch(parse_time(until)) if until else None,
    )
    with reading(ctx) as connection:
        found = query.page(connection, wanted, limit=limit, number=page)
        head = events.head(connection)
    document = {
        "events": [_line(row, query.summary(row)) for row in found.rows],
        "head": {"position": head.size, "root": head.root.hex()},
        "next": found.next,
    }
    rows = [(row.position, when(row.recorded_at), row.actor, query.summary(row)) for row in found.rows]
    show(Output(document, [Table(["position", "recorded at", "actor", "what"], rows)]), format)
    if found.next:
        say(f"there is more: --page {found.next}")


@app.command("show")
def show_event(
    ctx: typer.Context,
    position: Annotated[int, typer.Argument(min=1, max=MOST)],
    format: FormatOption = None,
) -> None:
    """Show one event, whole.

    Example: waveledger audit show 1
    """
    import orjson

    from cli.errors import UnknownPosition
    from ledger import merkle
    from ledger.store import events
    from projections.queries import audit as query

    with reading(ctx) as connection:
        row = events.get(connection, position)
        size = events.head(connection).size
    if row is None:
        raise UnknownPosition(position=position, size=size)
    leaf = merkle.leaf_hash(merkle.entry(*row))
    document = _line(row, query.summary(row)) | {"leaf": leaf.hex(), "payload": orjson.loads(row.payload)}
    facts = [(name, value) for name, value in document.items() if name != "payload"]
    payload = orjson.dumps(document["payload"], option=orjson.OPT_INDENT_2).decode()
    show(Output(document, [Table.of_facts(facts)]), format)
    if chosen(format) is Format.TABLE:
        put("\n" + payload)


def _line(row: Any, summary: str) -> dict[str, Any]:
    return {
        "position": row.position,
        "stream": row.stream,
        "version": row.version,
        "topic": row.topic,
        "recorded_at": when(row.recorded_at),
        "actor": row.actor,
        "summary": summary,
    }
