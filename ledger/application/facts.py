"""What the use cases ask of the read side, inside their transaction. `projections.facts` answers.

Declared here, by the consumer, so that the write side never imports the read side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from sqlalchemy import Connection

from ledger.domain.fleet import Device, Running
from ledger.domain.rollout import Choice, Limit
from ledger.domain.tag import Tag
from ledger.domain.values import JsonObject, Target


class Trusted(NamedTuple):
    """A root as clients have it, and which of its targets keys is the online one."""

    version: int
    metadata: bytes
    online_targets_keyid: str


class Reach(NamedTuple):
    """Whom a rollout asks about: production devices on the wave's tag, narrowed down."""

    wave: str
    tag: str
    number: int
    group: str | None
    uuids: Sequence[str] | None


class ReleaseFacts(Protocol):
    """Facts of members, CI targets, tags and roots."""

    def members(self, connection: Connection) -> dict[str, str]:
        """Names and roles."""

    def ci_targets(self, connection: Connection, number: int) -> tuple[Target, ...]:
        """All CI targets with the number."""

    def ci_bodies(self, connection: Connection, names: Sequence[str]) -> dict[str, JsonObject]:
        """The TUF targets of those names that are known."""

    def pruned_bodies(self, connection: Connection, names: Sequence[str]) -> dict[str, JsonObject]:
        """The TUF targets of those names that were pruned, and are not known now."""

    def ci_tagged(self, connection: Connection, tags: Sequence[str]) -> tuple[Target, ...]:
        """The CI targets that have one of the tags at least."""

    def ci_tags(self, connection: Connection) -> frozenset[str]:
        """All tags that a CI target ever had."""

    def tag(self, connection: Connection, name: str) -> Tag:
        """The state of a tag."""

    def production(self, connection: Connection, tag: str) -> dict[str, Target]:
        """The tag's production targets by name."""

    def production_numbers(self, connection: Connection, tag: str) -> dict[str, int]:
        """The numbers of the tag's production targets by name."""

    def tags(self, connection: Connection) -> list[str]:
        """All tags that a wave was ever for."""

    def tag_of_wave(self, connection: Connection, wave: str) -> str | None:
        """The tag that a wave is for; None where there is no such wave."""

    def resigned_at(self, connection: Connection, repository: str, version: int) -> int | None:
        """The position of the event that signed a live document anew under that version."""

    def online_keyids(self, connection: Connection, repository: str) -> dict[str, str]:
        """The keyids of the online keys of ``production`` or ``ci``, by role."""

    def trusted(self, connection: Connection, repository: str) -> Trusted:
        """The newest root of ``production`` or ``ci``."""

    def root_aged(self, connection: Connection, repository: str, now: int) -> bool:
        """Whether half of the life of the newest root of ``production`` or ``ci`` is over."""


class FleetFacts(Protocol):
    """Facts of devices and their membership."""

    def is_empty(self, connection: Connection) -> bool:
        """Whether no device is in the fleet."""

    def devices(self, connection: Connection, uuids: Sequence[str]) -> dict[str, Device]:
        """Those of the devices that are in the fleet."""

    def running(self, connection: Connection, uuids: Sequence[str]) -> dict[str, Running]:
        """What those of the devices that are in the fleet run."""

    def numbers(self, connection: Connection, targets: Sequence[str]) -> Mapping[str, int]:
        """The numbers of those targets that the ledger ever had."""

    def saw(self, connection: Connection, sightings: Sequence[tuple[str, int, int]]) -> None:
        """Keep telemetry: uuid, seen at, confirmed its target at (0: it did not)."""

    def group_exists(self, connection: Connection, group: str) -> bool:
        """Whether a device was ever in it."""

    def group_reached(self, connection: Connection, wave: str, group: str) -> bool:
        """Whether the wave was rolled out to the whole group."""

    def group_members(self, connection: Connection, reach: Reach) -> tuple[int, int]:
        """How many devices of the group a full rollout reaches now, and how many have the wave already."""

    def choose(self, connection: Connection, reach: Reach, limit: Limit | None, online_since: int) -> Choice:
        """Candidates in their order, as many as the limit allows, and who of a list can't be reached."""
