"""What a review found: faults in one place that must not reach another, and orders that clients depend on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine

from ledger.domain.errors import StorageFailure
from ledger.domain.events import MetadataPublished
from ledger.store import engine as store
from projections import runner
from projections.tuf.destination import DestinationHasOtherBytes, DestinationPathRefused, Directory
from projections.tuf.recorded import Publications
from projections.tuf.state import TIMESTAMP_SECONDS
from tests.emitter.stages import under_way
from tests.support import DAY, Client, Factory, device


@pytest.fixture
def running(factory: Factory, tree: Directory) -> Factory:
    """A wave on its way to the canaries, over an earlier production, published."""
    under_way(factory)
    factory.publish(tree)
    return factory


class Stopping(Directory):
    """A destination that fails after so many timestamps."""

    def __init__(self, root: Path, timestamps: int) -> None:
        super().__init__(root)
        self.left = timestamps

    def replace(self, path: str, data: bytes) -> None:
        """Fail when the last one was written."""
        if path.endswith("timestamp.json"):
            if self.left == 0:
                raise OSError("stopped")
            self.left -= 1
        super().replace(path, data)


@pytest.mark.parametrize("timestamps", [0, 1, 2])
def test_who_joins_a_wave_after_a_crash_meets_no_older_timestamp(
    running: Factory, tree: Directory, tmp_path: Path, timestamps: int
) -> None:
    """A device joins a wave without any publication: wherever one was killed, the wave's timestamp is not the older."""
    client = Client(tmp_path / "b")
    client.poll(tree, "production/release", "production/release", running.now)
    running.wait(4 * DAY)
    with pytest.raises(OSError, match="stopped"):
        running.publish(Stopping(tree.root, timestamps), refresh=True, force=True)
    client.poll(tree, "production/release", "production/release", running.now)

    running.set(["b"], group="canary")
    assert running.shown("b").view == "wave/w2"

    assert client.poll(tree, "wave/w2", "production/release", running.now)


def test_what_reached_no_destination_is_not_published(factory: Factory, tmp_path: Path) -> None:
    """A publication that was signed but could not be written leaves `published` false."""
    factory.build(1)
    factory.register(device("a"))
    factory.init("w1", 1)
    factory.complete("w1")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailure):
        factory.publish(Directory(tmp_path / "file"))
    assert factory.shown("a").view == "production/release"
    assert not factory.shown("a").published

    factory.publish(Directory(tmp_path / "tree"))

    assert factory.shown("a").published


def test_one_damaged_repository_does_not_keep_the_others_from_a_refresh(running: Factory, tree: Directory) -> None:
    """The error is raised at the end, after every other repository got its timestamps."""
    damaged = tree.root / "pool" / "ci" / "main" / "1.targets.json"
    damaged.unlink()
    damaged.write_bytes(b"other bytes")
    running.build(3)
    before = tree.read("production/release/timestamp.json")
    running.wait(TIMESTAMP_SECONDS - 1)

    with pytest.raises(DestinationHasOtherBytes):
        running.publish(tree, refresh=True)

    assert tree.read("production/release/timestamp.json") != before


@pytest.mark.parametrize(
    "path", ["../victim", "wave/../../victim", "/etc/victim", "wave/.hidden", "wave", "a/b/c/d/e/f"]
)
def test_a_path_that_no_view_has_is_refused(tree: Directory, tmp_path: Path, path: str) -> None:
    """What a forged event names is neither written nor deleted outside the destination."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("mine")

    with pytest.raises(DestinationPathRefused):
        tree.remove(path)
    with pytest.raises(DestinationPathRefused):
        tree.replace(path, b"data")

    assert (victim / "file").read_text() == "mine"


def test_a_forged_removal_deletes_nothing(running: Factory, tree: Directory, tmp_path: Path) -> None:
    """Even when it is an event of the ledger."""
    victim = tmp_path / "victim"
    victim.mkdir()
    last = Publications(running.ledger).newest_of("production/release").publication
    assert last is not None
    forged = MetadataPublished(last.repository, last.root_version, (), last.views, last.closed, ("../victim",))
    with running.ledger.writing() as session:
        session.append("publication:production:release", [forged])

    with pytest.raises(DestinationPathRefused):
        running.publish(tree, keys=False)

    assert victim.is_dir()


def test_an_event_from_the_future_does_not_stop_waves(factory: Factory) -> None:
    """recorded_at never goes back, but rules and lifetimes go by the clock."""
    factory.build(1)
    factory.wait(7000 * DAY)
    factory.register(device("a"))
    factory.wait(-7000 * DAY)

    factory.init("w1", 1)
    factory.complete("w1")

    assert factory.shown("a").targets


def test_a_rebuild_that_was_overtaken_stops(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once: the second takes the new tables over, the first stops, and the live tables are right."""
    monkeypatch.setattr(runner, "CHUNK", 5)
    factory.build(1)
    factory.register(device("a"), device("b"))
    transactions: list[int] = []
    original = store.writing

    @contextmanager
    def writing(engine: Engine) -> Iterator[Connection]:
        with original(engine) as connection:
            yield connection
        transactions.append(1)
        if len(transactions) == 2:  # the first chunk is in: here the other one comes between
            runner.rebuild(factory.engine, "fleet")

    monkeypatch.setattr(store, "writing", writing)

    with pytest.raises(runner.RebuildOvertaken):
        runner.rebuild(factory.engine, "fleet")

    assert factory.differences() == []
