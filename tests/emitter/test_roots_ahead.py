"""A restored backup from before the root changed: it takes the newer roots in, if they are its own, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root

from ledger.application import ciroot, resign, rootsahead
from ledger.application.rootsahead import OnlineKeyUnknown, RootsAhead, RootsDiffer, RootsOfAnotherLedger
from ledger.application.waves import fold_wave
from ledger.domain.errors import LedgerError
from ledger.domain.wave import ActiveWave
from ledger.tuf import roots
from ledger.tuf.chain import RootNotTrusted, RootsMissing
from ledger.tuf.keypair import generate
from ledger.tuf.online import OnlineKeys
from projections.tuf import emitter
from projections.tuf.ahead import highest_versions, roots_from
from projections.tuf.destination import DestinationAhead, Directory
from tests.emitter.test_key_changes import Polled
from tests.support import DAY, LIFETIME_SECONDS, Client, Factory, device

REPOSITORY, CI = "production/release", "ci/main"
ROOT = f"pool/{REPOSITORY}/{{}}.root.json"
Lost = tuple[Factory, Directory, Client, Factory]


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[Lost]:
    """A backup, what was published after its keys changed, a client that saw that, and the ledger that is lost."""
    tree = Directory(tmp_path / "tree")
    factory = Factory(tmp_path / "ledger.db", 2, 3)
    factory.build(41, 43, hardware=["arm64"])
    factory.register(device("a"), device("b"), device("t", "main", production=False))
    factory.init("w41", 41)
    factory.sign("w41")
    factory.complete("w41")
    factory.init("v43", 43, "beta")
    factory.publish(tree)
    backup = factory.copy(tmp_path / "backup.db")
    factory.rotate_offline("targets")
    factory.rotate_online("targets")
    factory.rotate_online("timestamp")
    factory.rotate_ci("root")
    factory.init("w43", 43)
    factory.sign("w43")
    factory.complete("w43")
    factory.publish(tree)
    client = Client(tmp_path / "client")
    client.poll(tree, REPOSITORY, REPOSITORY, factory.now)
    backup.keys, backup.online = factory.keys, factory.online  # keys are kept apart from the ledger
    yield backup, tree, client, factory
    factory.close()
    backup.close()


def look(
    factory: Factory, tree: Directory, kind: str = "production", keys: OnlineKeys | None = None
) -> RootsAhead | None:
    """What --above finds of roots."""
    repository = {"production": REPOSITORY, "ci": CI}[kind]
    with factory.ledger.reading() as connection:
        known = factory.facts.trusted(connection, kind).version
        files = roots_from(tree, repository, known, highest_versions(tree, repository).root)
        return rootsahead.take_in(connection, factory.facts, kind, files, keys or factory.online, "tree")


def versions(tree: Directory, repository: str) -> resign.Versions:
    """The highest versions there."""
    found = highest_versions(tree, repository)
    return resign.Versions(found.metadata, found.targets)


def go_on(factory: Factory, tree: Directory) -> None:
    """What the commands do."""
    request = resign.ResignRequest("release", None, versions(tree, REPOSITORY), ahead=look(factory, tree))
    resign.resign(factory.ledger, factory.facts, request, lambda _root, _online: factory.keys.targets)
    resign.raise_ci_versions(factory.ledger, factory.facts, "main", versions(tree, CI), look(factory, tree, "ci"))


def test_it_goes_on_with_the_roots_that_clients_have(lost: Lost, tmp_path: Path) -> None:
    """No root is made twice; clients of the newest root go on, new ones too; a wave that waits loses who left."""
    factory, tree, client, _ = lost
    factory.wait(DAY)
    with pytest.raises(DestinationAhead):
        factory.publish(tree, refresh=True)
    newest = highest_versions(tree, REPOSITORY).root
    go_on(factory, tree)
    factory.publish(tree, refresh=True)

    client.poll(tree, REPOSITORY, REPOSITORY, factory.now)
    Client(tmp_path / "new").poll(tree, REPOSITORY, REPOSITORY, factory.now)
    Client(tmp_path / "test").poll(tree, CI, CI, factory.now)
    assert highest_versions(tree, REPOSITORY).root == newest
    assert (look(factory, tree), look(factory, tree, "ci")) == (None, None)
    assert factory.differences() == []
    with factory.ledger.reading() as connection:
        waits = fold_wave(connection, "v43")
    assert isinstance(waits, ActiveWave)
    assert waits.signed == ()  # its signer's key was replaced


def test_no_client_meets_an_older_root_again(lost: Lost) -> None:
    """Roots that clients have already are not shown one by one, although the old online keys are still at hand."""
    factory, tree, client, _ = lost
    factory.wait(DAY)
    go_on(factory, tree)
    factory.resign("release")  # what is shown now is not what the roots came with
    looks = []

    def look() -> None:
        looks.append(client.poll(tree, REPOSITORY, REPOSITORY, factory.now))

    factory.publish(Polled(tree.root, look), refresh=True)
    assert len(looks) > 5


def renamed(tree: Directory, version: int, edit: Callable[[Root], None], *keys: str) -> None:
    """Another root of that version at the place, signed by nobody or by these."""
    path = ROOT.format(version)
    metadata: Metadata[Root] = Metadata.from_bytes(tree.read(path) or b"")
    edit(metadata.signed)
    tree.replace(path, roots.root_file(metadata.signed, [(key, "00" * 64) for key in keys]))


def foreign(factory: Factory, tree: Directory) -> None:
    """A root that the holders of its keys did not sign."""
    renamed(tree, 3, lambda root: None)


def gap(factory: Factory, tree: Directory) -> None:
    """One root of the chain is not there."""
    (tree.root / ROOT.format(3)).unlink()


def another_ledger(factory: Factory, tree: Directory) -> None:
    """The newest root names another ledger's key."""
    path = ROOT.format(4)
    metadata: Metadata[Root] = Metadata.from_bytes(tree.read(path) or b"")
    metadata.signed.unrecognized_fields["x-waveledger"] = {"ledger-key": "ab" * 32}
    tree.replace(path, roots.sign_root(metadata.signed, factory.root_pairs))


