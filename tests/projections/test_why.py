"""Why a device gets what it gets: every case that a support engineer is asked about, and what asking costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from projections.queries.audit import summary
from projections.tuf.destination import Directory
from projections.why import gather, words
from projections.why.evidence import About, Evidence, Registered
from projections.why.source import Source
from tests.stores import about_files
from tests.support import DAY, Factory, device

Stage = Callable[[Factory], str]


def ask(factory: Factory, name: str) -> tuple[Evidence, words.Answer]:
    """The answer about a device, by uuid or name."""
    with factory.ledger.reading() as connection:
        (uuid,) = gather.matching(connection, name) or [name]
        found = gather.evidence(Source.of_now(connection), uuid)
    return found, words.explain(found, factory.now)


def codes(answer: words.Answer) -> list[str]:
    """What would change it."""
    return [change.code for change in answer.changes]


def behind(factory: Factory, found: Evidence) -> list[tuple[str, str]]:
    """The events behind an answer: what each is about, and its line."""
    from ledger.store import events

    with factory.ledger.reading() as connection:
        rows = [(about.value, events.get(connection, position)) for about, position in found.events]
    return [(about, summary(row)) for about, row in rows if row]


@pytest.fixture
def fleet(factory: Factory) -> Factory:
    """Three devices in two groups and none, a test device, builds 1 to 6, and number 1 in production."""
    factory.build(1, 2, 3, 4, 5, 6)
    factory.register(
        device("d-1", group="canary"),
        device("d-2", group="field"),
        device("d-3", hardware_id="amd64"),
        device("t-1", tag="main", production=False),
    )
    factory.init("v1", 1)
    factory.complete("v1")
    return factory


# what a device gets, and by which rule


def test_a_device_that_never_was(fleet: Factory) -> None:
    """It is answered, with the way in."""
    found, answer = ask(fleet, "d-9")

    assert (answer.rule, codes(answer), found.events) == (words.UNKNOWN_DEVICE, ["import"], ())
    assert answer.summary == "d-9 gets nothing: no device of that uuid or name was ever in the fleet."


def test_a_device_that_was_removed(fleet: Factory) -> None:
    """By whom and when, what rests, and that it may come back; its name still finds it."""
    fleet.init("v2", 2)
    fleet.rollout("v2", group="canary")
    fleet.actor = "bob"
    fleet.remove("d-1")
    found, answer = ask(fleet, "name-d-1")

    assert answer.summary == "name-d-1 gets nothing: it was removed from the fleet at 2027-01-15T08:00:00Z by bob."
    assert (answer.rule, codes(answer)) == (words.REMOVED_DEVICE, ["import"])
    assert answer.resting[0].startswith("it is in wave v2 (number 2) of tag release: that rests")
    assert [line for _, line in behind(fleet, found)][-1] == "removed 1 device: d-1"

    fleet.register(device("d-1", group="field"))
    _, answer = ask(fleet, "d-1")
    assert (answer.rule, answer.wave) == (
        "in-wave",
        "in v2 (number 2): it was rolled out to all of group canary, in which the device was",
    )


def test_a_test_device(fleet: Factory) -> None:
    """It sees CI targets; the import of the newest and the event that made it a test device are behind it."""
    fleet.register(device("d-1", tag="main", production=False))
    fleet.register(device("d-1", tag="main", group="lab", production=False))
    found, answer = ask(fleet, "d-1")

    assert (answer.rule, found.row.latest, answer.exclusion) == ("test-device", "arm64-lmp-6", None)  # type: ignore[union-attr]
    assert ("targets", "imported 12 CI targets: amd64-lmp-1, amd64-lmp-2, amd64-lmp-3 and 9 more") in behind(
        fleet, found
    )
    assert [about for about, _ in behind(fleet, found)] == ["targets", "device", "production or test", "tag and group"]
    assert codes(answer) == ["publish", "import-targets", "make-production"]


def test_a_test_device_whose_tag_has_no_ci_target(fleet: Factory) -> None:
    """It gets nothing, and its tag's wave is not for it."""
    fleet.register(device("t-1", production=False))
    fleet.init("v2", 2)
    _, answer = ask(fleet, "t-1")

    assert (answer.rule, answer.published) == ("no-ci-targets", "no: there is nothing for it")
    assert answer.exclusion == ("test-device", "it is a test device, and waves are for production devices")


