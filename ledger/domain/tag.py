"""The production line of one tag: its highest number, its document, its lanes, its one active wave.

Rules of this module (DESIGN §2, §4):

* A tag has at most one active wave. The place is taken at init and freed at complete or cancel.
* The production number only grows.
* Lanes of targets versions only grow: a lane that was taken is never taken again, shown or not. A wave takes the
  lowest new lane for its own document and one above it for each recovery document, so that every way out of the
  wave leads to a higher version.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias, assert_never

from ledger.domain.events import TargetsPromoted, TargetsPruned, WaveClosed, WaveOpened
from ledger.domain.transition import IllegalEvent

TagEvent: TypeAlias = WaveOpened | TargetsPromoted | TargetsPruned | WaveClosed


@dataclass(frozen=True, slots=True)
class OpenWave:
    """The wave that has the tag's place."""

    wave: str
    number: int
    promoted: bool = False  # between TargetsPromoted and WaveClosed of one complete


@dataclass(frozen=True, slots=True)
class LiveDocument:
    """The targets document that a view shows.

    It was signed with the wave `wave` as its document for `view`; the targets in it are those of the own document
    of the wave `content`, or the empty list (None).
    """

    wave: str
    view: str
    version: int
    expires: datetime
    content: str | None


@dataclass(frozen=True, slots=True)
class Tag:
    """The state of a tag. A tag that nothing happened to yet is `Tag(name)`."""

    name: str
    number: int = 0
    lane: int = 0
    active: OpenWave | None = None
    production: LiveDocument | None = None

    @property
    def view(self) -> str:
        """The name of its production view."""
        return f"production/{self.name}"


def evolve(state: Tag, event: TagEvent) -> Tag:
    """The tag after the event. Raises: IllegalEvent."""
    if event.tag != state.name:
        raise _illegal(state, event)
    match event:
        case WaveOpened(_, wave, number, first_lane, last_lane):
            if state.active or number <= state.number or first_lane != state.lane + 1 or last_lane < first_lane:
                raise _illegal(state, event)
            return replace(state, active=OpenWave(wave, number), lane=last_lane)
        case TargetsPromoted(_, wave, number, version, expires):
            if state.active != OpenWave(wave, number):
                raise _illegal(state, event)
            document = LiveDocument(wave, f"wave/{wave}", version, expires, wave)
            return replace(state, active=OpenWave(wave, number, promoted=True), number=number, production=document)
        case TargetsPruned(_, wave):
            if not state.active or not state.active.promoted or state.active.wave != wave:
                raise _illegal(state, event)
            return state
        case WaveClosed():
            return _close(state, event)
    assert_never(event)


def _close(state: Tag, event: WaveClosed) -> Tag:
    active = state.active
    if not active or active.wave != event.wave or event.outcome != ("complete" if active.promoted else "canceled"):
        raise _illegal(state, event)
    if active.promoted and event.recovered:  # what was just promoted is production, and nothing else
        raise _illegal(state, event)
    production = state.production
    for recovery in event.recovered:
        if recovery.view == state.view:
            production = LiveDocument(event.wave, state.view, recovery.version, recovery.expires, recovery.content)
    return replace(state, active=None, production=production)


def _illegal(state: Tag, event: TagEvent) -> IllegalEvent:
    return IllegalEvent(event=str(event), state=str(state))
