"""After the newest ledger is lost: an older one goes on above what is published, and no client goes back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ledger.application import resign
from ledger.domain.errors import LedgerError
from projections.tuf.ahead import ViewOfAnotherRepository, highest_versions
from projections.tuf.destination import DestinationAhead, DestinationHasOtherBytes, Directory
from tests.support import DAY, Client, Factory, device

REPOSITORY, CI = "production/release", "ci/main"


class Lost(NamedTuple):
    """A backup, what was published after it, and clients that saw all of that, by view."""

    backup: Factory
    tree: Directory
    clients: dict[str, Client]


def after(factory: Factory) -> None:
    """What the lost ledger did after the backup was made."""
    factory.complete("w43")
    factory.init("w44", 44)
    factory.rollout("w44", uuids=["b"])
    factory.build(45)
    for _ in range(3):
        factory.resign("release")


def nothing_else(factory: Factory) -> None:
    """The backup is as it was."""


def another_way(factory: Factory) -> None:
    """The backup went on, too, for a moment: the same versions, and other bytes."""
    factory.wait(60)
    factory.resign("release", days=300)
    factory.publish(Directory(factory.path.parent / "elsewhere"), refresh=True, force=True)


@pytest.fixture
def lose(tmp_path: Path) -> Iterator[Callable[[Callable[[Factory], None]], Lost]]:
    """A factory with a wave under way is backed up, goes on, and is lost."""
    made: list[Factory] = []

    def start(meanwhile: Callable[[Factory], None]) -> Lost:
        tree = Directory(tmp_path / "tree")
        factory = Factory(tmp_path / "ledger.db")
        made.append(factory)
        factory.build(41, 43, 44, hardware=["arm64"])
        factory.register(device("a"), device("b"), device("t", "main", production=False))
        factory.init("w41", 41)
        factory.complete("w41")
        factory.init("w43", 43)
        factory.rollout("w43", uuids=["a"])
        factory.publish(tree)
        backup = factory.copy(tmp_path / "backup.db")
        made.append(backup)
        after(factory)
        factory.publish(tree)
        clients = {}
        for view, repository in ((REPOSITORY, REPOSITORY), ("wave/w44", REPOSITORY), (CI, CI)):
            clients[view] = Client(tmp_path / "clients" / view.replace("/", "-"))
            clients[view].poll(tree, view, repository, factory.now)
        meanwhile(backup)
        return Lost(backup, tree, clients)

    yield start
    for factory in made:
        factory.close()


def raise_above(factory: Factory, tree: Directory) -> None:
    """What the commands do with --above."""
    found = highest_versions(tree, REPOSITORY)
    factory.resign("release", above=resign.Versions(found.metadata, found.targets))
    found = highest_versions(tree, CI)
    resign.raise_ci_versions(factory.ledger, factory.facts, "main", resign.Versions(found.metadata, found.targets))


@pytest.mark.parametrize("meanwhile", [nothing_else, another_way])
def test_it_goes_on_above(lose: Callable[..., Lost], tmp_path: Path, meanwhile: Callable[[Factory], None]) -> None:
    """What is there is refused first; after the raise it works again, also for clients that saw the newer state."""
    factory, tree, clients = lose(meanwhile)
    factory.wait(DAY)
    with pytest.raises((DestinationAhead, DestinationHasOtherBytes)) as refused:
        factory.publish(tree, refresh=True, force=True)
    assert "--above" in refused.value.render_hint()
    raise_above(factory, tree)
    factory.publish(tree, refresh=True)

    for view, client in clients.items():
        repository = CI if view == CI else REPOSITORY
        client.poll(tree, repository, repository, factory.now)
    assert clients["wave/w44"].poll(tree, "wave/w43", REPOSITORY, factory.now) == ("arm64-lmp-41", "arm64-lmp-43")
    Client(tmp_path / "new").poll(tree, REPOSITORY, REPOSITORY, factory.now)

    factory.complete("w43")
    factory.init("w45", 44)
    factory.rollout("w45", uuids=["b"])
    factory.build(46)
    factory.publish(tree)
    factory.wait(5 * DAY)
    factory.publish(tree, refresh=True)
    clients["wave/w44"].poll(tree, "wave/w45", REPOSITORY, factory.now)
    clients[REPOSITORY].poll(tree, REPOSITORY, REPOSITORY, factory.now)
    clients[CI].poll(tree, CI, CI, factory.now)
    factory.cancel("w45")
    factory.publish(tree)
    clients["wave/w44"].poll(tree, REPOSITORY, REPOSITORY, factory.now)
    assert factory.differences() == []


def test_only_that_tag(lose: Callable[..., Lost]) -> None:
    """Until the other repository is raised, too, it alone is refused."""
    factory, tree, clients = lose(nothing_else)
    found = highest_versions(tree, REPOSITORY)
    factory.resign("release", above=resign.Versions(found.metadata, found.targets))
    factory.wait(DAY)
    with pytest.raises(LedgerError) as refused:
        factory.publish(tree, refresh=True, force=True)
    assert CI in str(refused.value)
    clients[REPOSITORY].poll(tree, REPOSITORY, REPOSITORY, factory.now)


def test_keys_change_after_it(lose: Callable[..., Lost], tmp_path: Path) -> None:
    """A raise and a rotation, one after the other or in one publication."""
    factory, tree, clients = lose(nothing_else)
    raise_above(factory, tree)
    factory.rotate_offline("targets")
    factory.rotate_online("timestamp")
    factory.publish(tree)
    clients[REPOSITORY].poll(tree, REPOSITORY, REPOSITORY, factory.now)
    raise_above(factory, tree)  # once more does no harm
    factory.publish(tree)
    clients["wave/w44"].poll(tree, "wave/w43", REPOSITORY, factory.now)
    Client(tmp_path / "new").poll(tree, REPOSITORY, REPOSITORY, factory.now)


def test_a_name_that_the_lost_ledger_used_for_another_tag(lose: Callable[..., Lost], tmp_path: Path) -> None:
    """No versions are raised above a view of another tag: somebody looks at it, deletes it, and the wave goes on."""
    factory, tree, _ = lose(nothing_else)
    raise_above(factory, tree)
    factory.publish(tree)
    factory.register(device("z", "beta"))
    factory.init("w44", 44, "beta")
    factory.rollout("w44", uuids=["z"])
    with pytest.raises(ViewOfAnotherRepository) as refused:
        factory.publish(tree)
    assert "wave/w44" in str(refused.value)
    assert "delete" in refused.value.render_hint()
    shutil.rmtree(tree.root / "wave/w44")
    factory.publish(tree)
    Client(tmp_path / "new").poll(tree, "wave/w44", "production/beta", factory.now)
