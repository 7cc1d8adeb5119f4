"""The use cases of devices: import, set, remove, report. Importing data needs access to the store only (DESIGN §2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from ledger.application.facts import FleetFacts
from ledger.domain import fleet
from ledger.domain.events import DevicesReported
from ledger.domain.fleet import Device, Report, Running, UnknownDevices
from ledger.domain.values import check_name
from ledger.garbage import uncollected
from ledger.session import Ledger
from ledger.store.scratch import Names

CHUNK = 50_000  # devices compared and appended at once: indexed projections gave 74,000 devices/s (DESIGN §3)

_T = TypeVar("_T")


@dataclass(frozen=True)
class Imported:
    """What an import of devices came to."""

    added: int = 0
    changed: int = 0
    same: int = 0


@dataclass(frozen=True)
class Reported:
    """What a stream of reports came to; `of_unknown` are reports of devices that are not in the fleet."""

    reports: int = 0
    changed: int = 0
    sightings: int = 0
    late: int = 0
    of_unknown: int = 0


def import_devices(
    ledger: Ledger,
    facts: FleetFacts,
    devices: Iterable[Device],
    *,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Imported:
    """Upsert devices, each uuid once, all or nothing. `progress` gets the number of devices done so far."""
    total = Imported()
    with ledger.writing(dry_run=dry_run) as session, uncollected():
        first = facts.is_empty(session.connection)  # then none of them is there, and nobody needs to look for it
        for chunk in _chunks(devices, CHUNK):
            known = {} if first else facts.devices(session.connection, [device.uuid for device in chunk])
            came = fleet.upsert(known, chunk)
            session.append("fleet", fleet.registered(came.added))
            session.append("fleet", fleet.changed(came.changed))
            total = Imported(total.added + len(came.added), total.changed + len(came.changed), total.same + came.same)
            if progress:
                progress(total.added + total.changed + total.same)
    return total


@dataclass(frozen=True)
class Setting:
    """What `devices set` changes: a tag, a group, or no group any more."""

    tag: str | None = None
    group: str | None = None
    no_group: bool = False

    def apply(self, device: Device) -> Device:
        """The device as it will be."""
        group = None if self.no_group else self.group or device.group
        return device._replace(tag=self.tag or device.tag, group=group)


def set_devices(
    ledger: Ledger, facts: FleetFacts, uuids: Sequence[str], setting: Setting, *, dry_run: bool = False
) -> Imported:
    """Change tag or group of devices, all or none. Raises: UnknownDevices, BadName."""
    for what, name in (("tag", setting.tag), ("group", setting.group)):
        if name is not None:
            check_name(what, name)
    uuids = list(dict.fromkeys(uuids))
    with ledger.writing(dry_run=dry_run) as session:
        known = facts.devices(session.connection, uuids)
        _require_all(uuids, known)
        came = fleet.upsert(known, (setting.apply(known[uuid]) for uuid in uuids))
        session.append("fleet", fleet.changed(came.changed))
        return Imported(0, len(came.changed), came.same)


def remove_devices(ledger: Ledger, facts: FleetFacts, uuids: Sequence[str], *, dry_run: bool = False) -> int:
    """Take devices out of the fleet, all or none; returns how many. Raises: UnknownDevices."""
    uuids = list(dict.fromkeys(uuids))
    with ledger.writing(dry_run=dry_run) as session:
        _require_all(uuids, facts.devices(session.connection, uuids))
        session.append("fleet", fleet.removed(uuids))
        return len(uuids)


@dataclass(frozen=True)
class Strangers:
    """What reports named and the ledger does not know, once each: uuids and targets. Any number of them fits."""

    devices: Names = field(default_factory=Names)
    targets: Names = field(default_factory=Names)


def report(
    ledger: Ledger,
    facts: FleetFacts,
    reports: Iterable[tuple[str, str | None, int | None]],
    strangers: Strangers | None = None,
    *,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Reported:
    """Take in what devices say they run: uuid, target, seen at (None: now). Unknown devices are never fatal.

    A stream of any length is taken in bounded memory, all or nothing. `strangers` is filled with what is unknown;
    `progress` gets the number of reports so far.
    """
    total, strangers = Reported(), strangers or Strangers()
    with ledger.writing(dry_run=dry_run) as session, uncollected():
        for chunk in _chunks(reports, CHUNK):
            known = facts.running(session.connection, list(dict.fromkeys(uuid for uuid, _, _ in chunk)))
            strangers.devices.add(uuid for uuid, _, _ in chunk if uuid not in known)
            read = [
                Report(uuid, target, _between(seen_at, session.now)) for uuid, target, seen_at in chunk if uuid in known
            ]
            names = list(dict.fromkeys(r.target for r in read if r.target is not None))
            numbers = facts.numbers(session.connection, names)
            strangers.targets.add(name for name in names if name not in numbers)
            events, late, sightings = fleet.reported(known, read, lambda name, n=numbers: n.get(name, 0))  # type: ignore[misc]
            session.append("fleet", events)
            facts.saw(session.connection, _sightings(known, read, events))
            changed = sum(len(event.uuids) for event in events)
            total = Reported(
                total.reports + len(chunk),
                total.changed + changed,
                total.sightings + sightings,
                total.late + late,
                total.of_unknown + len(chunk) - len(read),
            )
            if progress:
                progress(total.reports)
    return total


def _between(seen_at: int | None, now: int) -> int:
    """When a device was seen. A clock ahead of ours would make every later report late; one before 1970 is not set."""
    return now if seen_at is None else max(0, min(seen_at, now))


def _sightings(
    known: Mapping[str, Running], reports: Sequence[Report], events: Sequence[DevicesReported]
) -> list[tuple[str, int, int]]:
    """Telemetry of reports. One that names the target that is known now confirms it; one that names none does not."""
    runs = {uuid: running.target for uuid, running in known.items()}
    for event in events:
        runs.update(zip(event.uuids, event.targets, strict=True))
    return [(r.uuid, r.seen_at, r.seen_at if r.target and r.target == runs[r.uuid] else 0) for r in reports]


def _require_all(uuids: Sequence[str], known: dict[str, Device]) -> None:
    missing = [uuid for uuid in uuids if uuid not in known]
    if missing:
        raise UnknownDevices(count=len(missing), listing=", ".join(missing))


def _chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
