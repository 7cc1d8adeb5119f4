"""Legality: every event once more through the state machines of `ledger.domain`, and what goes across streams.

Rules of this module (DESIGN §2):

* evolve says which event may follow in which state. What a command writes into several streams stands together: a wave
  that is opened is initialized by the next event, one that ends leaves its tag's place with the next ones, and the
  devices of a rollout follow it. Anything else between is a finding.
* A finished wave is remembered without its documents: it admits no event any more.
* Who acted was a member, where that is asked for, and members are managed by owners. The actor is a claim all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import orjson

from ledger.domain import members, tag, trust, wave
from ledger.domain.events import (
    Event,
    FactoryInitialized,
    MemberAdded,
    MemberRemoved,
    RootPublished,
    TargetsPromoted,
    TargetsPruned,
    VersionsRaised,
    WaveCanceled,
    WaveClosed,
    WaveCompleted,
    WaveInitialized,
    WaveOpened,
    WaveSigned,
)
from ledger.domain.tag import OpenWave, Tag, TagEvent
from ledger.domain.transition import IllegalEvent
from ledger.domain.trust import Trust, TrustEvent
from ledger.domain.wave import ActiveWave, Wave, WaveEvent
from ledger.tuf import versions
from projections.audit.findings import Entry, Finding
from projections.audit.places import stream_of


class Expected(NamedTuple):
    """An event that must come next. `event` is all of it, or None where only wave and topic are known before."""

    stream: str
    topic: str
    event: Event | None
    why: str


@dataclass
class Rules:
    """The states of all streams that have a state machine."""

    factory: FactoryInitialized | None = None
    members: dict[str, str] = field(default_factory=dict)
    trust: Trust = field(default_factory=Trust)
    tags: dict[str, Tag] = field(default_factory=dict)
    waves: dict[str, Wave] = field(default_factory=dict)
    production: dict[str, dict[str, int]] = field(default_factory=dict)  # tag → numbers of its targets by name
    offered: dict[str, dict[str, int]] = field(default_factory=dict)  # active wave → the same
    expected: list[Expected] = field(default_factory=list)

    def look(self, entry: Entry) -> Iterator[Finding]:
        """Judge the next event."""
        yield from self._look_at_place(entry)
        yield from self._look_at_actor(entry)
        try:
            yield from self._evolve(entry)
        except IllegalEvent as problem:
            yield Finding(entry.position, "illegal", "topic", f"{entry.event.topic} is illegal here: {problem}")

    def end(self) -> Iterator[Finding]:
        """Judge what should have followed."""
        for expected in self.expected[:1]:
            yield Finding(
                None,
                "illegal",
                "topic",
                f"the ledger ends before {expected.topic} of {expected.stream}, {expected.why}",
            )

    def _look_at_place(self, entry: Entry) -> Iterator[Finding]:
        if (self.factory is None) != isinstance(entry.event, FactoryInitialized):
            yield _illegal(entry, "a ledger begins with factory.initialized/1, once")
        if self.expected:
            wanted = self.expected.pop(0)
            same = (entry.stream, entry.event.topic) == (wanted.stream, wanted.topic)
            if not same or wanted.event not in (None, entry.event):
                self.expected.clear()
                told = "another content" if same else f"{entry.event.topic} of {entry.stream}"
                yield _illegal(entry, f"expected {wanted.topic} of {wanted.stream} here, {wanted.why}; found {told}")
        elif isinstance(entry.event, TargetsPromoted | TargetsPruned | WaveClosed):
            yield _illegal(entry, f"no wave of {entry.stream} ended just before")
        if entry.stream != stream_of(entry.event):
            yield Finding(entry.position, "illegal", "stream", f"it belongs to {stream_of(entry.event)}")

    def _look_at_actor(self, entry: Entry) -> Iterator[Finding]:
        match entry.event:
            case FactoryInitialized():
                self.factory = entry.event
                self.members = {entry.actor: members.OWNER}  # whoever creates it is its first owner
            case MemberAdded() | MemberRemoved():
                if self.members.get(entry.actor) != members.OWNER:
                    yield Finding(
                        entry.position, "illegal", "actor", f"{entry.actor} was no owner, and changed members"
                    )
                self.members = members.evolve(self.members, entry.event)
                if members.OWNER not in self.members.values():
                    yield _illegal(entry, "the last owner stays")
            case RootPublished(repository="ci"):
                pass  # renewed by whoever refreshes
            case _:
                kind = entry.stream.partition(":")[0]
                asked = kind in {"wave", "tag", "rollout", "trust"} or isinstance(entry.event, VersionsRaised)
                if asked and entry.actor not in self.members:
                    yield Finding(entry.position, "illegal", "actor", f"{entry.actor} was not a member")

    def _evolve(self, entry: Entry) -> Iterator[Finding]:
        event = entry.event
        if isinstance(event, WaveEvent):
            yield from self._evolve_wave(entry, event)
        elif isinstance(event, TagEvent):
            state = tag.evolve(self.tags.get(event.tag, Tag(event.tag)), event)
            self.tags[event.tag] = state
            if isinstance(event, WaveOpened):
                self._expect(f"wave:{event.wave}", WaveInitialized.topic, None, "as its tag was just taken for it")
            if isinstance(event, TargetsPromoted):
                self.production[event.tag] = self.offered.pop(event.wave, {})
            if isinstance(event, WaveClosed):
                self.offered.pop(event.wave, None)
        elif isinstance(event, TrustEvent):
            self.trust = trust.evolve(self.trust, event)

    def _evolve_wave(self, entry: Entry, event: WaveEvent) -> Iterator[Finding]:
        before = self.waves.get(event.wave)
        after = wave.evolve(before, event)
        self.waves[event.wave] = after if isinstance(after, ActiveWave) else _remembered(after)
        if isinstance(event, WaveInitialized):
            yield from self._look_at_init(entry, event)
            return
        open_ = self.tags.get(after.init.tag, Tag("")).active
        if open_ is None or open_.wave != event.wave:
            yield _illegal(entry, f"{event.wave} is not the active wave of tag {after.init.tag}")
        if isinstance(event, WaveCompleted) and isinstance(before, ActiveWave):
            numbers = self.production.get(after.init.tag, {})
            pruned = tuple(sorted(name for name, number in numbers.items() if number in after.init.prune))
            self._expect_all(after.init.tag, wave.complete(before, pruned)[1])
        if isinstance(event, WaveCanceled) and isinstance(before, ActiveWave):
            self._expect_all(after.init.tag, (wave.cancel(before, event.reason)[1],))

    def _look_at_init(self, entry: Entry, event: WaveInitialized) -> Iterator[Finding]:
        state = self.tags.get(event.tag, Tag(event.tag))
        if state.active != OpenWave(event.wave, event.number):
            yield _illegal(entry, f"tag {event.tag} was not opened for {event.wave} with number {event.number}")
        self._expect(entry.stream, WaveSigned.topic, None, "as init signs")
        try:
            own = event.documents[0]
            targets = orjson.loads(own.signed or "")["targets"]
            offered = {name: int(target["custom"]["version"]) for name, target in targets.items()}
        except (IndexError, ValueError, KeyError, TypeError, AttributeError):
            yield Finding(entry.position, "unreadable", "payload", f"the document of {event.wave} has no targets")
            return
        self.offered[event.wave] = offered
        kept = {n: number for n, number in self.production.get(event.tag, {}).items() if number not in event.prune}
        if offered != {**kept, **{name: offered.get(name, -1) for name in event.targets}}:
            yield _illegal(entry, "its targets are not production's, with the new ones and without the pruned ones")
        if versions.lane_of(own.version) > state.lane or versions.lane_of(own.version) < 1:
            yield _illegal(entry, f"version {own.version} is in no lane of tag {event.tag}")

    def _expect(self, stream: str, topic: str, event: Event | None, why: str) -> None:
        self.expected.append(Expected(stream, topic, event, why))

    def _expect_all(self, name: str, events: tuple[Event, ...]) -> None:
        self.expected += [Expected(f"tag:{name}", event.topic, event, "as the wave has ended") for event in events]


def _remembered(state: Wave) -> Wave:
    return replace(state, init=replace(state.init, documents=()), signed=())


def _illegal(entry: Entry, problem: str) -> Finding:
    return Finding(entry.position, "illegal", "topic", problem)
