"""A report as a page: facts, and sections of a table each, some with a chart. Every format but JSON is made from it.

A cell holds what JSON holds. Where people read it in other words, it is `Said`, and CSV still has the value itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from projections.reports.basis import Basis
from projections.reports.values import Period, Span, Time


@dataclass(frozen=True)
class Said:
    """A value that people read in other words, None where they read nothing. A list of JSON is a tuple here."""

    value: object
    text: str | None


Cell: TypeAlias = "str | int | Time | Span | Said | None"


@dataclass(frozen=True)
class Fact:
    """Something to know first; `note` says what it is of, or since when."""

    label: str
    value: Cell
    note: str = ""


@dataclass(frozen=True)
class Column:
    """`key` is its name in CSV, the same as in JSON; `title` what people read, empty for what only CSV has."""

    key: str
    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Bar:
    """A stretch of time; `end` None: it goes on. `tone` says how it looks: a status, or a state."""

    start: int
    end: int | None
    label: str
    tone: str


@dataclass(frozen=True)
class Mark:
    """A moment worth a mark."""

    at: int
    label: str
    tone: str = "mark"


@dataclass(frozen=True)
class Lane:
    """One line of a chart of lanes."""

    label: str
    bars: Sequence[Bar]
    marks: Sequence[Mark] = ()


@dataclass(frozen=True)
class LaneChart:
    """What happened when, a lane for each thing; `now` is a line through all of them."""

    title: str
    description: str
    start: int
    end: int
    now: int
    lanes: Sequence[Lane]


@dataclass(frozen=True)
class Series:
    """A number that holds from each of its moments to the next; `tone` says how it looks."""

    label: str
    tone: str
    points: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class CurveChart:
    """Numbers over time: `stacked` ones on top of each other from the bottom, then `lines` over them."""

    title: str
    description: str
    start: int
    end: int
    stacked: Sequence[Series]
    lines: Sequence[Series]
    marks: Sequence[Mark] = ()


@dataclass(frozen=True)
class BarChart:
    """One number for each of neighbouring stretches of time of one `width` in seconds."""

    title: str
    description: str
    width: int
    series: Series


Chart: TypeAlias = LaneChart | CurveChart | BarChart


@dataclass(frozen=True)
class Section:
    """A table, with its chart if it has one.

    `detail`: the numbers of a chart, which are folded below it. They are too many for a terminal, but for `brief` ones:
    there is no chart there.
    """

    key: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    chart: Chart | None = None
    detail: bool = False
    brief: bool = False
    note: str = ""

    def shown(self) -> Section:
        """As people get it: without the columns that only CSV has."""
        kept = [place for place, column in enumerate(self.columns) if column.title]
        rows = [[row[place] for place in kept] for row in self.rows]
        return replace(self, columns=[self.columns[place] for place in kept], rows=rows)


@dataclass(frozen=True)
class Page:
    """A whole report. The first section is its CSV, if no other one is asked for."""

    kind: str
    title: str
    lead: str
    basis: Basis
    period: Period | None
    facts: Sequence[Fact]
    sections: Sequence[Section]
