"""Laws of wave and tag together: whatever is decided can be replayed, and nothing else can."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ledger.domain import tag, wave
from ledger.domain.errors import Refused
from ledger.domain.events import Document, Selector, WaveInitialized, WaveOpened, WaveSigned
from ledger.domain.initiation import WaveFacts, WaveRequest, decide_targets
from ledger.domain.tag import Tag
from ledger.domain.transition import IllegalEvent
from ledger.domain.values import read_target

NOW = datetime(2026, 11, 23, tzinfo=UTC)
EXPIRES = NOW + timedelta(days=365)
SELECTOR = Selector("canary", None, None)
NAMES = st.sampled_from([f"v{n}" for n in range(8)])


def target(number):
    """A CI target of that number."""
    custom = {"version": number, "hardwareIds": ["rpi4"], "tags": ["main"]}
    return read_target(f"a-{number}", {"length": 1, "hashes": {"sha256": "ab" * 32}, "custom": custom})


class Line(RuleBasedStateMachine):
    """One tag and its waves, by every command in any order. A command is refused, or its events can be replayed."""

    def __init__(self):
        super().__init__()
        self.tag = Tag("release")
        self.tag_events, self.waves, self.production, self.lanes, self.final = [], {}, {}, [], {}

    @rule(name=NAMES, number=st.integers(1, 12), threshold=st.integers(2, 3), prune=st.none() | st.integers(1, 12))
    def init(self, name, number, threshold, prune):
        """Waves init, as the use case does it."""
        request = WaveRequest(name, number, "release", EXPIRES, () if prune is None else (prune,))
        facts = WaveFacts((target(number),), self.tag, name in self.waves, self.production)
        try:
            targets = decide_targets(request, facts, NOW)
        except Refused:
            return
        lane, live = self.tag.lane + 1, self.tag.production
        documents = (
            Document(f"wave/{name}", lane * 1000, EXPIRES, None, "{}"),
            Document(self.tag.view, (lane + 1) * 1000, EXPIRES, live.content if live else None, None),
        )
        names = tuple(t.name for t in targets.new)
        started = WaveInitialized(name, "release", number, None, request.prune, names, EXPIRES, 1, threshold, documents)
        self._tag(WaveOpened("release", name, number, lane, lane + 1))
        self.waves[name] = (wave.evolve(None, started), targets.all)

    @rule(name=NAMES, key=st.sampled_from(["key1", "key2", "key3"]))
    def sign(self, name, key):
        """Waves sign."""
        self._command(name, lambda state: (wave.sign(state, key, ("s", "s")), ()))

    @rule(name=NAMES)
    def roll_out(self, name):
        """Waves rollout."""
        delivery = {"full_group": True, "devices": 1, "skipped": 0, "digest": "d", "plan": None}
        self._command(name, lambda state: (wave.roll_out(state, SELECTOR, **delivery), ()))

    @rule(name=NAMES)
    def complete(self, name):
        """Waves complete."""

        def decide(state):
            pruned = tuple(n for n, t in self.production.items() if t.number in state.init.prune)
            return wave.complete(state, pruned)

        if self._command(name, decide):
            self.production = dict(self.waves[name][1])

    @rule(name=NAMES)
    def cancel(self, name):
        """Waves cancel."""

        def decide(state):
            canceled, closed = wave.cancel(state, None)
            return canceled, (closed,)

        self._command(name, decide)

    def _command(self, name, decide):
        if name not in self.waves:
            return False
        state, targets = self.waves[name]
        try:
            event, tag_events = decide(state)
        except Refused:
            return False
        self.waves[name] = (wave.evolve(state, event), targets)
        for tag_event in tag_events:
            self._tag(tag_event)
        return True

    def _tag(self, event):
        before = self.tag
        self.tag = tag.evolve(before, event)
        self.tag_events.append(event)
        assert self.tag.lane >= before.lane
        assert self.tag.number >= before.number
        if isinstance(event, WaveOpened):
            self.lanes += range(event.first_lane, event.last_lane + 1)

    @invariant()
    def at_most_one_wave_is_active(self):
        """And it is the one that has the tag's place."""
        active = [name for name, (state, _) in self.waves.items() if isinstance(state, wave.ActiveWave)]
        assert active == ([self.tag.active.wave] if self.tag.active else [])

    @invariant()
    def no_lane_is_taken_twice(self):
        """Lanes only grow, without a gap."""
        assert self.lanes == list(range(1, self.tag.lane + 1))

    @invariant()
    def complete_and_canceled_are_final(self):
        """A finished wave is the same for ever."""
        for name, state in self.final.items():
            assert self.waves[name][0] == state
        self.final |= {n: s for n, (s, _) in self.waves.items() if not isinstance(s, wave.ActiveWave)}

    @invariant()
    def production_is_what_completed(self):
        """Its highest number is the tag's, and never one that only was in a canceled wave."""
        completed = [s.init.number for s, _ in self.waves.values() if isinstance(s, wave.CompleteWave)]
        assert max(completed, default=0) == self.tag.number
        assert {t.number for t in self.production.values()} <= set(completed)
        assert max((t.number for t in self.production.values()), default=0) == self.tag.number

    @invariant()
    def a_replay_gives_the_same_tag(self):
        """The state is the fold of its events."""
        state = Tag("release")
        for event in self.tag_events:
            state = tag.evolve(state, event)
        assert state == self.tag


LineTest = Line.TestCase
LineTest.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
LineTest = pytest.mark.property(LineTest)


INIT = WaveInitialized(
    "v1", "release", 1, None, (), ("a-1",), EXPIRES, 1, 3, (Document("wave/v1", 1, EXPIRES, None, "{}"),)
)
STEPS = {
    "init": INIT,
    **{key: WaveSigned("v1", key, ("s",)) for key in ("key1", "key2", "key3")},
    **{
        f"rollout {n}": wave.WaveRolledOut(
            "v1", n, SELECTOR, full_group=True, devices=1, skipped=0, digest="d", plan=None
        )
        for n in (1, 2, 3)
    },
    "complete": wave.WaveCompleted("v1"),
    "cancel": wave.WaveCanceled("v1", None),
}


def allowed(before, step):
    """The state machine of a wave of threshold 3 in words: may this step follow those?"""
    kind, _, number = step.partition(" ")
    keys = [s for s in before if s.startswith("key")]
    if "complete" in before or "cancel" in before or (kind == "init") == bool(before):
        return False
    if kind.startswith("key"):
        return len(keys) < 2 and step not in keys
    if kind == "rollout":
        return len(keys) == 2 and int(number) == 1 + sum(s.startswith("rollout") for s in before)
    return kind in ("init", "cancel") or len(keys) == 2


@pytest.mark.property
@settings(max_examples=400)
@for_all(st.lists(st.sampled_from(sorted(STEPS)), max_size=8), st.booleans())
def test_evolve_admits_exactly_the_legal_histories(steps, start):
    """Every step that the rules allow is folded, every other raises IllegalEvent and nothing else."""
    state, before = None, []
    for step in ["init", *steps] if start else steps:
        if not allowed(before, step):
            with pytest.raises(IllegalEvent):
                wave.evolve(state, STEPS[step])
            return
        state = wave.evolve(state, STEPS[step])
        before.append(step)
