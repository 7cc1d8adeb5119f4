"""`devices why --at`: what was said of a device then is said of that moment at the end."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from cli.device_why import Told, output_of
from cli.main import app
from projections.at import asked
from projections.why import gather, words
from projections.why.source import Source, question
from tests.projections.history import ACTIONS, HELD_ACTIONS, UUIDS, History
from tests.support import Factory, device


def said(source: Source, name: str, now: int) -> Any:
    """The answer as JSON, without telemetry, which is no history."""
    (uuid,) = gather.matching(source.tables, name) or [name]
    found = gather.evidence(source, uuid)
    events = [Told(about, row) for about, position in found.events if (row := source.event(position))]
    document = output_of(found, words.explain(found, now), events).document
    return orjson.loads(orjson.dumps({**document, "seen_at": None}))


def grow(told: History, seed: int, steps: int) -> Iterator[None]:
    """A history of a canceled wave and many other things, with a pause for questions now and then."""
    chance = random.Random(seed)
    told.start()
    for step in range(steps):
        action = chance.choice((*ACTIONS, *HELD_ACTIONS, "publish", "publish", "publish"))
        told.act(action, tuple(chance.randrange(1000) for _ in range(4)))
        if step % 4 == 0:
            yield


def travel(template: Factory, seed: int, steps: int) -> None:
    """Ask of all devices on the way, and of the same moments at the end."""
    with tempfile.TemporaryDirectory() as directory:
        factory = template.copy(Path(directory) / "ledger.db")
        told = History(factory)
        then: list[tuple[int, int, str, Any]] = []
        for _ in grow(told, seed, steps):
            with factory.ledger.reading() as connection:
                source = Source.of_now(connection)
                then += [(factory.head()[0], factory.now, u, said(source, u, factory.now)) for u in UUIDS]
        with factory.ledger.reading() as ledger:
            for position, now, uuid, answer in then:
                with asked(ledger, position, question(uuid)) as past:
                    assert said(Source(past, ledger, position), uuid, now) == answer, (position, uuid)
        factory.close()


def test_what_was_said_is_said_again(simple: Factory) -> None:
    """All of the answers, at each of a dozen moments of a random history."""
    travel(simple, 7, 40)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_what_was_said_is_said_again_in_many_histories(simple: Factory, seed: int) -> None:
    """The same for longer ones."""
    travel(simple, seed, 80)


def test_the_command_asks_about_the_past(simple: Factory, tmp_path: Path) -> None:
    """A device that was removed since is answered as it was; a name that it had then finds it."""
    factory = simple.copy(tmp_path / "ledger.db")
    factory.build(1)
    factory.register(device("d-1", group="canary", name="old-name"))
    factory.init("v1", 1)
    factory.rollout("v1", group="canary")
    then = factory.head()[0]
    factory.register(device("d-1", name="new-name"))
    factory.remove("d-1")

    def ask(*arguments: str) -> Any:
        environment = {"WAVELEDGER_STORE": factory.url}
        came = CliRunner().invoke(app, ["devices", "why", *arguments, "--format", "json"], env=environment)
        assert came.exit_code == 0, came.output
        return orjson.loads(came.stdout)

    assert ask("d-1")["eligible"]["rule"] == "removed-device"
    for name in ("d-1", "old-name"):
        answer = ask(name, "--at", str(then))
        assert (answer["uuid"], answer["eligible"]["rule"]) == ("d-1", "in-wave-by-group")
        assert (
            answer["wave"]["text"]
            == "in v1 (number 1): it was rolled out to all of group canary, in which the device was"
        )
    assert ask("new-name", "--at", str(then))["eligible"]["rule"] == "unknown-device"
    factory.close()
