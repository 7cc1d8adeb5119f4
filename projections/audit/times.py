"""Times that no event of ours could have: from the future, or before what the event itself tells.

Rules of this module:

* Time never goes back in a ledger (`projections.audit.chain`), so one event from the future takes all later ones along:
  the first is told. It need not be a forgery: a machine's clock may have been ahead, or that of the audit be behind.
  It is a finding all the same, as no moment of the past can be asked for by its time any more.
* Clocks of honest machines differ by less than TOLERANCE_SECONDS; a time zone that was taken for UTC is more.
* What devices say is at the latest of the moment that their report is recorded: the commands take a later time for now.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ledger.domain.events import DevicesReported
from ledger.domain.values import TimeDamaged, from_epoch
from projections.audit.findings import Entry, Finding, some

TOLERANCE_SECONDS = 1800
_MINUTE, _DAY = 60, 86_400


@dataclass
class Times:
    """`now` is the audit's own clock, None where nobody asks for it."""

    now: int | None = None

    def look(self, entry: Entry) -> Iterator[Finding]:
        """Judge the next event."""
        if self.now is not None and entry.recorded_at > self.now + TOLERANCE_SECONDS:
            yield Finding(entry.position, "time", "recorded_at", _told(entry.recorded_at, self.now))
            self.now = None
        if isinstance(entry.event, DevicesReported) and max(entry.event.seen_at, default=0) > entry.recorded_at:
            seen = zip(entry.event.uuids, entry.event.seen_at, strict=False)
            late = [uuid for uuid, seen_at in seen if seen_at > entry.recorded_at]
            yield Finding(entry.position, "illegal", "seen_at", f"seen after the event was recorded: {some(late)}")

    def end(self) -> Iterator[Finding]:
        """Nothing has to follow."""
        return iter(())


def _told(recorded_at: int, now: int) -> str:
    ahead = recorded_at - now
    span = f"{ahead // _MINUTE:,} minutes" if ahead < 2 * _DAY else f"{ahead // _DAY:,} days"
    return (
        f"recorded at {_time(recorded_at)}, {span} after the clock of this audit: a clock was ahead, this one is"
        " behind, or somebody wrote the time by hand; all later events have at least this time"
    )


def _time(seconds: int) -> str:
    try:
        return from_epoch(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")
    except TimeDamaged:
        return f"second {seconds}"