def test_a_tag_without_production_targets(fleet: Factory) -> None:
    """Nothing yet, and which waves are active elsewhere."""
    fleet.init("v2", 2)
    fleet.register(device("d-7", tag="beta"))
    found, answer = ask(fleet, "d-7")

    assert (answer.rule, codes(answer)) == ("no-production-targets", ["wave"])
    assert answer.wave == "none is active for tag beta; active for other tags: v2 (release)"
    assert [about for about, _ in behind(fleet, found)] == ["device"]


def test_production_targets_are_traced_to_the_wave_that_brought_them(fleet: Factory) -> None:
    """A hardware variant that the last wave did not have stays what an earlier one brought."""
    fleet.build(7, hardware=("arm64",))
    fleet.init("v7", 7)
    fleet.complete("v7")

    for uuid, number in (("d-1", 7), ("d-3", 1)):
        found, answer = ask(fleet, uuid)
        assert ("targets", f"completed wave v{number}") in behind(fleet, found)
        assert answer.summary.startswith(f"name-{uuid} is to run ")


def by_list(factory: Factory) -> str:
    factory.rollout("v2", uuids=["d-1"])
    return "a rollout chose it"


def by_list_in_group(factory: Factory) -> str:
    factory.rollout("v2", group="canary", limit="1")
    return "a rollout within group canary chose it"


def by_group(factory: Factory) -> str:
    factory.rollout("v2", group="canary")
    return "it was rolled out to all of group canary, in which the device was"


def by_joining(factory: Factory) -> str:
    factory.rollout("v2", group="field")
    factory.set(["d-1"], group="field")
    factory.set(["d-1"], group="canary")  # and it stays
    return "it was rolled out to all of group field, into which the device came later"


@pytest.mark.parametrize("stage", [by_list, by_list_in_group, by_group, by_joining])
def test_ways_into_a_wave(fleet: Factory, stage: Stage) -> None:
    """The way in is told, with the rollout and the event since which it is in the wave."""
    fleet.init("v2", 2)
    how = stage(fleet)
    found, answer = ask(fleet, "d-1")
    assert isinstance(found, Registered)
    assert found.wave is not None
    assert found.wave.reached is not None

    assert found.row.view == "wave/v2"
    assert (answer.wave, answer.exclusion) == (f"in v2 (number 2): {how}", None)
    positions = [position for about, position in found.events if about is About.ROLLOUT]
    assert {found.wave.reached.rollout, found.wave.reached.since} >= set(positions) != set()
    assert codes(answer) == ["publish", "cancel", "complete"]


def not_rolled_out(_factory: Factory) -> str:
    return "not-rolled-out"


def not_selected(factory: Factory) -> str:
    factory.rollout("v2", uuids=["d-2"])
    return "not-selected"


def other_group(factory: Factory) -> str:
    factory.rollout("v2", group="field")
    return "other-group"


def at_number(factory: Factory) -> str:
    factory.report(("d-1", "arm64-lmp-2", factory.now))
    factory.rollout("v2", limit="100%")
    return "at-number"


def above_number(factory: Factory) -> str:
    factory.report(("d-1", "arm64-lmp-3", factory.now))
    factory.rollout("v2", limit="100%")
    return "above-number"


@pytest.mark.parametrize("stage", [not_rolled_out, not_selected, other_group, at_number, above_number])
def test_ways_past_a_wave(fleet: Factory, stage: Stage) -> None:
    """Why the wave passed it by; it has production, and rolling the wave out to it is only proposed where it can."""
    fleet.init("v2", 2)
    code = stage(fleet)
    found, answer = ask(fleet, "d-1")

    assert (answer.rule, answer.exclusion.code if answer.exclusion else None) == ("production", code)
    assert answer.wave.startswith("not in v2 (number 2): ")
    assert ("rollout" in codes(answer)) == (code in {"not-rolled-out", "not-selected", "other-group"})
    assert ("join-group" in codes(answer)) == (code == "other-group")
    assert ("wave", "initialized wave v2: number 2 for tag release") in behind(fleet, found)


def test_what_is_proposed_is_what_helps(fleet: Factory) -> None:
    """The rollout that is proposed is accepted, and then the device has the wave."""
    fleet.init("v2", 2)
    fleet.rollout("v2", group="field")
    commands = {change.code: change.command for change in ask(fleet, "d-1")[1].changes}

    assert commands["rollout"] == "waveledger waves rollout v2 --uuids d-1"
    assert commands["join-group"] == "waveledger devices set d-1 --group field"
    fleet.rollout("v2", uuids=["d-1"])
    assert ask(fleet, "d-1")[1].rule == "in-wave"


