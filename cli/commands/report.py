"""waveledger report: what happened, for people who were not there."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from cli import completion
from cli.context import reading, settings_of
from cli.options import Wave, group
from projections.reports import basis
from projections.reports.basis import Basis
from projections.reports.values import Wanted

app = group("Reports: waves, tags, the fleet, activity, expiry; also as HTML.")


class ReportFormat(StrEnum):
    """The formats of a report."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"
    HTML = "html"


FormatOption = Annotated[
    ReportFormat | None,
    typer.Option(
        "--format", "-f", help="How to write it. Default: what FILE's name ends in, else WAVELEDGER_FORMAT, else table."
    ),
]
FileOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file instead of stdout.")
]
TableOption = Annotated[
    str | None, typer.Option("--table", metavar="NAME", help="With csv: which of its tables. Default: the first.")
]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="From this time on (RFC 3339). Default: the beginning.")
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Up to this time (RFC 3339). Default: now.")
]


@app.callback()
def report() -> None:
    """Reports: what happened, for people who were not there.

    Each is made from one moment of the ledger and says from which: its position, its root, the last signed checkpoint.
    All formats show the same numbers. HTML is one file without any reference to elsewhere, for screens and paper.
    """


@app.command("waves")
def waves(
    ctx: typer.Context,
    since: SinceOption = None,
    until: UntilOption = None,
    table: TableOption = None,
    output: FileOption = None,
    format: FormatOption = None,
) -> None:
    """All waves of a period: outcome, duration, and why they were canceled.

    Example: waveledger report waves --since 2026-01-01T00:00:00Z -o waves.html
    """
    from cli.reports.pages.waves import page
    from projections.reports.waves import build

    wanted = _wanted(since, until)
    _write(ctx, lambda connection, made: build(connection, made, wanted), page, table, output, format)


@app.command("tag")
def tag(
    ctx: typer.Context,
    tag: Annotated[str, typer.Argument(metavar="TAG", autocompletion=completion.tags)],
    since: SinceOption = None,
    until: UntilOption = None,
    table: TableOption = None,
    output: FileOption = None,
    format: FormatOption = None,
) -> None:
    """The release history of a tag, and what its devices ran meanwhile.

    Example: waveledger report tag stable -o stable.html
    """
    from cli.reports.pages.tag import page
    from projections.reports.tag import build

    wanted = _wanted(since, until)
    _write(ctx, lambda connection, made: build(connection, made, tag, wanted), page, table, output, format)


@app.command("wave")
def wave(
    ctx: typer.Context,
    wave: Wave,
    table: TableOption = None,
    output: FileOption = None,
    format: FormatOption = None,
) -> None:
    """One wave from init to its end: rollouts, adoption, who signed, what was pruned.

    Example: waveledger report wave v48 -o v48.html
    """
    from cli.reports.pages.wave import page
    from projections.reports.wave import build

    _write(ctx, lambda connection, made: build(connection, made, wave), page, table, output, format)


@app.command("fleet")
def fleet(
    ctx: typer.Context,
    since: SinceOption = None,
    until: UntilOption = None,
    table: TableOption = None,
    output: FileOption = None,
    format: FormatOption = None,
) -> None:
    """The fleet now and over time: versions, orphans, silent devices.

    Example: waveledger report fleet -o fleet.html
    """
    from cli.reports.pages.fleet import page
    from projections.reports.fleet import build

    wanted = _wanted(since, until)
    _write(ctx, lambda connection, made: build(connection, made, wanted), page, table, output, format)


@app.command("activity")
def activity(
    ctx: typer.Context,
    since: SinceOption = None,
    until: UntilOption = None,
    table: TableOption = None,
    output: FileOption = None,
    format: FormatOption = None,
) -> None:
    """Who did what, and when it was busy.

    Example: waveledger report activity --since 2026-01-01T00:00:00Z
    """
    from cli.reports.pages.activity import page
    from projections.reports.activity import build

    wanted = _wanted(since, until)
    _write(ctx, lambda connection, made: build(connection, made, wanted), page, table, output, format)


@app.command("expiry")
def expiry(
    ctx: typer.Context,
    until: UntilOption = None,
    table: TableOption = None,
    output: FileOption = None,
    format: FormatOption = None,
) -> None:
    """What expires when (timestamps, targets, roots, keys), and which devices it would hit.

    With --until only what expires up to then.

    Example: waveledger report expiry
    """
    from cli.reports.pages.expiry import page
    from projections.reports.expiry import build

    wanted = _wanted(None, until)
    _write(ctx, lambda connection, made: build(connection, made, wanted), page, table, output, format)


def _wanted(since: str | None, until: str | None) -> Wanted:
    from cli.errors import UsageError
    from ledger.domain.values import parse_time, to_epoch

    first, last = (None if text is None else to_epoch(parse_time(text)) for text in (since, until))
    if first is not None and last is not None and first > last:
        raise UsageError(problem="--since is after --until", command="report")
    return Wanted(first, last)


def _write(
    ctx: typer.Context,
    build: Callable[[Connection, Basis], Any],
    page: Callable[[Any], Any],
    table: str | None,
    file: Path | None,
    wanted: ReportFormat | None,
) -> None:
    from cli.reports import writing

    form = writing.chosen(wanted, file)
    with reading(ctx) as connection:
        found = build(connection, basis.of(connection, settings_of(ctx).now))
    writing.write(writing.render(found, page(found), form, table), file)
