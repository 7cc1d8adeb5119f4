"""Reports of random histories, against the model of plain sets and against the events themselves."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from cli.commands.report import QUESTIONS
from ledger.store import events
from projections.at import asked
from projections.reports import history, share
from projections.reports.source import Source
from projections.reports.values import Period, Time
from projections.tuf.destination import Directory
from tests.projections import counting
from tests.projections.history import ACTIONS, HELD_ACTIONS, TAGS, History
from tests.projections.model import Model
from tests.reports.telling import ask, builders
from tests.support import HOUR, Factory

Seen = dict[int, dict[str, tuple[Counter[int], int]]]
"""By moment and tag: production devices by number, and those on an orphan."""


@pytest.fixture(scope="module")
def simple(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    """A new factory to copy."""
    made = Factory(tmp_path_factory.mktemp("simple") / "ledger.db")
    made.close()
    return made


def snapshot(model: Model) -> dict[str, tuple[Counter[int], int]]:
    found = {}
    for tag in TAGS:
        numbers = Counter(d.number for d in model.devices.values() if d.present and d.production and d.tag == tag)
        known = model.known(tag)
        found[tag] = numbers, sum(n for number, n in numbers.items() if number and number not in known)
    return found


def told(simple: Factory, path: Path, seed: int) -> tuple[History, Seen]:
    """A history, and what the model said after the last thing that happened at each moment."""
    chance = random.Random(seed)
    factory = simple.copy(path)
    history_ = History(factory)
    history_.start()
    seen: Seen = {factory.now: snapshot(history_.model)}
    for _ in range(70):
        history_.act(chance.choice(ACTIONS + HELD_ACTIONS), tuple(chance.randrange(1000) for _ in range(4)))  # type: ignore[arg-type]
        seen[factory.now] = snapshot(history_.model)
        if chance.random() < 0.4:
            factory.wait(chance.randrange(1, 30 * HOUR))
    return history_, seen


def at(seen: Seen, moment: int) -> dict[str, tuple[Counter[int], int]]:
    return seen[max(known for known in seen if known <= moment)]


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_reports_say_what_the_model_says(simple: Factory, tmp_path: Path, seed: int) -> None:
    """Versions and orphans at every moment, waves, offers, silence, devices hit, and who did what."""
    history_, seen = told(simple, tmp_path / "ledger.db", seed)
    factory, model = history_.factory, history_.model
    try:
        _shares(factory, seen)
        _waves(factory, model, seen)
        _fleet(factory, model)
        _expiry(factory, model)
        _activity(factory)
    finally:
        factory.close()


def _shares(factory: Factory, seen: Seen) -> None:
    assert any(orphans for tags in seen.values() for _, orphans in tags.values())  # or the comparison says little
    for tag in TAGS:
        with factory.ledger.reading() as connection:
            source = Source(connection, connection, events.head(connection).size, factory.now, telemetry=True)
            period = Period(Time(min(seen)), Time(factory.now))
            points = history.walk(source, period, lambda state, tag=tag: share.measure(state, tag), slices=10**9)
        for moment in seen:
            value = [value for since, value in points if since <= moment][-1]
            numbers, orphans = at(seen, moment)[tag]
            assert (Counter(dict(value[0])), value[1]) == (+numbers, orphans), (tag, moment)
        for point in ask(factory, builders("", tag)["tag"]).share.points:
            numbers, orphans = at(seen, point.at)[tag]
            assert (point.devices, point.orphans) == (numbers.total(), orphans)


def _waves(factory: Factory, model: Model, seen: Seen) -> None:
    report = ask(factory, builders("", "release")["waves"])
    assert [(w.name, w.version, w.tag, w.status, w.rollouts) for w in report.waves] == [
        (name, w.number, w.tag, w.status, w.rollouts) for name, w in model.waves.items()
    ]
    for name, known in model.waves.items():
        wave = ask(factory, builders(name, "release")["wave"])
        counted = counting.waves_status(model, name, factory.now)
        assert [wave.counts.total, wave.counts.updated, wave.counts.scheduled, wave.counts.unscheduled] == [
            counted[field] for field in ("total", "updated", "scheduled", "unscheduled")
        ]
        for point in wave.adoption:
            numbers = at(seen, point.at)[known.tag][0]
            above = sum(n for number, n in numbers.items() if number >= known.number)
            assert (point.devices, point.updated, point.on_wave) == (numbers.total(), above, numbers[known.number])


def _fleet(factory: Factory, model: Model) -> None:
    report = ask(factory, builders("", "release")["fleet"])
    offered = [(o.tag, o.kind, o.wave, o.latest, o.devices, o.on_latest, o.orphans, o.held) for o in report.offered]
    fields = ("tag", "kind", "wave", "latest", "devices", "on_latest", "on_orphan", "held")
    rows = [tuple(row[f] for f in fields) for row in counting.status(model, factory.now)["tags"]]
    assert offered == [row for row in rows if row[3] or row[4]]
    for tag in TAGS:
        rows = [row for row in report.offered if row.tag == tag and row.kind != "ci"]
        now = ask(factory, builders("", tag)["tag"]).now
        assert (now.devices, now.on_latest, now.on_orphan) == (
            sum(row.devices for row in rows), sum(row.on_latest for row in rows), sum(row.orphans for row in rows)
        )  # fmt: skip
    present = [d for d in model.devices.values() if d.present]
    assert {v.version: v.devices for v in report.versions} == Counter(d.number for d in present if d.production)
    limits = [factory.now - HOUR * hours for hours in (4, 24, 7 * 24, 30 * 24)]
    silent = Counter(
        -1 if d.seen_at < 0 else next((i for i, limit in enumerate(limits) if d.seen_at >= limit), 4) for d in present
    )
    assert report.silence is not None
    assert [step.devices for step in report.silence.steps] == [silent[i] for i in (0, 1, 2, 3, 4, -1)]


def _expiry(factory: Factory, model: Model) -> None:
    views = Counter(model.offered(uuid)[0] for uuid, d in model.devices.items() if d.present)
    found = {one.what: one.devices for one in ask(factory, builders("", "release")["expiry"]).expiring}
    documents = {what.removeprefix("the targets of view "): n for what, n in found.items() if " of view " in what}
    assert documents
    assert documents == {view: views[view] for view in documents}
    production = sum(d.present and d.production for d in model.devices.values())
    assert found["the production root, version 1"] == production


def _activity(factory: Factory) -> None:
    with factory.ledger.reading() as connection:
        expected = Counter(row.actor for row in events.read(connection))
    report = ask(factory, builders("", "release")["activity"])
    assert {actor.actor: actor.events for actor in report.actors} == expected


def test_the_past_has_the_answers_that_were_given_then(simple: Factory, tmp_path: Path) -> None:
    """Every report asked about a position equals, in every field, the one that was made when the ledger ended there."""
    chance = random.Random(5)
    factory = simple.copy(tmp_path / "ledger.db")
    history_ = History(factory)
    history_.start()
    given = []
    for step in range(60):
        history_.act(chance.choice(ACTIONS + HELD_ACTIONS), tuple(chance.randrange(1000) for _ in range(4)))  # type: ignore[arg-type]
        factory.wait(chance.randrange(8 * HOUR))
        if step % 10 == 7:
            factory.publish(Directory(tmp_path / "public"))
        if step % 12 == 11:
            name = chance.choice(list(history_.model.waves))
            with factory.ledger.reading() as connection:
                head = events.head(connection)
                source = Source(connection, connection, head.size, head.recorded_at, telemetry=False)
                made = {kind: build(source) for kind, build in builders(name, "release").items()}
            given.append((name, head.size, made))
    for name, position, made in given:
        for kind, build in builders(name, "release").items():
            with factory.ledger.reading() as ledger, asked(ledger, position, QUESTIONS[kind]) as past:
                moment = events.get(ledger, position)
                assert moment is not None
                again = build(Source(past, ledger, position, moment.recorded_at, telemetry=False))
            assert again == made[kind], (kind, position)
    factory.close()