def test_a_wave_that_lacks_signatures(tmp_path: Path) -> None:
    """How many it has, and that another holder signs it."""
    factory = Factory(tmp_path / "two.db", holders=2, threshold=3)
    factory.build(1)
    factory.register(device("d-1"))
    factory.init("v1", 1)
    _, answer = ask(factory, "d-1")
    factory.close()

    assert answer.exclusion == ("not-ready", "it has 1 of the 2 offline signatures that it needs to reach anybody")
    assert codes(answer) == ["sign"]


def test_hardware_that_the_wave_has_nothing_for(fleet: Factory) -> None:
    """It is in the wave, gets what was production before, and is told which variants there are."""
    fleet.build(8, hardware=("amd64", "riscv"))
    fleet.init("v8", 8)
    fleet.rollout("v8", uuids=["d-1", "d-3"])
    _, answer = ask(fleet, "d-1")

    text = "number 8 has no target for its hardware, arm64, only for amd64 and riscv"
    assert answer.exclusion == ("no-target-for-hardware", text)
    assert answer.summary == (
        f"name-d-1 is to run arm64-lmp-1: wave v8 was rolled out to it, but {text}: so it is what was production "
        "before. That is decided, but devices can't see it yet."
    )
    assert ask(fleet, "d-3")[1].exclusion is None


def test_hardware_that_nothing_is_for(fleet: Factory) -> None:
    """It sees the view and finds nothing in it."""
    fleet.register(device("d-8", hardware_id="mips"))
    _, answer = ask(fleet, "d-8")

    assert answer.summary == (
        "name-d-8 gets nothing: no target of view production/release fits its hardware, mips; they are for amd64 and "
        "arm64."
    )


@pytest.fixture
def held(fleet: Factory) -> Factory:
    """Wave v4 was canceled when d-1 ran it, which is held."""
    fleet.init("v4", 4)
    fleet.rollout("v4", group="canary")
    fleet.report(("d-1", "arm64-lmp-4", fleet.now))
    fleet.cancel("v4")
    return fleet


def test_a_held_device(held: Factory) -> None:
    """By which wave, with the rollout, the report and the cancel; an orphan."""
    found, answer = ask(held, "d-1")

    assert (answer.rule, answer.reason.split(",")[0]) == ("held", "it runs number 4 of the canceled wave v4")
    assert answer.runs.startswith("arm64-lmp-4 (number 4), an orphan: neither in tag release's production targets")
    assert codes(answer) == ["publish", "report", "wave"]
    lines = [line for _, line in behind(held, found)]
    assert "canceled wave v4" in lines
    assert "rolled out v4 to group canary: 1 device, and whoever joins it" in lines


def test_a_held_device_and_a_lower_wave(held: Factory) -> None:
    """A lower wave neither chooses nor moves it; one at its number or above does."""
    held.init("v3", 3)
    held.rollout("v3", group="canary")
    _, answer = ask(held, "d-1")
    assert answer.exclusion == ("held", "it is held on number 4 of the canceled wave v4, above this one")
    assert (answer.rule, codes(answer)) == ("held", ["publish", "report", "wave"])
    held.cancel("v3")

    held.init("v4b", 4)
    held.rollout("v4b", group="canary")
    assert ask(held, "d-1")[1].rule == "in-wave-by-group"


def test_a_device_that_left_a_held_view(held: Factory, tmp_path: Path) -> None:
    """It waits for the next publication, which its own report is behind; then production is published for it."""
    tree = Directory(tmp_path / "tree")
    held.publish(tree)
    assert ask(held, "d-1")[1].published.startswith("yes, since 2027-01-15T08:00:00Z: timestamp and snapshot ")
    held.report(("d-1", "arm64-lmp-1", held.now))
    found, answer = ask(held, "d-1")

    assert (answer.rule, codes(answer)[0]) == ("left-held", "publish")
    assert answer.published == "not yet: it goes there with the next publication, so that no version goes down for it"
    assert behind(held, found)[-1] == ("report", "took in that device d-1 runs arm64-lmp-1")
    held.publish(tree)
    assert ask(held, "d-1")[1].published.startswith("yes, ")


def test_membership_that_rests(held: Factory) -> None:
    """Off the tag it counts no more, is told, and the way back is proposed."""
    held.set(["d-1"], tag="beta")
    _, answer = ask(held, "d-1")

    (rests,) = answer.resting
    assert rests.startswith("it ran number 4 of the canceled wave v4 of tag release: it is held on that again when")
    assert answer.changes[-1] == ("return", "following tag release again", "waveledger devices set d-1 --tag release")
    held.set(["d-1"], tag="release")
    assert ask(held, "d-1")[1].rule == "held"


