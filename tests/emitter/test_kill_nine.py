"""`kill -9` at every write of a publication, while clients poll without a pause."""

# ruff: noqa: D102  (helpers speak by name)
from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from projections.tuf.destination import Directory
from tests import stores
from tests.emitter.killing import killed_at
from tests.emitter.stages import completed, days_later, rolled_out
from tests.support import Client, Factory, files

Routes = dict[str, tuple[str, str]]  # where each device is sent: view, repository


def root_changed_in_a_wave(factory: Factory) -> None:
    factory.rotate_offline("targets")
    factory.rotate_online("timestamp")
    factory.rotate_ci("snapshot")


def canceled_and_held(factory: Factory) -> None:
    factory.report(("a", "arm64-lmp-2", None))
    factory.cancel("w2")
    factory.build(4)


def root_changed_with_a_held_view(factory: Factory) -> None:
    factory.rotate_online("snapshot")
    factory.rotate_offline("root")
    factory.renew_root()


def past_the_held_view(factory: Factory) -> None:
    factory.init("w3", 3)
    factory.complete("w3")


STAGES: list[Callable[[Factory], None]] = [
    rolled_out,
    completed,
    root_changed_in_a_wave,
    canceled_and_held,
    root_changed_with_a_held_view,
    days_later,
    past_the_held_view,
]


@dataclass(frozen=True)
class Moment:
    """A ledger whose last publication is signed and not yet written, with tree and clients as they were before it."""

    directory: Path
    before: Routes
    after: Routes
    now: int
    polled: int  # the clock of clients that are early: after days without a refresh all would meet expired timestamps


class Story:
    """All moments, kept so that each can be played many times."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.moments: list[Moment] = []
        factory = Factory(directory / "ledger.db")
        tree = Directory(directory / "tree")
        tree.root.mkdir()
        routes: Routes = {}
        for place, stage in enumerate(STAGES):
            before = factory.now
            stage(factory)
            factory.publish(Directory(directory / "elsewhere"), refresh=True)
            kept = directory / str(place)
            kept.mkdir()
            factory.close()
            stores.copy(factory.path, kept / "ledger.db")
            copy(tree.root, kept / "tree")
            if (directory / "clients").exists():
                shutil.copytree(directory / "clients", kept / "clients", symlinks=True)
            factory.publish(tree, keys=False)
            after = routes_of(factory)
            polled = before if stage is days_later else factory.now
            self.moments.append(Moment(kept, routes, after, factory.now, polled))
            poll(clients(directory / "clients"), tree, after, factory.now)
            routes = after
        factory.close()


def routes_of(factory: Factory) -> Routes:
    rows = factory.fleet().items()
    kinds = {uuid: "production" if row.production else "ci" for uuid, row in rows}
    return {uuid: (row.view, f"{kinds[uuid]}/{row.tag}") for uuid, row in rows if row.view and row.published}


def copy(source: Path, to: Path) -> None:
    """A copy of a tree, by links: no file is ever changed in its place."""
    shutil.copytree(source, to, copy_function=os.link)


def clients(directory: Path) -> dict[str, Client]:
    return {uuid: Client(directory / uuid) for uuid in ("a", "b", "t")}


def poll(polled: dict[str, Client], tree: Directory, routes: Routes, now: int) -> int:
    for uuid, (view, repository) in routes.items():
        polled[uuid].poll(tree, view, repository, now)
    return len(routes)


class Poller(threading.Thread):
    """Clients that poll without a pause until told to stop; the first error ends it."""

    def __init__(self, polled: dict[str, Client], tree: Directory, routes: Routes, now: int) -> None:
        super().__init__()
        self.arguments = (polled, tree, routes, now)
        self.done = threading.Event()
        self.polls = 0
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.done.is_set() and self.arguments[2]:
                self.polls += poll(*self.arguments)
        except BaseException as problem:  # noqa: BLE001  shown by the test
            self.problem = problem


def play(moment: Moment, place: Path, at: int) -> tuple[bool, int, dict[str, bytes]]:
    """One round: whether it was killed, how often clients polled, and the tree after the next publication."""
    place.mkdir()
    tree = Directory(place / "tree")
    copy(moment.directory / "tree", tree.root)
    stores.copy(moment.directory / "ledger.db", place / "ledger.db")
    if (moment.directory / "clients").exists():
        shutil.copytree(moment.directory / "clients", place / "clients", symlinks=True)
    polled = clients(place / "clients")
    poller = Poller(polled, tree, moment.before, moment.polled)

    def publish() -> None:
        factory = Factory(place / "ledger.db", now=moment.now)
        factory.publish(Directory(tree.root), keys=False)

    killed = killed_at(at, publish, poller.start)
    poller.done.set()
    poller.join()
    assert poller.problem is None, (at, poller.problem)
    polls = poller.polls + poll(polled, tree, moment.before, moment.polled)
    publish()
    polls += poll(polled, tree, moment.after, moment.now)
    found = files(tree.root)
    shutil.rmtree(place)
    return killed, polls, found


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The story, told once."""
    return Story(tmp_path_factory.mktemp("story"))


def rounds(moment: Moment, directory: Path, first: int, step: int) -> tuple[int, int]:
    """Kills at every so many writes, then one publication that nothing kills; how many kills, and polls in all."""
    _, _, expected = play(moment, directory / "whole", 1_000_000)
    kills, polls, at = 0, 0, first
    while True:
        killed, more, found = play(moment, directory / f"at-{at}", at)
        assert found == expected, at
        kills, polls, at = kills + killed, polls + more, at + step
        if not killed:
            return kills, polls


@pytest.mark.parametrize("stage", range(len(STAGES)), ids=[stage.__name__ for stage in STAGES])
def test_killed_at_some_writes(story: Story, tmp_path: Path, stage: int) -> None:
    """A few kills in each stage: clients that poll see no error, and the next publication leaves an unhurt tree."""
    kills, polls = rounds(story.moments[stage], tmp_path, 2 + 3 * stage, 29)

    assert kills > 0
    assert polls > 0


@pytest.mark.slow
@pytest.mark.parametrize("stage", range(len(STAGES)), ids=[stage.__name__ for stage in STAGES])
def test_killed_at_every_write(story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: int) -> None:
    """The same at each write of each stage: 200 kills at least in all, and how many is told."""
    kills, polls = rounds(story.moments[stage], tmp_path, 0, 1)

    with capsys.disabled():
        sys.stdout.write(f" {STAGES[stage].__name__}: killed at each of {kills} writes, {polls} polls, no error\n")
    assert kills * len(STAGES) >= 200
