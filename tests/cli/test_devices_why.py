"""`waveledger devices why`: what it prints, as table, JSON and CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from shlex import quote
from typing import Any

import pytest

from tests.cli.conftest import KEYS, Waveledger

EXTRA = {
    "registered", "summary", "runs", "wave", "held_by", "resting", "other_waves", "publication", "changes", "events",
}  # fmt: skip


@pytest.fixture
def waved(acme: Waveledger, tmp_path: Path) -> Waveledger:
    """A ledger with number 48 in production, and an active wave v52 rolled out to one group; published."""
    shell = acme.copy(tmp_path / "waved", WAVELEDGER_PUBLISH=str(tmp_path / "tree"))
    shell.do("waves", "init", "v48", "48", "release", *KEYS)
    shell.do("waves", "complete", "v48")
    shell.do("waves", "init", "v52", "52", "release", *KEYS)
    shell.do("waves", "rollout", "v52", "--group", "canary")
    return shell


def one(shell: Waveledger, group: str) -> str:
    """A device of a group."""
    found = shell.ask("devices", "list", "--tag", "release", "--group", group, "--production")["devices"]
    return str(next(device["uuid"] for device in found if device["hardware_id"] == "raspberrypi4-64"))


def test_the_json_has_what_show_has_and_more(waved: Waveledger) -> None:
    """The same keys with the same values; a rule beside the reason; the events as in the audit log."""
    uuid = one(waved, "canary")
    shown, why = waved.ask("devices", "show", uuid), waved.ask("devices", "why", uuid)

    assert {key: why[key] for key in shown} == shown
    assert why.keys() - shown.keys() == EXTRA
    assert why["eligible"]["rule"] == "in-wave-by-group"
    assert why["wave"]["reached"]["by"] == "group"
    assert why["wave"]["excluded"] is None
    assert why["publication"]["versions"].keys() == why["publication"]["expires"].keys()
    log = {event["position"]: event for event in waved.ask("audit", "log")["events"]}
    assert [log[event["position"]] for event in why["events"]] == [
        {key: value for key, value in event.items() if key != "about"} for event in why["events"]
    ]
    assert [event["about"] for event in why["events"]] == ["device", "wave", "rollout", "publication"]


def test_the_table_says_it_in_words(waved: Waveledger) -> None:
    """The answer first, then the facts, what would change it, and the events."""
    out = waved.do("devices", "why", one(waved, "us-east")).out
    lines = out.splitlines()

    assert lines[0].endswith("the production targets of its tag, release; wave v52 was not rolled out to it.")
    assert "not in v52 (number 52): it was rolled out in group canary only, and the device is in group us-east" in out
    assert [line for line in lines if line in {"What would change it", "The events behind it"}] != []
    assert "initialized wave v52: number 52 for tag release" in out


def test_commands_can_be_pasted(waved: Waveledger, tmp_path: Path) -> None:
    """A uuid comes from a file, and a shell would run what is in it; one that looks like an option gets no command."""
    for uuid in ("x$(touch${IFS}pwned)", "@devices.csv"):
        row = f"{uuid},odd,raspberrypi4-64,release,us-east,true"
        (tmp_path / "odd.csv").write_text(f"uuid,name,hardware_id,tag,group,production\n{row}\n")
        waved.do("devices", "import", str(tmp_path / "odd.csv"))
        changes = waved.ask("devices", "why", uuid)["changes"]
        told = {change["code"]: change["command"] for change in changes}
        wanted = f"waveledger waves rollout v52 --uuids {quote(uuid)}"

        assert told["rollout"] == (None if uuid.startswith("@") else wanted)


def test_a_device_that_is_not_there(waved: Waveledger) -> None:
    """It is an answer, not an error: all the keys, with nothing in them. So is one that was removed."""
    uuid = one(waved, "canary")
    shown = waved.ask("devices", "show", uuid)
    why = waved.ask("devices", "why", "no-such-device")
    assert why.keys() == shown.keys() | EXTRA
    assert (why["registered"], why["uuid"], why["eligible"]["rule"]) == (False, None, "unknown-device")
    assert why["eligible"].keys() == shown["eligible"].keys()

    waved.do("devices", "remove", uuid)
    why = waved.ask("devices", "why", shown["name"])
    assert (why["registered"], why["uuid"], why["eligible"]["rule"]) == (False, uuid, "removed-device")
    assert why["resting"][0]["name"] == "v52"
    assert waved.quick("devices", "show", uuid).rc == 4


def test_csv_has_the_facts(waved: Waveledger) -> None:
    """A line for each, as `devices show` prints them."""
    out = waved.do("devices", "why", one(waved, "canary"), "--format", "csv").out
    rows: list[Any] = list(csv.reader(io.StringIO(out)))

    assert rows[0] == ["field", "value"]
    assert {"uuid", "rule", "because", "active wave", "published"} <= {row[0] for row in rows}


def test_a_name_that_several_have(waved: Waveledger) -> None:
    """It is refused, as in `devices show`, and they are named."""
    text = "uuid,name,hardware_id,tag,group,production\n"
    text += "".join(f"twin-{n},twin,raspberrypi4-64,release,,true\n" for n in (1, 2))
    waved.do("devices", "import", "-", stdin=text)
    why = waved.quick("devices", "why", "twin")

    assert (why.rc, why.out) == (3, "")
    assert "twin-1, twin-2" in why.err
