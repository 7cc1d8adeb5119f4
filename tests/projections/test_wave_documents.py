"""`waves show --show-targets` after a change of keys: the document that is to be shown, with who signs it now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from cli.commands.waves_read import _targets
from ledger.application import signed
from ledger.application.signed import Signatures
from ledger.domain.events import WaveInitialized, WaveResigned
from ledger.session import load
from projections import questions
from projections.at import asked
from projections.queries import waves
from projections.tuf import drafts
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


def in_two_ways(factory: Factory, *names: str) -> list[Signatures]:
    """All documents that waves brought, and how each is found in the projections; as their signers left them."""
    with factory.ledger.reading() as connection:
        found = {
            (name, document.version)
            for name in names
            for event in load(connection, f"wave:{name}")
            if isinstance(event, WaveInitialized | WaveResigned)
            for document in event.documents
        }
        recorded = [signed.of_wave(connection, *one) for one in sorted(found)]
        assert [drafts.offline_document(connection, "production/release", *one) for one in sorted(found)] == recorded
    return recorded


def test_what_a_wave_brings_for_others_is_projected(factory: Factory) -> None:
    """Recovery documents of three waves, one of them before anything was production, are what the events say."""
    factory.sign("w2")
    factory.cancel("w2")
    factory.complete("w1")
    factory.build(3, 4)
    signed_wave(factory, "w3", 3)
    factory.rollout("w3", limit="1")
    factory.report(("d0", "arm64-lmp-3", None))
    factory.cancel("w3")
    signed_wave(factory, "w4", 4)

    made = in_two_ways(factory, "w1", "w2", "w3", "w4")

    assert [len(document.offline) for document in made] == [2] * len(made)
    assert len(made) > 7
    with factory.ledger.reading() as connection:
        headers = connection.execute(text("SELECT documents FROM release_wave ORDER BY wave")).scalars()
        assert [len(orjson.loads(of_wave)) for of_wave in headers] == [2, 2, 2, 3]


def test_what_was_signed_anew_is_found_in_the_events(factory: Factory) -> None:
    """Also when a holder left and one more key signs along; a wave that waits loses that holder's signature."""
    before = in_two_ways(factory, "w1", "w2")
    factory.rotate_offline("targets")
    after = in_two_ways(factory, "w1", "w2")

    assert [len(document.offline) for document in before] == [2, 2, 1, 1]
    assert sorted(len(document.offline) for document in after) == [0, 0, 2, 2, 3, 3]


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
