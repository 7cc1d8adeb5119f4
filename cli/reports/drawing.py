"""Charts as geometry: from numbers and moments to the shapes that the templates write as SVG.

Rules of this module:

* Across, everything is a percentage of the chart's width, so it is as wide as its page and its text stays readable on a
  phone. Curves are drawn in a square of `SIDE` that is stretched. The numbers of an axis stand beside the chart, in a
  `gutter` of so many pixels.
* A number holds until the next one: lines go in steps, never slanted. The last step has a width even where it has only
  just begun: the chart then ends a little after its time.
* Nothing is rounded to pixels: the numbers can be read back from the shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from cli.reports import words
from cli.reports.page import Bar, BarChart, CurveChart, Lane, LaneChart, Mark, Series

SIDE = 1000
THINNEST = 0.35  # percent; a bar of a wave that took a minute is still to be seen
_NARROWEST_STEP = 100  # of the time; a curve's last step is as wide as that part of it
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_STEPS = [
    1, 2, 5, 10, 15, 30, *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)), *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 3, 7, 14)),
]  # fmt: skip
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600)
_TICKS = 5  # the most that are of use on a phone
_NARROWEST_PIXELS, _LETTER_PIXELS, _GAP_PIXELS = 280, 6.6, 4  # a chart on a phone of 320 pixels, in its font of 12
_LONGEST_LANE = 46  # letters of its label, on a phone of 390 pixels
_THIN_PIXELS = 4  # below that a bar's edge would be most of it
_BOLD_PIXELS, _INSIDE_PIXELS = 7.2, 16  # a letter on a bar, and what is left of it on both sides


@dataclass(frozen=True)
class Tick:
    """A place on an axis, in percent, with its text; `anchor` keeps it inside the chart."""

    place: float
    label: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Shape:
    """A path in the square."""

    label: str
    tone: str
    path: str


@dataclass(frozen=True)
class Curves:
    """Areas, then lines over them. `top` is the number at the upper edge, `end` the moment at the right one."""

    gutter: int
    top: int
    end: int
    areas: Sequence[Shape]
    lines: Sequence[Shape]
    rows: Sequence[Tick]
    columns: Sequence[Tick]
    marks: Sequence[Tick]


@dataclass(frozen=True)
class Box:
    """A bar: place and width across in percent; whether its label fits into it, and whether it is `thin`."""

    label: str
    short: str
    tone: str
    place: float
    width: float
    fits: bool
    thin: bool


@dataclass(frozen=True)
class Dot:
    """A mark on a lane, in percent."""

    label: str
    tone: str
    place: float


@dataclass(frozen=True)
class DrawnLane:
    """A lane; `short` is what of its label fits on a phone."""

    label: str
    short: str
    boxes: Sequence[Box]
    dots: Sequence[Dot]


@dataclass(frozen=True)
class Lanes:
    """Lanes one below the other; `now` in percent, None where it is not in the chart."""

    lanes: Sequence[DrawnLane]
    columns: Sequence[Tick]
    now: float | None
    tones: Sequence[str]


@dataclass(frozen=True)
class Column:
    """One bar of a bar chart, in percent of both sides."""

    label: str
    place: float
    width: float
    height: float
    value: int


@dataclass(frozen=True)
class Columns:
    """Bars side by side."""

    gutter: int
    top: int
    bars: Sequence[Column]
    rows: Sequence[Tick]
    columns: Sequence[Tick]


def curves(chart: CurveChart) -> Curves:
    """A chart of curves."""
    levels = _stacked(chart.stacked)
    highest = [value for series in (*levels, *(line.points for line in chart.lines)) for _, value in series]
    top, rows = _rows(max(highest, default=0))
    end, gutter = _end(chart), _gutter(rows)

    def corners(points: Sequence[tuple[int, int]]) -> list[str]:
        return [
            f"{SIDE * _part(at, chart.start, end):.2f},{SIDE - SIDE * value / top:.3f}"
            for at, value in _steps(points, end)
        ]

    floors = [[(at, 0) for at, _ in level] for level in levels[:1]] + levels[:-1]
    areas = [
        Shape(series.label, series.tone, "M" + " L".join([*corners(level), *reversed(corners(floor))]) + "Z")
        for series, level, floor in zip(chart.stacked, levels, floors, strict=True)
    ]
    lines = [Shape(line.label, line.tone, "M" + " L".join(corners(line.points))) for line in chart.lines if line.points]
    marks = [_tick(mark.at, mark.label, chart.start, end) for mark in chart.marks]
    return Curves(gutter, top, end, areas, lines, rows, _columns(chart.start, end, gutter), marks)


def lanes(chart: LaneChart) -> Lanes:
    """A chart of lanes."""
    drawn = [_lane(lane, chart) for lane in chart.lanes]
    boxes = dict.fromkeys(box.tone for lane in drawn for box in lane.boxes)
    dots = dict.fromkeys(dot.tone for lane in drawn for dot in lane.dots)
    now = 100 * _part(chart.now, chart.start, chart.end) if chart.start < chart.now <= chart.end else None
    return Lanes(drawn, _columns(chart.start, chart.end), now, [*boxes, *dots])


def columns(chart: BarChart) -> Columns:
    """A bar chart."""
    points = chart.series.points
    top, rows = _rows(max(value for _, value in points))
    each = 100 / len(points)
    bars = [
        Column(words.moment(at), each * (place + 0.1), each * 0.8, 100 * value / top, value)
        for place, (at, value) in enumerate(points)
    ]
    gutter = _gutter(rows)
    return Columns(gutter, top, bars, rows, _columns(points[0][0], points[-1][0] + chart.width, gutter))


def _stacked(series: Sequence[Series]) -> list[list[tuple[int, int]]]:
    """Each series on top of those before it. All have the same moments."""
    levels: list[list[tuple[int, int]]] = []
    for one in series:
        below = levels[-1] if levels else [(at, 0) for at, _ in one.points]
        levels.append([(at, floor + value) for (at, value), (_, floor) in zip(one.points, below, strict=True)])
    return levels


def _end(chart: CurveChart) -> int:
    """Where the chart ends, so that its last step can be seen."""
    series = [*chart.stacked, *chart.lines]
    changes = [at for one in series for (_, before), (at, value) in pairwise(one.points) if value != before]
    return max([chart.end, *(at + max((at - chart.start) // _NARROWEST_STEP, 1) for at in changes)])


def _steps(points: Sequence[tuple[int, int]], end: int) -> list[tuple[int, int]]:
    corners = list(points[:1])
    for at, value in points[1:]:
        corners += [(at, corners[-1][1]), (at, value)]
    if corners and corners[-1][0] < end:
        corners.append((end, corners[-1][1]))
    return corners


def _lane(lane: Lane, chart: LaneChart) -> DrawnLane:
    # A label inside a bar would lie under dots; those of tone "mark" stand below it.
    free = all(mark.tone == "mark" for mark in lane.marks)
    boxes = [_box(bar, chart, free=free) for bar in lane.bars]
    # What is rare is drawn last: a wave is rolled out and published within a second, and one dot covers the other.
    marks = sorted(_inside(lane, chart), key=lambda mark: mark.tone == "rollout")
    dots = [Dot(mark.label, mark.tone, 100 * _part(mark.at, chart.start, chart.end)) for mark in marks]
    short = lane.label if len(lane.label) <= _LONGEST_LANE else f"{lane.label[: _LONGEST_LANE - 1]}…"
    return DrawnLane(lane.label, short, boxes, dots)


def _inside(lane: Lane, chart: LaneChart) -> list[Mark]:
    return [mark for mark in lane.marks if chart.start <= mark.at <= chart.end]


def _box(bar: Bar, chart: LaneChart, *, free: bool) -> Box:
    start = 100 * _part(max(bar.start, chart.start), chart.start, chart.end)
    end = 100 * _part(chart.end if bar.end is None else bar.end, chart.start, chart.end)
    width = max(end - start, THINNEST)
    short = bar.label.partition(",")[0].partition(":")[0]
    pixels = _NARROWEST_PIXELS * width / 100
    fits = free and pixels >= _BOLD_PIXELS * len(short) + _INSIDE_PIXELS
    return Box(bar.label, short, bar.tone, min(start, 100 - THINNEST), width, fits=fits, thin=pixels < _THIN_PIXELS)


def _part(at: int, start: int, end: int) -> float:
    """Where a moment is, from 0 to 1."""
    return min(max((at - start) / (end - start), 0.0), 1.0) if end > start else 0.0


def _rows(highest: int) -> tuple[int, list[Tick]]:
    """The number at the upper edge, and lines at round numbers, of which it is one."""
    step = _round_up(-(-max(highest, 1) // 3))
    count = -(-max(highest, 1) // step)
    return step * count, [Tick(100 - 100 * n / count, f"{step * n:,}") for n in range(count + 1)]


def _gutter(rows: Sequence[Tick]) -> int:
    """How wide the numbers of an axis are, in pixels, with what keeps them off the chart."""
    return round(_LETTER_PIXELS * max(len(row.label) for row in rows)) + 12


def _round_up(number: int) -> int:
    scale = 1
    while True:
        for digit in (1, 2, 5):
            if digit * scale >= number:
                return digit * scale
        scale *= 10


def _columns(start: int, end: int, gutter: int = 0) -> list[Tick]:
    """Round moments, as many as fit on a phone: of the clock, of the calendar in days, or first days of months."""
    if steps := [step for step in _STEPS if (end - start) // step < _TICKS]:
        moments_of = [range(-(-start // step) * step, end + 1, step) for step in steps]
        found = next((ticks for moments in moments_of if _fit(ticks := _named(moments, start, end), gutter)), [])
        # What is left of a short time may be a single mark: then rather the finer ones, without those that don't fit.
        return found if len(found) > 1 else _thinned(moments_of[0], start, end, gutter)
    firsts = list(_first_days(start, end))
    for every in _MONTHS:
        chosen = [_tick(at, f"{_utc(at):%b %Y}", start, end) for month, at in firsts if month % every == 0]
        if len(chosen) <= _TICKS + 1 and _fit(chosen, gutter):
            break
    return chosen


def _thinned(moments: Sequence[int], start: int, end: int, gutter: int) -> list[Tick]:
    kept: list[int] = []
    for at in moments:
        if _fit(_named([*kept, at], start, end), gutter):
            kept.append(at)
    return _named(kept, start, end)


def _named(moments: Sequence[int], start: int, end: int) -> list[Tick]:
    """Marks with times of the clock; the first one of each day has its date, and midnight is the day itself."""
    found = []
    for before, at in zip((-1, *moments), moments, strict=False):
        clock = f"{_utc(at):%H:%M}" if at % _MINUTE == 0 else f"{_utc(at):%H:%M:%S}"
        label = _day(at) if at % _DAY == 0 else clock if at - before <= at % _DAY else f"{_day(at)} {clock}"
        found.append(_tick(at, label, start, end))
    return found


def _fit(ticks: Sequence[Tick], gutter: int) -> bool:
    """Whether no label lies over the next one on a narrow phone, and each says something else."""
    ends = [_extent(tick, _NARROWEST_PIXELS - gutter) for tick in ticks]
    apart = all(right + _GAP_PIXELS <= left for (_, right), (left, _) in pairwise(ends))
    return apart and len({tick.label for tick in ticks}) == len(ticks)


def _extent(tick: Tick, chart: int) -> tuple[float, float]:
    """From where to where a label goes, in pixels of a chart that has so many."""
    width, at = _LETTER_PIXELS * len(tick.label), chart * tick.place / 100
    left = at - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[tick.anchor]
    return left, left + width


def _first_days(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The first days of months between two moments, each with the number of months since year 0."""
    month = _utc(start).year * 12 + _utc(start).month - 1
    while (at := int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp())) <= end:
        if at >= start:
            yield month, at
        month += 1


def _tick(at: int, label: str, start: int, end: int) -> Tick:
    place = 100 * _part(at, start, end)
    return Tick(place, label, "start" if place < 12 else "end" if place > 88 else "middle")


def _day(at: int) -> str:
    return f"{_utc(at).day} {_utc(at):%b}"


def _utc(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)
