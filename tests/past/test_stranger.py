"""A stranger's audit: what could device X install on date D, who decided it, and with whose keys?

The stranger has an export of the ledger and nothing else, imports it, and asks the commands that the README names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from ledger.domain.values import format_time, from_epoch
from tests.past.travel import PEOPLE, Travel
from tests.projections.history import UUIDS
from tests.support import Factory

QUESTIONS = 10


@dataclass
class Deeds:
    """What people did with one wave, as somebody wrote it down who was there."""

    initialized: str
    keys: set[str]
    rollouts: list[str] = field(default_factory=list)
    finished: str | None = None


class Answer(NamedTuple):
    """What a device could install, by whose decision, and who signed it."""

    targets: tuple[str, ...]
    deciders: tuple[str, ...]
    keys: tuple[str, ...]


class Witness:
    """Goes along with a history and keeps what happened, without asking the ledger."""

    def __init__(self, told: Travel) -> None:
        self.told, self.deeds = told, dict[str, Deeds]()
        roll_out = told.factory.rollout

        def rolled_out(wave: str, **how: Any) -> Any:
            came = roll_out(wave, **how)
            self.deeds[wave].rollouts.append(told.factory.actor)
            return came

        told.factory.rollout = rolled_out  # type: ignore[method-assign]

    def look(self) -> None:
        """After each step."""
        factory, waves = self.told.factory, self.told.history.model.waves
        for name, wave in waves.items():
            if name not in self.deeds:
                self.deeds[name] = Deeds(factory.actor, {factory.keys.targets[0].keyid})
            if wave.status != "active" and self.deeds[name].finished is None:
                self.deeds[name].finished = factory.actor

    def rotated(self) -> None:
        """Another key signed what is under way."""
        for name, wave in self.told.history.model.waves.items():
            if wave.status == "active":
                self.deeds[name].keys = {self.told.factory.keys.targets[0].keyid}

    def answer(self, uuid: str, completed: dict[str, str]) -> Answer | None:
        """The answer of this moment; None where the device is not in the fleet, or of no interest: a test device."""
        known = self.told.history.model.devices.get(uuid)
        if known is None or not known.present or not known.production:
            return None
        view, targets = self.told.history.model.offered(uuid)
        if view is None:
            return Answer((), (), ())
        kind, _, name = view.partition("/")
        wave = completed.get(name) if kind == "production" else name
        if wave is None:
            return Answer(targets, (), ())
        deeds = self.deeds[wave]
        who = [deeds.finished] if kind == "production" else deeds.rollouts
        return Answer(targets, tuple(map(str, who)), tuple(sorted(deeds.keys)))


def stranger(told: Travel, uuid: str, date: str) -> Answer:
    """The documented commands, at a ledger that was made from the export."""

    def ask(*question: str) -> Any:
        return orjson.loads(told.answer(question, date))

    device = ask("devices", "show", uuid)["eligible"]
    if device["view"] is None:
        return Answer((), (), ())
    kind, _, name = device["view"].partition("/")
    wave = ask("targets", "list", "--production", "--by-tag", name)["wave"] if kind == "production" else name
    if wave is None:
        return Answer(tuple(device["targets"]), (), ())
    shown = ask("waves", "show", wave)
    who = [shown["finished_by"]] if kind == "production" else [rollout["by"] for rollout in shown["rollouts"]]
    return Answer(tuple(device["targets"]), tuple(who), tuple(sorted(shown["signatures"]["keyids"])))


def audit(template: Factory, directory: Path, seed: int, steps: int) -> int:
    """Ten random questions about a random history; returns how many of them were about a wave's decision."""
    factory = template.copy(directory / "ledger.db")
    told = Travel(factory, directory, seed)
    witness = Witness(told)
    completed: dict[str, str] = {}
    chances: list[tuple[str, str, Answer]] = []
    told.factory.actor = PEOPLE[0]
    told.start()
    for number in range(steps):
        witness.look()
        factory.wait(60)
        if number % 20 == 19:
            factory.rotate_offline("targets")
            witness.rotated()
        else:
            told.step()
        witness.look()
        for name, wave in told.history.model.waves.items():
            if wave.status == "complete" and name not in completed.values():
                completed[wave.tag] = name
        date = format_time(from_epoch(factory.now))
        chances += [(uuid, date, found) for uuid in UUIDS if (found := witness.answer(uuid, completed))]
    told.factory.build(99)  # the last event: the clock of the machine may be behind that of the story
    decided = [chance for chance in chances if chance[2].deciders]
    asked = told.chance.sample(decided, min(len(decided), QUESTIONS - 3))
    asked += told.chance.sample(chances, QUESTIONS - len(asked))
    root = factory.head()[1].hex()
    told.run("audit", "export", "-o", str(directory / "acme.jsonl"))
    factory.close()
    factory.path = directory / "stranger.db"
    told.run("audit", "import", str(directory / "acme.jsonl"))
    assert orjson.loads(told.answer(("status",)))["head"]["root"] == root
    for uuid, date, answer in asked:
        assert stranger(told, uuid, date) == answer, (seed, uuid, date)
    return sum(bool(answer.deciders) for _, _, answer in asked)


def test_a_stranger_finds_out_who_decided_what_with_whose_keys(simple: Factory, tmp_path: Path) -> None:
    """Ten random questions, answered as somebody would who was there."""
    assert audit(simple, tmp_path, 7, 60) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30, 36))
def test_strangers_find_out_about_long_histories(simple: Factory, tmp_path: Path, seed: int) -> None:
    """The same for six long ones, with key rotations in them."""
    assert audit(simple, tmp_path, seed, 150) > 0
