"""A canceled wave, then everything that could make a device forget it: root and key rotations, expiry, a second one.

Told quietly, and with each thing happening in the middle of somebody's refresh.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.modelcheck.check import Check
from tests.modelcheck.clients import NgClient, TufClient, TufJs
from tests.modelcheck.keysteps import KeyWorld
from tests.modelcheck.server import WebServer
from tests.modelcheck.steps import Step

RUNS, NOT, BYSTANDER = "device-0", "device-2", "device-1"  # all on one tag; the third is in no wave
QUICK = {(0, None), (2, 2)}  # told in the default run


class StoryWorld(KeyWorld):
    """A world with steps of its own, told of one tag. The newest wave is the one that is meant."""

    def _wave_of_two(self, n: tuple[int, int, int, int]) -> None:
        """A wave of a new build, rolled out to both devices."""
        self._build((1, 0, 0, 0))
        wave = self._open(f"w{len(self.waves) + 1}", self.built, "release")
        if self.factory.threshold > 2:
            self._sign((0, 0, 0, 0))
        self._rollout(wave, "to two", uuids=[RUNS, NOT])

    def _same_again(self, n: tuple[int, int, int, int]) -> None:
        """The number of the first canceled wave, under a new name."""
        canceled = next(wave for wave in self.waves.values() if wave.status == "canceled")
        wave = self._open(f"w{len(self.waves) + 1}", canceled.number, "release")
        if self.factory.threshold > 2:
            self._sign((0, 0, 0, 0))
        self._rollout(wave, "to two", uuids=[RUNS, NOT])

    def _install(self, n: tuple[int, int, int, int]) -> None:
        """One of them comes to run what it is offered."""
        uuid = (RUNS, NOT)[n[0]]
        self._report(self.devices[uuid], self.devices[uuid].offered)


class Story:
    """The factory, two devices, and whoever looks on."""

    def __init__(self, directory: Path, server: WebServer, client: TufClient, seed: int, request: int | None) -> None:
        self.world = StoryWorld(directory, seed)
        self.world.start()
        self.check = Check(self.world, server, [client])
        self.client, self.request = client, request
        self.canceled: str | None = None
        self.seen: dict[str, list[int]] = {RUNS: [], NOT: []}

    def tell(self, action: str, number: int = 0) -> dict[str, str | None]:
        """Let it happen, also in the middle of a refresh; then everybody looks. Returns what each is offered."""
        step = Step(action, (number, 0, 0, 1))
        if self.request is None or action == "week":
            assert self.world.act(step)
        else:
            for uuid in (RUNS, NOT):
                inside = [(self.request, step)] if uuid == RUNS else []
                self._refresh(uuid, inside)
                if inside:  # the refresh had fewer requests
                    assert self.world.act(step)
        return self.look()

    def look(self) -> dict[str, str | None]:
        """Everybody refreshes."""
        for uuid in (RUNS, NOT, BYSTANDER):
            self._refresh(uuid, [])
        return {uuid: self.world.devices[uuid].offered for uuid in (RUNS, NOT, BYSTANDER)}

    def _refresh(self, uuid: str, inside: list[tuple[int, Step]]) -> None:
        self.check._refresh(self.world.devices[uuid], self.check.seats[uuid, self.client.name], inside)
        if self.check.server.broken:
            raise self.check.server.broken
        assert self.check.problems == [], "\n".join(self.world.log)

    def views(self) -> list[str | None]:
        """Where the decision sends the two devices."""
        return [self.world.factory.shown(uuid).view for uuid in (RUNS, NOT)]


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    """A web server on a port of its own."""
    made = WebServer()
    yield made
    made.close()


@pytest.fixture(scope="module", params=["ngclient", pytest.param("tuf-js", marks=pytest.mark.slow)])
def client(request: pytest.FixtureRequest) -> Iterator[TufClient]:
    """A kind of client."""
    made: TufClient = NgClient() if request.param == "ngclient" else TufJs()
    yield made
    made.close()


@pytest.fixture(
    params=[
        pytest.param(
            (seed, number), id=f"seed {seed}, {number}", marks=[] if (seed, number) in QUICK else pytest.mark.slow
        )
        for seed in (0, 2)  # threshold 2 with one holder, 3 with two
        for number in (None, 1, 2, 3)  # before which request of a refresh
    ]
)
def story(
    request: pytest.FixtureRequest, tmp_path: Path, server: WebServer, client: TufClient
) -> Iterator[Story]:  # fmt: skip
    """Two devices, of which one will run what is canceled, with the first wave in production."""
    seed, number = request.param
    told = Story(tmp_path, server, client, seed, number)
    told.tell("wave_of_two")
    assert set(told.tell("complete").values()) == {"arm64-lmp-3", "amd64-lmp-3"}
    yield told
    told.world.close()


HELD = {RUNS: "arm64-lmp-4", NOT: "arm64-lmp-3", BYSTANDER: "amd64-lmp-3"}


def test_a_canceled_target_is_kept_by_who_runs_it_and_by_nobody_else(story: Story) -> None:
    """Root and key rotations, expiry, a second canceled wave: never offered less, and never offered it."""
    assert story.tell("wave_of_two")[RUNS] == "arm64-lmp-4"
    story.tell("install")
    assert story.tell("cancel") == HELD
    assert story.views() == ["held/w2", "production/release"]
    for rotation in ("rotate_root", "rotate_targets", "updates"):
        assert story.tell(rotation) == HELD
    for role in (0, 1, 2):
        assert story.tell("rotate_online", role) == HELD

    counts = story.check.counts.refreshes
    refused = counts["expired, refused as they should"]
    story.tell("week")
    assert counts["expired, refused as they should"] == refused + 3
    assert story.tell("refresh") == HELD
    assert counts["healed after expiry"] >= 3

    # Both are in the second wave, neither installs it.
    assert story.tell("wave_of_two")[RUNS] == story.world.devices[NOT].offered == "arm64-lmp-5"
    assert story.tell("rotate_targets")[RUNS] == "arm64-lmp-5"
    assert story.tell("cancel") == HELD
    assert story.views() == ["held/w2", "production/release"]
    for anew in ("resign", "rotate_root", "rotate_targets", "renew_root"):
        assert story.tell(anew) == HELD

    # The canceled number once more, in earnest.
    assert story.tell("same_again") == {**HELD, NOT: "arm64-lmp-4"}
    assert story.tell("complete") == {RUNS: "arm64-lmp-4", NOT: "arm64-lmp-4", BYSTANDER: "amd64-lmp-4"}
    assert story.views() == ["production/release", "production/release"]
    assert story.tell("rotate_targets")[RUNS] == "arm64-lmp-4"


def test_two_canceled_targets_are_kept_side_by_side(story: Story) -> None:
    """One device runs the first canceled target, the other the second: each keeps its own until another is above it."""
    story.tell("wave_of_two")
    story.tell("install", 0)
    assert story.tell("cancel") == HELD
    story.tell("rotate_root")
    assert story.tell("wave_of_two")[NOT] == "arm64-lmp-5"
    story.tell("install", 1)
    both = {**HELD, NOT: "arm64-lmp-5"}
    assert story.tell("cancel") == both
    assert story.views() == ["held/w2", "held/w3"]
    story.tell("rotate_targets")
    story.tell("week")
    assert story.tell("refresh") == both

    # The lower of the two numbers again: who runs it waits for the end of the wave, the other is not moved at all.
    assert story.tell("same_again") == both
    assert story.views() == ["held/w2", "held/w3"]
    assert story.tell("complete") == {**both, BYSTANDER: "amd64-lmp-4"}
    assert story.views() == ["production/release", "held/w3"]
    for anew in ("resign", "updates", "rotate_root"):
        assert story.tell(anew) == {**both, BYSTANDER: "amd64-lmp-4"}

    # What is above both frees both.
    assert story.tell("wave_of_two") == {RUNS: "arm64-lmp-6", NOT: "arm64-lmp-6", BYSTANDER: "amd64-lmp-4"}
    assert story.tell("complete") == {RUNS: "arm64-lmp-6", NOT: "arm64-lmp-6", BYSTANDER: "amd64-lmp-6"}
    assert story.views() == ["production/release", "production/release"]
