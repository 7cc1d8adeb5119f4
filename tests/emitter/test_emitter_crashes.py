"""The order of writes, and what a publication leaves behind when it is killed at any of them."""

# ruff: noqa: D102  (helpers speak by name)
from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from projections.tuf.destination import Directory
from tests import stores
from tests.emitter.killing import killed_at
from tests.emitter.stages import completed, days_later, rolled_out
from tests.support import DAY, Client, Factory, files


class Recording(Directory):
    """Notes every write that changes something, in order."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.writes: list[str] = []

    def link(self, source: str, path: str) -> None:
        if not self.exists(path):
            self.note(path)
        super().link(source, path)

    def replace(self, path: str, data: bytes) -> None:
        self.note(path)
        super().replace(path, data)

    def remove(self, path: str) -> None:
        if (self.root / path).exists():
            self.note(path)
        super().remove(path)

    def note(self, path: str) -> None:
        self.writes.append(path)


class PowerCut(Exception):
    """The test's own failure."""


class Failing(Recording):
    """Fails at one write, before it."""

    def __init__(self, root: Path, at: int) -> None:
        super().__init__(root)
        self.at = at

    def note(self, path: str) -> None:
        if len(self.writes) == self.at:
            raise PowerCut
        super().note(path)


def canceled(factory: Factory) -> None:
    factory.cancel("w2")
    factory.build(4)


def again(factory: Factory) -> None:
    factory.init("w3", 3)
    factory.rollout("w3", uuids=["b"])


STAGES: list[Callable[[Factory], None]] = [rolled_out, completed, canceled, days_later, again]


class Scene:
    """A ledger and a tree just before a publication, kept so that it can be played many times."""

    def __init__(self, directory: Path, stages: int) -> None:
        self.directory = directory
        self.count = 0
        factory = Factory(directory / "scene.db")
        tree = Directory(directory / "scene")
        self.clients = {"a": Client(directory / "client-a"), "b": Client(directory / "client-b")}
        self.before: dict[str, str | None] = dict.fromkeys(self.clients)  # where devices were sent until now
        for place, stage in enumerate(STAGES[:stages]):
            stage(factory)
            if place < stages - 1:
                factory.publish(tree, refresh=True)
                self.before = {u: r.view for u, r in factory.fleet().items() if u in self.clients}
                poll(self.clients, tree, factory.now, self.before)
        factory.close()
        self.now = factory.now
        # After days without a refresh a client that is early meets expired timestamps, killed publication or not.
        self.polled = factory.now - 9 * DAY if STAGES[stages - 1] is days_later else factory.now

    def play(self) -> tuple[Factory, Path, dict[str, Client]]:
        """A fresh copy of ledger, tree and clients."""
        self.count += 1
        place = self.directory / f"take-{self.count}"
        place.mkdir()
        stores.copy(self.directory / "scene.db", place / "ledger.db")
        if (self.directory / "scene").exists():
            shutil.copytree(self.directory / "scene", place / "tree")
        factory = Factory(place / "ledger.db")
        factory.now = self.now
        clients = {}
        for uuid in self.clients:
            if (self.directory / f"client-{uuid}").exists():
                shutil.copytree(self.directory / f"client-{uuid}", place / f"client-{uuid}", symlinks=True)
            clients[uuid] = Client(place / f"client-{uuid}")
        return factory, place / "tree", clients


def poll(clients: dict[str, Client], tree: Directory, now: int, views: dict[str, str | None]) -> None:
    for uuid, client in clients.items():
        view = views[uuid]
        if view:
            client.poll(tree, view, "production/release", now)


def finish_and_compare(scene: Scene, factory: Factory, root: Path, clients: dict[str, Client]) -> None:
    """Clients go on, the next publication finishes what was begun, and clients go on again."""
    tree = Directory(root)
    reachable = {u: v if v and (root / v / "timestamp.json").exists() else None for u, v in scene.before.items()}
    poll(clients, tree, scene.polled, reachable)
    factory.publish(tree, refresh=True)
    poll(clients, tree, factory.now, {u: r.view for u, r in factory.fleet().items()})


