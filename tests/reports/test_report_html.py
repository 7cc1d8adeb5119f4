"""The structure of HTML reports: nothing from elsewhere, readable without looking, charts that hold the numbers."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from cli.reports import drawing
from cli.reports.document import document
from cli.reports.html import html
from cli.reports.page import Bar, BarChart, CurveChart, Lane, LaneChart, Mark, Series
from tests.reports import reading
from tests.reports.reading import Node
from tests.reports.telling import PAGES, Story, hour
from tests.support import DAY, HOUR

KINDS = list(PAGES)


@pytest.fixture(scope="module")
def pages(story: Story) -> dict[str, tuple[Any, str, Node]]:
    """Each report as JSON, as text and as elements."""
    found = {}
    for kind in KINDS:
        report = story.ask(kind)
        text = html(PAGES[kind](report))
        found[kind] = document(kind, report), text, reading.parse(text)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_comes_from_elsewhere(pages: dict[str, Any], kind: str) -> None:
    """No script, no address, and a policy that forbids to load any."""
    _, text, page = pages[kind]
    attributes = [(n.tag, name, value) for n in page.all() for name, value in n.attributes.items()]

    assert [found for found in attributes if found[1] in {"src", "srcset", "action", "poster", "data"}] == []
    assert [value for _, name, value in attributes if name == "href"] == ["data:,"]
    assert not re.search(r"url\(|@import|https?://|<script|<iframe", text)
    policy = [n.attributes["content"] for n in page.find("meta") if "http-equiv" in n.attributes]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_can_be_heard(pages: dict[str, Any], kind: str) -> None:
    """One h1, headings without gaps, tables with scopes, charts with a role, a title and a text, labels that exist."""
    _, _, page = pages[kind]
    levels = [int(n.tag[1]) for n in page.all() if n.tag in {"h1", "h2", "h3"}]
    ids = [n.attributes["id"] for n in page.all() if "id" in n.attributes]
    labels = [n.attributes["aria-labelledby"].split() for n in page.all() if "aria-labelledby" in n.attributes]

    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert len(ids) == len(set(ids))
    assert {label for found in labels for label in found} <= set(ids)
    for table in page.find("table"):
        assert all(h.attributes["scope"] == "col" for h in table.find("thead")[0].find("th"))
        assert all(h.attributes["scope"] == "row" for h in table.find("tbody")[0].find("th"))
    for figure in page.find("figure"):
        svg = figure.find("svg")[0]
        assert svg.attributes["role"] == "img"
        assert svg.find("title")[0].text
        assert svg.find("desc")[0].text
    assert page.find("html")[0].attributes["lang"] == "en"


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_stands_beside_each_chart(pages: dict[str, Any], kind: str) -> None:
    """In the same section."""
    _, _, page = pages[kind]
    for section in page.find("section"):
        if section.find("figure"):
            assert section.find("table")


def test_the_adoption_curve_is_the_data(pages: dict[str, Any]) -> None:
    """From its path the numbers can be read back, as steps that hold until the next one."""
    told, _, page = pages["wave"]
    svg = reading.svg_of(page, "adoption")
    start, end, top = (int(svg.attributes[f"data-{name}"]) for name in ("start", "end", "top"))
    area = reading.shapes(page, "adoption")["run version 7 or above"]

    def value(x: float, y: float) -> tuple[float, float]:
        return start + x / drawing.SIDE * (end - start), top * (1 - y / drawing.SIDE)

    corners = [value(x, y) for x, y in reading.path_points(area["d"])]
    upper = corners[: len(corners) // 2]
    expected = [(hour(1), 0), (hour(3), 0), (hour(3), 1), (hour(5), 1), (hour(5), 2), (hour(10), 2), (hour(10), 4),
                (hour(30), 4), (hour(30), 7), (end, 7)]  # fmt: skip
    assert end == hour(30) + 29 * HOUR // 20  # the last step is to be seen
    assert len(upper) == len(expected)
    assert all(abs(at - when) < 30 for (at, _), (when, _) in zip(upper, expected, strict=True))
    assert all(abs(v - n) < 0.001 for (_, v), (_, n) in zip(upper, expected, strict=True))
    assert all(abs(v) < 0.001 for _, v in corners[len(corners) // 2 :])
    assert [point["updated"] for point in told["adoption"]] == [0, 1, 2, 4, 7]


def test_stacked_versions_are_the_data(pages: dict[str, Any]) -> None:
    """At the end of the time the edges of the areas are the sums of the versions below them."""
    told, _, page = pages["tag"]
    top = int(reading.svg_of(page, "share").attributes["data-top"])
    shapes = reading.shapes(page, "share")
    last = told["share"]["points"][-1]
    total = 0
    for version, count in zip(told["share"]["versions"], last["counts"], strict=True):
        total += count
        corners = reading.path_points(shapes[f"version {version}" if version else "none reported"]["d"])
        upper = corners[len(corners) // 2 - 1]
        assert abs(top * (1 - upper[1] / drawing.SIDE) - total) < 0.001
    orphans = reading.path_points(shapes["orphans"]["d"])[-1]
    assert abs(top * (1 - orphans[1] / drawing.SIDE) - last["orphans"]) < 0.001


def test_the_lanes_are_the_waves(pages: dict[str, Any]) -> None:
    """A bar begins and ends where its wave did."""
    told, _, page = pages["waves"]
    svg = reading.svg_of(page, "waves")
    start, end = int(svg.attributes["data-start"]), int(svg.attributes["data-end"])
    bars = {n.attributes["data-label"]: n.attributes for n in svg.find("rect") if "data-label" in n.attributes}

    assert (start, end) == (hour(0), hour(74))
    for label, first, hours in (("v7, version 7: complete", 1, 24), ("v8, version 8: canceled", 48, 2)):
        assert abs(float(bars[label]["x"].rstrip("%")) - 100 * first / 74) < 1e-6
        assert abs(float(bars[label]["width"].rstrip("%")) - 100 * hours / 74) < 1e-6
    assert len(told["waves"]) == len(bars)


def test_the_bars_are_the_activity(pages: dict[str, Any]) -> None:
    """Heights are events."""
    told, _, page = pages["activity"]
    svg = reading.svg_of(page, "busy")
    top = int(svg.attributes["data-top"])
    heights = [float(n.attributes["height"].rstrip("%")) for n in svg.find("rect")]

    assert [round(height * top / 100) for height in heights] == [one["events"] for one in told["busy"]]


@pytest.mark.parametrize("length", [2, 10, 3600, 1_000_000])
@pytest.mark.parametrize("stacked", [True, False])
def test_the_last_step_has_a_width(length: int, *, stacked: bool) -> None:
    """Where something changes in the last second of a chart, that is seen, and the rest as before."""
    series = [Series("a", "s6", [(0, 0), (length // 2, 5), (length, 7)])]
    drawn = drawing.curves(CurveChart("", "", 0, length, series if stacked else [], [] if stacked else series))
    (shape,) = [*drawn.areas, *drawn.lines]
    corners = reading.path_points(shape.path)
    (last, before) = corners[5 if stacked else -1], corners[4 if stacked else -2]

    assert last[0] == drawing.SIDE
    assert drawing.SIDE - before[0] >= 9
    assert last[1] == before[1]


@pytest.mark.parametrize("highest", [0, 1, 2, 3, 4, 7, 8, 99, 100, 101, 1_000_000])
def test_an_axis_ends_at_a_round_number_not_far_above(highest: int) -> None:
    """Its top is at least the highest value and below three times that; lines are at whole numbers."""
    chart = CurveChart("", "", 0, 10, [Series("a", "s6", [(0, highest)])], [])
    drawn = drawing.curves(chart)

    assert max(highest, 1) <= drawn.top < 3 * max(highest, 1)
    assert drawn.rows[0].label == "0"
    assert int(drawn.rows[-1].label.replace(",", "")) == drawn.top
    assert 2 <= len(drawn.rows) <= 5


@pytest.mark.parametrize(
    "length", [0, 1, 59, HOUR, 5 * HOUR, DAY, 9 * DAY, 80 * DAY, 400 * DAY, 4000 * DAY, 40_000 * DAY]
)
def test_a_time_axis_fits_on_a_phone(length: int) -> None:
    """At most six marks, in order and inside, each with another text."""
    chart = LaneChart("", "", hour(0), hour(0) + length, hour(0), [Lane("x", [Bar(hour(0), None, "x", "active")])])
    ticks = drawing.lanes(chart).columns

    assert len(ticks) <= 6
    assert [tick.place for tick in ticks] == sorted({tick.place for tick in ticks})
    assert all(0 <= tick.place <= 100 for tick in ticks)
    assert len({tick.label for tick in ticks}) == len(ticks)


@pytest.mark.parametrize("length", [HOUR // 2, 3 * HOUR, 9 * HOUR, 20 * HOUR, 30 * HOUR, 47 * HOUR, 3 * DAY])
@pytest.mark.parametrize("begin", [0, 17, 23])
def test_labels_of_a_short_time_are_apart(begin: int, length: int) -> None:
    """Days are named once, so labels of hours fit: 2 to 5, none within six pixels a letter of the next one's middle."""
    start = hour(0) - hour(0) % DAY + begin * HOUR + 300
    chart = LaneChart("", "", start, start + length, start, [Lane("x", [Bar(start, None, "x", "active")])])
    ticks = drawing.lanes(chart).columns

    assert 2 <= len(ticks) <= 5
    for one, other in pairwise(ticks):
        assert 2.8 * (other.place - one.place) > 3 * len(one.label + other.label)
    assert sum("15 Jan" in tick.label for tick in ticks) <= 1


