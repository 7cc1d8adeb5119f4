"""Whom a rollout chooses, in which order, and what it costs."""

# ruff: noqa: D102  (helpers speak by name)
from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from ledger.domain.rollout import NoCandidate
from tests import stores
from tests.support import DAY, HOUR, Factory, device

SIZES = (1, 2, 3, 7, 33, 99, 101, 199)


@pytest.mark.parametrize("size", SIZES)
def test_percentages_are_exact(factory: Factory, size: int) -> None:
    """N % of the matching devices, rounded up to whole devices, at any size and for every N."""
    factory.build(1)
    factory.register(*[device(f"d{n}") for n in range(size)], device("test", production=False), device("b", "beta"))
    factory.init("w", 1)

    for percent in (1, 2, 10, 25, 33, 34, 50, 66, 99, 100):
        came = factory.rollout("w", limit=f"{percent}%", dry_run=True)
        assert (len(came.uuids), came.matching) == (math.ceil(percent * size / 100), size)
        assert set(came.uuids) <= {f"d{n}" for n in range(size)}


def test_the_order_is_the_wave_and_the_device_alone(factory: Factory, tmp_path: Path) -> None:
    """The same devices in the same order whenever asked and however imported; a larger limit only adds."""
    uuids = [f"d{n}" for n in range(60)]
    other = Factory(tmp_path / "other.db")
    for made, order in ((factory, uuids), (other, uuids[::-1])):
        made.build(1)
        made.register(*[device(uuid) for uuid in order])
        made.init("w", 1)
    everyone = factory.rollout("w", limit="100%", dry_run=True).uuids
    other_everyone = other.rollout("w", limit="100%", dry_run=True).uuids
    other.close()

    assert other_everyone == everyone
    assert sorted(everyone) == sorted(uuids)
    assert everyone != tuple(uuids)
    for limit in range(1, 60, 7):
        assert factory.rollout("w", limit=str(limit), dry_run=True).uuids == everyone[:limit]


def test_another_wave_draws_another_order(factory: Factory) -> None:
    """Not the same devices go first in every wave."""
    factory.build(1)
    factory.register(*[device(f"d{n}") for n in range(40)])
    orders = set()
    for name in ("a", "b", "c"):
        factory.init(name, 1)
        orders.add(factory.rollout(name, limit="40", dry_run=True).uuids)
        factory.cancel(name)

    assert len(orders) == 3


def test_online_devices_go_first(factory: Factory) -> None:
    """Devices seen within four hours are chosen before all others, to the second."""
    factory.build(1)
    factory.register(*[device(f"d{n}") for n in range(20)])
    factory.init("w", 1)
    everyone = factory.rollout("w", limit="20", dry_run=True).uuids
    last = everyone[-3:]
    factory.report(
        (last[0], None, factory.now),
        (last[1], None, factory.now - 4 * HOUR),
        (last[2], None, factory.now - 4 * HOUR - 1),
    )

    assert factory.rollout("w", limit="20", dry_run=True).uuids == (*last[:2], *everyone[:-3], last[2])
    factory.wait(1)
    assert factory.rollout("w", limit="20", dry_run=True).uuids == (last[0], *everyone[:-3], *last[1:])


def test_nobody_is_chosen_twice(factory: Factory) -> None:
    """Rollouts go on from one another until nobody is left, and then one more is refused."""
    factory.build(1, 2)
    factory.register(*[device(f"d{n}", group="canary" if n < 5 else None) for n in range(37)])
    factory.report(("d36", "arm64-lmp-2", None))
    factory.init("w", 1)
    factory.rollout("w", group="canary")
    seen = [f"d{n}" for n in range(5)]
    while True:
        try:
            came = factory.rollout("w", limit="25%")
        except NoCandidate:
            break
        assert came.matching == 37
        seen += came.uuids

    assert len(seen) == len(set(seen))
    assert set(seen) == {f"d{n}" for n in range(36)}  # d36 is above it already


def test_all_of_them(factory: Factory) -> None:
    """100 % reaches everybody on the tag now, and nobody who comes later."""
    factory.build(1)
    factory.register(*[device(f"d{n}") for n in range(7)])
    factory.init("w", 1)
    factory.rollout("w", limit="100%")
    factory.register(device("later"))

    assert {row.view for uuid, row in factory.fleet().items() if uuid != "later"} == {"wave/w"}
    assert factory.shown("later").view is None


def test_a_choice_among_listed_devices(factory: Factory) -> None:
    """With uuids and a limit, the percentage is of the listed, and those in the wave already are no candidates."""
    factory.build(1)
    factory.register(*[device(f"d{n}") for n in range(30)])
    factory.init("w", 1)
    listed = [f"d{n}" for n in range(0, 30, 3)]  # ten of them
    first = factory.rollout("w", uuids=listed, limit="25%")
    second = factory.rollout("w", uuids=listed, limit="100")

    assert (len(first.uuids), first.matching) == (3, 10)
    assert set(second.uuids) == set(listed) - set(first.uuids)
    with pytest.raises(NoCandidate):
        factory.rollout("w", uuids=listed, limit="1")
    assert factory.rollout("w", uuids=[*listed, "d1"]).event.skipped == 10


