"""What publications show, against what there was to show: each view its document, and no view but those.

Rules of this module (DESIGN §4):

* A publication is drawn from the ledger at one moment, and may be recorded after events that came meanwhile. The
  checkpoint that its snapshots carry says which moment that was.
* Of a root that clients did not see, there is one more moment: that when it was recorded (`projections.tuf.steps`).
* A view that is there no more is closed with the next publication, and removed when its last timestamp is long over.
* A timestamp lives for a week; a bundle for no longer than its root and its targets.
* What views were to show is kept from the moment of the last publication on, and from roots on that are to follow it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from ledger.domain.events import BundleExported, Event, MetadataPublished, WaveResigned, WaveRolledOut
from ledger.domain.tag import TagEvent
from ledger.domain.values import to_epoch
from ledger.domain.wave import ActiveWave
from projections.audit.carried import carried_by
from projections.audit.findings import Entry, Finding, some
from projections.audit.roots import PRODUCTION, Roots
from projections.audit.rules import Rules
from projections.tuf.state import GRACE_SECONDS, TIMESTAMP_SECONDS

_RANKS = {"held": 1, "production": 2, "wave": 3}  # the direction devices move


class _Document(NamedTuple):
    """The targets document that a view is to show."""

    version: int
    expires: datetime


_Wanted = Mapping[str, _Document]


@dataclass
class _Shown:
    """What a repository showed last: its root, and when the timestamps end of views that are open, and of closed."""

    root_version: int = 0
    open: dict[str, int] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)


@dataclass
class Views:
    """All repositories of production, and those of CI, which have one view each. `rules` and `roots` come before."""

    rules: Rules
    roots: Roots
    wanted: dict[str, list[tuple[int, _Wanted]]] = field(default_factory=dict)  # repository → from which position on
    shown: dict[str, _Shown] = field(default_factory=dict)

    def look(self, entry: Entry) -> Iterator[Finding]:
        """Judge the next event."""
        match entry.event:
            case MetadataPublished():
                yield from self._published(entry, entry.event)
            case BundleExported():
                yield from self._exported(entry, entry.event)
            case _:
                self._changed(entry.position, entry.event)

    def end(self) -> Iterator[Finding]:
        """Nothing is to follow."""
        return iter(())

    def _changed(self, position: int, event: Event) -> None:
        """Keep what the views of a tag are to show from now on, if that is something else than before."""
        if isinstance(event, WaveRolledOut | WaveResigned):
            begun = self.rules.waves.get(event.wave)
            tag = self.rules.tags.get(begun.init.tag) if begun else None
        else:
            tag = self.rules.tags.get(event.tag) if isinstance(event, TagEvent) else None
        if tag is None:
            return
        wanted = {view: _Document(document.version, document.expires) for view, document in tag.live.items()}
        wave = self.rules.waves.get(tag.active.wave) if tag.active else None
        if isinstance(wave, ActiveWave) and wave.rollouts:
            wanted[f"wave/{wave.init.wave}"] = _Document(wave.documents[0].version, wave.documents[0].expires)
        kept = self.wanted.setdefault(tag.view, [])
        if wanted != (kept[-1][1] if kept else {}):
            kept.append((position, wanted))

    def _at(self, repository: str, position: int) -> _Wanted:
        kept = self.wanted.get(repository, [])
        place = bisect_right(kept, position, key=lambda one: one[0])
        return kept[place - 1][1] if place else {}

    def _published(self, entry: Entry, event: MetadataPublished) -> Iterator[Finding]:
        state = self.shown.setdefault(event.repository, _Shown())
        size = carried_by(event.views)
        if size is None:
            yield _wrong(entry, "views", "its snapshots do not carry one checkpoint")
        else:
            moments = self.roots.moments(event.repository, event.root_version, size, state.root_version)
            if not moments:
                told = f"root {event.root_version} was not the one to show at position {size}"
                yield _wrong(entry, "root_version", told)
            if event.repository.startswith(f"{PRODUCTION}/"):
                yield from self._look_at_views(entry, event, [self._at(event.repository, at) for at in moments])
            elif [view.view for view in event.views] != [event.repository] or event.closed or event.removed:
                yield _wrong(entry, "views", f"{event.repository} has one view, and that stays")
        yield from self._look_at_lives(entry, event, state)
        _take_in(state, event)
        if size is not None:
            self._forget(event.repository, size, event.root_version)

    def _look_at_views(self, entry: Entry, event: MetadataPublished, moments: list[_Wanted]) -> Iterator[Finding]:
        found = {view.view: _Document(view.targets_version, view.snapshot_expires) for view in event.views}
        ranks = [_RANKS.get(view.view.partition("/")[0], 0) for view in event.views]
        if len(found) < len(event.views) or any(after < before for before, after in pairwise(ranks)):
            yield _wrong(entry, "views", "its views are not each one, held ones first, then production, then the wave")
        if not moments:
            return
        wanted = next((one for one in moments if one == found), moments[0])
        wrong = sorted(view for view in found.keys() | wanted.keys() if found.get(view) != wanted.get(view))
        if wrong:
            told = "; ".join(f"{v}: {_told(found.get(v))}, not {_told(wanted.get(v))}" for v in wrong[:3])
            yield _wrong(entry, "views", f"it does not show what there was to show: {told}")
        ended = self.shown[event.repository].open.keys() - wanted.keys()
        if sorted(event.closed) != sorted(ended):
            told = f"it closes {some(event.closed) or 'nothing'}, and what ended is {some(sorted(ended)) or 'nothing'}"
            yield _wrong(entry, "closed", told)

    def _look_at_lives(self, entry: Entry, event: MetadataPublished, state: _Shown) -> Iterator[Finding]:
        last = entry.recorded_at + TIMESTAMP_SECONDS
        long = [view.view for view in event.views if to_epoch(view.timestamp_expires) > last]
        if long:
            days = TIMESTAMP_SECONDS // 86_400
            yield _wrong(entry, "timestamp_expires", f"timestamps live for {days} days at most: {some(long)}")
        over = entry.recorded_at - GRACE_SECONDS
        early = [view for view in event.removed if state.closed.get(view, over + 1) > over]
        if early:
            yield _wrong(entry, "removed", f"not closed, or clients may still use its timestamp: {some(early)}")

    def _exported(self, entry: Entry, event: BundleExported) -> Iterator[Finding]:
        bundle, size = event.bundle, carried_by([event.bundle])
        root = self.roots.get(event.repository.partition("/")[0], event.root_version)
        if size is None or root is None:
            return  # said elsewhere
        if not self.roots.moments(event.repository, event.root_version, size, 0):
            yield _wrong(entry, "root_version", f"root {event.root_version} was not the newest at position {size}")
        wanted = self._at(event.repository, size).get(bundle.view)
        if wanted is None or wanted.version != bundle.targets_version:
            told = f"{bundle.view} shows targets {bundle.targets_version}, not {_told(wanted)}"
            yield _wrong(entry, "bundle", f"it does not show what there was to show: {told}")
            return
        if max(bundle.timestamp_expires, bundle.snapshot_expires) > min(wanted.expires, root.expires):
            yield _wrong(entry, "timestamp_expires", "it lives longer than its root or its targets")

    def _forget(self, repository: str, size: int, root_version: int) -> None:
        """Drop what no later publication can show: the next one is drawn later, or under a root that follows."""
        since = min(size, self.roots.recorded_at(repository, root_version + 1) or size)
        kept = self.wanted.get(repository, [])
        place = bisect_right(kept, since, key=lambda one: one[0])
        del kept[: max(place - 1, 0)]


def _take_in(state: _Shown, event: MetadataPublished) -> None:
    """What clients have after a publication. A view that is closed keeps its files, or gets production's."""
    ends = {view.view: to_epoch(view.timestamp_expires) for view in event.views}
    for view in event.closed:
        kept = view.replace("wave/", "held/", 1) in ends
        state.closed[view] = state.open.get(view, 0) if kept else ends.get(event.repository, 0)
    state.closed = {v: end for v, end in state.closed.items() if v not in event.removed and v not in ends}
    state.open, state.root_version = ends, event.root_version


def _told(document: _Document | None) -> str:
    return f"targets {document.version} until {document.expires:%Y-%m-%d}" if document else "nothing"


def _wrong(entry: Entry, field_: str, problem: str) -> Finding:
    return Finding(entry.position, "published", field_, problem)
