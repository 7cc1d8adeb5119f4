"""What a command prints: one document as JSON, or the same as tables or CSV.

Data goes to stdout, everything else to stderr. A table's cells come from names that were checked when they entered
the ledger; whatever else is printed (reasons, problems) loses its control characters here.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain, islice
from typing import Annotated, Any

import orjson
import typer

from cli.errors import BadFormat, OutputLost
from cli.lazy import printable, tell

_TOGETHER = 10_000  # lines that are printed at once


class Format(StrEnum):
    """The formats of ``--format``."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


FormatOption = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="How to print. Environment: WAVELEDGER_FORMAT. Default: table."),
]


@dataclass(frozen=True)
class Table:
    """Rows under headings, or facts (name and value); `title` and `note` stand above them, empty for none."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""
    facts: bool = False
    note: str = ""

    @classmethod
    def of_facts(cls, facts: Sequence[tuple[str, object]], title: str = "") -> Table:
        """Names and values, a line each."""
        return cls(["field", "value"], facts, title, facts=True)


@dataclass(frozen=True)
class Output:
    """What a command has to say: `document` for JSON, `lines` and `tables` for people, table number `csv` for CSV."""

    document: Any
    tables: Sequence[Table] = ()
    lines: Sequence[str] = ()
    csv: int = 0


def show(output: Output, wanted: Format | None) -> None:
    """Print in the format that was asked for. Raises: BadFormat for a bad WAVELEDGER_FORMAT."""
    match chosen(wanted):
        case Format.JSON:
            put(orjson.dumps(output.document, option=orjson.OPT_INDENT_2))
        case Format.CSV:
            for text in _csv(output.tables[output.csv] if output.tables else _lines_as_table(output.lines)):
                put(text, nl=False)
        case Format.TABLE:
            told = _lines(output.lines, output.tables)
            while together := list(islice(told, _TOGETHER)):
                put("\n".join(together))


def text_of(lines: Sequence[str], tables: Sequence[Table]) -> str:
    """Lines, then tables, as a terminal shows them."""
    return "\n".join(_lines(lines, tables))


def _lines(lines: Sequence[str], tables: Sequence[Table]) -> Iterator[str]:
    """One after another: a rollout to a million devices may be asked to print them."""
    begun = False
    for part in (map(printable, lines), *map(_table, tables)):
        if begun:
            yield ""
        for line in part:
            begun = True
            yield line


def put(data: str | bytes, *, nl: bool = True) -> None:
    """Data to stdout, as it is. Raises: OutputLost; BrokenPipeError, when its reader left."""
    with to_stdout():
        typer.echo(data, nl=nl)


@contextmanager
def to_stdout() -> Iterator[None]:
    """For what writes to stdout itself. Raises: OutputLost; BrokenPipeError, when its reader left."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as problem:
        sys.stdout = None  # else Python tries again at exit, and ends with a code of its own
        raise OutputLost(problem=problem.strerror or str(problem)) from None


def say(text: str) -> None:
    """Something that is not data."""
    tell(text)


def warn(text: str) -> None:
    """Something to look at."""
    say(f"warning: {text}")


def say_devices(found: Iterable[str], most: int = 20) -> None:
    """Devices one a line; of many the first ones, and how many more."""
    lines = list(found)
    for line in lines[:most]:
        say(f"  {line}")
    if len(lines) > most:
        say(f"  and {len(lines) - most:,} more (all of them with --format json)")


def when(seconds: int | None) -> str | None:
    """RFC 3339 of seconds since 1970."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def devices(count: int) -> str:
    """A number of devices, in words."""
    return f"{count:,} device" + ("" if count == 1 else "s")


def counted(noun: str, counts: Mapping[str, int], *, dry_run: bool) -> str:
    """How many came to what, in a line; in a dry run how many would be. What stays the same is so anyhow."""
    would = "would be " if dry_run else ""
    return f"{noun}: " + ", ".join(f"{n} {'' if what == 'same' else would}{what}" for what, n in counts.items())


def yes(value: object) -> str:
    """A truth value in a table."""
    return "yes" if value else "no"


def chosen(wanted: Format | None) -> Format:
    """The format that was asked for: on the line, else in the environment. Raises: BadFormat."""
    if wanted is not None:
        return wanted
    text = os.environ.get("WAVELEDGER_FORMAT") or Format.TABLE.value
    try:
        return Format(text)
    except ValueError:
        raise BadFormat(text=text) from None


def _cell(value: object) -> str:
    return "-" if value is None else printable(str(value))


def _table(table: Table) -> Iterator[str]:
    heading = [] if table.facts else [[heading.upper() for heading in table.columns]]
    widths = [0] * len(table.columns)
    for row in chain(heading, table.rows):
        widths = [max(width, len(_cell(value))) for width, value in zip(widths, row, strict=True)]
    if table.title:
        yield table.title
    if table.note:
        yield printable(table.note)
    for row in chain(heading, table.rows):
        yield "  ".join(_cell(value).ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()


def csv_of(table: Table) -> str:
    """A table as CSV, under headings in lower case."""
    return "".join(_csv(table))


def _csv(table: Table) -> Iterator[str]:
    """Many lines at a time."""
    headings = [column.replace(" ", "_").lower() for column in table.columns]
    values = (["" if value is None else printable(str(value)) for value in row] for row in table.rows)
    rows = chain([headings], values)
    while part := list(islice(rows, _TOGETHER)):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(part)
        yield text.getvalue()


def _lines_as_table(lines: Sequence[str]) -> Table:
    return Table(["message"], [[line] for line in lines])
