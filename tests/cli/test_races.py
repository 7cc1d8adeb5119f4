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


Race = Callable[..., list[tuple[int, str]]]


@pytest.fixture
def racing(acme: Waveledger) -> Race:
    """Run commands at once, each in a process of its own; returns exit codes and what stderr got."""
    return lambda commands: race(acme, commands)


def race(shell: Waveledger, commands: list[tuple[str, ...]]) -> list[tuple[int, str]]:
    """The same at any ledger."""
    before = shell.head()[0]
    program = [sys.executable, Path(__file__).with_name("racers.py"), json.dumps(commands)]
    ended = subprocess.run(
        program, cwd=shell.cwd, env=shell.environment(), capture_output=True, check=True, timeout=120
    )
    results = json.loads(ended.stdout)
    assert len(results) == len(commands)
    assert all(out == "" for code, out, _ in results if code)
    verify_whole(shell, before)
    return [(code, err) for code, _, err in results]


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


def test_one_tag(acme: Waveledger, racing: Race) -> None:
    """Of 16 waves for one tag one is there afterwards; 15 are refused, or lost the race."""
    ended = outcomes(racing([("waves", "init", f"w{n}", "50", "release", *KEYS) for n in range(RACERS)]))
    assert ended[0] == 1
    assert ended[3] + ended[5] == RACERS - 1
    waves = acme.ask("waves", "list")["waves"]
    assert [(wave["tag"], wave["status"]) for wave in waves] == [("release", "active")]


@pytest.mark.slow
def test_different_tags(acme: Waveledger, racing: Race) -> None:
    """16 waves for 16 tags: all win."""
    ended = outcomes(racing([("waves", "init", f"w{n}", "50", f"tag-{n}", *KEYS) for n in range(RACERS)]))
    assert ended == {0: RACERS}
    waves = acme.ask("waves", "list", "--limit", "100")
    assert {wave["tag"] for wave in waves["waves"]} == {f"tag-{n}" for n in range(RACERS)}
    assert waves["total"] == RACERS


@pytest.mark.slow
def test_one_name_for_different_tags(acme: Waveledger, racing: Race) -> None:
    """A wave name is used once in a factory, whichever tags race for it."""
    ended = outcomes(racing([("waves", "init", "same", "50", f"tag-{n}", *KEYS) for n in range(RACERS)]))
    assert ended[0] == 1
    assert acme.ask("waves", "list")["total"] == 1


def test_different_ends_of_one_wave(acme: Waveledger, racing: Race, tmp_path: Path) -> None:
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


def test_everything_about_one_wave(imported: Callable[..., Waveledger], tmp_path: Path) -> None:
    """Sign, rollout, complete and cancel of one wave at once: one signature more, one end at most, nothing after it."""
    shell = imported("acme", "--offline-key", "ed25519", "--offline-key", "ed25519", "--threshold", "3")
    shell = shell.copy(tmp_path / "shell")
    shell.do("waves", "init", "w", "50", "release", *KEYS)
    signs = [("waves", "sign", "w", "-k", "keys/targets.only.key.2.tgz")] * 4
    rollouts = [("waves", "rollout", "w", "--limit", "2"), ("waves", "rollout", "w", "--group", "canary")] * 2
    ends = [("waves", "complete", "w"), ("waves", "cancel", "w")] * 2
    outcomes(race(shell, [*signs, *rollouts, *ends, *signs[:2], *ends[:2]]))

    topics = [event["topic"].partition("/")[0] for event in shell.ask("audit", "log", "--wave", "w")["events"]]
    ended = [n for n, topic in enumerate(topics) if topic in {"wave.completed", "wave.canceled"}]
    assert topics.count("wave.signed") <= 2
    assert len(ended) <= 1
    assert not ended or not {"wave.rolled-out", "wave.signed", "devices.staged"} & set(topics[ended[0] :])
    if {"wave.rolled-out", "wave.completed"} & set(topics):
        assert topics.count("wave.signed") == 2
    assert topics.count("wave.rolled-out") <= 4


HEADER = "uuid,name,hardware_id,tag,group,production\n"


@pytest.mark.slow
def test_groups_change_during_a_rollout(acme: Waveledger, racing: Race) -> None:
    """Devices join and leave a group while it is rolled out to: whoever was in it once since then stays in the wave."""
    uuids = [f"gw-{n}" for n in range(12)]
    rows = "".join(
        f"{uuid},,raspberrypi4-64,release,{'racers' if n % 2 else 'others'},true\n" for n, uuid in enumerate(uuids)
    )
    acme.do("devices", "import", "-", stdin=HEADER + rows)
    acme.do("waves", "init", "w", "50", "release", *KEYS)
    before = acme.head()[0]
    joins = [("devices", "set", uuid, "--group", "racers") for uuid in uuids[::2]]
    leaves = [("devices", "set", uuid, "--no-group") for uuid in uuids[1::2]]
    ended = racing([*joins, ("waves", "rollout", "w", "--group", "racers"), *leaves])

    assert outcomes(ended)[0] == len(ended)
    members, inside, rolled = set(), set(uuids[1::2]), False
    for event in acme.ask("audit", "log", "--limit", "100000")["events"]:
        if event["position"] <= before:
            continue
        if event["topic"] == "wave.rolled-out/1":
            rolled = True
        else:
            payload = acme.ask("audit", "show", str(event["position"]))["payload"]
            for uuid, group in zip(payload["uuids"], payload["groups"], strict=True):
                (inside.add if group == "racers" else inside.discard)(uuid)
        members |= inside if rolled else set()
    shown = acme.ask("devices", "list", "--tag", "release", "--limit", "1000")["devices"]
    assert {d["uuid"] for d in shown if d["eligible"]["view"] == "wave/w"} == members
    assert members >= set(uuids[::2])


@pytest.mark.slow
def test_a_storm_of_reports(acme: Waveledger, racing: Race) -> None:
    """Reports of the same devices from many processes, in any order: the newest counts, however they are let in."""
    uuids = [f"gw-{n}" for n in range(40)]
    acme.do("devices", "import", "-", stdin=HEADER + "".join(f"{u},,raspberrypi4-64,release,,true\n" for u in uuids))
    for number in range(RACERS):
        seen = f"2026-01-{1 + number:02}T00:00:00Z"
        rows = "".join(f"{uuid},target-{number},{seen}\n" for uuid in [*uuids, "stranger"])
        (acme.cwd / f"{number}.csv").write_text("uuid,target,seen_at\n" + rows)
    ended = racing([("devices", "report", f"{number}.csv") for number in range(RACERS)])

    assert outcomes(ended) == {0: RACERS}
    assert {(d["target"], d["seen_at"]) for d in (acme.ask("devices", "show", uuid) for uuid in uuids)} == {
        (f"target-{RACERS - 1}", f"2026-01-{RACERS:02}T00:00:00Z")
    }
