"""What a change of keys must not do: count a key that may not, decide for a holder, or leave what no root accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import SSlibKey

from ledger.application import keys, live, resign, rootchange, rootupdates, signed
from ledger.application.resign import DocumentsOvertaken, OnlyAWholeTag, TooFewSigners, VersionsTooHigh
from ledger.application.rootchange import RootOvertaken, TooFewRootKeys
from ledger.application.rootupdates import UpdateTooLate
from ledger.application.waves import fold_wave
from ledger.domain.errors import LedgerError
from ledger.domain.members import NotMember
from ledger.domain.values import from_epoch
from ledger.domain.wave import ActiveWave, WaveExpired
from ledger.store import events
from ledger.tuf import rootchange as edits
from ledger.tuf import roots
from ledger.tuf.errors import KeyInTwoPlaces, NoMatchingKey, RootsShareKeys
from ledger.tuf.keypair import KeyPair, generate
from projections.tuf.destination import Directory
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


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Factory]:
    """One holder, production targets, and a wave under way."""
    made = Factory(tmp_path / "one.db")
    made.build(*range(41, 46), hardware=["arm64"])
    made.register(device("a"), device("b"))
    made.init("w41", 41)
    made.complete("w41")
    made.init("w43", 43)
    made.rollout("w43", uuids=["a"])
    yield made
    made.close()


@dataclass
class Meanwhile:
    """A signer during whose first signature something happens."""

    signer: KeyPair
    happens: Callable[[], object] | None

    @property
    def keyid(self) -> str:
        """The keyid of its key."""
        return self.signer.keyid

    @property
    def key(self) -> SSlibKey:
        """Its public key."""
        return self.signer.key

    def sign(self, data: bytes) -> str:
        """Let it happen, once; then sign."""
        happens, self.happens = self.happens, None
        if happens:
            happens()
        return self.signer.sign(data)


def wave(factory: Factory, name: str) -> ActiveWave:
    """An active wave as the ledger has it."""
    with factory.ledger.reading() as connection:
        state = fold_wave(connection, name)
    assert isinstance(state, ActiveWave)
    return state


def refused(factory: Factory, kind: type[LedgerError], action: Callable[[], object]) -> LedgerError:
    """It is refused, with its hint, and the ledger stays as it is."""
    before = factory.head()
    with pytest.raises(kind) as caught:
        action()
    assert caught.value.render_hint()
    assert factory.head() == before
    return caught.value


def rotation(
    factory: Factory, role: str, old: str, root: list[Any] | None = None, targets: Any = None
) -> rootchange.Changed:
    """One offline key in the place of another."""
    return keys.rotate_offline_key(
        factory.ledger,
        factory.facts,
        keys.OfflineRotation(
            role,
            old,
            generate("ed25519"),
            factory.root_expires(),
            factory.root_pairs if root is None else root,
            factory.keys.targets if targets is None else targets,
        ),
    )


# who counts


def test_an_online_key_never_counts_as_a_holder(three: Factory) -> None:
    """Given as an old targets key, the online one is one signature too few, in the short form and in an update."""
    online = three.keys.online["production.targets"]
    a = three.keys.targets[0]
    refused(three, TooFewSigners, lambda: rotation(three, "targets", a.keyid, targets=[online]))

    rootupdates.begin(three.ledger, three.facts, three.root_expires())
    rootupdates.edit(three.ledger, three.facts, lambda root: edits.remove_key(root, "targets", a.keyid))
    refused(
        three,
        NoMatchingKey,
        lambda: rootupdates.sign_targets(three.ledger, three.facts, rootupdates.find_among([online], "online")),
    )


def test_one_holder_twice_is_one_signature(three: Factory) -> None:
    """The same key given twice does not make two signatures."""
    a = three.keys.targets[0]
    request = resign.ResignRequest("release", None)
    refused(
        three, TooFewSigners, lambda: resign.resign(three.ledger, three.facts, request, lambda _root, _online: [a, a])
    )


def test_the_online_key_does_not_go_with_an_offline_rotation(one: Factory) -> None:
    """An online key is replaced by its own command: the root keeps it in any other change."""
    online = one.keys.online["production.targets"].keyid
    error = refused(one, edits.OnlineKeyLeaves, lambda: rotation(one, "targets", online))
    assert "rotate-online-key" in error.render_hint()

    rootupdates.begin(one.ledger, one.facts, one.root_expires())
    rootupdates.edit(one.ledger, one.facts, lambda root: edits.add_key(root, "targets", generate("ed25519").key))
    rootupdates.edit(one.ledger, one.facts, lambda root: edits.remove_key(root, "targets", online))
    find = rootupdates.find_among(one.root_pairs, "root")
    refused(one, edits.OnlineKeyLeaves, lambda: rootupdates.sign(one.ledger, one.facts, find))


@pytest.mark.parametrize(
    ("name", "error"),
    [("production.snapshot", KeyInTwoPlaces), ("ledger", KeyInTwoPlaces), ("ci.root", RootsShareKeys)],
)
def test_no_machine_is_a_holder(one: Factory, name: str, error: type[LedgerError]) -> None:
    """No key of a machine comes in as an offline key: not production's, not CI's, not the ledger's own."""
    pair = one.keys.ledger if name == "ledger" else one.keys.online[name]
    rootupdates.begin(one.ledger, one.facts, one.root_expires())
    rootupdates.edit(one.ledger, one.facts, lambda root: edits.add_key(root, "targets", pair.key))
    find = rootupdates.find_among(one.root_pairs, "root")
    refused(one, error, lambda: rootupdates.sign(one.ledger, one.facts, find))
    refused(one, error, lambda: rootupdates.apply(one.ledger, one.facts))


