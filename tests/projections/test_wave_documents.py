"""`waves show --show-targets` after a change of keys: the document that is to be shown, with who signs it now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from cli.commands.waves_read import _targets
from projections import questions
from projections.at import asked
from projections.queries import waves
from projections.tuf.publish import metadata_of, publish
from tests.audit.conftest import signed_wave
from tests.support import Factory, device


@pytest.fixture
def factory(tmp_path: Path) -> Iterator[Factory]:
    """Two holders; the wave w1 is published, w2 waits with the first one's signature."""
    made = Factory(tmp_path / "ledger.db", holders=2, threshold=3)
    made.build(1, 2)
    made.register(device("d0"), device("d1", tag="beta"))
    signed_wave(made, "w1", 1)
    made.rollout("w1", limit="1")
    publish(made.ledger, made.online)
    made.init("w2", 2, "beta")
    yield made
    made.close()


def shown(factory: Factory, name: str, at: int | None = None) -> tuple[waves.WaveDetails, dict[str, Any]]:
    """What is said of a wave, and its document."""
    with factory.ledger.reading() as ledger:
        if at is None:
            wave = waves.find(ledger, name)
            assert wave is not None
            return waves.details(ledger, wave), _targets(ledger, name)
        with asked(ledger, at, questions.of_wave(name)) as past:
            wave = waves.find(past, name)
            assert wave is not None
            return waves.details(past, wave), _targets(past, name)


def keyids(document: dict[str, Any]) -> list[str]:
    return [signature["keyid"] for signature in document["signatures"]]


def test_a_wave_that_was_signed_anew(factory: Factory) -> None:
    """A departed holder's key signs a new document of an active wave along: its version and its signers are shown."""
    gone = factory.keys.targets[0].keyid
    _, before = shown(factory, "w1")
    factory.rotate_offline("targets")
    publish(factory.ledger, factory.online)
    found, document = shown(factory, "w1")
    with factory.ledger.reading() as connection:
        asked_for = text("SELECT targets_version FROM release_published WHERE view = 'wave/w1'")
        version = connection.execute(asked_for).scalar_one()
        published = metadata_of(connection, "production/release", "w1", version)

    assert gone in keyids(before)
    assert document["signed"]["version"] == version == before["signed"]["version"] + 1
    assert document["signed"] == published["signed"]
    assert keyids(document)[: len(found.keyids)] == found.keyids
    assert all(signature in published["signatures"] for signature in document["signatures"])


def test_a_wave_that_waits(factory: Factory) -> None:
    """The signature of a holder who left is not shown any more."""
    gone = factory.keys.targets[0].keyid
    before, document = shown(factory, "w2")
    factory.rotate_offline("targets")
    found, after = shown(factory, "w2")

    assert keyids(document) == before.keyids == [gone]
    assert keyids(after) == found.keyids == []


@pytest.mark.parametrize("name", ["w1", "w2"])
def test_the_past_is_shown_as_it_was(factory: Factory, name: str) -> None:
    """At each position the document is the one that was shown then, before and after the keys changed."""
    position, _ = factory.head()
    then = shown(factory, name)
    factory.rotate_offline("targets")
    now = shown(factory, name)

    assert then[1] != now[1]
    assert shown(factory, name, position) == then
    assert shown(factory, name, factory.head()[0]) == now
