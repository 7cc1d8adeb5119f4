"""waveledger audit log, show: what happened, event by event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import documents
from cli.context import moment_of, reading_ledger
from cli.options import MOST, At, Limit, Page
from cli.output import Format, FormatOption, Output, Table, chosen, put, say, show

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from projections.queries.audit import Filter

_LISTS = {  # where to look for a name that a filter did not find
    "tag": ("about tag", "waveledger status shows the tags"),
    "device": ("about device", "waveledger devices list shows the fleet; a name of the past is found with --at"),
    "actor": ("by", "waveledger report activity shows who did what"),
}


def log(
    ctx: typer.Context,
    wave: Annotated[str | None, typer.Option(metavar="W", help="Only events of this wave.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="T", help="Only events of this tag.")] = None,
    device: Annotated[str | None, typer.Option(metavar="U", help="Only events of this device.")] = None,
    actor: Annotated[str | None, typer.Option(metavar="A", help="Only what this actor did.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From this time on (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Up to this time (RFC 3339).")] = None,
    after: Annotated[int, typer.Option(min=0, metavar="POSITION", help="Only events after this position.")] = 0,
    limit: Limit = 1000,
    page: Page = 1,
    at: At = None,
    format: FormatOption = None,
) -> None:
    """List what happened, oldest first, one line an event.

    Filters go together. To read on in a long history, --after with the last position is quicker than --page.

    Example: waveledger audit log --wave v48
    """
    from ledger.domain.values import parse_time, to_epoch
    from ledger.store import events
    from projections.queries import audit as query

    with reading_ledger(ctx) as connection:
        moment = moment_of(ctx, connection, at) if at else None
        wanted = query.Filter(
            wave,
            tag,
            device,
            actor,
            to_epoch(parse_time(since)) if since else None,
            to_epoch(parse_time(until)) if until else None,
            after,
            moment.position if moment else None,
        )
        found = query.page(connection, wanted, limit=limit, number=page)
        if not found.rows and page == 1:
            _require_known(connection, wanted)
        size = moment.position if moment else events.head(connection).size
        root = events.frontier_at(connection, size).root()
    lines = [documents.of_event(row, query.summary(row)) for row in found.rows]
    document = {
        "events": lines,
        "head": {"position": size, "root": root.hex()},
        "next": found.next,
    }
    show(Output(document, [_table(lines, chosen(format))]), format)
    if not found.rows:
        say("no event matches" if page == 1 else f"there is no page {page}")
    if found.next:
        say(f"there is more: --page {found.next}, or --after {found.rows[-1].position}")


def _require_known(connection: Connection, wanted: Filter) -> None:
    """Nothing was found: whether by a name that no event knows. Raises: UnknownWave, NoSuchEvents."""
    from cli.errors import NoSuchEvents
    from ledger.domain.wave import UnknownWave
    from projections.queries.audit import nothing_about

    unknown = nothing_about(connection, wanted)
    if unknown == "wave":
        raise UnknownWave(wave=str(wanted.wave))
    if unknown is not None:
        what, lists = _LISTS[unknown]
        raise NoSuchEvents(what=f"{what} {getattr(wanted, unknown)!r}", lists=lists)


def _table(lines: list[dict[str, Any]], format_: Format) -> Table:
    if format_ is Format.CSV:
        return Table(documents.EVENT, [tuple(line.values()) for line in lines])
    rows = [(line["position"], line["recorded_at"], line["actor"], line["summary"]) for line in lines]
    return Table(["position", "recorded at", "actor", "what"], rows)


def show_event(
    ctx: typer.Context,
    position: Annotated[int, typer.Argument(metavar="POSITION", min=1, max=MOST, help="Of the event.")],
    at: At = None,
    format: FormatOption = None,
) -> None:
    """Show one event, whole: its proof, and what it changed.

    The proof leads from the event's leaf to the root of the ledger, as it is or as it was (--at).

    Example: waveledger audit show 1
    """
    import orjson

    from cli import changes
    from cli.errors import UnknownPosition
    from ledger import merkle
    from ledger.store import events
    from projections.changes import of_event
    from projections.queries import audit as query

    with reading_ledger(ctx) as connection:
        size = moment_of(ctx, connection, at).position if at else events.head(connection).size
        row = events.get(connection, position) if position <= size else None
        if row is None:
            raise UnknownPosition(position=position, size=size)
        root = events.frontier_at(connection, size).root()
        path = merkle.inclusion_proof(events.leaves(connection, size), position - 1, size)
        (kept,) = events.stored(connection, position - 1, 1)
        changed = of_event(connection, row)
    leaf = merkle.leaf_hash(merkle.entry(*row))
    proof = {"index": position - 1, "size": size, "root": root.hex(), "path": [node.hex() for node in path]}
    line = documents.of_event(row, query.summary(row)) | {"leaf": leaf.hex()}
    document = line | {
        "proof": {**proof, "ok": leaf == kept.leaf},
        "changes": changes.document(changed),
        "payload": orjson.loads(row.payload),
    }
    facts = [*line.items(), ("proof", _told(size, root.hex(), len(path), is_leaf=leaf == kept.leaf))]
    tables = [Table.of_facts(facts)]
    if changed:
        tables.append(Table(["what", "how"], changes.rows(changed), "What it changed"))
    show(Output(document, tables), format)
    if chosen(format) is Format.TABLE:
        put("\n" + orjson.dumps(document["payload"], option=orjson.OPT_INDENT_2).decode())


def _told(size: int, root: str, hashes: int, *, is_leaf: bool) -> str:
    if not is_leaf:
        return f"FAILS: the event is not the one that is in the tree of {size} events with root {root}"
    return f"in the tree of {size} events with root {root}, by {hashes} hashes"


def register(app: typer.Typer) -> None:
    """Add the reading commands to the group of the audit."""
    app.command("log")(log)
    app.command("show")(show_event)
