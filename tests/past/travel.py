"""A random history that is asked about as it grows, and again at its end."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import orjson
from typer.testing import CliRunner

from cli.main import app
from ledger.domain.fleet import Device
from ledger.store.events import head
from projections.tuf.destination import Directory
from tests import stores
from tests.projections.history import ACTIONS, CI_TAGS, HELD_ACTIONS, TAGS, UUIDS, History
from tests.support import Factory

# What is not history: who was seen when, and what is to be done now.
TELEMETRY = ("seen_at", "online")
WARNINGS = ("warnings",)
PEOPLE = ("alice", "bob", "carol")


class Travel:
    """A history with publications, people and key changes in it, and the commands that ask about it."""

    def __init__(self, factory: Factory, directory: Path, seed: int) -> None:
        self.factory, self.directory = factory, directory
        self.chance = random.Random(seed)
        self.history = History(factory)
        self.destination = Directory(directory / "public")
        self.renamed: Device | None = None

    def start(self) -> None:
        """Members, builds, a fleet."""
        from ledger.application import members

        for name in PEOPLE[1:]:
            members.add(self.factory.ledger, self.factory.facts, name, "owner")
        self.history.start()

    def step(self) -> None:
        """One thing more that happens."""
        from ledger.application import members

        self.factory.actor = self.chance.choice(PEOPLE)
        if self.renamed:
            self.factory.register(self.renamed)
            self.renamed = None
        what = self.chance.random()
        if what < 0.2:
            self.factory.publish(self.destination)
        elif what < 0.22:
            self.factory.publish(self.destination, refresh=True, force=True)
        elif what < 0.24:
            self.factory.renew_root()
            self.factory.publish(self.destination)
        elif what < 0.26:
            members.add(self.factory.ledger, self.factory.facts, f"m{self.position()}", "admin")
        elif what < 0.28:
            self._rename()
        elif what < 0.3 and (live := self._live_tags()):
            self.factory.resign(self.chance.choice(live))
            self.factory.publish(self.destination)
        else:
            action = self.chance.choice(self.chance.choice((ACTIONS, HELD_ACTIONS)))
            self.history.act(action, tuple(self.chance.randrange(1000) for _ in range(4)))

    def _live_tags(self) -> list[str]:
        return [tag for tag in TAGS if self.history.model.production.get(tag)]

    def _rename(self) -> None:
        """A device takes another's name, for a step: the model knows of no names."""
        known = list(self.factory.fleet())
        if known:
            with self.factory.ledger.reading() as connection:
                device = self.factory.facts.devices(connection, [self.chance.choice(known)]).popitem()[1]
            self.factory.register(device._replace(name=f"name-{self.chance.choice(UUIDS[:4])}"))
            self.renamed = device

    def position(self) -> int:
        """The head."""
        with self.factory.ledger.reading() as connection:
            return head(connection).size

    def questions(self) -> list[tuple[str, ...]]:
        """Every reading command, about all there is to ask about at this moment."""
        waves = [*self.history.model.waves, "no-such-wave"]
        wave, uuid = self.chance.choice(waves), self.chance.choice(UUIDS)
        other = self.chance.choice(UUIDS)
        return [
            ("status",),
            ("waves", "list", "--limit", "5"),
            ("waves", "list", "--tag", "release", "--status", "canceled"),
            ("waves", "show", wave, "--show-targets"),
            ("waves", "show", waves[0]),
            ("waves", "status", wave),
            ("waves", "status"),
            ("devices", "list"),
            ("devices", "list", "--group", "canary", "--production", "--limit", "2", "--page", "2"),
            ("devices", "show", uuid),
            ("devices", "show", f"name-{other}"),
            ("targets", "list"),
            ("targets", "list", "--by-tag", self.chance.choice(CI_TAGS)),
            ("targets", "list", "--production", "--by-tag", self.chance.choice(TAGS)),
            ("targets", "list", "--production", "--by-tag", self.chance.choice(TAGS), "--raw"),
            ("targets", "show", str(self.chance.randrange(1, 9))),
            ("members", "list"),
            ("keys", "tuf", "show-root", "--prod"),
            ("keys", "tuf", "show-root"),
            ("audit", "log", "--limit", "20", "--page", str(self.chance.randrange(1, 4))),
            ("audit", "log", "--wave", wave),
            ("audit", "log", "--tag", self.chance.choice(TAGS), "--actor", self.chance.choice(PEOPLE)),
            ("audit", "log", "--device", uuid),
            ("audit", "log", "--device", f"name-{other}", "--limit", "3"),
        ]

    def answer(self, question: tuple[str, ...], at: str | None = None) -> str:
        """What the command says: its exit code and its JSON, without what is no history.

        An error says of which moment it is, and its hint has to do with that.
        """
        came = self._run([*question, "--format", "json", *(("--at", at) if at else ())])
        if not came.exit_code:
            return _without(came.stdout)
        told = "\n".join(line for line in came.stderr.splitlines() if not line.startswith("hint: "))
        return f"exit {came.exit_code}: {told.removesuffix(f', as of --at {at}')}"

    def run(self, *arguments: str) -> None:
        """A command that must end well."""
        came = self._run(list(arguments))
        assert came.exit_code == 0, came.stderr

    def _run(self, arguments: list[str]) -> Any:
        environment = {name: None for name in os.environ if name.startswith("WAVELEDGER_")}
        environment |= {"WAVELEDGER_STORE": stores.url(self.factory.path)}
        environment |= {"WAVELEDGER_ONLINE_KEYS": str(self.directory / "no-keys")}
        came = CliRunner().invoke(app, arguments, env=environment)
        if came.exception is not None and not isinstance(came.exception, SystemExit):
            raise came.exception
        return came


def _without(text: str) -> str:
    def clean(value: object) -> object:
        match value:
            case dict():
                return {k: None if k in TELEMETRY else clean(v) for k, v in value.items() if k not in WARNINGS}
            case list():
                return [clean(item) for item in value]
        return value

    return orjson.dumps(clean(orjson.loads(text))).decode()
