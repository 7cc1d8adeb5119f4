"""Who is in a wave, and who is held, as conditions of SQL over ``fleet_device d``.

Rules of this module (DESIGN §2, §4):

* A device is in a wave when it has a row of its own, or when the wave was rolled out to its whole group.
* It is held by a canceled wave when it was in it, ran one of its targets at the cancel, and has reported no other one
  since, until a wave of that number or above completes: the highest number, of equal ones the latest wave.
* Both count while it is on the wave's tag. Whoever asks also asks for `production`.
* A wave moves the held devices in it only when its number is not below theirs.
"""

from __future__ import annotations

_HOLDER = (
    "FROM fleet_member m JOIN fleet_wave h ON h.wave = m.wave AND h.status = 'canceled' "
    "WHERE m.dev = d.dev AND m.tag = d.tag AND m.installed = 1 AND h.number > "
)


def listed(wave: str) -> str:
    """Whether the device has a row of its own in a wave; `wave` is SQL for its id."""
    return f"EXISTS (SELECT 1 FROM fleet_member m WHERE m.dev = d.dev AND m.tag = d.tag AND m.wave = {wave})"


def grouped(wave: str) -> str:
    """Whether the wave was rolled out to the device's whole group."""
    return f"EXISTS (SELECT 1 FROM fleet_wave_group g WHERE g.tag = d.tag AND g.grp = d.grp AND g.wave = {wave})"


def in_wave(wave: str) -> str:
    """Whether the device is in the wave."""
    return f"({listed(wave)} OR {grouped(wave)})"


def held_above(number: str) -> str:
    """Whether the device is held by a wave above a number, which is not below what completed; `number` is SQL."""
    return f"EXISTS (SELECT 1 {_HOLDER}{number})"


def holder(completed: str) -> str:
    """The id of the wave that holds the device, null for none; `completed` is SQL for its tag's production number."""
    return f"(SELECT h.wave {_HOLDER}{completed} ORDER BY h.number DESC, h.wave DESC LIMIT 1)"
