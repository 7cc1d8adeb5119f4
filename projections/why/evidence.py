"""What `projections.why.gather` finds out about one device, as data: nothing here knows the database or words.

Rules of this module:

* Everything about the device and its tag, nothing about the fleet: what is asked costs the same in a fleet of any size.
* A position stands for an event; whoever shows it reads the event.
* Times are seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from projections.queries.devices import DeviceRow


class About(StrEnum):
    """What an event says about the device's answer."""

    DEVICE = "device"
    PLACE = "tag and group"
    KIND = "production or test"
    REPORT = "report"
    WAVE = "wave"
    ROLLOUT = "rollout"
    TARGETS = "targets"
    PUBLICATION = "publication"


class By(StrEnum):
    """How a device got into a wave."""

    LIST = "list"  # chosen by a rollout to a list, a number or a percentage
    GROUP = "group"  # it was in a group when the wave was rolled out to all of it
    JOINED = "joined"  # it came into such a group later


class Step(NamedTuple):
    """How a device stood after an event; without a tag it was out of the fleet."""

    position: int
    tag: str | None
    group: str | None
    production: bool


class Reached(NamedTuple):
    """How a device got into a wave: by which rollout, and since which event."""

    by: By
    group: str | None
    rollout: int  # position of the rollout
    since: int  # position from which on it is in the wave


class Rollout(NamedTuple):
    """One rollout of a wave; `number` counts those of the wave from 1."""

    number: int
    position: int
    group: str | None
    full_group: bool
    devices: int


class Wave(NamedTuple):
    """A wave: `opened` and `closed` are positions, `hardware` what its new targets are for."""

    name: str
    number: int
    tag: str
    status: str
    opened: int
    closed: int | None
    closed_at: int | None
    closed_by: str | None
    signatures: int
    needed: int
    rollouts: tuple[Rollout, ...]
    hardware: tuple[str, ...]
    reached: Reached | None

    @property
    def ready(self) -> bool:
        """Whether it has the offline signatures that it needs."""
        return self.signatures >= self.needed


class Resting(NamedTuple):
    """A membership that counts only on the wave's tag: it is in an active wave there, or held by a canceled one."""

    wave: str
    number: int
    tag: str
    status: str


class Lacking(StrEnum):
    """Why devices can't have seen yet what was decided."""

    NOTHING = "published"
    NO_VIEW = "no-view"
    NEVER = "never"  # nothing of the view was ever signed
    SIGNED = "signed"  # signed online, not at a destination yet
    OLDER = "older"  # what is shown is older than what was decided
    WAITS = "waits"  # shown, but this device goes there with the next publication only


class Publication(NamedTuple):
    """What is shown of a view: the newest publication that reached a destination, or was signed (`state`).

    `metadata` is the version of timestamp and snapshot. What is not there is None.
    """

    state: Lacking = Lacking.NO_VIEW
    position: int | None = None
    signed_at: int | None = None
    root: int | None = None
    metadata: int | None = None
    targets: int | None = None
    root_expires: int | None = None
    targets_expires: int | None = None
    snapshot_expires: int | None = None
    timestamp_expires: int | None = None

    def first_expiry(self) -> int | None:
        """When the first of its files expires: from then on every client refuses the view."""
        expiries = (self.root_expires, self.targets_expires, self.snapshot_expires, self.timestamp_expires)
        return min((at for at in expiries if at is not None), default=None)


@dataclass(frozen=True, slots=True)
class Registered:
    """A device of the fleet. `orphan`: it runs a number that is neither production nor in its tag's active wave.

    `offered` is the number of the latest target for it, 0 for none; `hardware` is what its view has targets for;
    `reported_at` is when it first said that it runs what it runs, None if it never said anything; `others` are active
    waves of other tags, as (wave, tag).
    """

    row: DeviceRow
    offered: int
    orphan: bool
    reported_at: int | None
    hardware: tuple[str, ...]
    wave: Wave | None
    holder: Wave | None
    resting: tuple[Resting, ...]
    others: tuple[tuple[str, str], ...]
    publication: Publication
    events: tuple[tuple[About, int], ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """A device that was in the fleet and is not any more."""

    uuid: str
    name: str
    target: str | None
    at: int
    by: str
    resting: tuple[Resting, ...]
    events: tuple[tuple[About, int], ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A uuid or name that was never in the fleet."""

    asked: str
    resting: tuple[Resting, ...] = ()
    events: tuple[tuple[About, int], ...] = ()


Evidence = Registered | Removed | Unknown