@pytest.mark.parametrize("length", range(1, 240, 7))
def test_a_time_of_seconds_has_an_axis(length: int) -> None:
    """A wave that took seconds, as when somebody tries things out, has times on its axis."""
    start = hour(0) + 44
    chart = LaneChart("", "", start, start + length, start, [Lane("x", [Bar(start, None, "x", "active")])])
    labels = [tick.label for tick in drawing.lanes(chart).columns]

    assert 2 <= len(labels) <= 5
    assert labels[0].startswith("15 Jan 08:0")


def test_what_is_small_or_rare_in_a_lane_is_seen() -> None:
    """A rollout is drawn over what happened in its second, and a bar of a minute has no edge that hides it."""
    marks = [Mark(5, "rollout", "rollout"), Mark(5, "published", "step"), Mark(7, "ended", "step")]
    bars = [Bar(0, 5, "short", "canceled"), Bar(5, 900, "long", "active")]
    (lane,) = drawing.lanes(LaneChart("", "", 0, 1000, 1000, [Lane("x", bars, marks)])).lanes

    assert [dot.label for dot in lane.dots] == ["published", "ended", "rollout"]
    assert [box.thin for box in lane.boxes] == [True, False]


def test_a_chart_of_one_bar() -> None:
    """It is as wide as it may be."""
    drawn = drawing.columns(BarChart("", "", HOUR, Series("events", "s6", [(hour(0), 3)])))

    assert [(round(bar.place, 6), round(bar.width, 6), bar.value) for bar in drawn.bars] == [(10, 80, 3)]