# a wave that is not ready


def unready(factory: Factory) -> None:
    """A wave that the first holder signed, and nobody else yet."""
    factory.init("w43", 43)
    assert not wave(factory, "w43").ready


def test_a_rotation_does_not_approve_a_wave(three: Factory) -> None:
    """A holder whose key signs for a rotation has not signed the wave that waits for a second signature."""
    unready(three)
    a, *_ = three.keys.targets
    three.rotate_offline("targets", 2)  # c, who did not sign it
    assert [by.keyid for by in wave(three, "w43").signed] == [a.keyid]

    three.rotate_offline("targets", 0)  # a, who did: the new key has not signed it
    assert wave(three, "w43").signed == ()
    assert not wave(three, "w43").ready
    three.sign("w43", 0)
    three.sign("w43", 1)
    three.rollout("w43", uuids=["a"])
    three.publish(Directory(three.path.parent / "tree"))


def test_an_update_does_not_approve_a_wave(three: Factory) -> None:
    """Nor has one who signs production targets for an update; the wave's own signer keeps counting."""
    unready(three)
    a, *_ = three.keys.targets
    d = generate("ed25519")
    three.updates(
        lambda root: edits.add_key(root, "targets", d.key),
        lambda root: setattr(root.roles["targets"], "threshold", 4),
        targets=[d],
    )
    three.hold([*three.keys.targets, d], 4)
    assert [by.keyid for by in wave(three, "w43").signed] == [a.keyid]
    assert (wave(three, "w43").needed, wave(three, "w43").ready) == (3, False)
    three.sign("w43", 1)
    three.sign("w43", 2)
    assert wave(three, "w43").ready
    three.complete("w43")
    three.publish(Directory(three.path.parent / "tree"))


@pytest.mark.parametrize("role", ["targets", "timestamp"])
def test_an_online_rotation_leaves_it_alone(three: Factory, role: str) -> None:
    """What nobody has seen has no online signature to be replaced."""
    unready(three)
    before = wave(three, "w43")
    three.rotate_online(role)
    assert wave(three, "w43") == before
    three.sign("w43")
    three.complete("w43")
    three.publish(Directory(three.path.parent / "tree"))


def test_a_lower_threshold_does_not_approve_a_wave(three: Factory) -> None:
    """A wave that was begun for two signatures gets them, whatever the root asks for meanwhile."""
    unready(three)
    three.updates(lambda root: setattr(root.roles["targets"], "threshold", 2))
    three.threshold = 2
    assert not wave(three, "w43").ready
    three.sign("w43")
    three.rollout("w43", uuids=["a"])
    three.publish(Directory(three.path.parent / "tree"))


