"""A page for the terminal, as CSV, and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cli import output
from cli.lazy import printable
from cli.output import Table, when
from cli.reports import words
from cli.reports.document import field_of
from cli.reports.page import Cell, Page, Said, Section
from projections.reports.values import Span, Time

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#+!|~&])")


def tables(page: Page) -> tuple[list[str], list[Table]]:
    """Lines and tables for the terminal; a chart's numbers are left out if they are many."""
    found = [Table.of_facts([(fact.label.lower(), _fact(fact.value, fact.note)) for fact in page.facts])]
    for section in (section.shown() for section in page.sections):
        if section.rows and (section.brief or not section.detail):
            columns = [column.title for column in section.columns]
            rows = [[_told(cell) for cell in row] for row in section.rows]
            found.append(Table(columns, rows, section.title, note=section.note))
    return [page.title, page.lead, *made_from(page)], found


def csv(section: Section) -> str:
    """One section's table: the values of JSON, under its keys."""
    columns = [column.key for column in section.columns]
    return output.csv_of(Table(columns, [[field_of(cell) for cell in row] for row in section.rows]))


def markdown(page: Page) -> str:
    """The whole page. Whatever a name may have in it, it is text."""
    return "\n".join(_markdown(page)) + "\n"


def made_from(page: Page) -> Iterator[str]:
    """Which ledger this is of, in lines."""
    basis = page.basis
    yield f"factory {basis.factory}, ledger at position {basis.head.position}, root {basis.head.root[:16]}"


def _markdown(page: Page) -> Iterator[str]:
    basis = page.basis
    yield f"# {_escape(page.title)}"
    yield ""
    yield _escape(page.lead)
    yield ""
    for fact in page.facts:
        yield f"* **{_escape(fact.label)}:** {_escape(_fact(fact.value, fact.note))}"
    for section in (section.shown() for section in page.sections):
        yield from ("", f"## {_escape(section.title)}", "")
        if section.note:
            yield from (_escape(section.note), "")
        if section.rows:
            yield from _markdown_table(section)
        else:
            yield "None."
    yield from ("", "## Made from", "")
    yield f"Factory {_escape(basis.factory)} at {when(basis.at)}, ledger at position {basis.head.position}, root"
    yield f"`{basis.head.root}`."
    if basis.checkpoint:
        yield from ("", f"Signed checkpoint of position {basis.checkpoint.position}:", "")
        yield from (f"    {line}" for line in basis.checkpoint.note.splitlines())


def _markdown_table(section: Section) -> Iterator[str]:
    yield "| " + " | ".join(_escape(column.title) for column in section.columns) + " |"
    yield "|" + "|".join("--:" if column.numeric else "---" for column in section.columns) + "|"
    for row in section.rows:
        yield "| " + " | ".join(_escape(_told(cell)) for cell in row) + " |"


def _escape(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", printable(text))


def _told(cell: Cell) -> str:
    match cell:
        case None | Said(text=None):
            return "-"
        case Said(text=str(text)):
            return text
        case Time():
            return str(when(cell))
        case Span():
            return words.span(cell)
        case _:
            return str(cell)


def _fact(value: Cell, note: str) -> str:
    told = f"{value:,}" if type(value) is int else _told(value)  # a Time is an int, too
    return told + (f" ({note})" if note else "")
