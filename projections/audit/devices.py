"""Rollouts and devices: what events say of them, against what was known then.

Rules of this module (DESIGN §2, §3):

* The devices of a rollout follow it at once, in batches; their number and digest are those that it says. They are
  production devices on the wave's tag. A rollout to a whole group lists none.
* A device is registered before it changes, reports, is staged or leaves; batches are columns of one length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ledger.domain import rollout
from ledger.domain.events import (
    BATCH,
    DevicesChanged,
    DevicesRegistered,
    DevicesRemoved,
    DevicesReported,
    DevicesStaged,
    WaveInitialized,
    WaveRolledOut,
)
from projections.audit.findings import Entry, Finding, some


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
    """What is known of the fleet, and the rollout that is being read. Off the fleet is None."""

    fleet: dict[str, tuple[str, bool] | None] = field(default_factory=dict)
    kinds: dict[tuple[str, bool], tuple[str, bool]] = field(default_factory=dict)  # each (tag, production) once
    tags: dict[str, str] = field(default_factory=dict)  # of waves
    open: _Rollout | None = None

    def look(self, entry: Entry) -> Iterator[Finding]:
        """Judge the next event."""
        match entry.event:
            case WaveInitialized(wave, tag):
                self.tags[wave] = tag
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
        tag = self.tags.get(event.wave, "")
        wrong = [uuid for uuid in event.devices if self.fleet.get(uuid) != (tag, True)]
        if wrong:
            yield Finding(entry.position, "illegal", "devices", f"no production devices on tag {tag}: {some(wrong)}")

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
        for uuid, tag, production in zip(event.uuids, event.tags, event.production, strict=False):
            kind = (tag, production)
            self.fleet[uuid] = self.kinds.setdefault(kind, kind)

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