def test_what_is_published(fleet: Factory, tmp_path: Path) -> None:
    """Nothing yet; then versions, position and expiries; then an older state than the one that was decided; expired."""
    tree = Directory(tmp_path / "tree")
    assert ask(fleet, "d-1")[1].published == "not yet: nothing of this view was published"
    fleet.publish(tree)
    found, answer = ask(fleet, "d-1")
    assert isinstance(found, Registered)
    shown = found.publication
    assert answer.published == (
        "yes, since 2027-01-15T08:00:00Z: timestamp and snapshot 1, targets 1000, root 1; "
        "valid until 2027-01-22T08:00:00Z"
    )
    assert shown.timestamp_expires == fleet.now + 7 * DAY
    assert (shown.targets_expires, shown.metadata, shown.targets) == (fleet.now + 365 * DAY, 1, 1000)
    assert ("publication", "published production/release") in behind(fleet, found)
    assert answer.changes[0] == (
        "install", "the device itself, when it next looks: it has not said yet that it runs arm64-lmp-1", None
    )  # fmt: skip
    fleet.report(("d-1", "arm64-lmp-1", fleet.now))
    assert codes(ask(fleet, "d-1")[1]) == ["wave"]
    fleet.init("v2", 2)
    fleet.complete("v2")
    assert ask(fleet, "d-1")[1].published.startswith("not yet: devices see what was published at 2027-01-15T08:00:00Z")
    fleet.publish(tree)
    fleet.wait(8 * DAY)
    _, answer = ask(fleet, "d-1")
    assert answer.published.endswith("expired at 2027-01-22T08:00:00Z: clients refuse it until the next refresh")
    assert codes(answer)[0] == "refresh"


def test_a_name_that_several_have(fleet: Factory) -> None:
    """All of them are found; who is in the fleet goes before who was removed."""
    fleet.register(device("d-5", name="twin"), device("d-6", name="twin"))
    with fleet.ledger.reading() as connection:
        assert gather.matching(connection, "twin") == ["d-5", "d-6"]
    fleet.remove("d-5")
    with fleet.ledger.reading() as connection:
        assert gather.matching(connection, "twin") == ["d-6"]
        assert gather.matching(connection, "nobody") == []


# what asking costs


@contextmanager
def statements(factory: Factory) -> Iterator[list[tuple[str, object]]]:
    """The statements that run on the ledger, with their values."""
    seen: list[tuple[str, object]] = []

    def note(_c: object, _cursor: object, statement: str, values: object, _context: object, _many: object) -> None:
        seen.append((statement, values))

    event.listen(factory.engine, "before_cursor_execute", note)
    yield seen
    event.remove(factory.engine, "before_cursor_execute", note)


def cost(factory: Factory, uuid: str) -> tuple[int, int]:
    """How many statements an answer takes, and how many steps of SQLite's machine."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    with statements(factory) as seen, factory.ledger.reading() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.set_progress_handler(step, 1)
        gather.evidence(Source.of_now(connection), uuid)
        raw.set_progress_handler(None, 0)
    return len(seen), steps


@about_files
def test_an_answer_costs_the_same_in_any_fleet(held: Factory) -> None:
    """As many statements and steps among 8,000 devices that all reported as among a few; no table is walked."""
    held.init("v5", 5)
    held.rollout("v5", group="canary")
    held.rollout("v5", group="field")
    before = {uuid: cost(held, uuid) for uuid in ("d-1", "d-2", "t-1")}
    crowd = [f"c-{number}" for number in range(8_000)]
    held.register(*(device(uuid, group="field") for uuid in crowd))
    held.report(*((uuid, "arm64-lmp-1", held.now) for uuid in crowd))

    for uuid, (count, steps) in before.items():
        assert count <= 30
        assert cost(held, uuid) == (count, pytest.approx(steps, abs=20))
    with statements(held) as seen, held.ledger.reading() as connection:
        gather.evidence(Source.of_now(connection), "d-1")
        gather.matching(connection, "name-d-1")
        plans = [
            (statement, str(line[-1]))
            for statement, values in list(seen)
            if statement.startswith("SELECT")
            for line in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)  # type: ignore[arg-type]
        ]
    big = ("d", "m", "h", "s", "e", "event", "fleet_device", "fleet_member", "fleet_history", "sighting")
    assert len(plans) > 20
    assert [(statement, line) for statement, line in plans if line.startswith("SCAN") and line.split()[1] in big] == []
