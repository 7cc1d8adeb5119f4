"""A change of the root by several holders: what took too long, and what it must leave as it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.application import rootchange, rootupdates
from ledger.application.rootupdates import UpdateTooLate
from ledger.domain.values import from_epoch
from ledger.tuf.keypair import KeyPair
from tests.support import DAY, Factory, device


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Factory]:
    """Three holders, of whom two sign each release; production targets, and nothing under way."""
    made = Factory(tmp_path / "ledger.db", 3, 3)
    made.build(*range(41, 46), hardware=["arm64"])
    made.register(device("a"), device("b"))
    made.init("w41", 41)
    made.sign("w41")
    made.complete("w41")
    yield made
    made.close()


def begin(factory: Factory, targets_days: int | None = None) -> None:
    """An update that changes nothing but expiries."""
    targets = None if targets_days is None else from_epoch(factory.now) + timedelta(days=targets_days)
    rootupdates.begin(factory.ledger, factory.facts, factory.root_expires(), targets)


def sign(factory: Factory, *targets: KeyPair) -> None:
    """All root keys sign it, and these holders the live documents."""
    for pair in factory.root_pairs:
        rootupdates.sign(factory.ledger, factory.facts, rootupdates.find_among([pair], "memory"))
    for pair in targets:
        rootupdates.sign_targets(factory.ledger, factory.facts, rootupdates.find_among([pair], "memory"))


def review(factory: Factory) -> rootupdates.Review:
    """The open update, as it is now."""
    with factory.ledger.reading() as connection:
        return rootupdates.review(connection, factory.facts, factory.now)


def apply(factory: Factory) -> rootchange.Changed:
    """The update takes effect."""
    return rootupdates.apply(factory.ledger, factory.facts)


# time


def test_targets_that_expired_while_holders_signed(three: Factory) -> None:
    """What every client would refuse is not applied, and the review says so before."""
    begin(three, targets_days=1)
    sign(three, *three.keys.targets[:2])
    assert review(three).complete
    three.wait(2 * DAY)

    found = review(three)
    assert not found.complete
    assert "production targets would expire" in str(found.problem)
    before = three.head()
    with pytest.raises(UpdateTooLate) as refused:
        apply(three)
    assert "updates cancel" in refused.value.render_hint()
    assert three.head() == before


def test_no_document_gets_an_earlier_expiry(three: Factory) -> None:
    """Targets that live longer than is asked for keep their time."""
    three.resign("release", days=1000)
    until = from_epoch(three.now + 1000 * DAY)
    begin(three, targets_days=30)
    sign(three, *three.keys.targets[:2])
    assert {d.expires for one in apply(three).resigned for d in one.anew.documents} == {until}
