"""Long made-up stories, published as they go, with a real TUF client for each device."""

# ruff: noqa: D102  (helpers speak by name)
from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from ledger import merkle
from ledger.codec import decode
from ledger.domain.events import FactoryInitialized, MetadataPublished
from ledger.store import events
from ledger.tuf import note
from projections.tuf.destination import Directory
from tests.projections.history import ACTIONS, HELD_ACTIONS, UUIDS, History
from tests.support import DAY, Client, Factory, files


class Story:
    """A history whose every publication is looked at by all devices."""

    def __init__(self, directory: Path, seed: int, actions: Sequence[str] = ACTIONS) -> None:
        self.directory = directory
        self.actions = actions
        self.random = random.Random(seed)
        self.factory = Factory(directory / "ledger.db")
        self.history = History(self.factory)
        self.history.start()
        self.tree = Directory(directory / "tree")
        self.clients = {uuid: Client(directory / "clients" / uuid) for uuid in UUIDS}
        self.routes: dict[str, tuple[str, str]] = {}  # what each device was last sent to: view, repository
        self.refreshes = 0
        self.pool: dict[str, bytes] = {}

    def go(self, steps: int) -> None:
        for _ in range(steps):
            numbers = tuple(self.random.randrange(1000) for _ in range(4))
            self.history.act(self.random.choice(self.actions), numbers)
            if self.random.random() < 0.7:
                self.publish(force=self.random.random() < 0.05)
        self.publish()

    def publish(self, *, force: bool = False) -> None:
        model = self.history.model
        waiting = [uuid for uuid, row in self.factory.fleet().items() if model.waits(uuid) and row.published]
        assert waiting == []
        self.factory.publish(self.tree, refresh=True, force=force)
        model.publish()
        self.look()

    def wait(self, days: int) -> None:
        """Days on which nothing happens but the hourly refresh, here daily."""
        for _ in range(days):
            self.factory.wait(DAY)
            self.factory.publish(self.tree, refresh=True)
        self.look()

    def look(self) -> None:
        """Every device refreshes and finds what was decided; the pool only grew."""
        model = self.history.model
        for uuid, row in self.factory.fleet().items():
            if row.view is None:
                home = "production" if row.production else "ci"
                assert not (self.tree.root / home / row.tag).exists()
                continue
            assert row.published
            repository = f"{'production' if row.production else 'ci'}/{row.tag}"
            self.routes[uuid] = (row.view, repository)
            client = self.clients[uuid]
            before = client.seen.get(repository, (0, 0))
            found = client.poll(self.tree, row.view, repository, self.factory.now)
            self.refreshes += 1
            assert set(found) == model.views()[row.view]
            assert tuple(n for n in found if n.startswith(row.hardware_id)) == tuple(sorted(row.targets))
            after = client.seen[repository]
            assert after[0] >= before[0]
            assert after[1] >= before[1]
        pool = {path: data for path, data in files(self.tree.root).items() if path.startswith("pool/")}
        assert {path: pool.get(path) for path in self.pool} == self.pool
        self.pool = pool


# Each story is told once: all tests of it run in one process.
TOLD = [
    pytest.param(of, id=name, marks=pytest.mark.xdist_group(f"story {name}"))
    for name, of in {"1": (1, ACTIONS), "held": (1, HELD_ACTIONS)}.items()
]


@pytest.fixture(scope="module", params=TOLD)
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A story of a hundred steps, then nine quiet days, then some more."""
    made = Story(tmp_path_factory.mktemp("story"), *request.param)
    made.go(100)
    made.wait(9)
    made.go(20)
    return made


def publications(factory: Factory) -> list[MetadataPublished]:
    with factory.ledger.reading() as connection:
        rows = list(events.read(connection, topics=("metadata.published/1",)))
    found = [decode(row.topic, row.payload) for row in rows]
    return [event for event in found if isinstance(event, MetadataPublished)]


def test_every_client_finds_what_was_decided(story: Story) -> None:
    """Hundreds of refreshes by clients that live through the whole story: no error, exactly the decided targets."""
    assert story.refreshes > 300
    statuses = {wave.status for wave in story.history.model.waves.values()}
    assert "canceled" in statuses  # the story was worth telling
    assert any(event.closed for event in publications(story.factory))
    assert any(event.removed for event in publications(story.factory))
    assert any(view.view.startswith("held/") for event in publications(story.factory) for view in event.views)


def test_the_tree_is_rebuilt_without_any_key(story: Story, tmp_path: Path) -> None:
    """From the ledger alone, with no private key at hand, the same files come with the same bytes."""
    fresh = Directory(tmp_path / "fresh")

    story.factory.publish(fresh, keys=False)

    assert files(fresh.root) == files(story.tree.root)


def test_publishing_again_changes_nothing(story: Story) -> None:
    """What was published is published: no event, no file, no changed view."""
    before, head = files(story.tree.root), story.factory.head()

    assert story.factory.publish(story.tree) == ([], [])
    assert (files(story.tree.root), story.factory.head()) == (before, head)


def test_versions_only_grow(story: Story) -> None:
    """One line of versions a repository: held below production below wave; targets versions are unique."""
    last: dict[str, int] = {}
    documents: set[tuple[str, int]] = set()
    for event in publications(story.factory):
        for view in event.views:
            assert view.version == last.get(event.repository, 0) + 1
            last[event.repository] = view.version
        ranks = [("ci", "held", "production", "wave").index(view.view.partition("/")[0]) for view in event.views]
        assert ranks == sorted(ranks)
        for document in event.documents:
            assert (event.repository, document.version) not in documents
            documents.add((event.repository, document.version))
    assert len(documents) > 10


def test_each_snapshot_carries_a_checkpoint_of_the_ledger(story: Story) -> None:
    """The checkpoint in every published snapshot verifies, and its root is that of the events up to its size."""
    with story.factory.ledger.reading() as connection:
        rows = list(events.read(connection))
    first = decode(rows[0].topic, rows[0].payload)
    assert isinstance(first, FactoryInitialized)
    leaves = [merkle.leaf_hash(merkle.entry(*row)) for row in rows]
    snapshots = [data for path, data in story.pool.items() if path.endswith("snapshot.json")]
    assert len(snapshots) > 30
    for data in snapshots:
        checkpoint = note.from_field(orjson.loads(data)["signed"]["x-waveledger"]["checkpoint"])
        note.verify(checkpoint, first.ledger_key)
        assert checkpoint.root == merkle.root_of(leaves[: checkpoint.size])
        assert checkpoint.origin == "waveledger/acme"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 115))
def test_many_stories(seed: int, tmp_path: Path) -> None:
    """The same for many stories."""
    told = Story(tmp_path, seed, HELD_ACTIONS if seed % 2 else ACTIONS)
    told.go(120)
    told.wait(9)
    fresh = Directory(tmp_path / "fresh")
    told.factory.publish(fresh, keys=False)

    assert files(fresh.root) == files(told.tree.root)
    assert told.factory.differences() == []
