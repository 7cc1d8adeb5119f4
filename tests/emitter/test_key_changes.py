"""Changes of keys in the middle of everything: no client refuses, none goes back, and releases go on.

Real clients across every change: one that polled before, one for each point of a refresh, one from root 1.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from tuf.api.exceptions import RepositoryError

from ledger.application.rootchange import Changed
from ledger.domain.wave import AlreadySigned, WaveAlreadyReady
from ledger.tuf import rootchange as edits
from ledger.tuf.keypair import generate
from projections.tuf.destination import Directory
from tests.support import DAY, Client, Factory, device, files

REPOSITORY = "production/release"
REQUESTS = 4  # of a refresh with no new root: root, timestamp, snapshot, targets
FLEET = ("a", "b", "c", "d")
Change = Callable[[Factory], object]


class Midway(Directory):
    """What a client meets that is in the middle of a refresh while something is published."""

    def __init__(self, before: Path, after: Path, requests: int) -> None:
        super().__init__(after)
        self._before, self._left = Directory(before), requests

    def read(self, path: str) -> bytes | None:
        """From before, so many times; then from after."""
        self._left -= 1
        return self._before.read(path) if self._left >= 0 else super().read(path)


class Polled(Directory):
    """A tree that somebody looks at after each file that is written."""

    def __init__(self, root: Path, look: Callable[[], None]) -> None:
        super().__init__(root)
        self._look = look

    def replace(self, path: str, data: bytes) -> None:
        """Write a file, and look."""
        super().replace(path, data)
        self._look()

    def link(self, source: str, path: str) -> None:
        """Make a link, and look."""
        super().link(source, path)
        self._look()


class Story:
    """A factory, its tree, and one client for each view, which keeps what it trusts."""

    def __init__(self, factory: Factory, directory: Path) -> None:
        self.factory, self.directory = factory, directory
        self.tree = Directory(directory / "tree")
        self.clients: dict[str, Client] = {}

    def publish(self) -> None:
        """Publish, and let every client look at what it is offered."""
        self.factory.publish(self.tree, refresh=True)
        for uuid, row in self.factory.fleet().items():
            if row.view is not None:
                assert row.published
                self.look(self.client(uuid), row.view, row.targets)

    def look(self, client: Client, view: str, targets: tuple[str, ...]) -> None:
        """A client refreshes, finds what `devices show` says, and no version goes down."""
        before = client.seen.get(REPOSITORY, (0, 0))
        found = client.poll(self.tree, view, REPOSITORY, self.factory.now)
        assert tuple(name for name in found if name.startswith("arm64")) == targets
        after = client.seen[REPOSITORY]
        assert (after[0] >= before[0], after[1] >= before[1]) == (True, True)

    def client(self, uuid: str) -> Client:
        """A device's client."""
        if uuid not in self.clients:
            self.clients[uuid] = Client(self.directory / "clients" / uuid)
        return self.clients[uuid]

    def views(self) -> dict[str, tuple[str, ...]]:
        """The views that devices look at, each with what they find."""
        return {row.view: row.targets for row in self.factory.fleet().values() if row.view}

    def begin(self, wave: str, number: int, *uuids: str) -> None:
        """A wave from init to its first rollout."""
        self.prepare(wave, number)
        self.factory.rollout(wave, uuids=uuids)

    def prepare(self, wave: str, number: int) -> None:
        """A wave that is ready."""
        self.factory.init(wave, number)
        for holder in range(1, self.factory.threshold - 1):
            self.factory.sign(wave, holder)

    def cancel(self, wave: str, *installed: str) -> None:
        """A wave that is canceled after these devices installed its target."""
        self.factory.report(*[(uuid, f"arm64-lmp-{wave.removeprefix('w')}", None) for uuid in installed])
        self.publish()
        self.factory.cancel(wave)

    def active(self) -> str | None:
        """The wave that is under way."""
        with self.factory.ledger.reading() as connection:
            tag = self.factory.facts.tag(connection, "release")
        return tag.active.wave if tag.active else None


def nothing(story: Story) -> None:
    """A tag without any wave."""


def settled(story: Story) -> None:
    """Production targets, and no wave."""
    story.prepare("w41", 41)
    story.factory.complete("w41")


def prepared(story: Story) -> None:
    """A wave that is ready and reached nobody yet."""
    settled(story)
    story.prepare("w43", 43)


def unready(story: Story) -> None:
    """A wave that a second holder has not signed yet."""
    settled(story)
    story.factory.init("w43", 43)


