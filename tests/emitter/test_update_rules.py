"""A change of the root by several holders: what took too long, and what it must leave as it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.application import keys, rootchange, rootupdates
from ledger.application.live import DocumentsOvertaken
from ledger.application.rootupdates import UpdateTooLate
from ledger.application.waves import fold_wave
from ledger.domain.trust import RootAlreadySigned
from ledger.domain.values import from_epoch
from ledger.domain.wave import ActiveWave
from ledger.tuf import rootchange as edits
from ledger.tuf.keypair import KeyPair, generate
from projections.tuf.destination import Directory
from tests.support import DAY, Client, Factory, device


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


# a wave that waits for signatures


@pytest.fixture
def four(tmp_path: Path) -> Iterator[Factory]:
    """Three holders, all of whom sign each release, and a wave that the first two have signed."""
    made = Factory(tmp_path / "four.db", 3, 4)
    made.build(*range(41, 46), hardware=["arm64"])
    made.register(device("a"), device("b"))
    made.init("w43", 43)
    made.sign("w43", 1)
    yield made
    made.close()


def state(factory: Factory) -> ActiveWave:
    """The wave as the ledger has it."""
    with factory.ledger.reading() as connection:
        found = fold_wave(connection, "w43")
    assert isinstance(found, ActiveWave)
    return found


def signed(factory: Factory) -> list[str]:
    """Whose signatures the wave has."""
    return [by.keyid for by in state(factory).signed]


def delivered(factory: Factory) -> None:
    """The missing holder signs, and clients take what comes of it."""
    missing = next(n for n, pair in enumerate(factory.keys.targets) if pair.keyid not in signed(factory))
    factory.sign("w43", missing)
    factory.rollout("w43", uuids=["a"])
    tree = Directory(factory.path.parent / "tree")
    factory.publish(tree)
    Client(factory.path.parent / "client").poll(tree, "wave/w43", "production/release", factory.now)
    assert factory.differences() == []


def test_who_stays_keeps_a_signature(four: Factory) -> None:
    """One of two signers is replaced, and cannot be asked again: the other's signature stays, over the same bytes."""
    a, b, _ = four.keys.targets
    before = state(four).documents
    changed = four.rotate_offline("targets", 1)
    assert [(one.changed.removed, one.keyids, one.missing) for one in changed.waiting] == [((b.keyid,), (a.keyid,), 2)]
    assert (signed(four), state(four).documents) == ([a.keyid], before)
    four.sign("w43", 1)
    delivered(four)


def test_who_does_not_sign_for_the_change_keeps_a_signature(four: Factory) -> None:
    """A higher threshold takes nobody's signature from a wave that waits; it waits for more."""
    d = generate("ed25519")
    rootupdates.begin(four.ledger, four.facts, four.root_expires())
    for edit in (
        lambda root: edits.add_key(root, "targets", d.key),
        lambda root: setattr(root.roles["targets"], "threshold", 5),
    ):
        rootupdates.edit(four.ledger, four.facts, edit)
    sign(four)
    assert [(one.owner, one.missing) for one in review(four).waiting] == [("wave:w43", 2)]
    before = signed(four)
    apply(four)
    four.hold([*four.keys.targets, d], 5)
    assert (signed(four), state(four).needed) == (before, 4)
    four.sign("w43", 2)
    delivered(four)


def test_a_signature_that_came_while_others_signed_the_change(three: Factory) -> None:
    """Between a holder's part of an update and its end the wave is signed: that counts, too."""
    new = generate("ed25519")
    three.updates(lambda root: setattr(root.roles["targets"], "threshold", 4))
    three.hold(three.keys.targets, 4)
    three.init("w43", 43)
    rootupdates.begin(three.ledger, three.facts, three.root_expires())
    rootupdates.edit(three.ledger, three.facts, lambda root: edits.add_key(root, "targets", new.key))
    rootupdates.edit(three.ledger, three.facts, lambda root: setattr(root.roles["targets"], "threshold", 5))
    sign(three, *three.keys.targets, new)
    three.sign("w43", 1)
    apply(three)
    assert signed(three) == [pair.keyid for pair in three.keys.targets[:2]]


def test_a_wave_that_ends_while_the_change_is_signed(four: Factory) -> None:
    """Nothing is recorded for a wave that is canceled meanwhile: the change is refused, and can be made again."""
    old = four.keys.targets[1]

    class Slow:
        """The root key, during whose signature the wave ends."""

        keyid, key = four.root_pairs[0].keyid, four.root_pairs[0].key

        def sign(self, data: bytes) -> str:
            """Cancel first."""
            four.cancel("w43")
            return four.root_pairs[0].sign(data)

    rotation = keys.OfflineRotation(
        "targets", old.keyid, generate("ed25519"), four.root_expires(), [Slow()], four.keys.targets
    )
    with pytest.raises(DocumentsOvertaken):
        keys.rotate_offline_key(four.ledger, four.facts, rotation)
    four.rotate_offline("targets", 1)
    assert four.differences() == []


# two holders at once


@pytest.mark.parametrize("what", ["sign", "sign_targets"])
def test_another_holder_signs_at_the_same_time(three: Factory, what: str) -> None:
    """Each signature stands for itself: nobody has to sign again because somebody else was faster."""
    second = generate("ed25519")
    first, *others = three.root_pairs if what == "sign" else three.keys.targets
    rootupdates.begin(three.ledger, three.facts, three.root_expires())
    rootupdates.edit(three.ledger, three.facts, lambda root: edits.add_key(root, "root", second.key))
    rootupdates.edit(three.ledger, three.facts, lambda root: setattr(root.roles["targets"], "threshold", 4))
    faster = second if what == "sign" else others[0]
    use_case = getattr(rootupdates, what)

    class Slow:
        """A key during whose signature another holder signs."""

        keyid, key = first.keyid, first.key

        def sign(self, data: bytes) -> str:
            """The other one first."""
            if faster.keyid not in signers(three, what):
                use_case(three.ledger, three.facts, rootupdates.find_among([faster], "memory"))
            return first.sign(data)

    use_case(three.ledger, three.facts, rootupdates.find_among([Slow()], "memory"))
    assert signers(three, what) == {first.keyid, faster.keyid}


def signers(factory: Factory, what: str) -> set[str]:
    """Who signed the open update so far: the root, or live documents."""
    found = review(factory).update
    return {keyid for keyid, _ in found.signatures} if what == "sign" else {by.keyid for by in found.documents}


def test_one_holder_twice_at_the_same_time(three: Factory) -> None:
    """The slower one of two commands with one key is refused: a key signs a proposal once."""
    begin(three)
    pair = three.root_pairs[0]

    class Slow:
        """A key during whose signature the same key signs."""

        keyid, key = pair.keyid, pair.key

        def sign(self, data: bytes) -> str:
            """Once before."""
            rootupdates.sign(three.ledger, three.facts, rootupdates.find_among([pair], "memory"))
            return pair.sign(data)

    with pytest.raises(RootAlreadySigned):
        rootupdates.sign(three.ledger, three.facts, rootupdates.find_among([Slow()], "memory"))
    assert apply(three).root.version == 2