def test_a_resign_of_the_tag_leaves_it_alone(three: Factory) -> None:
    """Only when it is named is a wave that is not ready signed anew, by whoever gives a key for it."""
    unready(three)
    before = wave(three, "w43")
    (resigned,) = three.resign("release", days=700)
    assert resigned.anew.before.owner == "tag:release"
    assert wave(three, "w43") == before

    three.resign("w43", days=700, holders=1)
    assert (len(wave(three, "w43").signed), wave(three, "w43").ready) == (1, False)
    three.resign("w43", days=700)
    assert wave(three, "w43").ready


# between signing and recording


def test_signed_meanwhile(three: Factory) -> None:
    """Another holder's signature that came while documents were signed is not lost: the change is refused."""
    unready(three)
    a, *_ = three.keys.targets
    slow = Meanwhile(a, lambda: three.sign("w43", 1))
    error = refused_later(three, DocumentsOvertaken, lambda: resigned_by(three, "w43", [slow]))
    assert "run the command again" in error.render_hint()
    assert wave(three, "w43").ready


def refused_later(factory: Factory, kind: type[LedgerError], action: Callable[[], object]) -> LedgerError:
    """It is refused after something else was recorded, and nothing else was."""
    before = factory.head()[0]
    with pytest.raises(kind) as caught:
        action()
    with factory.ledger.reading() as connection:
        topics = {row.topic for row in events.read(connection, after=before)}
        assert not {"root.published/1", "wave.resigned/1", "targets.resigned/1"} & topics
    return caught.value


def resigned_by(factory: Factory, name: str, signers: list[Any]) -> list[resign.SignedAnew]:
    """Documents signed anew by these."""
    request = resign.ResignRequest(name, None)
    return resign.resign(factory.ledger, factory.facts, request, lambda _root, _online: signers)


@pytest.mark.parametrize("what", ["release", "w43"])
@pytest.mark.parametrize("happens", ["complete", "cancel"])
def test_ended_meanwhile(one: Factory, what: str, happens: str) -> None:
    """A wave that ends while its tag's documents are signed is not signed anew."""
    slow = Meanwhile(one.keys.targets[0], lambda: getattr(one, happens)("w43"))
    refused_later(one, DocumentsOvertaken, lambda: resigned_by(one, what, [slow]))
    one.resign("release")


@pytest.mark.parametrize("happens", ["complete", "cancel", "init", "targets import"])
def test_the_root_changes_meanwhile_with_documents(one: Factory, happens: str) -> None:
    """Documents that came while the next root was signed are not left behind."""
    does = {
        "complete": lambda: one.complete("w43"),
        "cancel": lambda: one.cancel("w43"),
        "init": lambda: one.init("v42", 42, "beta"),
        "targets import": lambda: one.build(46),
    }[happens]
    slow = Meanwhile(one.keys.targets[0], does)
    old = one.keys.targets[0].keyid
    if happens == "targets import":
        rotation(one, "targets", old, targets=[slow])
    else:
        refused_later(one, DocumentsOvertaken, lambda: rotation(one, "targets", old, targets=[slow]))


def test_two_changes_of_the_root_at_once(one: Factory) -> None:
    """The slower one is refused."""
    slow = Meanwhile(one.root_pairs[0], one.renew_root)
    with pytest.raises(RootOvertaken):
        rotation(one, "root", one.root_pairs[0].keyid, root=[slow])
    with one.ledger.reading() as connection:
        assert one.facts.trusted(connection, "production").version == 2


def test_a_rotation_while_documents_are_signed(one: Factory) -> None:
    """A re-sign under a root that was replaced meanwhile is refused."""
    slow = Meanwhile(one.keys.targets[0], lambda: rotation(one, "targets", one.keys.targets[0].keyid))
    with pytest.raises(DocumentsOvertaken):
        resigned_by(one, "release", [slow])