def own_root(factory: Factory, tree: Directory) -> None:
    """The backup made a root of its own meanwhile."""
    factory.renew_root()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (foreign, RootNotTrusted),
        (gap, RootsMissing),
        (another_ledger, RootsOfAnotherLedger),
        (own_root, RootsDiffer),
    ],
)
def test_roots_that_are_not_its_own(
    lost: Lost, change: Callable[[Factory, Directory], None], error: type[LedgerError]
) -> None:
    """Nobody who can write to the destination gives a ledger a root that its clients would not go on to."""
    factory, tree, *_ = lost
    change(factory, tree)
    with pytest.raises(error) as refused:
        look(factory, tree)
    assert refused.value.render_hint()


def test_the_online_key_that_publishes_is_asked_for(lost: Lost) -> None:
    """Which of the targets keys signs online is not in a root: without the key at hand it can't be told."""
    factory, tree, *_ = lost
    other = OnlineKeys([generate("ed25519")], "elsewhere")
    with pytest.raises(OnlineKeyUnknown) as refused:
        look(factory, tree, keys=other)
    assert "WAVELEDGER_ONLINE_KEYS" in refused.value.render_hint()
    found = look(factory, tree)
    assert found is not None
    assert found.online_targets == factory.keys.online["production.targets"].keyid


def test_no_second_ci_root_is_made(lost: Lost) -> None:
    """While CI's repository at a place is ahead, a refresh does not renew the CI root, which may be renewed there."""
    factory, tree, *_ = lost
    factory.wait(LIFETIME_SECONDS * 2 // 3)  # past half of its life
    came = emitter.attempt(factory.ledger, factory.online, tree, refresh=True)
    assert (came.ci_root, bool(came.problems)) == (None, True)
    with factory.ledger.reading() as connection:
        assert factory.facts.trusted(connection, ciroot.CI).version == 1
