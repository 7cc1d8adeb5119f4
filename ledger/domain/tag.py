"""The production line of one tag: its highest number, its documents, its lanes, its one active wave.

Rules of this module (DESIGN §2, §4):

* A tag has at most one active wave. The place is taken at init and freed at complete or cancel.
* The production number only grows.
* Lanes of targets versions only grow: a lane that was taken is never taken again, shown or not. A wave takes the
  lowest new lane for its own document and one above it for each recovery document, production's last, so that every
  way out of the wave, and out of a held view, leads to a higher version. After a loss of history lanes may be skipped,
  never reused.
* A wave that was rolled out and then canceled leaves a held view: devices that run it stay on its document. The view
  closes when a wave of that number or a higher one completes.
* Live documents are those of production and of the held views. They are signed anew under higher versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias, assert_never

from ledger.domain.events import (
    Document,
    Recovery,
    TargetsPromoted,
    TargetsPruned,
    TargetsResigned,
    WaveClosed,
    WaveOpened,
)
from ledger.domain.transition import IllegalEvent

TagEvent: TypeAlias = WaveOpened | TargetsPromoted | TargetsPruned | TargetsResigned | WaveClosed


@dataclass(frozen=True, slots=True)
class OpenWave:
    """The wave that has the tag's place."""

    wave: str
    number: int
    promoted: bool = False  # between TargetsPromoted and WaveClosed of one complete


@dataclass(frozen=True, slots=True)
class LiveDocument:
    """The targets document that a view shows.

    It was first signed with the wave `wave` as its document for `view`; the targets in it are those of the own document
    of the wave `content`, or the empty list (None).
    """

    wave: str
    view: str
    version: int
    expires: datetime
    content: str | None


@dataclass(frozen=True, slots=True)
class HeldView:
    """What a canceled wave left: its devices stay on `document` until a wave of `number` or above completes."""

    wave: str
    number: int
    document: LiveDocument

    @property
    def view(self) -> str:
        """The name of the view."""
        return f"held/{self.wave}"


@dataclass(frozen=True, slots=True)
class Tag:
    """The state of a tag. A tag that nothing happened to yet is `Tag(name)`. `held` is in the order of the cancels."""

    name: str
    number: int = 0
    lane: int = 0
    active: OpenWave | None = None
    production: LiveDocument | None = None
    held: tuple[HeldView, ...] = ()

    @property
    def view(self) -> str:
        """The name of its production view."""
        return f"production/{self.name}"

    @property
    def live(self) -> dict[str, LiveDocument]:
        """The documents that its views show, by view, in the order of their lanes.

        Production's comes last: a device that leaves a held view goes there, and must meet a higher version.
        """
        production = {self.view: self.production} if self.production else {}
        return {**{held.view: held.document for held in self.held}, **production}


def evolve(state: Tag, event: TagEvent) -> Tag:
    """The tag after the event. Raises: IllegalEvent."""
    if event.tag != state.name:
        raise _illegal(state, event)
    match event:
        case WaveOpened(_, wave, number, first_lane, last_lane):
            if state.active or number <= state.number or first_lane <= state.lane or last_lane < first_lane:
                raise _illegal(state, event)
            return replace(state, active=OpenWave(wave, number), lane=last_lane)
        case TargetsPromoted(_, wave, number, version, expires):
            if state.active != OpenWave(wave, number):
                raise _illegal(state, event)
            document = LiveDocument(wave, f"wave/{wave}", version, expires, wave)
            held = tuple(view for view in state.held if view.number > number)
            promoted = OpenWave(wave, number, promoted=True)
            return replace(state, active=promoted, number=number, production=document, held=held)
        case TargetsPruned(_, wave):
            if not state.active or not state.active.promoted or state.active.wave != wave:
                raise _illegal(state, event)
            return state
        case TargetsResigned(_, _, last_lane, documents):
            return _resign(state, event, last_lane, documents)
        case WaveClosed():
            return _close(state, event)
    assert_never(event)


def _resign(state: Tag, event: TargetsResigned, last_lane: int, documents: tuple[Document, ...]) -> Tag:
    live = state.live
    if last_lane < state.lane or len({document.view for document in documents}) < len(documents):
        raise _illegal(state, event)
    for document in documents:
        before = live.get(document.view)
        if before is None or document.version <= before.version or document.content != before.content:
            raise _illegal(state, event)
        live[document.view] = replace(before, version=document.version, expires=document.expires)
    return replace(_with(state, live), lane=last_lane)


def _close(state: Tag, event: WaveClosed) -> Tag:
    active = state.active
    if not active or active.wave != event.wave or event.outcome != ("complete" if active.promoted else "canceled"):
        raise _illegal(state, event)
    if active.promoted and event.recovered:  # what was just promoted is production, and nothing else
        raise _illegal(state, event)
    live, held = state.live, state.held
    for recovery in event.recovered:
        if recovery.view == f"held/{active.wave}":
            document = LiveDocument(active.wave, f"wave/{active.wave}", recovery.version, recovery.expires, active.wave)
            held = (*held, HeldView(active.wave, active.number, document))
        elif recovery.view in live or recovery.view == state.view:
            live[recovery.view] = _recovered(active.wave, recovery)
        else:
            raise _illegal(state, event)
    closed = replace(state, active=None, held=held)
    return _with(closed, {**closed.live, **live})


def _recovered(wave: str, recovery: Recovery) -> LiveDocument:
    return LiveDocument(wave, recovery.view, recovery.version, recovery.expires, recovery.content)


def _with(state: Tag, live: Mapping[str, LiveDocument]) -> Tag:
    """The tag with these documents in its views."""
    held = tuple(replace(view, document=live[view.view]) for view in state.held)
    return replace(state, production=live.get(state.view), held=held)


def _illegal(state: Tag, event: TagEvent) -> IllegalEvent:
    return IllegalEvent(event=str(event), state=str(state))
