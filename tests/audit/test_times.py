"""Times that can't be: an event from the future, and devices that were seen after their report was recorded."""

from __future__ import annotations

from ledger.domain.events import DevicesReported, MemberAdded
from projections.audit.history import Audit
from projections.audit.times import TOLERANCE_SECONDS
from tests.audit.attacker import Attacker
from tests.audit.conftest import Copies, audit
from tests.audit.test_legality import look, write
from tests.support import DAY, Factory


def add_carol(factory: Factory) -> int:
    return write(factory, [("factory", MemberAdded("carol", "admin"))])


def test_an_event_from_the_future_is_found(copies: Copies) -> None:
    """The first event beyond the audit's clock is one finding at its position; what follows has to be as late."""
    factory = copies()
    now = factory.now
    factory.wait(400 * DAY)
    position = add_carol(factory)
    factory.now = now
    write(factory, [("factory", MemberAdded("dave", "admin"))])

    (found,) = list(Audit(factory.engine, now=now).history())

    assert (found.position, found.kind, found.field) == (position, "time", "recorded_at")
    assert "400 days after the clock of this audit" in found.message
    assert not look(factory)  # who gives no clock asks nothing


def test_clocks_that_differ_a_little_are_no_finding(copies: Copies) -> None:
    """A machine whose clock was ahead by less than the tolerance, or was set back by it, is honest."""
    factory = copies()
    now = factory.now
    factory.wait(TOLERANCE_SECONDS)
    position = add_carol(factory)

    assert not list(Audit(factory.engine, now=now).history())
    assert [f.position for f in Audit(factory.engine, now=now - 1).history()] == [position]


def test_a_time_that_no_calendar_has(attacker: Attacker) -> None:
    """A time far beyond the year 9999 is told too, in seconds."""
    factory = attacker.factory
    last = factory.head()[0]
    attacker.run("UPDATE event SET recorded_at = :at WHERE position = :last", at=2**60, last=last)
    attacker.rehash()

    found = [f for f in audit(factory, now=factory.now) if f.kind == "time"]

    assert [(f.position, f.field) for f in found] == [(last, "recorded_at")]
    assert f"{2**60}" in found[0].message


def test_a_device_that_was_seen_after_its_report_was_recorded(copies: Copies) -> None:
    """The commands take a later time for now, so such an event was written by hand; all else about it is right."""
    factory = copies()
    late = factory.now + 1
    targets = ("arm64-lmp-1", "arm64-lmp-1")
    position = write(factory, [("fleet", DevicesReported(("d1", "d2"), targets, (1, 1), (late, factory.now)))])

    (found,) = look(factory)

    assert (found.position, found.kind, found.field) == (position, "illegal", "seen_at")
    assert found.message == "seen after the event was recorded: d1"


def test_reports_of_honest_devices(copies: Copies) -> None:
    """Reports from a time to come, of now and of long ago, on a machine whose clock was set back, leave no finding."""
    factory = copies()
    now = factory.now
    factory.wait(-DAY)
    factory.report(("d1", "arm64-lmp-1", now + DAY), ("d2", "arm64-lmp-1", None), ("d4", "arm64-lmp-1", 0))

    assert not list(Audit(factory.engine, now=now).findings())