def test_a_proposal_that_is_edited_while_it_is_signed(one: Factory) -> None:
    """Nobody's signature counts for what was not signed."""
    rootupdates.begin(one.ledger, one.facts, one.root_expires())
    key = generate("ed25519").key
    slow = Meanwhile(
        one.root_pairs[0],
        lambda: rootupdates.edit(one.ledger, one.facts, lambda root: edits.add_key(root, "root", key)),
    )
    with pytest.raises(RootOvertaken):
        rootupdates.sign(one.ledger, one.facts, rootupdates.find_among([slow], "root"))


# what a root must be


def test_the_ledger_key_stays_in_the_root(three: Factory) -> None:
    """Every next root names the ledger's own key, of production and of CI."""
    three.renew_root()
    three.rotate_offline("targets")
    three.rotate_online("snapshot")
    for role in keys.CI_ROLES:
        three.rotate_ci(role)
    with three.ledger.reading() as connection:
        both = [roots.load_root(three.facts.trusted(connection, kind).metadata).signed for kind in ("production", "ci")]
    assert {roots.ledger_key(root) for root in both} == {three.keys.ledger.key.keyval["public"]}
    roots.no_shared_keys(*both)


def test_a_ci_key_that_is_productions(one: Factory) -> None:
    """CI's root takes no key of production's root."""
    refused(
        one,
        RootsShareKeys,
        lambda: keys.rotate_ci_key(
            one.ledger, one.facts, "targets", one.keys.targets[0], one.online, one.root_expires()
        ),
    )


def test_the_root_needs_more_holders(one: Factory) -> None:
    """Where two root keys must sign, one holder is told how to begin with the other."""
    second = generate("ed25519")
    one.updates(
        lambda root: edits.add_key(root, "root", second.key),
        lambda root: setattr(root.roles["root"], "threshold", 2),
        root=[second],
    )
    error = refused(one, TooFewRootKeys, one.renew_root)
    assert "updates init" in error.render_hint()
    one.root_pairs.append(second)
    one.renew_root()


def test_an_update_that_took_too_long(one: Factory) -> None:
    """A proposed root that has expired is not applied: no client would get over it."""
    rootupdates.begin(one.ledger, one.facts, one.root_expires())
    rootupdates.sign(one.ledger, one.facts, rootupdates.find_among(one.root_pairs, "root"))
    one.now = int(one.root_expires().timestamp())
    error = refused(one, UpdateTooLate, lambda: rootupdates.apply(one.ledger, one.facts))
    assert "the root would expire" in str(error)


@pytest.mark.parametrize("change", ["renew_root", "rotate_offline", "rotate_online", "rotate_ci", "resign"])
def test_only_members(one: Factory, change: str) -> None:
    """Nobody else changes keys or documents."""
    one.actor = "mallory"
    argument = {"renew_root": (), "rotate_offline": ("root",), "resign": ("release",)}.get(change, ("timestamp",))
    refused(one, NotMember, lambda: getattr(one, change)(*argument))


def test_only_members_update(one: Factory) -> None:
    """Each step of an update asks who it is."""
    ledger, facts = one.ledger, one.facts
    find = rootupdates.find_among([*one.root_pairs, *one.keys.targets], "memory")

    def add(root: Any) -> None:
        edits.add_key(root, "targets", generate("ed25519").key)

    steps: list[Callable[..., object]] = [
        lambda by: rootupdates.begin(by, facts, one.root_expires(), one.root_expires()),
        lambda by: rootupdates.edit(by, facts, add),
        lambda by: rootupdates.sign(by, facts, find),
        lambda by: rootupdates.sign_targets(by, facts, find),
        lambda by: rootupdates.apply(by, facts),
    ]
    for step in steps:
        one.actor = "mallory"
        mallory = one.ledger
        refused(one, NotMember, lambda: step(mallory))  # noqa: B023
        one.actor = "alice"
        step(ledger)
    rootupdates.begin(ledger, facts, one.root_expires())
    refused(one, NotMember, lambda: rootupdates.cancel(mallory, facts))


# what a client in the middle of a refresh would say


