"""Sixteen processes at once at one ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import KEYS, Waveledger

RACERS = 16

pytestmark = pytest.mark.xdist_group("races")  # one race at a time


@pytest.fixture
def racing(acme: Waveledger) -> Callable[..., list[tuple[int, str]]]:
    """Run commands at once, each in a process of its own; returns exit codes and what stderr got."""

    def race(commands: list[tuple[str, ...]]) -> list[tuple[int, str]]:
        before = acme.head()[0]
        program = [sys.executable, Path(__file__).with_name("racers.py"), json.dumps(commands)]
        ended = subprocess.run(
            program, cwd=acme.cwd, env=acme.environment(), capture_output=True, check=True, timeout=120
        )
        results = json.loads(ended.stdout)
        assert len(results) == len(commands)
        assert all(out == "" for code, out, _ in results if code)
        verify_whole(acme, before)
        return [(code, err) for code, _, err in results]

    return race


def verify_whole(shell: Waveledger, before: int) -> None:
    """Nothing lost or doubled: positions without gaps, streams without gaps, projections equal to a replay."""
    log = shell.ask("audit", "log", "--limit", "100000")
    assert [event["position"] for event in log["events"]] == list(range(1, log["head"]["position"] + 1))
    assert log["head"]["position"] >= before
    streams: Counter[str] = Counter()
    for event in log["events"]:
        streams[event["stream"]] += 1
        assert event["version"] == streams[event["stream"]], event
    assert shell.ask("projections", "verify")["ok"] is True


def outcomes(ended: list[tuple[int, str]]) -> Counter[int]:
    """How many ended how; a loser has one error and one hint and no traceback."""
    for code, err in ended:
        assert code in {0, 3, 5}, err
        if code:
            assert [line.split(": ")[0] for line in err.splitlines()] == ["error", "hint"], err
    return Counter(code for code, _ in ended)


def test_one_tag(acme: Waveledger, racing: Callable[..., list[tuple[int, str]]]) -> None:
    """Of 16 waves for one tag one is there afterwards; 15 are refused, or lost the race."""
    ended = outcomes(racing([("waves", "init", f"w{n}", "50", "release", *KEYS) for n in range(RACERS)]))
    assert ended[0] == 1
    assert ended[3] + ended[5] == RACERS - 1
    waves = acme.ask("waves", "list")["waves"]
    assert [(wave["tag"], wave["status"]) for wave in waves] == [("release", "active")]


@pytest.mark.slow
def test_different_tags(acme: Waveledger, racing: Callable[..., list[tuple[int, str]]]) -> None:
    """16 waves for 16 tags: all win."""
    ended = outcomes(racing([("waves", "init", f"w{n}", "50", f"tag-{n}", *KEYS) for n in range(RACERS)]))
    assert ended == {0: RACERS}
    waves = acme.ask("waves", "list", "--limit", "100")
    assert {wave["tag"] for wave in waves["waves"]} == {f"tag-{n}" for n in range(RACERS)}
    assert waves["total"] == RACERS


@pytest.mark.slow
def test_one_name_for_different_tags(acme: Waveledger, racing: Callable[..., list[tuple[int, str]]]) -> None:
    """A wave name is used once in a factory, whichever tags race for it."""
    ended = outcomes(racing([("waves", "init", "same", "50", f"tag-{n}", *KEYS) for n in range(RACERS)]))
    assert ended[0] == 1
    assert acme.ask("waves", "list")["total"] == 1


def test_different_ends_of_one_wave(
    acme: Waveledger, racing: Callable[..., list[tuple[int, str]]], tmp_path: Path
) -> None:
    """Complete, cancel and publishing rollouts of one wave at once: it ends once, and what is published is whole."""
    acme.env["WAVELEDGER_PUBLISH"] = str(tmp_path / "tree")
    acme.do("waves", "init", "first", "48", "release", *KEYS)
    acme.do("waves", "complete", "first")
    acme.do("waves", "init", "w", "50", "release", *KEYS)
    rollouts = [("waves", "rollout", "w", "--limit", "2")] * 4
    ended = outcomes(racing([*rollouts, *[("waves", "complete", "w"), ("waves", "cancel", "w")] * 2]))
    assert 1 <= ended[0] <= 5
    summaries = [event["topic"] for event in acme.ask("audit", "log", "--wave", "w")["events"]]
    assert len([topic for topic in summaries if topic in {"wave.completed/1", "wave.canceled/1"}]) == 1
    acme.do("tuf", "publish")
    verified = acme.ask("tuf", "verify")
    assert verified["ok"] is True
    names = next(view["targets"] for view in verified["views"] if view["view"] == "production/release")
    assert names == sorted(acme.ask("targets", "list", "--production", "--by-tag", "release")["targets"])