@pytest.fixture(params=range(1, len(STAGES) + 1), ids=[stage.__name__ for stage in STAGES])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    """Each of the publications of a story."""
    return Scene(tmp_path, request.param)


def uninterrupted(scene: Scene, *, and_then: Callable[[Factory], None] | None = None) -> tuple[dict[str, bytes], int]:
    """The tree of a publication that nothing interrupted, and how many writes it took."""
    factory, root, _ = scene.play()
    recording = Recording(root)
    factory.publish(recording, refresh=True)
    if and_then:
        and_then(factory)
        factory.publish(Directory(root), refresh=True)
    factory.close()
    return files(root), len(recording.writes)


def test_pool_then_links_then_timestamps(scene: Scene) -> None:
    """In each repository versioned files come first, then the views' links, then timestamps, then removals."""
    factory, root, _ = scene.play()
    recording = Recording(root)
    factory.publish(recording, refresh=True)
    factory.close()

    assert recording.writes
    for kind in ("ci", "production"):
        own = [
            path
            for path in recording.writes
            if path.startswith((f"pool/{kind}/", f"{kind}/", *(["wave/"] if kind == "production" else [])))
        ]
        steps = [
            0
            if path.startswith("pool/")
            else 3
            if path.count("/") == 1
            else 2
            if path.endswith("timestamp.json")
            else 1
            for path in own
        ]
        assert steps == sorted(steps), own


def test_a_failure_at_any_write_is_finished_by_the_next(scene: Scene) -> None:
    """Whichever write fails, clients see no error, and the next publication leaves the tree of one that never did."""
    expected, writes = uninterrupted(scene)
    for at in range(writes):
        factory, root, clients = scene.play()
        with pytest.raises(PowerCut):
            factory.publish(Failing(root, at), refresh=True)
        finish_and_compare(scene, factory, root, clients)
        factory.close()
        assert files(root) == expected, at


def more(factory: Factory) -> None:
    """Something else to publish, in both repositories."""
    factory.build(9)
    factory.wait(DAY)
    active = [row for row in factory.rows()["release_wave"] if row[3] == "active"]
    if active:
        factory.complete(active[0][0])
    factory.init("later", 9)
    factory.rollout("later", uuids=["b"])


def test_a_failure_is_finished_also_when_there_is_more_to_publish(scene: Scene) -> None:
    """The same when the ledger has gone on before anybody publishes again: nothing that was begun is left half done."""
    expected, writes = uninterrupted(scene, and_then=more)
    for at in range(writes):
        factory, root, clients = scene.play()
        with pytest.raises(PowerCut):
            factory.publish(Failing(root, at), refresh=True)
        # What failed was signed in one repository after the other: the ledger has all of it.
        more(factory)
        finish_and_compare(scene, factory, root, clients)
        factory.close()
        assert files(root) == expected, at


@pytest.mark.parametrize(
    ("and_then", "step"),
    [
        pytest.param(None, 23, id="some, then nothing"),
        pytest.param(more, 23, id="some, then more"),
        pytest.param(None, 1, id="all, then nothing", marks=pytest.mark.slow),
        pytest.param(more, 1, id="all, then more", marks=pytest.mark.slow),
    ],
)
def test_sigkill_at_a_system_call_is_finished_by_the_next(
    scene: Scene, and_then: Callable[[Factory], None] | None, step: int
) -> None:
    """A real kill before an fsync, link, rename or removal: no client sees an error, and nothing is left over."""
    expected, _ = uninterrupted(scene, and_then=and_then)
    first = 1 + step // 2
    for at in range(first, 1000, step):
        factory, root, clients = scene.play()
        factory.publish(Recording(root.parent / "elsewhere"), refresh=True)  # signed, not yet written here
        path, now = factory.path, factory.now
        factory.close()

        def publish(path: Path = path, now: int = now, root: Path = root) -> None:
            own = Factory(path)
            own.now = now
            own.publish(Directory(root), keys=False)

        killed = killed_at(at, publish)
        if and_then:
            and_then(factory)
        finish_and_compare(scene, factory, root, clients)
        factory.close()
        assert files(root) == expected, at
        if not killed:
            break
    assert at > first