@pytest.mark.parametrize(
    ("change", "unbridged"),
    [
        (lambda one: one.renew_root(), ()),
        (lambda one: one.rotate_offline("targets"), ()),
        (lambda one: one.rotate_offline("targets", with_old=False), ("tag:release", "wave:w43")),
        (lambda one: one.rotate_online("targets"), ()),
        (lambda one: one.rotate_online("targets", keep=False), ("tag:release", "wave:w43")),
    ],
)
def test_it_is_said_when_clients_may_fail_once(
    one: Factory, change: Callable[[Factory], rootchange.Changed], unbridged: tuple[str, ...]
) -> None:
    """Where the old root's keys did not sign enough, the owners are named."""
    assert change(one).unbridged == unbridged


# versions


def test_the_last_revision_of_a_lane(one: Factory) -> None:
    """A document that was signed a thousand times goes on in a new lane, with all others of its tag."""
    tree = Directory(one.path.parent / "tree")
    one.publish(tree)
    to_the_last_revision(one)
    one.publish(tree)
    last = {d.view: d.version for r in one.resign("release") for d in r.anew.documents}
    assert last == {"production/release": 7000, "wave/w43": 6000}  # the wave's recovery document comes last
    one.publish(tree)
    to_the_last_revision(one)
    one.rotate_offline("targets")
    one.publish(tree)
    one.cancel("w43")
    one.publish(tree)
    assert one.differences() == []


def to_the_last_revision(factory: Factory) -> None:
    """The tag's own documents, as if they had been signed anew until their lanes are used up."""
    with factory.ledger.reading() as connection:
        tag = factory.facts.tag(connection, "release")
        root = roots.load_root(factory.facts.trusted(connection, "production").metadata).signed
        (owned, _) = live.live(connection, factory.facts, tag)
        (near,) = live.anew(connection, tag, [owned], [owned])
        far = tuple(replace(d, version=d.version // 1000 * 1000 + 999) for d in near.documents)
        to_sign = tuple(signed.signed_bytes(d, signed.body_of(connection, d.content)) for d in far)
    resigned = live.sign_anew(replace(near, documents=far, to_sign=to_sign), root, factory.keys.targets)
    with factory.ledger.writing() as session:
        live.record(session, factory.facts, [resigned])


def test_versions_that_leave_no_room(one: Factory) -> None:
    """A ledger does not go on above what leaves it no numbers."""
    for above in (resign.Versions(2**31 - 2, 1000), resign.Versions(1, 2**31 - 2)):
        refused(one, VersionsTooHigh, lambda: one.resign("release", above=above))  # noqa: B023
        refused(
            one,
            VersionsTooHigh,
            lambda: resign.raise_ci_versions(one.ledger, one.facts, "main", above),  # noqa: B023
        )


def test_versions_are_raised_for_a_whole_tag(one: Factory) -> None:
    """Not for one of its waves."""
    error = refused(one, OnlyAWholeTag, lambda: one.resign("w43", above=resign.Versions(9, 9000)))
    assert "tag:release" in error.render_hint()


def test_never_an_earlier_expiry_by_accident(one: Factory) -> None:
    """Asked for at least a year, documents that live longer keep their expiry."""
    one.resign("release", days=700)
    year = from_epoch(one.now) + timedelta(days=365)
    request = resign.ResignRequest("release", year, at_least=True)
    again = resign.resign(one.ledger, one.facts, request, lambda _root, _online: one.keys.targets)
    assert {d.expires for r in again for d in r.anew.documents} == {from_epoch(one.now + 700 * DAY)}


def test_an_expired_wave_is_healed(one: Factory) -> None:
    """What has expired is not completed, and clients refuse it; signed anew it goes on."""
    tree = Directory(one.path.parent / "tree")
    one.init("v44", 44, "beta", days=2)
    one.wait(3 * DAY)
    refused(one, WaveExpired, lambda: one.complete("v44"))
    one.resign("v44", days=10)
    one.complete("v44")
    one.publish(tree)
    one.wait(11 * DAY)
    with pytest.raises(LedgerError):
        one.publish(tree, refresh=True)
    one.resign("beta", days=10)
    one.publish(tree, refresh=True)
