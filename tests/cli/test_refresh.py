"""waveledger tuf refresh from cron, on one machine and on two, and what status warns of.

The ledgers are made in the past, by the use cases with another clock; the program itself runs at the time it is.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ledger.tuf.online import write_online
from projections.tuf.destination import Directory
from tests.cli.conftest import Waveledger
from tests.support import DAY, HOUR, LIFETIME_SECONDS, Factory, device

TAGS = ("main", "qa", "devel")
REPOSITORIES = ["ci/devel", "ci/main", "ci/qa", "production/release"]
VIEWS = [*REPOSITORIES, "wave/w2"]

pytestmark = pytest.mark.xdist_group("races")  # one race at a time


def tell(factory: Factory, days: int) -> None:
    """Three CI tags, production for so many days, and a wave on its way for half as many more."""
    for number, tag in enumerate(TAGS, start=1):
        factory.build(number, tags=[tag])
    factory.register(device("a", group="canary"), device("b"))
    factory.init("w1", 1, days=days)
    factory.complete("w1")
    factory.init("w2", 2, days=3 * days // 2)
    factory.rollout("w2", group="canary")


@pytest.fixture(scope="session")
def past(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Waveledger]:
    """A ledger that was made, and published to ``tree``, so many seconds ago; made once."""
    made: dict[tuple[int, int], Waveledger] = {}

    def make(ago: int, days: int = 40) -> Waveledger:
        if (ago, days) not in made:
            place = tmp_path_factory.mktemp("past")
            shell = Waveledger(place)
            shell.store.parent.mkdir(exist_ok=True)
            factory = Factory(shell.store, now=int(time.time()) - ago)
            tell(factory, days)
            factory.publish(Directory(place / "tree"))
            factory.close()
            write_online(place / "keys" / "online", {**factory.keys.online, "ledger": factory.keys.ledger})
            made[ago, days] = shell
        return made[ago, days]

    return make


@pytest.fixture
def aged(past: Callable[..., Waveledger], tmp_path: Path) -> Callable[..., Waveledger]:
    """A copy of such a ledger."""
    return lambda ago: past(ago).copy(tmp_path / "work", WAVELEDGER_PUBLISH="tree")


def race(shell: Waveledger, commands: Sequence[Sequence[str]]) -> list[tuple[int, Any]]:
    """Run commands at once, each in a process of its own; returns exit codes and documents."""
    program = [sys.executable, str(Path(__file__).with_name("racers.py")), json.dumps(commands)]
    ended = subprocess.run(
        program, cwd=shell.cwd, env=shell.environment(), capture_output=True, check=True, timeout=120
    )
    results = json.loads(ended.stdout)
    assert [(code, err) for code, _, err in results if code] == []
    return [(code, json.loads(out)) for code, out, _ in results]


def publications(shell: Waveledger) -> dict[str, int]:
    """How many publications each repository has."""
    log = shell.ask("audit", "log", "--limit", "100000")["events"]
    streams = [event["stream"] for event in log if event["topic"] == "metadata.published/1"]
    return {stream: streams.count(stream) for stream in streams}


@pytest.mark.parametrize("rounds", [1, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("places", [("one", "two"), ("one", "one")], ids=["two destinations", "one destination"])
def test_two_machines_refresh_at_once(
    past: Callable[..., Waveledger], tmp_path: Path, places: tuple[str, str], rounds: int
) -> None:
    """Each repository is signed once, by one of them; nobody fails, and both trees are what clients accept."""
    for number in range(rounds):
        shell = past(4 * DAY).copy(tmp_path / f"round-{number}")
        for place in {*places}:
            shutil.copytree(shell.cwd / "tree", shell.cwd / place)

        ended = race(shell, [("tuf", "refresh", place, "--format", "json") for place in places])

        signed = [repository for _, document in ended for repository in document["signed"]]
        assert sorted(signed) == REPOSITORIES
        assert set(publications(shell).values()) == {2}
        for place in {*places}:
            shell.do("tuf", "publish", place)  # who was done first lacks what the other signed after that
            verified = shell.ask("tuf", "verify", place)
            assert verified["ok"] is True
            assert sorted(view["view"] for view in verified["views"]) == VIEWS
        one, two = ((shell.cwd / place / "ci/main/timestamp.json").read_bytes() for place in places)
        assert one == two
        again = shell.do("tuf", "refresh", places[0], "--format", "json").json
        assert (again["signed"], again["views"]) == ([], [])
        assert shell.ask("projections", "verify")["ok"] is True


def test_many_forced_refreshes_at_once(aged: Callable[..., Waveledger]) -> None:
    """Eight processes that sign everything again, for two places: versions never collide and nobody fails."""
    shell = aged(HOUR)
    shutil.copytree(shell.cwd / "tree", shell.cwd / "other")
    before = publications(shell)

    race(shell, [("tuf", "refresh", place, "--force", "--format", "json") for place in ("tree", "other") * 4])

    after = publications(shell)
    assert all(before[stream] < count <= before[stream] + 8 for stream, count in after.items())
    for place in ("tree", "other"):
        shell.do("tuf", "publish", place)
        assert shell.ask("tuf", "verify", place)["ok"] is True


def test_two_machines_renew_the_ci_root(past: Callable[..., Waveledger], tmp_path: Path) -> None:
    """One root version comes of it, and all CI views show it."""
    shell = past(LIFETIME_SECONDS // 2 + DAY, 4000).copy(tmp_path / "work")

    ended = race(shell, [("tuf", "refresh", place, "--format", "json") for place in ("one", "two")] * 2)

    assert sorted([document["ci_root"] for _, document in ended if document["ci_root"]]) == [2]
    assert shell.ask("keys", "tuf", "show-root")["signed"]["version"] == 2
    shell.do("tuf", "publish", "one")
    views = {view["view"]: view["root_version"] for view in shell.ask("tuf", "verify", "one")["views"]}
    assert {views[f"ci/{tag}"] for tag in TAGS} == {2}


def test_a_refresh_says_what_expires_next(aged: Callable[..., Waveledger]) -> None:
    """In words and as data: the first thing that a client would refuse, and when to refresh again at the latest."""
    shell = aged(HOUR)
    document = shell.do("tuf", "refresh", "--format", "json").json
    assert document["signed"] == document["views"] == document["problems"] == []
    assert document["ci_root"] is None
    assert document["next_expiry"]["what"] == "the timestamp of view ci/devel"
    assert document["refresh_before"] < document["next_expiry"]["at"]
    lines = shell.do("tuf", "refresh").out.splitlines()
    assert f"next to expire: the timestamp of view ci/devel, at {document['next_expiry']['at']}" in lines
    assert f"refresh again before {document['refresh_before']}: half of the timestamps' life" in lines


def test_a_dry_refresh(aged: Callable[..., Waveledger]) -> None:
    """It names what would be signed, and signs and writes nothing."""
    shell = aged(4 * DAY)
    head = shell.head()
    before = (shell.cwd / "tree/ci/main/timestamp.json").read_bytes()
    result = shell.do("tuf", "refresh", "--dry-run", "--format", "json")
    assert (result.json["signed"], result.json["dry_run"]) == (REPOSITORIES, True)
    assert shell.head() == head
    assert (shell.cwd / "tree/ci/main/timestamp.json").read_bytes() == before


def test_one_repository_in_trouble(aged: Callable[..., Waveledger]) -> None:
    """The others are refreshed, the document and stderr name the trouble, and the exit code tells of it."""
    shell = aged(4 * DAY)
    path = shell.cwd / "tree/ci/main/timestamp.json"
    path.write_bytes(path.read_bytes().replace(b'"sig":"', b'"sig":"00', 1))

    result = shell.quick("tuf", "refresh", "--format", "json")

    assert result.rc == 7
    assert result.json["signed"] == [name for name in REPOSITORIES if name != "ci/main"]
    assert len(result.json["problems"]) == 1
    assert "ci/main/timestamp.json" in result.json["problems"][0]
    assert result.err.count("error: ") == 1
    warned = [line for line in result.err.splitlines() if line.startswith("warning: ")]
    assert any(line.startswith("warning: the timestamp of view ci/main is past half of its life") for line in warned)


def test_several_in_trouble(aged: Callable[..., Waveledger]) -> None:
    """All causes are told, once each and with what to do; the three CI repositories have one cause."""
    shell = aged(4 * DAY)
    for name in ("production.timestamp", "ci.snapshot"):
        (shell.cwd / f"keys/online/{name}.pem").unlink()

    result = shell.quick("tuf", "refresh")

    assert result.rc == 8
    lines = [line.partition(": ") for line in result.err.splitlines() if not line.startswith("warning: ")]
    assert [kind for kind, _, _ in lines] == ["error", "hint"] * 2
    assert [text.split()[:3] for kind, _, text in lines if kind == "error"] == [
        ["the", "online", "timestamp"],
        ["the", "online", "snapshot"],
    ]


def warnings(shell: Waveledger) -> list[str]:
    """What status warns of; the same as warnings on stderr, and as refresh and publish have it."""
    result = shell.do("status", "--format", "json")
    found: list[str] = result.json["warnings"]
    assert [f"warning: {text}" for text in found] == result.err.splitlines()
    published = shell.do("tuf", "publish", "--dry-run").err.splitlines()
    assert [line for line in published if line.startswith("warning: ")] == [f"warning: {text}" for text in found]
    return found


def test_a_young_ledger_has_no_warnings(aged: Callable[..., Waveledger]) -> None:
    """Nothing to do."""
    assert warnings(aged(HOUR)) == []


def test_timestamps_past_half_of_their_life(aged: Callable[..., Waveledger]) -> None:
    """Each view's timestamp, with its date, and the command; after the refresh nothing is left."""
    shell = aged(4 * DAY)
    found = warnings(shell)
    assert [text.partition(" is past half of its life and expires at ")[0] for text in found] == [
        f"the timestamp of view {view}" for view in VIEWS
    ]
    assert all(text.endswith("Z: waveledger tuf refresh") for text in found)
    assert shell.do("tuf", "refresh").err == ""
    assert warnings(shell) == []


