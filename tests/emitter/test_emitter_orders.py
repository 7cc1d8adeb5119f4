"""What is written when: new roots last, nothing from before a raise, each directory synced once; and what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ledger.application.resign import Versions
from projections.tuf import emitter, reached
from projections.tuf.ahead import highest_versions
from projections.tuf.destination import DestinationAhead, Directory
from projections.tuf.recorded import Publications
from tests.emitter.stages import under_way
from tests.emitter.test_emitter_crashes import Failing, PowerCut, Recording
from tests.support import DAY, HOUR, Client, Factory, device, files


@pytest.fixture
def running(factory: Factory, tree: Directory) -> Factory:
    """A wave on its way to the canaries, over an earlier production, published."""
    under_way(factory)
    factory.publish(tree)
    return factory


def test_new_roots_come_last_and_lowest_first(running: Factory, tree: Directory) -> None:
    """In one publication that brought two roots: pool, links, timestamps, and only then 2.root.json and 3.root.json."""
    running.rotate_offline("targets")
    running.renew_root()
    recording = Recording(tree.root)

    running.publish(recording)

    own = [path for path in recording.writes if "/ci/" not in path and not path.startswith("ci/")]
    roots = [path for path in own if path.endswith("root.json")]
    assert own[-len(roots) :] == roots
    views = ["production/release", "wave/w2"]
    assert roots == [
        f"{place}/{version}.root.json" for version in (2, 3) for place in ["pool/production/release", *views]
    ]
    assert {path for path in own[: -len(roots)] if path.endswith("timestamp.json")} == {
        f"{view}/timestamp.json" for view in views
    }


def test_a_tree_that_is_behind_is_led_over_each_root(running: Factory, tree: Directory, tmp_path: Path) -> None:
    """Whichever write a catching-up publication is stopped at, clients go on: each root has timestamps that fit it."""
    elsewhere = Directory(tmp_path / "elsewhere")
    clients = {view: Client(tmp_path / view) for view in ("production/release", "wave/w2")}

    def poll(place: Directory) -> None:
        for view, client in clients.items():
            client.poll(place, view, "production/release", running.now)

    poll(tree)
    running.publish(elsewhere)
    for role in ("timestamp", "snapshot", "timestamp"):
        running.rotate_online(role)
        running.publish(elsewhere)
        running.wait(DAY + HOUR)  # from here on no replaced key signs along: what comes fits the new root only
        running.publish(elsewhere, refresh=True, force=True)

    writes = 0
    while writes < 1000:
        try:
            running.publish(Failing(tree.root, 1), keys=False)
        except PowerCut:
            writes += 1
            poll(tree)
        else:
            break
    assert writes > 30
    poll(tree)
    assert files(tree.root) == files(elsewhere.root)


def test_after_a_raise_nothing_older_is_written(running: Factory, tree: Directory, tmp_path: Path) -> None:
    """An older ledger is restored, goes another way, and is raised: it publishes above all that the tree has."""
    restored = running.copy(tmp_path / "restored.db")
    client = Client(tmp_path / "client")
    running.complete("w2")
    for _ in range(3):
        running.publish(tree, refresh=True, force=True)
    client.poll(tree, "production/release", "production/release", running.now)
    restored.cancel("w2")
    restored.publish(Directory(tmp_path / "elsewhere"))  # under versions that the tree has with other bytes
    before = files(tree.root)
    with pytest.raises(DestinationAhead) as caught:
        restored.publish(tree)
    assert "waveledger targets resign TAG -k KEYS --above" in caught.value.render_hint()
    assert files(tree.root) == before

    highest = highest_versions(tree, "production/release")
    restored.resign("release", above=Versions(highest.metadata, highest.targets))
    came = emitter.attempt(restored.ledger, restored.online, tree)
    assert [str(problem).partition(" ")[0] for problem in came.problems] == ["ci/main/timestamp.json"]

    after = files(tree.root)
    pool = {path: data for path, data in before.items() if path.startswith("pool/")}
    assert {path: after[path] for path in pool} == pool
    newest = Publications(restored.ledger).newest_of("production/release").publication
    assert newest is not None
    assert min(view.version for view in newest.views) > highest.metadata
    assert client.poll(tree, "production/release", "production/release", restored.now) == (
        "amd64-lmp-1",
        "arm64-lmp-1",
    )
    restored.close()


def test_highest_versions_of_what_is_not_there(tree: Directory) -> None:
    """A repository that was never published there has none."""
    assert highest_versions(tree, "production/release") == (0, 0, 0)


class Watched(Directory):
    """Notes which repositories and views are looked at or written."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.touched: set[str] = set()

    def _at(self, path: str) -> str:
        parts = path.split("/")
        self.touched.add("/".join(parts[1:3] if parts[0] == "pool" else parts[:2]))
        return super()._at(path)


