"""waveledger report: what happened, for people who were not there."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from cli import completion, progress
from cli.context import past, reading_ledger, settings_of
from cli.options import At, Wave, group
from ledger.store import events
from projections import questions
from projections.questions import EVERYTHING
from projections.reports.source import Source
from projections.reports.values import Wanted

# What of the past each report needs in tables. The rest of it is read from the ledger's events.
QUESTIONS = {
    "waves": questions.topics("wave.initialized/1", "wave.rolled-out/1", "wave.completed/1", "wave.canceled/1"),
    "tag": questions.counts(),
    "wave": questions.counts(),
    "fleet": EVERYTHING,
    "activity": questions.topics("member.added/1", "member.removed/1"),
    "expiry": EVERYTHING,
}

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
HorizonOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="What expires up to this time. Default: everything.")
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
    at: At = None,
    table: TableOption = None,
    output: FileOption = None,
    format: FormatOption = None,
) -> None:
    """All waves of a period: outcome, duration, and why they were canceled.

    Example: waveledger report waves --since 2026-01-01T00:00:00Z -o waves.html
    """
    _tell(ctx, _Told("waves", at, table, output, format), _wanted(since, until))


@app.command("tag")
def tag(
    ctx: typer.Context,
    tag: Annotated[str, typer.Argument(metavar="TAG", help="Its name.", autocompletion=completion.tags)],
    since: SinceOption = None,
    until: UntilOption = None,
    at: At = None,
    table: TableOption = None,
    output: FileOption = None,
    format: FormatOption = None,
) -> None:
    """The release history of a tag, and what its devices ran meanwhile.

    Example: waveledger report tag stable -o stable.html
    """
    _tell(ctx, _Told("tag", at, table, output, format), tag, _wanted(since, until))


@app.command("wave")
def wave(
    ctx: typer.Context,
    wave: Wave,
    at: At = None,
    table: TableOption = None,
    output: FileOption = None,
    format: FormatOption = None,
) -> None:
    """One wave from init to its end: rollouts, adoption, who signed, what was pruned.

    Example: waveledger report wave v48 -o v48.html
    """
    _tell(ctx, _Told("wave", at, table, output, format), wave)


@app.command("fleet")
def fleet(
    ctx: typer.Context,
    since: SinceOption = None,
    until: UntilOption = None,
    at: At = None,
    table: TableOption = None,
    output: FileOption = None,
    format: FormatOption = None,
) -> None:
    """The fleet now and over time: versions, orphans, silent devices.

    Example: waveledger report fleet -o fleet.html
    """
    _tell(ctx, _Told("fleet", at, table, output, format), _wanted(since, until))


@app.command("activity")
def activity(
    ctx: typer.Context,
    since: SinceOption = None,
    until: UntilOption = None,
    at: At = None,
    table: TableOption = None,
    output: FileOption = None,
    format: FormatOption = None,
) -> None:
    """Who did what, and when it was busy.

    Example: waveledger report activity --since 2026-01-01T00:00:00Z
    """
    _tell(ctx, _Told("activity", at, table, output, format), _wanted(since, until))


@app.command("expiry")
def expiry(
    ctx: typer.Context,
    until: HorizonOption = None,
    at: At = None,
    table: TableOption = None,
    output: FileOption = None,
    format: FormatOption = None,
) -> None:
    """What expires when (timestamps, targets, roots, keys), and which devices it would hit.

    With --until only what expires up to then.

    Example: waveledger report expiry
    """
    _tell(ctx, _Told("expiry", at, table, output, format), _wanted(None, until))


class _Told(NamedTuple):
    """Which report, of which moment, and how to write it."""

    kind: str
    at: str | None
    table: str | None
    output: Path | None
    format: ReportFormat | None


def _tell(ctx: typer.Context, told: _Told, *about: object) -> None:
    """Build a report and write it. Its module and that of its page have its name; `about` is what it is built for."""
    from cli.errors import UsageError
    from cli.reports import writing

    form = writing.chosen(told.format, told.output)
    if told.table is not None and form is not ReportFormat.CSV:
        problem = f"--table goes with csv, and this is to be {form.value}: add --format csv"
        raise UsageError(problem=problem, command=f"waveledger report {told.kind}")
    build = import_module(f"projections.reports.{told.kind}").build
    page = import_module(f"cli.reports.pages.{told.kind}").page
    found = _built(ctx, told.at, told.kind, lambda source: build(source, *about))
    writing.write(found, page(found), form, told.table, told.output)


def _wanted(since: str | None, until: str | None) -> Wanted:
    from cli.errors import UsageError
    from ledger.domain.values import parse_time, to_epoch

    first, last = (None if text is None else to_epoch(parse_time(text)) for text in (since, until))
    if first is not None and last is not None and first > last:
        raise UsageError(problem="--since is after --until", command="waveledger report")
    return Wanted(first, last)


def _built(ctx: typer.Context, at: str | None, kind: str, build: Callable[[Source], Any]) -> Any:
    """The report, of now or of the moment that ``--at`` names."""
    with reading_ledger(ctx) as ledger, progress.bar("reading history") as drawn:
        if at is None:
            head = events.head(ledger)
            # A clock that is behind the ledger must not hide its newest events: time never goes back in there either.
            now = max(settings_of(ctx).now, head.recorded_at)
            return build(Source(ledger, ledger, head.size, now, telemetry=True, progress=drawn))
        with past(ctx, ledger, at, QUESTIONS[kind]) as (tables, moment):
            return build(Source(tables, ledger, moment.position, moment.now, telemetry=False, progress=drawn))