def under_way(story: Story) -> None:
    """A wave that reached some."""
    settled(story)
    story.publish()
    story.begin("w43", 43, "a", "b")


def held(story: Story) -> None:
    """A canceled wave that a device stays on."""
    under_way(story)
    story.cancel("w43", "a")


def held_twice(story: Story) -> None:
    """Two canceled waves, and a third one under way."""
    held(story)
    story.publish()
    story.begin("w44", 44, "b", "c")
    story.cancel("w44", "b")
    story.publish()
    story.begin("w45", 45, "c")


def rotate(role: str, *, with_old: bool = True) -> Change:
    """A new offline key."""
    return lambda factory: factory.rotate_offline(role, with_old=with_old)


def rotate_online(role: str, *, keep: bool = True) -> Change:
    """A new online key."""
    return lambda factory: factory.rotate_online(role, keep=keep)


def more(factory: Factory) -> Changed:
    """One more holder, and a threshold of one more."""
    new, threshold = generate("ed25519"), factory.threshold + 1

    def edit(root: edits.Root) -> None:
        edits.add_key(root, "targets", new.key)
        root.roles["targets"].threshold = threshold

    changed = factory.updates(edit, targets=[new])
    factory.hold([*factory.keys.targets, new], threshold)
    return changed


def fewer(factory: Factory) -> Changed:
    """A threshold of one less, if it is not 2, and one holder less, the first one."""
    threshold, gone = max(2, factory.threshold - 1), factory.keys.targets[0]

    def edit(root: edits.Root) -> None:
        edits.remove_key(root, "targets", gone.keyid)
        root.roles["targets"].threshold = threshold

    changed = factory.updates(edit)
    factory.hold(factory.keys.targets[1:], threshold)
    return changed


def another(factory: Factory) -> Changed:
    """Another root key, and another holder in the place of the last one."""
    root_key, new, gone = generate("ed25519"), generate("ed25519"), factory.keys.targets[-1]
    changed = factory.updates(
        lambda root: edits.add_key(root, "root", root_key.key),
        lambda root: edits.remove_key(root, "root", factory.root_pairs[0].keyid),
        lambda root: edits.add_key(root, "targets", new.key),
        lambda root: edits.remove_key(root, "targets", gone.keyid),
        root=[root_key],
        targets=[new],
    )
    factory.root_pairs[:] = [root_key]
    factory.hold([*factory.keys.targets[:-1], new])
    return changed


SITUATIONS = (nothing, settled, prepared, unready, under_way, held, held_twice)
CHANGES: dict[str, Change] = {
    "renew": lambda factory: factory.renew_root(),
    "root": rotate("root"),
    "targets": rotate("targets"),
    "targets, the old key is lost": rotate("targets", with_old=False),
    **{f"online {role}": rotate_online(role) for role in ("targets", "snapshot", "timestamp")},
    **{f"online {role}, lost": rotate_online(role, keep=False) for role in ("targets", "snapshot", "timestamp")},
    "more holders": more,
    "fewer holders": fewer,
    "another holder": another,
}
UNBRIDGED = {name for name in CHANGES if "lost" in name}  # a client in the middle of a refresh may fail once


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Story], None], int], Factory]:
    """A factory in a situation, and its tree beside it: made once, to be copied."""
    made: dict[tuple[str, int], Factory] = {}

    def begin(situation: Callable[[Story], None], holders: int) -> Factory:
        key = situation.__name__, holders
        if key not in made:
            place = tmp_path_factory.mktemp(situation.__name__)
            factory = Factory(place / "ledger.db", holders, 3 if holders > 2 else 2)
            factory.build(*range(41, 50), hardware=["arm64"])
            factory.register(*[device(uuid) for uuid in FLEET])
            story = Story(factory, place)
            situation(story)
            story.publish()
            made[key] = factory
        return made[key]

    return begin


@pytest.fixture
def tell(begun: Callable[..., Factory], tmp_path: Path) -> Iterator[Callable[..., Story]]:
    """A story of this test's own, in a situation; what its clients trusted so far is new to them again."""
    told: list[Story] = []

    def start(situation: Callable[[Story], None], holders: int = 2) -> Story:
        factory = begun(situation, holders)
        shutil.copytree(factory.path.parent, tmp_path, dirs_exist_ok=True, copy_function=shutil.copyfile)
        story = Story(factory.copy(tmp_path / "own.db"), tmp_path)
        story.publish()
        told.append(story)
        return story

    yield start
    for story in told:
        story.factory.close()


