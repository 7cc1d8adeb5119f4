"""Devices: registered, changed, removed, and what they say they run.

Rules of this module (DESIGN §2, "devices"):

* Import upserts: tag, group, name, hardware and production can change at any time; an unchanged device is no event.
* A report that names another target than the last one is history. A mere sighting is telemetry, not an event.
* A report older than the last one of its device rewinds nothing; of the same second, the one that comes later counts.
* A target that was not known when it was first reported gets its number with the first report after it is: the device's
  version changed, so that is history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from ledger.domain.errors import NotFound
from ledger.domain.events import BATCH, DevicesChanged, DevicesRegistered, DevicesRemoved, DevicesReported

_Bulk = TypeVar("_Bulk", DevicesRegistered, DevicesChanged)


class UnknownDevices(NotFound):
    """Devices that are not in the fleet. The whole command is refused."""

    message = "devices that are not in the fleet ({count}): {listing}"
    hint = "devices go by uuid here: waveledger devices list shows the fleet, waveledger devices import adds to it"
    count: int
    listing: str


class Device(NamedTuple):
    """A device as imported: one row of the CSV."""

    uuid: str
    name: str
    hardware_id: str
    tag: str
    group: str | None
    production: bool


class Report(NamedTuple):
    """What a device said: it runs `target` (None: only that it is there), at `seen_at` seconds since 1970."""

    uuid: str
    target: str | None
    seen_at: int


class Running(NamedTuple):
    """What is known of a device when a report comes in; `reported_at` 0: it never reported.

    `number` is what was recorded as the target's, 0 for one that was not known then; None leaves it as it is.
    """

    target: str | None
    reported_at: int
    number: int | None = None


class Upsert(NamedTuple):
    """What an import comes to."""

    added: list[Device]
    changed: list[Device]
    same: int


def upsert(known: Mapping[str, Device], devices: Iterable[Device]) -> Upsert:
    """Compare devices with those that are known by uuid."""
    added: list[Device] = []
    changed: list[Device] = []
    same = 0
    for device in devices:
        before = known.get(device.uuid)
        if before is None:
            added.append(device)
        elif before == device:
            same += 1
        else:
            changed.append(device)
    return Upsert(added, changed, same)


def registered(devices: Sequence[Device]) -> Iterator[DevicesRegistered]:
    """The events of new devices, in batches."""
    return _columns(DevicesRegistered, devices)


def changed(devices: Sequence[Device]) -> Iterator[DevicesChanged]:
    """The events of changed devices, in batches."""
    return _columns(DevicesChanged, devices)


def removed(uuids: Sequence[str]) -> Iterator[DevicesRemoved]:
    """The events of devices that leave, in batches."""
    for start in range(0, len(uuids), BATCH):
        yield DevicesRemoved(tuple(uuids[start : start + BATCH]))


def reported(
    known: Mapping[str, Running], reports: Iterable[Report], number_of: Callable[[str], int]
) -> tuple[list[DevicesReported], int, int]:
    """The events of version changes, and how many reports were late and how many mere sightings.

    `number_of` gives a target name's number, 0 for a target that the ledger never had.
    """
    running = dict(known)
    changes: list[Report] = []
    late = sightings = 0
    for report in reports:
        before = running[report.uuid]
        if report.target is None:
            sightings += 1
            continue
        number, seen_at = number_of(report.target), max(before.reported_at, report.seen_at)
        if report.target != before.target:
            if report.seen_at < before.reported_at:
                late += 1
                continue
            changes.append(report)
        elif number and before.number == 0:
            changes.append(report._replace(seen_at=seen_at))
        else:
            sightings += 1
        running[report.uuid] = Running(report.target, seen_at, number)
    events = [_reported(changes[start : start + BATCH], number_of) for start in range(0, len(changes), BATCH)]
    return events, late, sightings


def _reported(changes: Sequence[Report], number_of: Callable[[str], int]) -> DevicesReported:
    uuids, targets, seen_at = zip(*changes, strict=True)
    return DevicesReported(uuids, targets, tuple(number_of(target) for target in targets), seen_at)


def _columns(kind: type[_Bulk], devices: Sequence[Device]) -> Iterator[_Bulk]:
    for start in range(0, len(devices), BATCH):
        yield kind(*zip(*devices[start : start + BATCH], strict=True))