def test_a_choice_among_a_group(factory: Factory) -> None:
    """With a group and a limit, the percentage is of the group, and whoever joins it later is not reached."""
    factory.build(1)
    factory.register(*[device(f"d{n}", group="lab" if n % 2 else "canary") for n in range(18)])
    factory.init("w", 1)
    came = factory.rollout("w", group="lab", limit="50%")
    factory.register(device("joins", group="lab"))

    assert (len(came.uuids), came.matching) == (5, 9)
    assert all(int(uuid[1:]) % 2 for uuid in came.uuids)
    assert factory.shown("joins").view is None


@dataclass
class Work:
    """What SQLite was asked for: statements, and steps of its virtual machine in hundreds."""

    statements: list[str] = field(default_factory=list)
    steps: int = 0

    @property
    def size(self) -> tuple[int, int]:
        return len(self.statements), self.steps


@contextmanager
def measured(factory: Factory) -> Iterator[Work]:
    """Counts inside SQLite itself, where a loop in Python or a scan in SQL can't hide."""
    work = Work()

    def step() -> int:
        work.steps += 1
        return 0

    def watch(raw: Any, _record: Any) -> None:
        raw.set_trace_callback(work.statements.append)
        raw.set_progress_handler(step, 100)

    factory.engine.dispose()
    event.listen(factory.engine, "connect", watch)
    try:
        yield work
    finally:
        event.remove(factory.engine, "connect", watch)
        factory.engine.dispose()


def cost(factory: Factory, number: int) -> dict[str, tuple[int, int]]:
    """What init, rollout to a group, complete and cancel cost, on the tag as it is."""
    found = {}
    for name, action in {
        "init": lambda: factory.init(f"m{number}", number),
        "rollout": lambda: factory.rollout(f"m{number}", group="canary"),
        "complete": lambda: factory.complete(f"m{number}"),
        "init again": lambda: factory.init(f"m{number + 1}", number + 1),
        "rollout again": lambda: factory.rollout(f"m{number + 1}", group="canary"),
        "cancel": lambda: factory.cancel(f"m{number + 1}"),
    }.items():
        with measured(factory) as work:
            action()
        found[name] = work.size
    return found


def fleet_of(factory: Factory, size: int) -> None:
    factory.register(*[device(f"d{n}", group="canary" if n < 10 else "rest") for n in range(size)])


def assert_same(small: dict[str, tuple[int, int]], large: dict[str, tuple[int, int]]) -> None:
    for name, (statements, steps) in small.items():
        assert large[name][0] == statements, name
        assert large[name][1] <= 1.3 * steps + 3, (name, steps, large[name][1])  # B-trees are a page deeper


@stores.about_files  # SQLite counts its own steps
def test_cost_does_not_grow_with_the_fleet(factory: Factory, tmp_path: Path) -> None:
    """Init, group rollout, complete and cancel ask the same of SQLite with 2,000 devices as with 50."""
    large = Factory(tmp_path / "large.db")
    for made, size in ((factory, 50), (large, 2000)):
        made.build(101, 102)
        fleet_of(made, size)

    assert_same(cost(factory, 101), cost(large, 101))
    large.close()


@stores.about_files  # SQLite counts its own steps
def test_cost_does_not_grow_with_who_runs_it_elsewhere(factory: Factory, tmp_path: Path) -> None:
    """A rollout looks for those of its group who run its target already, and at no other who does."""
    large = Factory(tmp_path / "large.db")
    for made, size in ((factory, 50), (large, 2000)):
        made.build(101, 102)
        made.register(*[device(f"d{n}", "release" if n < 20 else "beta", "canary") for n in range(size)])
        made.report(*[(f"d{n}", f"arm64-lmp-{101 + n % 2}", None) for n in range(size)])

    assert_same(cost(factory, 101), cost(large, 101))
    assert sum(row.view == "held/m102" for row in large.fleet().values()) == 10
    large.close()


@stores.about_files  # SQLite counts its own steps
def test_cost_does_not_grow_with_the_past(factory: Factory, tmp_path: Path) -> None:
    """Init, group rollout, complete and cancel ask the same of SQLite after 50 waves on the tag as after two."""
    old = Factory(tmp_path / "old.db")
    for made, waves in ((factory, 2), (old, 50)):
        made.build(*range(1, 53), 101, 102)
        fleet_of(made, 50)
        for n in range(1, waves + 1):
            made.init(f"w{n}", n, prune=(n - 2,) if n > 2 and n % 2 else ())
            made.rollout(f"w{n}", group="canary")
            if n % 2:
                made.complete(f"w{n}")
            else:
                made.cancel(f"w{n}")
            made.wait(DAY)

    assert_same(cost(factory, 101), cost(old, 101))
    old.close()


def test_a_first_report_is_never_late(factory: Factory) -> None:
    """A sighting says nothing about what a device runs, so an older first report is not behind it."""
    factory.build(1)
    factory.register(device("a"))
    factory.report(("a", None, factory.now))
    came = factory.report(("a", "arm64-lmp-1", factory.now - HOUR))

    assert (came.changed, came.late) == (1, 0)
    assert (factory.shown("a").target, factory.shown("a").seen_at) == ("arm64-lmp-1", factory.now)
