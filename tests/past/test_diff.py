"""`audit diff`: what it names differs, as the reading commands say it, and what it leaves out is the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from cli.commands.audit_diff import _step
from projections.difference import SECTIONS
from tests.past.travel import Travel
from tests.support import Factory


@pytest.fixture(scope="module")
def told(simple: Factory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Travel]:
    """A history of some forty steps."""
    directory: Path = tmp_path_factory.mktemp("diff")
    factory = simple.copy(directory / "ledger.db")
    travel = Travel(factory, directory, 4)
    travel.start()
    for _ in range(40):
        travel.step()
    yield travel
    factory.close()


def ask(told: Travel, *question: str, at: int | None = None) -> Any:
    return orjson.loads(told.answer(question, None if at is None else str(at)))


def test_the_devices_it_names_are_as_devices_list_has_them(told: Travel) -> None:
    """Before and after; and a device that no event was about is as it was, its view and what it is offered aside."""
    for first in (20, 33, told.position()):
        found = ask(told, "audit", "diff", str(first), "26")
        sides = [{d["uuid"]: d for d in ask(told, "devices", "list", at=at)["devices"]} for at in (first, 26)]
        named = {entry["name"]: entry for entry in found["devices"]}
        for uuid in sides[0].keys() | sides[1].keys():
            for side, when in enumerate(("before", "after")):
                given = named.get(uuid, {}).get(when) or {}
                there = sides[side].get(uuid)
                assert (there is None) == (uuid in named and named[uuid][when] is None)
                for fact in {"name", "hardware_id", "tag", "group", "production", "target"} & given.keys():
                    assert given[fact] == there[fact]
                if "view" in given:
                    assert given["view"] == there["eligible"]["view"]
            if uuid not in named:
                before, after = (side[uuid] for side in sides)
                assert {**before, "eligible": None} == {**after, "eligible": None}


def test_the_waves_it_names_are_as_waves_list_has_them(told: Travel) -> None:
    """New ones, and those that came to their end in between."""
    first, last = 21, told.position()
    found = {entry["name"]: entry for entry in ask(told, "audit", "diff", str(first), str(last))["waves"]}
    before, after = (
        {wave["name"]: wave for wave in ask(told, "waves", "list", "--limit", "999", at=at)["waves"]}
        for at in (first, last)
    )

    assert {name for name, entry in found.items() if entry["before"] is None} == after.keys() - before.keys()
    for name in before.keys() & after.keys():
        if before[name]["status"] != after[name]["status"]:
            assert found[name]["after"]["status"] == after[name]["status"]
            assert found[name]["after"]["finished_by"] == after[name]["finished_by"]


def test_the_other_way_round_says_the_opposite(told: Travel) -> None:
    """Before and after change places."""
    there, back = ask(told, "audit", "diff", "22", "40"), ask(told, "audit", "diff", "40", "22")

    for section in SECTIONS:
        turned = [{"name": d["name"], "before": d["after"], "after": d["before"]} for d in back[section]]
        assert there[section] == turned


def test_between_a_moment_and_itself_there_is_nothing(told: Travel) -> None:
    """No section has an entry."""
    found = ask(told, "audit", "diff", "30", "30")

    assert [found[section] for section in SECTIONS] == [[]] * len(SECTIONS)


def test_members_targets_and_keys_are_as_their_commands_have_them(told: Travel) -> None:
    """From nothing to a moment, all of them are new, with the facts of that moment."""
    last = told.position()
    found = ask(told, "audit", "diff", "1", str(last))
    members = ask(told, "members", "list", at=last)["members"]
    targets = ask(told, "targets", "list", at=last)["targets"]
    roles = ask(told, "keys", "tuf", "show-root", "--prod", at=last)["signed"]["roles"]

    assert [(d["name"], d["before"], d["after"]["role"]) for d in found["members"]] == [
        (member["name"], None, member["role"]) for member in members
    ]
    assert {d["name"]: d["after"]["number"] for d in found["targets"]} == {t["name"]: t["version"] for t in targets}
    assert {d["name"].removeprefix("production/"): d["after"] for d in found["keys"] if "production" in d["name"]} == {
        name: {"threshold": role["threshold"], "keyids": sorted(role["keyids"])} for name, role in roles.items()
    }


def test_of_a_list_is_told_what_came_and_what_went() -> None:
    """In words; the JSON has both lists."""
    assert _step(["a", "b"], ["b", "c", "d"]) == "+c +d -a"
    assert _step(None, ["a"]) == "none -> a"
    assert _step(7, 8) == "7 -> 8"
