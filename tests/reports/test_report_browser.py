"""HTML reports in a real browser: quiet, self-contained, legible, as wide as the window, and drawn from the data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cli.reports.document import document
from cli.reports.html import html
from cli.reports.page import Bar, BarChart, Column, CurveChart, Fact, Lane, LaneChart, Page, Section, Series
from projections.reports.basis import Basis, Head
from projections.reports.values import Span, Time
from tests.reports.browser import Browser, browser
from tests.reports.telling import PAGES, Story, ask, builders
from tests.support import DAY, HOUR, START, Factory

pytestmark = pytest.mark.slow

LOOKING = (Path(__file__).parent / "looking.js").read_text()
WIDTHS = (1280, 390)

# A shape of a chart as it is seen: corners of a path, or the box of a bar, relative to the chart's plot.
CORNERS = """
(() => { const path = document.querySelector(%r); const matrix = path.getScreenCTM();
  const plot = path.closest("[data-chart]").getBoundingClientRect();
  return path.getAttribute("d").match(/-?[\\d.]+,-?[\\d.]+/g).map((pair) => {
    const [x, y] = pair.split(",").map(Number); const p = new DOMPoint(x, y).matrixTransform(matrix);
    return [p.x - plot.x, p.y - plot.y, plot.width]; }); })()
"""
BOXES = """
[...document.querySelectorAll(%r)].map((bar) => { const box = bar.getBoundingClientRect();
  const plot = bar.closest("[data-chart]").getBoundingClientRect();
  return [bar.dataset.label, box.x - plot.x, box.width, box.height, plot.width]; })
"""


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for the module."""
    with browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture(scope="module")
