"""A page as HTML: one file with everything in it, for screens and paper, in light and dark.

The templates escape whatever they are given, and their policy forbids a browser to load anything: a name that somebody
gave to a wave stays a name.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from cli.output import when
from cli.reports import drawing, words
from cli.reports.document import field_of
from cli.reports.page import BarChart, Cell, CurveChart, LaneChart, Page, Said
from projections.reports.values import Span, Time

PILLS = {
    "complete": "complete",
    "canceled": "canceled",
    "active": "active",
    "expired": "expired",
    "renew": "renew",
    "fresh": "fresh",
}


def html(page: Page) -> str:
    """The file."""
    shown = replace(page, sections=[section.shown() for section in page.sections])
    return _environment().get_template("report.html").render(page=shown)


@lru_cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cli.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(curves=drawing.curves, lanes=drawing.lanes, columns=drawing.columns, side=drawing.SIDE)
    environment.tests.update(
        curve_chart=lambda chart: isinstance(chart, CurveChart),
        lane_chart=lambda chart: isinstance(chart, LaneChart),
        bar_chart=lambda chart: isinstance(chart, BarChart),
        moment=lambda cell: isinstance(cell, Time),
        duration=lambda cell: isinstance(cell, Span),
        count=lambda cell: isinstance(cell, int),
        said=lambda cell: isinstance(cell, Said),
    )
    environment.filters.update(
        rfc3339=when,
        moment=words.moment,
        day=words.day,
        clock=words.clock,
        span=words.span,
        number=_number,
        pill=_pill,
        field=field_of,
        told=_told,
    )
    return environment


def _number(value: int) -> str:
    return f"{value:,}"


def _told(cell: Cell) -> str | None:
    """The words of a cell that has some, None where people read nothing."""
    return cell.text if isinstance(cell, Said) else None if cell is None else str(cell)


def _pill(key: str, cell: Cell) -> str:
    """The look of a state; empty for what is none."""
    return PILLS.get(field_of(cell), "") if key in {"status", "state", "outcome"} else ""