def change(story: Story, made: Change, name: str = "") -> object:
    """Change keys, publish, and let all clients look: those in the middle of a refresh at each point of it, too."""
    factory, place = story.factory, story.directory
    before = place / f"before-{factory.head()[0]}"
    shutil.copytree(story.tree.root, before)
    views = story.views()
    midway = {}
    for view, found in views.items():
        for requests in range(REQUESTS + 1):
            client = Client(place / "midway" / f"{factory.head()[0]}-{view.replace('/', '-')}-{requests}")
            story.look(client, view, found)
            midway[view, requests] = client
    came = made(factory)
    story.publish()
    for (view, requests), client in midway.items():
        try:
            client.poll(Midway(before, story.tree.root, requests), view, REPOSITORY, factory.now)
        except RepositoryError:
            assert name in UNBRIDGED, f"{view}, {requests} requests before the change"
        story.look(client, view, views[view])  # and the next time it goes on, as every other
        story.look(Client(place / "new" / client.directory.name), view, views[view])
    return came


def carry_on(story: Story) -> None:
    """Whatever was under way ends, another wave comes, and the timestamps are signed again."""
    wave = story.active()
    if wave:
        for holder in range(story.factory.holders):
            with contextlib.suppress(AlreadySigned, WaveAlreadyReady):
                story.factory.sign(wave, holder)
        story.factory.complete(wave)
        story.publish()
    story.begin("w48", 48, *FLEET[1:])
    story.publish()
    story.cancel("w48", "c")
    story.publish()
    story.factory.wait(5 * DAY)
    story.publish()
    story.prepare("w49", 49)
    story.factory.complete("w49")
    story.publish()
    assert set(story.views()) == {REPOSITORY}


def check(story: Story) -> None:
    """The projections are a replay of the ledger, and a mirror without a key is the same, byte for byte."""
    assert story.factory.differences() == []
    mirror = Directory(story.directory / "mirror")
    story.factory.publish(mirror, keys=False)
    assert files(mirror.root / "pool") == files(story.tree.root / "pool")
    stamps = {path: data for path, data in files(mirror.root).items() if path.endswith("timestamp.json")}
    assert stamps == {p: data for p, data in files(story.tree.root).items() if p in stamps}
    assert {f"{view}/timestamp.json" for view in story.views()} <= stamps.keys()


ALWAYS = (held_twice,)  # the others run these changes always, and all of them where time does not matter
OFTEN = ("targets", "online targets")


def case(situation: Callable[[Story], None], name: str) -> ParameterSet:
    """A change in a situation."""
    marks = () if situation in ALWAYS or name in OFTEN else (pytest.mark.slow,)
    return pytest.param(situation, name, marks=marks, id=f"{situation.__name__}-{name}")


@pytest.mark.parametrize(("situation", "name"), [case(situation, name) for situation in SITUATIONS for name in CHANGES])
def test_every_change_everywhere(tell: Callable[..., Story], situation: Callable[[Story], None], name: str) -> None:
    """No client refuses, except once where the replaced key is lost; then everything goes on."""
    story = tell(situation, 3 if situation is unready else 2)
    change(story, CHANGES[name], name)
    carry_on(story)
    check(story)


def test_three_holders(tell: Callable[..., Story]) -> None:
    """Where two of three sign, with one wave under way: all changes one after the other, and everything goes on."""
    story = tell(under_way, 3)
    for name in ("targets", "another holder", "more holders", "fewer holders", "root", "online targets"):
        change(story, CHANGES[name], name)
    carry_on(story)
    check(story)


def test_roots_left_out(tell: Callable[..., Story], tmp_path: Path) -> None:
    """A client that was away meanwhile takes all roots in one walk; so does one whose view is gone when it is back."""
    story = tell(held_twice)
    away = {view: Client(tmp_path / "away" / view.replace("/", "-")) for view in story.views()}
    for view, client in away.items():
        story.look(client, view, story.views()[view])
    for name in ("renew", "root", "targets", "online timestamp", "online targets", "another holder", "more holders"):
        CHANGES[name](story.factory)
        story.publish()
        story.factory.wait(2 * DAY)
    for view, client in away.items():
        story.look(client, view, story.views()[view])
    carry_on(story)
    for client in away.values():
        story.look(client, REPOSITORY, story.views()[REPOSITORY])
    check(story)


def test_two_changes_in_one_publication(tell: Callable[..., Story]) -> None:
    """Two roots that are published at once, as by a machine that was away: whoever begins after it takes both."""
    story = tell(under_way)
    story.factory.rotate_offline("targets")
    story.factory.rotate_offline("targets", 1)
    story.factory.rotate_online("timestamp")
    story.factory.rotate_offline("root")
    story.publish()
    carry_on(story)
    check(story)