def told(story: Story, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The file of each report, and the same report as JSON."""
    directory = tmp_path_factory.mktemp("html")
    found = {}
    for kind in PAGES:
        report = story.ask(kind)
        file = directory / f"{kind}.html"
        file.write_text(html(PAGES[kind](report)), encoding="utf-8")
        found[kind] = file, document(kind, report)
    return found


def seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


@pytest.mark.parametrize("kind", PAGES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_report_is_quiet_and_legible(driven: Browser, told: Any, kind: str, width: int, dark: bool) -> None:
    """No word on the console, no request but the file, AA contrast of every text, nothing beyond the window's edge."""
    file, _ = told[kind]
    driven.open(file, width=width, dark=dark)
    seen = driven.run(LOOKING)

    assert driven.complaints() == []
    assert [url for url in driven.requests() if url != file.as_uri() and not url.startswith("data:")] == []
    assert seen["pale"] == []
    assert seen["texts"] > 40
    assert seen["wide"] <= 0
    assert seen["over"] == seen["out"] == seen["upon"] == []
    assert seen["small"] == 0  # no text of a chart shrinks with the window
    assert (seen["paper"] == "rgb(19, 23, 27)") is dark


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_look_finds_what_is_wrong(driven: Browser, tmp_path: Path, dark: bool) -> None:
    """The same questions catch pale text, a page that is too wide, a request, and a script that fails."""
    file = tmp_path / "bad.html"
    file.write_text(
        '<body style="background:#888"><p style="color:#999">pale</p><div style="width:3000px">wide</div>'
        '<img src="http://127.0.0.1:9/x.png"><script>nothing.at.all()</script>'
    )
    driven.open(file, width=390, dark=dark)
    driven.call("Emulation.setDeviceMetricsOverride", width=390, height=900, deviceScaleFactor=1, mobile=False)
    seen = driven.run(LOOKING)

    assert [found for found in seen["pale"] if "pale" in found]
    assert seen["wide"] > 2000
    assert "http://127.0.0.1:9/x.png" in driven.requests()
    assert any("nothing is not defined" in complaint for complaint in driven.complaints())


def axes() -> Page:
    """Charts of minutes to years, that begin at midnight, in the morning, and shortly before the next day."""
    day = START - START % DAY
    spans = [12, 100, HOUR // 6, HOUR, 3 * HOUR, 9 * HOUR, 14 * HOUR, 29 * HOUR, 47 * HOUR]
    spans += [days * DAY for days in (3, 9, 40, 100, 400, 1300)]
    sections = [
        Section(
            f"from-{begin}-for-{span}", "", [Column("a", "A")], [(1,)],
            CurveChart("", "", day + begin, day + begin + span, [Series("x", "s6", [(day + begin, 1)])], []),
        )
        for begin in (0, 5 * HOUR // 60, 9 * HOUR + 17 * 60, 23 * HOUR + 5 * 60)
        for span in spans
    ]  # fmt: skip
    basis = Basis("acme", Head(1, "00" * 32), None, Time(day), Time(day))
    return Page("axes", "Axes", "", basis, None, [], sections)


@pytest.mark.parametrize("width", [*WIDTHS, 320])
def test_labels_of_axes_are_apart(driven: Browser, tmp_path: Path, width: int) -> None:
    """Whatever time a chart covers, no label of its axis touches the next one, on the narrowest phone, too."""
    (tmp_path / "axes.html").write_text(html(axes()), encoding="utf-8")
    driven.open(tmp_path / "axes.html", width=width, dark=False)

    assert driven.run("document.querySelectorAll('svg.chart text.axis:not(.over)').length") > 100
    assert driven.run(LOOKING)["over"] == []


def crowded() -> Page:
    """What is tight on a phone: long facts and names, bars at both edges, large numbers, a line for now at the left."""
    states = ("expired", "renew now", "fresh")
    lanes = [
        Lane(f"timestamp of view production/{'x' * n}", [Bar(begin, begin + n * HOUR, state, "renew")])
        for n in (1, 13, 17, 19, 20, 22, 24, 26, 60)
        for begin in (START, START + (100 - n) * HOUR)
        for state in states
    ]
    chart = LaneChart("", "", START, START + 100 * HOUR, START + HOUR, lanes)
    curve = CurveChart("", "", START, START + DAY, [Series("x", "s6", [(START, 1_000_000)])], [])
    bars = BarChart("", "", HOUR, Series("x", "s6", [(START + n * HOUR, 999_999) for n in range(40)]))
    sections = [
        Section(f"chart-{n}", "", [Column("a", "A")], [(1,)], one) for n, one in enumerate((chart, curve, bars))
    ]
    basis = Basis("acme", Head(1, "00" * 32), None, Time(START), Time(START))
    facts = [Fact("Next", Span(364 * DAY + 23 * HOUR), "the timestamp of a view") for _ in range(3)]
    return Page(
        "crowded", "Crowded", "", basis, None, [*facts, Fact("It would hit", 0), Fact("All", 1_000_000)], sections
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_runs_out_of_its_place(driven: Browser, tmp_path: Path, width: int) -> None:
    """Labels stay in their bars and charts, numbers in their tiles, and no line strikes through a word."""
    (tmp_path / "crowded.html").write_text(html(crowded()), encoding="utf-8")
    driven.open(tmp_path / "crowded.html", width=width, dark=False)
    seen = driven.run(LOOKING)

    assert driven.run("document.querySelectorAll('text.within').length") > 10
    assert seen["out"] == seen["upon"] == seen["over"] == []
    assert seen["wide"] <= 0


def test_a_line_looks_in_the_legend_as_in_the_chart(driven: Browser, told: Any) -> None:
    """Dashed here and there, in the same colour."""
    for kind in ("wave", "tag"):
        file, _ = told[kind]
        driven.open(file, width=1280, dark=False)
        looks = driven.run(
            "[...document.querySelectorAll('figure')].map((f) => ['path.line', '.legend line.line'].map((which) => "
            "[...f.querySelectorAll(which)].map((l) => { const s = getComputedStyle(l); "
            "return [s.stroke, s.strokeDasharray]; })))"
        )

        assert all(drawn == named for drawn, named in looks)
        assert any(dashes != "none" for drawn, _ in looks for _, dashes in drawn)


@pytest.mark.parametrize("width", WIDTHS)
def test_curves_are_drawn_where_the_numbers_are(driven: Browser, told: Any, width: int) -> None:
    """Each point of the JSON is a corner on the screen, to a pixel."""
    file, report = told["wave"]
    driven.open(file, width=width, dark=False)
    corners = driven.run(CORNERS % '[data-chart="adoption"] path.area')
    top, start, end = (
        float(driven.run(f"document.querySelector('[data-chart=adoption]').dataset.{name}"))
        for name in ("top", "start", "end")
    )
    plot = corners[0][2]
    assert plot > 0.75 * width
    for point in report["adoption"]:
        x = plot * (seconds(point["at"]) - start) / (end - start)
        y = 24 + 224 * (1 - point["updated"] / top)
        assert any(abs(cx - x) < 1 and abs(cy - y) < 1 for cx, cy, _ in corners), point


@pytest.mark.parametrize("width", WIDTHS)
def test_bars_are_drawn_where_the_numbers_are(driven: Browser, told: Any, width: int) -> None:
    """Waves from init to end, events by their height, to a pixel."""
    file, report = told["waves"]
    driven.open(file, width=width, dark=False)
    boxes = {label.partition(",")[0]: box for label, *box in driven.run(BOXES % '[data-chart="waves"] rect.bar')}
    start, end = seconds(report["period"]["since"]), seconds(report["period"]["until"])
    for wave in report["waves"]:
        x, length, _, plot = boxes[wave["name"]]
        assert abs(x - plot * (seconds(wave["created_at"]) - start) / (end - start)) < 1
        assert abs(length - max(plot * wave["duration_seconds"] / (end - start), 0.0035 * plot)) < 2

    file, report = told["activity"]
    driven.open(file, width=width, dark=False)
    top = float(driven.run("document.querySelector('[data-chart=busy]').dataset.top"))
    heights = [box[3] for box in driven.run(BOXES % '[data-chart="busy"] rect.bar')]
    assert len(heights) == len(report["busy"])
    for height, busy in zip(heights, report["busy"], strict=True):
        assert abs(height - 164 * busy["events"] / top) < 1


@pytest.mark.parametrize("kind", PAGES)
def test_charts_and_tables_have_names(driven: Browser, told: Any, kind: str) -> None:
    """In the tree that a screen reader gets: each chart an image with name and description, each table with headers."""
    file, _ = told[kind]
    driven.open(file, width=1280, dark=False)
    driven.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    nodes = [n for n in driven.call("Accessibility.getFullAXTree")["nodes"] if not n.get("ignored")]

    def named(role: str) -> list[str]:
        return [n["name"]["value"] for n in nodes if n["role"]["value"] == role]

    figures = driven.run("document.querySelectorAll('svg[role=img]').length")
    assert len(named("image")) == figures
    assert all(len(name) > 30 for name in named("image"))
    assert all(named("columnheader"))
    assert all(named("heading"))
    assert len(named("table")) == driven.run("document.querySelectorAll('table').length") > 0


@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_names_do_nothing(driven: Browser, hostile_factory: Factory, tmp_path: Path, width: int) -> None:
    """Markup in names is seen as text: no script runs, nothing is requested."""
    for kind, build in builders("w1", "stable").items():
        file = tmp_path / f"{kind}.html"
        file.write_text(html(PAGES[kind](ask(hostile_factory, build))), encoding="utf-8")
        driven.open(file, width=width, dark=False)

        assert driven.complaints() == []
        assert [url for url in driven.requests() if url != file.as_uri() and not url.startswith("data:")] == []
        assert driven.run("document.querySelectorAll('script, img').length") == 0
        assert driven.run(LOOKING)["wide"] <= 0


@pytest.mark.parametrize("kind", PAGES)
def test_a_report_is_printed_on_white(driven: Browser, told: Any, kind: str) -> None:
    """On paper there is no dark mode, and no folded table; nothing is cut off at the edge."""
    file, _ = told[kind]
    driven.open(file, width=680, dark=True)
    driven.call(
        "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )

    assert driven.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert driven.run("[...document.querySelectorAll('details')].every((d) => d.getClientRects().length === 0)")
    assert driven.run("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert driven.call("Page.printToPDF", preferCSSPageSize=True)["data"]
