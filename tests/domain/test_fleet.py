"""Devices, and what they say they run (DESIGN §2, "devices")."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from ledger.domain import fleet
from ledger.domain.events import BATCH, DevicesChanged, DevicesRegistered, DevicesRemoved, DevicesReported
from ledger.domain.fleet import Device, Report, Running, Upsert

GW = Device("gw-1", "Gate", "rpi4", "release", "canary", production=True)
NUMBERS = {"a-40": 40, "a-48": 48, "a-60": 60}
NEVER = Running(None, 0)


@pytest.fixture
def given(given_state):
    """Known devices."""
    return lambda *devices: given_state({device.uuid: device for device in devices})


@pytest.fixture
def report(given_state):
    """What one device ran, and the reports of it that come in."""

    def when(running, *reports):
        reported = [Report("gw-1", target, seen_at) for target, seen_at in reports]
        events, late, sightings = (
            given_state({"gw-1": running}).when(fleet.reported, reported, lambda name: NUMBERS.get(name, 0)).result
        )
        changes = [row for event in events for row in zip(event.targets, event.numbers, event.seen_at, strict=True)]
        return changes, late, sightings

    return when


def test_a_new_device_is_registered(given):
    """It counts as added."""
    assert given().when(fleet.upsert, [GW]).result == Upsert([GW], [], 0)


def test_an_unchanged_device_is_no_event(given):
    """It counts as same."""
    assert given(GW).when(fleet.upsert, [GW]).result == Upsert([], [], 1)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Door"}, {"hardware_id": "x86"}, {"tag": "beta"}, {"group": "eu"}, {"group": None},
        {"production": False},
    ],
    ids=str,
)  # fmt: skip
def test_everything_about_a_device_can_change_at_any_time(given, change):
    """Tag, group, hardware, name and production."""
    changed = GW._replace(**change)

    assert given(GW).when(fleet.upsert, [changed]).result == Upsert([], [changed], 0)


def test_devices_are_recorded_in_columns():
    """Element i of each column belongs to device i."""
    test = Device("t-1", "Test", "x86", "beta", None, production=False)
    columns = (
        ("gw-1", "t-1"), ("Gate", "Test"), ("rpi4", "x86"), ("release", "beta"), ("canary", None), (True, False),
    )  # fmt: skip

    assert list(fleet.registered([GW, test])) == [DevicesRegistered(*columns)]
    assert list(fleet.changed([GW, test])) == [DevicesChanged(*columns)]
    assert list(fleet.removed(["gw-1", "t-1"])) == [DevicesRemoved(("gw-1", "t-1"))]


@pytest.mark.parametrize(("count", "batches"), [(0, []), (1, [1]), (BATCH, [BATCH]), (BATCH + 1, [BATCH, 1])])
def test_devices_are_recorded_in_batches(count, batches):
    """At most a thousand an event, and no event for nobody."""
    devices = [GW._replace(uuid=f"gw-{i}") for i in range(count)]
    reports = [Report(d.uuid, "a-48", 5) for d in devices]
    known = {d.uuid: NEVER for d in devices}

    assert [len(event.uuids) for event in fleet.registered(devices)] == batches
    assert [len(event.uuids) for event in fleet.removed([d.uuid for d in devices])] == batches
    assert [len(event.uuids) for event in fleet.reported(known, reports, lambda _: 48)[0]] == batches


def test_another_target_is_history(report):
    """With its number, 0 for a target that the ledger never had."""
    assert report(NEVER, ("a-48", 5)) == ([("a-48", 48, 5)], 0, 0)
    assert report(Running("a-48", 5), ("handmade", 6)) == ([("handmade", 0, 6)], 0, 0)


def test_the_same_target_is_a_sighting(report):
    """Telemetry, not an event, whenever it was seen."""
    assert report(Running("a-48", 5), ("a-48", 6), ("a-48", 4)) == ([], 0, 2)


def test_no_target_is_a_sighting(report):
    """Only that the device is there."""
    assert report(Running("a-48", 5), (None, 9)) == ([], 0, 1)
    assert report(NEVER, (None, 9)) == ([], 0, 1)


def test_an_older_report_rewinds_nothing(report):
    """It came late: the device runs something else since."""
    assert report(Running("a-60", 100), ("a-48", 99)) == ([], 1, 0)


def test_a_report_of_the_same_second_is_not_late(report):
    """Whole seconds can't tell; the one that came later counts."""
    assert report(Running("a-60", 100), ("a-48", 100)) == ([("a-48", 48, 100)], 0, 0)


def test_reports_out_of_order_within_one_file(report):
    """The newest that was read decides what is late."""
    assert report(NEVER, ("a-60", 100), ("a-48", 50), ("a-48", 150), ("a-60", 120)) == (
        [("a-60", 60, 100), ("a-48", 48, 150)],
        2,
        0,
    )


def test_a_confirmation_makes_older_reports_late(report):
    """Seen on 60 at 200: a report of 48 at 150 tells of the past."""
    assert report(Running("a-60", 100), ("a-60", 200), ("a-48", 150)) == ([], 1, 1)


def test_a_sighting_without_target_makes_nothing_late(report):
    """It does not say what ran then."""
    assert report(Running("a-60", 100), (None, 200), ("a-48", 150)) == ([("a-48", 48, 150)], 0, 1)


def test_a_device_that_goes_back_and_forth(report):
    """Each change is history, also back to an earlier target."""
    changes, late, sightings = report(Running("a-48", 1), ("a-60", 2), ("a-48", 3), ("a-60", 4), ("a-60", 5))

    assert [target for target, _, _ in changes] == ["a-60", "a-48", "a-60"]
    assert (late, sightings) == (0, 1)


def test_reports_of_many_devices_do_not_mix():
    """What is late for one is news for another."""
    known = {"a": Running("a-60", 100), "b": NEVER}
    reports = [Report("a", "a-48", 50), Report("b", "a-48", 50)]

    assert fleet.reported(known, reports, NUMBERS.__getitem__) == (
        [DevicesReported(("b",), ("a-48",), (48,), (50,))],
        1,
        0,
    )


REPORTS = st.lists(st.tuples(st.sampled_from([None, *NUMBERS]), st.integers(0, 50)), max_size=30)


@pytest.mark.property
@for_all(REPORTS)
def test_time_never_goes_back_in_the_history_of_a_device(reports):
    """Whatever the order of reports, the recorded ones are in order, each a change, and every report is counted."""
    given = [Report("gw-1", target, seen_at) for target, seen_at in reports]
    events, late, sightings = fleet.reported({"gw-1": NEVER}, given, NUMBERS.__getitem__)
    rows = [row for event in events for row in zip(event.targets, event.seen_at, strict=True)]

    assert [seen_at for _, seen_at in rows] == sorted(seen_at for _, seen_at in rows)
    assert all(before[0] != after[0] for before, after in pairwise(rows))
    assert len(rows) + late + sightings == len(reports)


@pytest.mark.property
@for_all(REPORTS)
def test_reports_in_order_are_never_late(reports):
    """And the last target that was named is the one that is known."""
    given = [Report("gw-1", target, seen_at) for target, seen_at in sorted(reports, key=lambda r: r[1])]
    events, late, _ = fleet.reported({"gw-1": NEVER}, given, NUMBERS.__getitem__)
    named = [report.target for report in given if report.target]

    assert late == 0
    assert [event.targets[-1] for event in events[-1:]] == named[-1:]