def three_times(change: Callable[[Factory], object]) -> Change:
    """The same change again and again."""
    return lambda factory: [change(factory) for _ in range(3)]


def then_resigned(factory: Factory) -> None:
    """A new targets key, and all documents signed by the new one alone."""
    factory.rotate_offline("targets")
    factory.resign("release")
    factory.resign("wave:w43")


def then_completed(factory: Factory) -> None:
    """A new targets key, and a wave that it alone signed takes the place of what was shown."""
    factory.complete("w43")
    factory.rotate_offline("targets")
    factory.init("w44", 44)
    factory.complete("w44")


def a_day_late(change: Callable[[Factory], object]) -> Change:
    """A change that is published more than a day later, on a machine that has the replaced key still."""

    def made(factory: Factory) -> None:
        change(factory)
        factory.wait(DAY + 3600)

    return made


UNPUBLISHED: dict[str, Change] = {
    "targets, three times": three_times(rotate("targets")),
    "online targets, three times": three_times(rotate_online("targets")),
    "timestamp, three times": three_times(rotate_online("timestamp")),
    "targets, then signed by the new key": then_resigned,
    "targets, then a wave by the new key": then_completed,
    "timestamp, a day late": a_day_late(rotate_online("timestamp")),
    "snapshot, a day late": a_day_late(rotate_online("snapshot")),
}


@pytest.mark.parametrize("name", UNPUBLISHED)
def test_several_changes_before_one_publication(tell: Callable[..., Story], tmp_path: Path, name: str) -> None:
    """Clients that begin a refresh between any two writes are never refused; a mirror is the same, byte for byte."""
    story = tell(under_way, 1)  # one holder: no other one's signature helps clients over
    factory, now = story.factory, story.factory.now
    clients = {view: Client(tmp_path / "steady" / view.replace("/", "-")) for view in story.views()}
    for view, client in clients.items():
        client.poll(story.tree, view, REPOSITORY, now)
    UNPUBLISHED[name](factory)
    looked = 0

    def look() -> None:
        nonlocal looked
        for view, client in clients.items():
            looked += 1
            copied = client.directory.parent / str(looked)
            shutil.copytree(client.directory, copied)
            Client(copied).poll(story.tree, view, REPOSITORY, factory.now)
            shutil.rmtree(copied)

    factory.publish(Polled(story.tree.root, look), refresh=True)
    assert looked > 10
    story.publish()
    carry_on(story)
    check(story)


def test_a_wave_that_nobody_saw(tell: Callable[..., Story]) -> None:
    """Rolled out and canceled between two publications, with a root in between: it is never shown."""
    story = tell(settled, 1)
    story.begin("w43", 43, "a")
    story.factory.rotate_offline("targets")
    story.factory.cancel("w43")
    story.publish()

    assert not (story.tree.root / "wave").exists()
    check(story)


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_ci_keys_that_are_published_late(tell: Callable[..., Story], tmp_path: Path, role: str) -> None:
    """The same for test devices, whose documents the online key signs: two changes, published more than a day later."""
    story = tell(settled)
    factory = story.factory
    client = Client(tmp_path / "ci" / "steady")
    client.poll(story.tree, "ci/main", "ci/main", factory.now)
    factory.rotate_ci(role)
    factory.rotate_ci(role)
    factory.wait(DAY + 3600)
    looked = 0

    def look() -> None:
        nonlocal looked
        looked += 1
        copied = tmp_path / "ci" / str(looked)
        shutil.copytree(client.directory, copied)
        Client(copied).poll(story.tree, "ci/main", "ci/main", factory.now)

    factory.publish(Polled(story.tree.root, look), refresh=True)
    assert looked > 2
    check(story)


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
def test_ci_keys(tell: Callable[..., Story], tmp_path: Path, role: str) -> None:
    """A test device that polls all the while is never refused, at whatever point of a refresh it is."""
    story = tell(settled)
    factory, view = story.factory, "ci/main"
    before = tmp_path / "before"
    shutil.copytree(story.tree.root, before)
    clients = [Client(tmp_path / "ci" / str(requests)) for requests in range(REQUESTS + 1)]
    for client in clients:
        client.poll(story.tree, view, view, factory.now)
    factory.rotate_ci(role)
    story.publish()
    for requests, client in enumerate(clients):
        client.poll(Midway(before, story.tree.root, requests), view, view, factory.now)
        client.poll(story.tree, view, view, factory.now)
    Client(tmp_path / "new").poll(story.tree, view, view, factory.now)
    check(story)
