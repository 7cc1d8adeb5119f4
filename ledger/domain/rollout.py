"""Which devices a rollout may choose, and how many.

Rules of this module (DESIGN §2, "rollout"):

* No selector, an empty list, 0, 0 %, negative, over 100 %: refused, never widened.
* ``N%`` of the matching devices, rounded up; matching = production devices on the tag (within group and uuids), reached
  or not. ``N``: at most N. Both choose among the candidates: matching, not yet in the wave, below its number.
* Any uuid that is unknown, a test device, on another tag or out of the group refuses the whole command.
* The choice has a digest, so that a plan which was looked at is the plan that is committed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ledger.domain.errors import Conflict, NotFound, Refused

_LIMIT = re.compile(r"(-?)([0-9]{1,12})(%?)", re.ASCII)


class NothingSelected(Refused):
    """A rollout to everybody is what complete is for."""

    message = "a rollout needs a selection: --group, --limit or --uuids"
    hint = "to reach all devices on the tag: waveledger waves complete {wave}"
    wave: str


class EmptySelection(Refused):
    """A list without a device never means "all" (nor does a plan)."""

    message = "the list of devices for wave {wave} is empty"
    hint = "name at least one device: --uuids a,b or --uuids @FILE"
    wave: str


class LimitNotANumber(Refused):
    """Neither N nor N%."""

    message = "the limit {text!r} is neither a number of devices nor a whole percentage"
    hint = "write --limit 10 or --limit 10%"
    text: str


class LimitIsZero(Refused):
    """Zero is refused rather than read as no limit (fioctl reads it so)."""

    message = "a limit of {text} selects no device"
    hint = "write a limit of at least 1 or 1%"
    text: str


class LimitIsNegative(Refused):
    """Less than no device."""

    message = "a limit can't be negative: {text}"
    hint = "write a limit of at least 1 or 1%"
    text: str


class LimitAboveAll(Refused):
    """More than all devices."""

    message = "a limit of {text} is more than all devices"
    hint = "write a percentage from 1% to 100%"
    text: str


class UnknownGroup(NotFound):
    """No device was ever in a group of that name."""

    message = "there is no group {group}: no device was ever in it"
    hint = "groups come with devices: waveledger devices set UUID --group {group}, or a column in devices import"
    group: str


class GroupAlreadyReached(Refused):
    """The whole group, its future members included, already has the wave."""

    message = "wave {wave} was already rolled out to the whole group {group}"
    hint = "whoever joins the group gets it too; waveledger waves status {wave} shows how far it is"
    wave: str
    group: str


class NoCandidate(Refused):
    """Nobody is left to choose."""

    message = "wave {wave} has no candidate left there: of {matching} matching devices all are in it or at its number"
    hint = "waveledger waves status {wave} shows how far it is; complete it to make it production"
    wave: str
    matching: int


class DevicesNotEligible(Refused):
    """Listed devices that the wave can't reach. The whole command is refused, and every one is named."""

    message = "{count} of the listed devices can't be reached: {listing}"
    hint = "take them off the list, or change them first (waveledger devices set)"
    count: int
    listing: str


class PlanForAnotherWave(Refused):
    """A plan belongs to the wave that it was made for."""

    message = "the plan was made for wave {planned}, not for {wave}"
    hint = "make one: waveledger waves rollout {wave} ... --dry-run -o PLAN.json"
    planned: str
    wave: str


class PlanStale(Conflict):
    """The fleet changed since the plan was made."""

    message = "{count} devices of the plan no longer qualify: {listing}"
    hint = "make a new plan with --dry-run -o, look at it, and commit that"
    count: int
    listing: str


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` devices, or `amount` percent of the matching ones."""

    amount: int
    percent: bool

    def quota(self, matching: int) -> int:
        """How many devices may be chosen when so many match: whole devices, rounded up, at any size exact."""
        return -(-self.amount * matching // 100) if self.percent else self.amount

    def __str__(self) -> str:
        """As typed."""
        return f"{self.amount}%" if self.percent else str(self.amount)


def require_selection(wave: str, *, group: str | None, limit: Limit | None, uuids: Sequence[str] | None) -> None:
    """Pass what selects something. `uuids` are those of a list or plan. Raises: NothingSelected, EmptySelection."""
    if not group and limit is None and uuids is None:
        raise NothingSelected(wave=wave)
    if uuids is not None and not uuids:
        raise EmptySelection(wave=wave)


def parse_limit(text: str) -> Limit:
    """The limit that was typed. Raises: LimitNotANumber, LimitIsZero, LimitIsNegative, LimitAboveAll."""
    match = _LIMIT.fullmatch(text.strip())
    if not match:
        raise LimitNotANumber(text=text[:100])
    sign, digits, percent = match.groups()
    amount = int(digits)
    if sign and amount:
        raise LimitIsNegative(text=text)
    if not amount:
        raise LimitIsZero(text=text)
    if percent and amount > 100:
        raise LimitAboveAll(text=text)
    return Limit(amount, bool(percent))


@dataclass(frozen=True, slots=True)
class Choice:
    """The devices that a rollout reaches: uuids in the order they were chosen.

    `matching` is what a percentage was taken of; `skipped` were listed but are in the wave or at its number already;
    `problems` are the listed devices that the wave can't reach, each with the reason in words, in their order.
    """

    uuids: tuple[str, ...]
    matching: int
    skipped: int
    problems: tuple[str, ...] = ()


def digest_of(wave: str, uuids: Iterable[str]) -> str:
    """The hash of a choice: hex SHA-256 over the wave and its devices' uuids, sorted, a line each."""
    return sha256("\n".join(["waveledger rollout", wave, *sorted(uuids), ""]).encode()).hexdigest()


def group_digest(wave: str, group: str) -> str:
    """The hash of a full-group rollout, whose list is the group itself."""
    return sha256(f"waveledger rollout\n{wave}\ngroup {group}\n".encode()).hexdigest()


def selection_order(wave: str) -> int:
    """The odd multiplier that orders a wave's candidates: (draw x odd) mod 2147483647, smallest first.

    Stable for (wave, uuid) and the same integers in SQLite and PostgreSQL: both factors stay below 2**31.
    """
    return int.from_bytes(sha256(wave.encode()).digest()[:4], "big") >> 1 | 1


def draw_of(uuid: str) -> int:
    """31 bits of the hash of a device's uuid."""
    return int.from_bytes(sha256(uuid.encode()).digest()[:4], "big") >> 1
