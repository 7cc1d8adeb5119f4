"""Two writers that kill -9 ends, on every store: the long run (scripts/crashes), short."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ledger.store.events import Row
from tests.crashes.commands import Command
from tests.crashes.stores import STORES

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "crashes.py"


def crash(place: Path, *options: str) -> dict[str, Any]:
    """Run the script; what it found, by store."""
    out = place / "crashes.json"
    came = subprocess.run([sys.executable, SCRIPT, *options, "-o", out], capture_output=True, text=True, check=False)
    assert came.returncode == 0, came.stdout + came.stderr
    assert "| rounds |" in came.stdout
    found: dict[str, Any] = json.loads(out.read_bytes())["stores"]
    return found


@pytest.mark.parametrize("store", list(STORES)[:1])
def test_a_few_rounds(tmp_path: Path, store: str) -> None:
    """Four rounds, one of each way to be ended: nothing is lost, and nothing is half there."""
    found = crash(tmp_path, "--rounds", "4", "--stores", store)

    assert found[store]["rounds"] == 4
    assert found[store]["problems"] == []


@pytest.mark.slow
@pytest.mark.parametrize("store", STORES)
def test_many_rounds(tmp_path: Path, store: str) -> None:
    """The same many times, and at every so many writes of each kind of command."""
    found = crash(tmp_path, "--rounds", "30", "--every", "61", "--seed", "5", "--stores", store)[store]

    assert found["problems"] == []
    assert found["rounds"] > 40
    assert sum(found["kills"].values()) > 20
    assert found["ends"]["killed, nothing there"] > 0
    assert found["ends"]["killed, all of it there"] > 0


def row(position: int, topic: str, payload: str = '{"wave": "w"}') -> Row:
    return Row(position, "s", 1, topic, 0, "alice", payload.encode())


WHOLE = [row(7, "wave.completed/1"), row(8, "targets.promoted/1"), row(9, "tag.wave-closed/1")]


@pytest.mark.parametrize(
    ("events", "acknowledged", "problem"),
    [
        (WHOLE, True, None),
        ([*WHOLE, row(12, "metadata.published/1")], True, None),
        ([], False, None),
        ([], True, "the ledger has nothing of it"),
        (WHOLE[:2], False, "other events than its own"),
        (WHOLE[1:], True, "other events than its own"),
        ([WHOLE[0], *[r._replace(position=r.position + 1) for r in WHOLE[1:]]], True, "not in one piece"),
        ([r._replace(payload=b"{}") for r in WHOLE], True, "not its own"),
    ],
)
def test_what_is_lost_or_half_there_is_seen(events: list[Row], acknowledged: bool, problem: str | None) -> None:
    """The check itself finds what it is for."""
    found = Command("complete", ("waves", "complete", "w"), '"w"').problem(events, acknowledged=acknowledged)

    assert found is None if problem is None else problem in str(found)
