"""A report in the format that was asked for, to stdout or into a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from cli import files, output
from cli.errors import BadFormat, UnknownReportTable, UnknownSuffix
from cli.reports import plain
from cli.reports.document import document
from cli.reports.page import Page, Section

if TYPE_CHECKING:
    from cli.commands.report import ReportFormat

_BY_SUFFIX = {".txt": "table", ".json": "json", ".csv": "csv", ".md": "markdown", ".html": "html", ".htm": "html"}


def chosen(wanted: ReportFormat | None, file: Path | None) -> ReportFormat:
    """The format that was asked for: on the line, by the file's name, or in the environment. Raises: BadFormat."""
    from cli.commands.report import ReportFormat

    if wanted is not None:
        return wanted
    text = file and _BY_SUFFIX.get(file.suffix.lower())
    if file and file.suffix and not text:
        raise UnknownSuffix(path=str(file))
    text = text or os.environ.get("WAVELEDGER_FORMAT") or ReportFormat.TABLE.value
    try:
        return ReportFormat(text)
    except ValueError:
        raise BadFormat(text=text) from None


def render(report: Any, page: Page, form: ReportFormat, table: str | None) -> str:
    """The text of a report. Raises: UnknownReportTable."""
    match form.value:
        case "json":
            return orjson.dumps(document(page.kind, report), option=orjson.OPT_INDENT_2).decode() + "\n"
        case "csv":
            return plain.csv(_section(page, table))
        case "markdown":
            return plain.markdown(page)
        case "html":
            from cli.reports.html import html

            return html(page)
        case _:
            lines, tables = plain.tables(page)
            return output.text_of(lines, tables) + "\n"


def write(report: Any, page: Page, form: ReportFormat, table: str | None, file: Path | None) -> None:
    """A report to stdout, or into a file. Raises: UnknownReportTable, NotWritable."""
    text = render(report, page, form, table)
    if file is None:
        output.put(text, nl=False)
        return
    files.write(str(file), text.encode())
    output.say(f"wrote {file}")


def _section(page: Page, table: str | None) -> Section:
    if table is None:
        return page.sections[0]
    for section in page.sections:
        if section.key == table:
            return section
    raise UnknownReportTable(table=table, tables=", ".join(section.key for section in page.sections))
