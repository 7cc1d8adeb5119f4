"""Rollouts and devices: what events say of them, against what was known then.

Rules of this module (DESIGN §2, §3):

* The devices of a rollout follow it at once, in batches; their number and digest are those that it says. They are
  production devices on the wave's tag, and of the group if it asked for one, that the wave did not reach before. A
  rollout to a whole group lists none.
* A report has the number that its target had at some time, or none for a target that was not known.
* A device is registered before it changes, reports, is staged or leaves; batches are columns of one length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ledger.domain import rollout
from ledger.domain.events import (
    BATCH,
    CiTargetsImported,
    DevicesChanged,
    DevicesRegistered,
    DevicesRemoved,
    DevicesReported,
    DevicesStaged,
    WaveInitialized,
    WaveRolledOut,
)
from ledger.domain.values import JsonObject
from projections.audit.findings import Entry, Finding, some
from projections.audit.rules import Rules


class _Device(NamedTuple):
    """What is known of a device, and by which wave of that tag it was reached last."""

    tag: str
    production: bool
    group: str | None
    wave: str | None


@dataclass
class _Rollout:
    """A rollout whose devices are still to come."""

    position: int
    event: WaveRolledOut
    uuids: list[str] = field(default_factory=list)

    @property
    def stream(self) -> str:
        return f"rollout:{self.event.wave}:{self.event.rollout}"


@dataclass
class Devices:
    """What is known of the fleet, and the rollout that is being read. Off the fleet is None. `rules` comes before."""

    rules: Rules
    fleet: dict[str, _Device | None] = field(default_factory=dict)
    kinds: dict[_Device, _Device] = field(default_factory=dict)  # each once
    known: set[tuple[str, int]] = field(default_factory=set)  # targets with the numbers that they ever had
    tags: dict[str, str] = field(default_factory=dict)  # of waves
    open: _Rollout | None = None

    def look(self, entry: Entry) -> Iterator[Finding]:
        """Judge the next event."""
        match entry.event:
            case WaveInitialized(wave, tag):
                self.tags[wave] = tag
                self.known |= self.rules.offered.get(wave, {}).items()  # an adopted repository's are not CI's
            case CiTargetsImported(_, bodies):
                self.known |= {(name, _number_of(body)) for name, body in bodies.items()}
            case DevicesStaged():
                yield from self._staged(entry, entry.event)
                return
        yield from self._close()
        match entry.event:
            case WaveRolledOut():
                yield from self._rolled_out(entry, entry.event)
            case DevicesRegistered() | DevicesChanged():
                yield from self._came(entry, entry.event)
            case DevicesRemoved(uuids):
                yield from self._require(entry, uuids, "removed", known=True)
                self.fleet |= dict.fromkeys(uuids)
            case DevicesReported(uuids, targets, numbers, seen_at):
                yield from self._columns(entry, (uuids, targets, numbers, seen_at))
                yield from self._require(entry, uuids, "reported", known=True)
                wrong = [str(one[0]) for one in zip(targets, numbers, strict=False) if one[1] and one not in self.known]
                if wrong:
                    yield Finding(entry.position, "illegal", "numbers", f"targets never had this number: {some(wrong)}")

    def end(self) -> Iterator[Finding]:
        """Judge what should have followed."""
        yield from self._close()

    def _rolled_out(self, entry: Entry, event: WaveRolledOut) -> Iterator[Finding]:
        if not event.full_group:
            self.open = _Rollout(entry.position, event)
            if event.devices == 0:
                yield from self._close()
        elif event.digest != rollout.group_digest(event.wave, event.selector.group or ""):
            yield Finding(entry.position, "illegal", "digest", "its digest is not that of the group")

    def _staged(self, entry: Entry, event: DevicesStaged) -> Iterator[Finding]:
        if self.open is None or entry.stream != self.open.stream:
            yield Finding(
                entry.position, "illegal", "stream", f"no rollout {event.rollout} of {event.wave} is just before it"
            )
            return
        self.open.uuids += event.devices
        yield from self._columns(entry, (event.devices,))
        tag, group = self.tags.get(event.wave, ""), self.open.event.selector.group
        wrong: dict[str, list[str]] = {}
        for uuid in event.devices:
            device = self.fleet.get(uuid)
            if device is None or (device.tag, device.production) != (tag, True):
                wrong.setdefault(f"no production devices on tag {tag}", []).append(uuid)
            elif group is not None and device.group != group:
                wrong.setdefault(f"not in group {group}", []).append(uuid)
            elif device.wave == event.wave:
                wrong.setdefault(f"reached by {event.wave} before", []).append(uuid)
            else:
                self._put(uuid, device._replace(wave=event.wave))
        for why, uuids in wrong.items():
            yield Finding(entry.position, "illegal", "devices", f"{why}: {some(uuids)}")

    def _put(self, uuid: str, device: _Device) -> None:
        self.fleet[uuid] = self.kinds.setdefault(device, device)

    def _close(self) -> Iterator[Finding]:
        """Judge the devices of the last rollout as a whole."""
        if self.open is None:
            return
        position, event, uuids = self.open.position, self.open.event, self.open.uuids
        self.open = None
        if len(uuids) != event.devices or len(set(uuids)) != len(uuids):
            told = f"it says {event.devices} devices, and {len(set(uuids))} follow it"
            yield Finding(position, "illegal", "devices", told)
        elif event.digest != rollout.digest_of(event.wave, uuids):
            yield Finding(position, "illegal", "digest", "its digest is not that of the devices that follow it")

    def _came(self, entry: Entry, event: DevicesRegistered | DevicesChanged) -> Iterator[Finding]:
        new = isinstance(event, DevicesRegistered)
        columns = (event.uuids, event.names, event.hardware_ids, event.tags, event.groups, event.production)
        yield from self._columns(entry, columns)
        yield from self._require(entry, event.uuids, "registered" if new else "changed", known=not new)
        if len(set(event.uuids)) != len(event.uuids):
            yield Finding(entry.position, "illegal", "uuids", "a device is in it twice")
        for uuid, tag, production, group in zip(event.uuids, event.tags, event.production, event.groups, strict=False):
            before = self.fleet.get(uuid)
            same = before is not None and (before.tag, before.production) == (tag, production)
            self._put(uuid, _Device(tag, production, group, before.wave if before and same else None))

    def _columns(self, entry: Entry, columns: Sequence[Sequence[object]]) -> Iterator[Finding]:
        lengths = {len(column) for column in columns}
        if len(lengths) != 1 or not 1 <= max(lengths) <= BATCH:
            told = (
                f"its columns have {', '.join(map(str, sorted(lengths)))} devices, not all the same from 1 to {BATCH}"
            )
            yield Finding(entry.position, "illegal", "uuids", told)

    def _require(self, entry: Entry, uuids: Sequence[str], did: str, *, known: bool) -> Iterator[Finding]:
        wrong = [uuid for uuid in uuids if (self.fleet.get(uuid) is not None) != known]
        if wrong:
            why = "not in the fleet" if known else "in the fleet already"
            yield Finding(entry.position, "illegal", "uuids", f"{did}, and {why}: {some(wrong)}")


def _number_of(body: JsonObject) -> int:
    """The number of a CI target, 0 where it has none."""
    custom = body.get("custom")
    number = custom.get("version") if isinstance(custom, dict) else None
    return int(number) if isinstance(number, str) and number.isascii() and number.isdigit() else 0
