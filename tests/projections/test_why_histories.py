"""`devices why` on random histories: it agrees with `devices show`, and with the model on how and why not."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections.queries import devices
from projections.why import gather, words
from projections.why.evidence import Lacking, Registered, Removed, Unknown
from projections.why.source import Source
from tests.projections.history import ACTIONS, HELD_ACTIONS, TAGS, UUIDS, History, Step
from tests.support import Factory

numbers = st.tuples(*[st.integers(0, 1000)] * 4)
actions = st.sampled_from((*ACTIONS, *HELD_ACTIONS, "publish", "publish"))
steps = st.lists(st.tuples(actions, numbers), min_size=20, max_size=60)


def play(template: Factory, history: list[Step], every: int) -> None:
    """Ask why about every device after every so many steps, and at the end."""
    with tempfile.TemporaryDirectory() as directory:
        factory = template.copy(Path(directory) / "ledger.db")
        try:
            told = History(factory)
            told.start()
            for place, (action, numbers) in enumerate(history, start=1):
                told.act(action, numbers)
                if place % every == 0 or place == len(history):
                    check(told)
        finally:
            factory.close()


def check(told: History) -> None:
    """All devices, those that left and those that never were there too."""
    with told.factory.ledger.reading() as connection:
        for uuid in UUIDS:
            shown = devices.show(connection, uuid)
            found = gather.evidence(Source.of_now(connection), uuid)
            assert gather.matching(connection, uuid) == ([uuid] if uuid in told.model.devices else [])
            answer = words.explain(found, told.factory.now)
            assert answer.summary.startswith((f"name-{uuid} ", f"{uuid} "))
            match found:
                case Registered():
                    assert [found.row] == shown
                    check_registered(told, found, answer)
                case Removed():
                    assert shown == []
                    assert not told.model.devices[uuid].present
                    assert {one.wave for one in found.resting} == told.model.resting(uuid), told.done
                case Unknown():
                    assert uuid not in told.model.devices


def check_registered(told: History, found: Registered, answer: words.Answer) -> None:
    """What is said beside the decision is the model's, and the events behind it are of this device or its tag."""
    model, row = told.model, found.row
    uuid, device = row.uuid, model.devices[row.uuid]
    assert (answer.rule, answer.reason) == (row.rule.value, row.reason)
    assert (answer.exclusion.code if answer.exclusion else None) == model.excluded(uuid), (uuid, told.done)
    assert {one.wave for one in found.resting} == model.resting(uuid), (uuid, told.done)
    assert found.orphan == model.orphan(uuid)
    assert found.row.basis.runs == device.number
    assert {tag for _, tag in found.others} == {tag for tag in TAGS if tag != row.tag and model.active(tag)}
    for one in (found.wave, found.holder):
        if one is not None and device.production:
            way = one.reached.by.value if one.reached else None
            assert way == model.waves[one.name].ways.get(uuid), (uuid, one.name, told.done)
    assert (found.holder.name if found.holder else None) == (model.held(uuid) if device.production else None)
    assert (found.publication.state is Lacking.NOTHING) == row.published
    assert (found.publication.state is Lacking.NO_VIEW) == (row.view is None)
    waits = model.waits(uuid)
    assert not (waits and found.publication.state is Lacking.NOTHING)
    assert waits or found.publication.state is not Lacking.WAITS
    positions = [position for _, position in found.events]
    assert positions == sorted(set(positions))


@pytest.mark.property
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=steps)
def test_why_agrees_with_show_and_with_the_model(simple: Factory, history: list[Step]) -> None:
    """The same decision as `devices show`; ways into a wave, exclusions and what rests are those of plain sets."""
    play(simple, history, every=9)


@pytest.mark.slow
@pytest.mark.property
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=steps)
def test_why_agrees_in_many_histories(template: Factory, history: list[Step]) -> None:
    """The same for many, where two holders sign."""
    play(template, history, every=4)