def test_documents_past_half_of_their_life(aged: Callable[..., Waveledger]) -> None:
    """Expired things first: the timestamps; then the production document of 40 days, then the wave's of 60."""
    shell = aged(35 * DAY)
    found = warnings(shell)
    assert ["expired at" in text for text in found] == [True] * len(VIEWS) + [False] * 2
    production, wave = found[-2:]
    assert production.startswith("the targets of view production/release are past half of their life and expire at ")
    assert production.endswith("Z: waveledger targets resign release -k KEYS")
    assert wave.startswith("the targets of view wave/w2 are past half of their life and expire at ")
    assert wave.endswith("Z: waveledger targets resign w2 -k KEYS")

    refreshed = shell.do("tuf", "refresh")

    assert refreshed.err.splitlines() == [f"warning: {text}" for text in (production, wave)]


def test_what_expires_next_is_a_sentence(imported: Callable[..., Waveledger]) -> None:
    """Where nothing is published yet it is a root."""
    out = imported("acme").do("tuf", "refresh", "nowhere", "--dry-run").out
    assert "next to expire: the ci root, version 1, at 2" in out


def test_roots_past_half_of_their_life(past: Callable[..., Waveledger], tmp_path: Path) -> None:
    """The production root is for its holders, the CI root is renewed by a refresh."""
    shell = past(LIFETIME_SECONDS // 2 + DAY, 4000).copy(tmp_path / "work", WAVELEDGER_PUBLISH="tree")
    found = [text for text in warnings(shell) if " root, version" in text]
    assert [text.partition(" and expires at ")[0] for text in found] == [
        "the ci root, version 1, is past half of its life",
        "the production root, version 1, is past half of its life",
    ]
    assert found[0].endswith("Z: waveledger tuf refresh, where the CI root's key is")
    assert found[1].endswith("Z: waveledger keys tuf renew-root --keys root.keys.tgz")
    refreshed = shell.quick("tuf", "refresh").err
    assert "the production root, version 1, is past half" in refreshed
    assert "the ci root" not in refreshed