@pytest.fixture
def two_tags(running: Factory, tree: Directory) -> Factory:
    """The running wave, and another tag that has its production; all of it known to be published."""
    running.register(device("c", tag="beta"))
    running.init("b1", 3, "beta")
    running.complete("b1")
    running.publish(tree)
    return running


def act(factory: Factory, destination: Directory) -> emitter.Attempt:
    """What a wave command does after it."""
    return emitter.attempt(factory.ledger, factory.online, destination, everything=False)


def test_a_wave_command_looks_at_its_own_repository_only(two_tags: Factory, tree: Directory) -> None:
    """Neither signing nor writing walks through the tags that nothing happened to."""
    two_tags.complete("w2")
    watched = Watched(tree.root)

    came = act(two_tags, watched)

    assert came.problems == []
    assert sorted(came.emitted.views) == ["production/release", "wave/w2"]
    assert watched.touched == {"production/release", "wave/w2"}


def test_trouble_elsewhere_holds_back_no_wave(two_tags: Factory, tree: Directory) -> None:
    """A repository that is damaged at the destination is told of, and the wave of another tag is published."""
    path = tree.root / "production/beta/timestamp.json"
    path.write_bytes(path.read_bytes().replace(b'"sig":"', b'"sig":"00', 1))
    assert len(emitter.attempt(two_tags.ledger, two_tags.online, tree).problems) == 1
    two_tags.complete("w2")

    came = act(two_tags, tree)

    assert sorted(came.emitted.views) == ["production/release", "wave/w2"]
    assert [type(problem).__name__ for problem in came.problems] == ["DestinationHasOtherBytes"]
    assert two_tags.shown("a").published


def test_what_one_destination_lacks_another_may_have(two_tags: Factory, tree: Directory, tmp_path: Path) -> None:
    """It is remembered for each: the first wave command with a new destination publishes everything there."""
    two_tags.complete("w2")
    mirror = Directory(tmp_path / "mirror")

    act(two_tags, mirror)

    assert mirror.views() == ["ci/main", "production/beta", "production/release", "wave/w2"]
    with two_tags.ledger.reading() as connection:
        assert reached.unreached(connection, mirror.key) == {}
        assert set(reached.unreached(connection, tree.key)) == {"production/release"}


def test_a_destination_that_was_cleared_is_written_again(two_tags: Factory, tree: Directory) -> None:
    """Whatever is remembered of it, a wave command finds that it is empty."""
    before = files(tree.root)
    tree.root.rename(tree.root.parent / "away")
    two_tags.set(["c"], group="late")

    act(two_tags, tree)

    assert files(tree.root) == before


def test_what_a_killed_command_left_is_finished_by_the_next_one(two_tags: Factory, tree: Directory) -> None:
    """Of another tag, too: it is signed, and not known to be there."""
    two_tags.complete("w2")
    with pytest.raises(PowerCut):
        act(two_tags, Failing(tree.root, 2))
    two_tags.build(4)
    two_tags.init("b2", 4, "beta")
    two_tags.complete("b2")

    came = act(two_tags, tree)

    assert {"production/release", "production/beta"} <= set(came.emitted.views)
    assert two_tags.shown("a").published
    assert two_tags.shown("c").published


def test_quiet_publications_write_no_notes(two_tags: Factory, tree: Directory) -> None:
    """The hourly refresh that finds nothing to do leaves the database as it is."""
    before = two_tags.path.read_bytes()

    two_tags.publish(tree, refresh=True)

    assert two_tags.path.read_bytes() == before


def test_a_directory_is_synced_once_a_step(running: Factory, tree: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file once, every directory once before the timestamps, and once more with each timestamp."""
    running.complete("w2")
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()).removeprefix(f"{tree.root}/"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    running.publish(tree)

    pool, production, wave = "pool/production/release", "production/release", "wave/w2"
    assert sorted(synced[:4]) == sorted([f"{pool}/.3.snapshot.json.tmp", pool, production, wave])
    assert synced[4:] == [
        f"{production}/.timestamp.json.tmp",
        production,
        f"{wave}/.timestamp.json.tmp",
        wave,
    ]
