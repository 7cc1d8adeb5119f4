"""What reports are made of: moments and durations that know what they are, so that each format writes its own way."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.domain.errors import BadInput
from ledger.domain.values import format_time, from_epoch


class PeriodNotYet(BadInput):
    """A period that begins after the moment that the report is about."""

    message = "the period begins at {since}, and the report goes up to {now}"
    hint = "give an earlier --since, or leave it out to begin with the ledger"
    since: str
    now: str


class Time(int):
    """A moment: seconds since 1970."""

    @classmethod
    def of(cls, seconds: int | None) -> Time | None:
        """None stays None."""
        return None if seconds is None else cls(seconds)


class Span(int):
    """A duration in seconds."""

    @classmethod
    def between(cls, start: int, end: int | None) -> Span | None:
        """None while it has no end."""
        return None if end is None else cls(end - start)


@dataclass(frozen=True, slots=True)
class Period:
    """From one moment to another, both included."""

    since: Time
    until: Time


@dataclass(frozen=True, slots=True)
class Wanted:
    """The period that was asked for; None: from the beginning, and up to now."""

    since: int | None = None
    until: int | None = None

    def within(self, first: int, now: int) -> Period:
        """The period itself, where history began at `first`. It never ends in the future. Raises: PeriodNotYet."""
        if self.since is not None and self.since > now:
            raise PeriodNotYet(since=format_time(from_epoch(self.since)), now=format_time(from_epoch(now)))
        until = now if self.until is None else min(self.until, now)
        since = min(first, until) if self.since is None else self.since
        return Period(Time(since), Time(max(since, until)))
