"""A canceled wave on the command line: who is held, what is said about it, and when a report publishes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import KEYS, Waveledger

RUNS_48, RUNS_52 = "raspberrypi4-64-lmp-48", "raspberrypi4-64-lmp-52"


@pytest.fixture
def held(acme: Waveledger, tmp_path: Path) -> Waveledger:
    """A ledger whose wave v52 was canceled when the first device of its group ran it; v48 is production."""
    shell = acme.copy(tmp_path / "held", WAVELEDGER_PUBLISH=str(tmp_path / "tree"))
    shell.do("waves", "init", "v48", "48", "release", *KEYS)
    shell.do("waves", "complete", "v48")
    shell.do("waves", "init", "v52", "52", "release", *KEYS)
    shell.do("waves", "rollout", "v52", "--group", "canary")
    assert "published" not in report(shell, RUNS_52)
    shell.do("waves", "cancel", "v52")
    return shell


def first(shell: Waveledger) -> str:
    """A device of the group."""
    found = shell.ask("devices", "list", "--tag", "release", "--group", "canary", "--production")["devices"]
    return str(next(d["uuid"] for d in found if d["hardware_id"] == "raspberrypi4-64"))


def report(shell: Waveledger, target: str, *options: str, **env: str) -> str:
    """The device runs that now; what the command said beside its answer."""
    csv = f"uuid,target,seen_at\n{first(shell)},{target},\n"
    return shell.do("devices", "report", "-", *options, stdin=csv, env=env).err


def test_devices_show_says_why(held: Waveledger) -> None:
    """The view, the target that it may keep, and the reason in words."""
    eligible = held.ask("devices", "show", first(held))["eligible"]

    assert eligible["reason"].startswith("it runs number 52 of the canceled wave v52, and keeps it until")
    assert (eligible["view"], eligible["latest"], eligible["published"]) == ("held/v52", RUNS_52, True)


def test_held_devices_are_orphans(held: Waveledger) -> None:
    """Both statuses count the device with production, as an orphan; the wave's own number is none of its tag's."""
    rows = {row["kind"]: row for row in held.ask("status")["tags"] if row["tag"] == "release"}
    assert (rows["production"]["on_orphan"], rows["production"]["held"]) == (1, 1)
    assert set(rows) == {"production", "ci"}

    wave = held.ask("waves", "status", "v52")
    (canary,) = wave["rollout_groups"]
    assert {"version": 52, "devices": 1, "orphan": True} in canary["targets"]
    assert (wave["updated"], wave["scheduled"]) == (1, 0)


def test_a_report_that_ends_it_publishes(held: Waveledger, tmp_path: Path) -> None:
    """The device goes to production with a publication, which the report makes; no other report publishes anything."""
    before = (tmp_path / "tree" / "held" / "v52" / "timestamp.json").read_bytes()
    assert "published" not in report(held, RUNS_52)
    assert "published" not in report(held, RUNS_48, "--dry-run")
    assert held.ask("devices", "show", first(held))["eligible"]["view"] == "held/v52"

    assert "published to" in report(held, RUNS_48)
    eligible = held.ask("devices", "show", first(held))["eligible"]
    assert (eligible["view"], eligible["latest"], eligible["published"]) == ("production/release", RUNS_48, True)
    assert (tmp_path / "tree" / "held" / "v52" / "timestamp.json").read_bytes() != before
    assert "published" not in report(held, RUNS_52)


def test_without_keys_it_waits(held: Waveledger) -> None:
    """Where nothing can be published the report is recorded, says so, and `status` names the view that waits."""
    said = report(held, RUNS_48, WAVELEDGER_ONLINE_KEYS="nowhere")
    assert "recorded, not yet published" in said

    eligible = held.ask("devices", "show", first(held))["eligible"]
    assert (eligible["view"], eligible["published"]) == ("production/release", False)
    waiting = [w for w in held.ask("status")["warnings"] if "not yet published" in w]
    assert waiting == ["view production/release is recorded, not yet published: waveledger tuf publish"]
    held.do("tuf", "publish")
    assert held.ask("devices", "show", first(held))["eligible"]["published"]
