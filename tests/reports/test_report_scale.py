"""What reports cost: nothing for a single device, and a page that does not grow with the fleet."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from cli.reports.html import html
from projections.reports import history
from tests.reports.telling import PAGES, ask, builders
from tests.support import HOUR, Factory, device


def fleet_of(path: Path, size: int) -> Factory:
    """A factory whose fleet, of any size up to a batch, came and reported in as many events."""
    factory = Factory(path)
    factory.build(1, 2)
    factory.register(*[device(f"d{n:05}", group="canary" if n % 10 == 0 else None) for n in range(size)])
    factory.init("w1", 1)
    factory.rollout("w1", group="canary")
    for number in (1, 2):
        factory.wait(HOUR)
        factory.report(*[(f"d{n:05}", f"arm64-lmp-{number}", factory.now) for n in range(size)])
    factory.complete("w1")
    factory.wait(HOUR)
    factory.register(*[device(f"d{n:05}", "beta") for n in range(0, size, 10)])
    return factory


def lines_run(factory: Factory, kind: str) -> Counter[str]:
    """How many lines of each file of the project a report runs."""
    counted: Counter[str] = Counter()
    root = str(Path(history.__file__).parents[2])

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(root) or "/.venv/" in name or "/tests/" in name:
            return None
        if event == "line":
            counted[name.removeprefix(root)] += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        ask(factory, builders("w1", "release")[kind])
    finally:
        sys.settrace(before)
    return counted


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Factory, Factory]]:
    """Two factories that differ in the size of their fleet alone."""
    directory = tmp_path_factory.mktemp("sizes")
    small, large = fleet_of(directory / "small.db", 20), fleet_of(directory / "large.db", 800)
    yield small, large
    small.close()
    large.close()


@pytest.mark.parametrize("kind", PAGES)
def test_no_line_of_python_runs_for_a_single_device(sizes: tuple[Factory, Factory], kind: str) -> None:
    """With forty times the devices in as many events, a report runs the same lines as often."""
    few, many = (lines_run(factory, kind) for factory in sizes)

    assert few["/projections/reports/basis.py"] > 0
    assert many.total() <= 1.1 * few.total() + 50, (few, many)


def test_a_page_does_not_grow_with_the_number_of_reports(factory: Factory) -> None:
    """However often devices report, a curve has at most so many points; its end is the last one."""
    factory.build(1, 2)
    factory.register(*[device(f"d{n:03}") for n in range(150)])
    factory.init("w1", 1)
    factory.rollout("w1", limit="100%")
    for n in range(150):
        factory.wait(HOUR)
        factory.report((f"d{n:03}", "arm64-lmp-1", factory.now))
    share = ask(factory, builders("w1", "release")["tag"]).share
    wave = ask(factory, builders("w1", "release")["wave"])

    assert 60 < len(share.points) <= history.POINTS + 2
    assert 60 < len(wave.adoption) <= history.POINTS + 2
    assert share.points[-1].counts == (0, 150)[-len(share.versions) :]
    assert (wave.adoption[-1].updated, wave.adoption[0].updated) == (150, 0)
    assert wave.milestones[1].after == 75 * HOUR  # not where a slice ends
    assert len(html(PAGES["tag"](ask(factory, builders("w1", "release")["tag"])))) < 150_000


@pytest.mark.parametrize("many", [0, 1, 2, 3, 118, 119, 120, 121, 122, 500, 5000])
def test_thinning_keeps_both_ends(many: int) -> None:
    """At most 120 points of any number, in their order, among them the first and the last."""
    points = [(at * at, at) for at in range(many)]
    thinned = history.thin(points)

    assert len(thinned) <= history.POINTS
    assert thinned == sorted(thinned)
    assert set(thinned) <= set(points)
    assert thinned[:1] == points[:1]
    assert thinned[-1:] == points[-1:]
