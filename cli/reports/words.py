"""Moments, durations and counts as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def moment(seconds: int) -> str:
    """Like ``15 Jan 2027, 08:00``, in UTC."""
    return f"{day(seconds)}, {clock(seconds)}"


def clock(seconds: int) -> str:
    """Like ``08:00``, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M}"


def day(seconds: int) -> str:
    """Like ``15 Jan 2027``, in UTC."""
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{at.day} {at:%b %Y}"


def span(seconds: int) -> str:
    """The two largest units of a duration: ``3 days 4 hours``; of one that is over ``3 days 4 hours ago``."""
    rest, parts = abs(seconds), []
    for size, name in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(counted(count, name))
        elif parts:
            break  # "3 days 5 minutes" would be exact about nothing
        if len(parts) == 2:
            break
    return (" ".join(parts) or "0 seconds") + (" ago" if seconds < 0 else "")


def counted(count: int, noun: str) -> str:
    """Like ``1 wave``, ``1,200 waves``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def part(count: int, whole: int) -> str:
    """A part of a whole in percent, rounded down, so that 100 % is all of it and 0 % none; empty of nothing."""
    if not whole:
        return ""
    percent = 100 * count // whole
    return "under 1 %" if count and not percent else f"{percent} %"
