"""Stories for reports, and how a report is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli.reports.page import Page
from cli.reports.pages import activity as activity_page
from cli.reports.pages import expiry as expiry_page
from cli.reports.pages import fleet as fleet_page
from cli.reports.pages import tag as tag_page
from cli.reports.pages import wave as wave_page
from cli.reports.pages import waves as waves_page
from ledger.application import members, waves
from ledger.store import events
from projections.reports import activity, expiry, fleet, tag, wave
from projections.reports import waves as waves_report
from projections.reports.source import Source
from projections.reports.values import Wanted
from projections.tuf.destination import Directory
from tests.support import DAY, HOUR, START, Factory, device

SCRIPT = "<script>alert('xss')</script>"
MALLORY = "<script>alert(1)"  # no slash: on PostgreSQL an actor is a role, and a part of a URL
IMAGE = '"><img/src=x/onerror=alert(1)>'

Build = Callable[[Source], Any]


def builders(wave_name: str, tag_name: str, wanted: Wanted = Wanted()) -> dict[str, Build]:  # noqa: B008  it is frozen
    """All six reports."""
    return {
        "waves": lambda source: waves_report.build(source, wanted),
        "tag": lambda source: tag.build(source, tag_name, wanted),
        "wave": lambda source: wave.build(source, wave_name),
        "fleet": lambda source: fleet.build(source, wanted),
        "activity": lambda source: activity.build(source, wanted),
        "expiry": lambda source: expiry.build(source, wanted),
    }


PAGES: dict[str, Callable[[Any], Page]] = {
    "waves": waves_page.page,
    "tag": tag_page.page,
    "wave": wave_page.page,
    "fleet": fleet_page.page,
    "activity": activity_page.page,
    "expiry": expiry_page.page,
}


def ask(factory: Factory, build: Build, now: int | None = None, *, telemetry: bool = True) -> Any:
    """A report of the factory as it is."""
    with factory.ledger.reading() as connection:
        position = events.head(connection).size
        at = factory.now if now is None else now
        return build(Source(connection, connection, position, at, telemetry))


class Story:
    """Two waves on one tag, each with a second one's number to compare: every figure in the tests follows from this.

    The first completes after a day, the second is canceled after two hours. Times are hours after START.
    """

    def __init__(self, directory: Path) -> None:
        f = self.factory = Factory(directory / "ledger.db")
        self.tree = Directory(directory / "public")
        members.add(f.ledger, f.facts, "bob", "admin")
        f.build(7, 8, 9)
        f.register(
            *[device(f"c{n}", "stable", "canary") for n in range(2)],
            *[device(f"e{n}", "stable", "europe") for n in range(6)],
            device("t0", "main", production=False),
            device("b0", "beta"),
        )
        f.wait(HOUR)  # hour 1: the first wave
        f.init("v7", 7, "stable")
        f.wait(HOUR)  # hour 2
        f.rollout("v7", group="canary")
        f.publish(self.tree)
        f.wait(HOUR)  # hour 3: 1 of 8
        f.report(("c0", "arm64-lmp-7", f.now))
        f.wait(2 * HOUR)  # hour 5: 2 of 8
        f.report(("c1", "arm64-lmp-7", f.now - HOUR))
        f.rollout("v7", uuids=["e0", "e1", "e2"])
        f.wait(5 * HOUR)  # hour 10: 4 of 8
        f.report(("e0", "arm64-lmp-7", f.now), ("e1", "arm64-lmp-7", f.now))
        f.wait(15 * HOUR)  # hour 25: complete, a day after init
        f.actor = "bob"
        f.complete("v7")
        f.publish(self.tree)
        f.wait(5 * HOUR)  # hour 30: all but e5, one of them moves away
        f.report(*[(f"e{n}", "arm64-lmp-7", f.now) for n in (2, 3, 4)])
        f.wait(10 * HOUR)  # hour 40
        f.set(["e5"], tag="beta")
        f.wait(8 * HOUR)  # hour 48: the second wave
        f.init("v8", 8, "stable", prune=(7,))
        f.rollout("v8", group="canary")
        f.publish(self.tree)
        f.wait(HOUR)  # hour 49
        f.report(("c0", "arm64-lmp-8", f.now))
        f.wait(HOUR)  # hour 50
        waves.cancel(f.ledger, f.facts, "v8", "reboots under load")
        f.publish(self.tree)
        f.wait(DAY)  # hour 74: now

    def ask(self, kind: str, *, wave: str = "v7", tag: str = "stable", wanted: Wanted = Wanted()) -> Any:  # noqa: B008
        """One of its reports."""
        return ask(self.factory, builders(wave, tag, wanted)[kind])


def hour(hours: int) -> int:
    """That many hours after the story began."""
    return START + hours * HOUR


def hostile(directory: Path) -> Factory:
    """A factory with names that are markup, wherever a rule of the ledger does not forbid it."""
    factory = Factory(directory / "ledger.db")
    members.add(factory.ledger, factory.facts, MALLORY, "admin")
    factory.build(1, 2)
    factory.register(device(IMAGE, "stable", "canary", name=SCRIPT), device("a", "stable", "canary"))
    factory.report((IMAGE, "arm64-lmp-1", factory.now - 40 * DAY))
    factory.actor = MALLORY
    factory.init("w1", 1, "stable")
    factory.rollout("w1", group="canary")
    factory.wait(HOUR)
    waves.cancel(factory.ledger, factory.facts, "w1", f"{IMAGE} | `{SCRIPT}` [x](y) *z*")
    factory.wait(HOUR)
    return factory
