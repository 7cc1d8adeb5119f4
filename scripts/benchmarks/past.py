"""Asking about the past: the whole fleet against a rebuild up to there, the rest and the log against fixed times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from factory import hurrying
from history import Shape, Told, append, device, history, wave
from measure import Entry, Sizes, Timed, interleaved, say
from sqlalchemy import Connection

from ledger.domain.events import MemberAdded
from ledger.session import Ledger
from ledger.store import events
from projections import at, questions, runner
from projections.queries import audit, devices, status, targets, waves
from projections.questions import EVERYTHING, Question

BAR_FLEET = 1.5
SECOND, HALF = 1.0, 0.5
HARDWARE = 20


def measure(directory: Path, sizes: Sizes) -> Sequence[Entry]:
    """Questions about the middle of a long history, and pages of a ledger of many events."""
    facts = sizes.facts
    shape = Shape(facts // 2, facts // 2, sizes.past_tags, sizes.past_waves, HARDWARE, sizes.seed)
    size = {"device_facts": facts, "waves": shape.tags * shape.waves, "production_targets": HARDWARE}
    with ExitStack() as stack:
        say(f"past: {facts} device facts, {size['waves']} waves ...")
        whole = stack.enter_context(history(directory / "whole.db", shape))
        rebuild(whole)
        with whole.reading() as connection:
            middle = events.head(connection).size // 2
        half = stack.enter_context(history(directory / "half.db", shape, until=middle))
        size |= {"position": middle}
        entries = list(_fleet(whole, half, middle, sizes, size))
        entries += _one(whole, shape, middle, sizes, size)
    return [*entries, *_log(directory, sizes)]


def rebuild(ledger: Ledger) -> None:
    """All projections."""
    for fold in runner.folds():
        runner.rebuild(ledger.engine, fold.name)


def _fleet(whole: Ledger, half: Ledger, middle: int, sizes: Sizes, size: dict[str, int]) -> Iterator[Entry]:
    def all_of(connection: Connection) -> None:
        status.tags(connection, online_since=None)

    rounds = min(3, sizes.rounds)
    sides = {"at": _asked(whole, middle, EVERYTHING, all_of), "rebuild": _timed(lambda: rebuild(half))}
    seconds = interleaved(rounds, sides)
    note = "`status --at` in the middle against a rebuild of all projections up to there"
    yield Entry("past_fleet", seconds["at"], seconds["rebuild"], "time", BAR_FLEET, size, note)


def _one(whole: Ledger, shape: Shape, middle: int, sizes: Sizes, size: dict[str, int]) -> Iterator[Entry]:
    number = shape.waves // 4 + 1
    name, uuid = wave(number, 1), device(shape.tags + 1)

    def a_wave(connection: Connection) -> None:
        found = waves.find(connection, name)
        assert found is not None
        assert waves.details(connection, found).rollouts

    def list_waves(connection: Connection) -> None:
        assert waves.listing(connection, status=None, tag=None, limit=20, page=1)[0]

    def a_tag(connection: Connection) -> None:
        assert len(targets.production(connection, "tag-1").targets) == HARDWARE

    def a_device(connection: Connection) -> None:
        assert len(devices.show(connection, uuid)) == 1

    asked: dict[str, tuple[Question, Callable[[Connection], None]]] = {
        "wave": (questions.of_wave(name), a_wave),
        "waves": (questions.waves(), list_waves),
        "tag": (questions.of_tag("tag-1"), a_tag),
        "device": (questions.of_device(uuid), a_device),
        "device_by_name": (questions.of_device(f"gate-{shape.tags + 1}"), lambda c: _named(c, shape)),
    }
    for what, (question, answer) in asked.items():
        seconds = interleaved(min(5, sizes.rounds), {"at": _asked(whole, middle, question, answer)})["at"]
        note = f"a question about one {what.replace('_', ' ')} in the middle, against one second"
        yield Entry(f"past_{what}", seconds, [SECOND] * len(seconds), "time", 1.0, size, note)


def _named(connection: Connection, shape: Shape) -> None:
    assert len(devices.show(connection, f"gate-{shape.tags + 1}")) == 1


def _log(directory: Path, sizes: Sizes) -> Iterator[Entry]:
    say(f"past: {sizes.events} events ...")
    told = (Told(f"factory{n % 100}", MemberAdded(f"member-{n}", "admin")) for n in range(sizes.events))
    with history(directory / "log.db", Shape(0, 0, 0, 0, 1, sizes.seed)) as ledger:
        with hurrying(ledger.engine):
            append(ledger.engine, told)
        with ledger.reading() as connection:
            moment = events.get(connection, sizes.events // 2)
        assert moment is not None
        pages = {
            "first": (audit.Filter(), 1),
            "middle": (audit.Filter(), sizes.events // 2000 + 1),
            "actor": (audit.Filter(actor="carol"), 1),
            "nobody": (audit.Filter(actor="nobody"), 1),
            "since": (audit.Filter(since=moment.recorded_at), 1),
        }
        for name, (wanted, number) in pages.items():
            seconds = interleaved(min(5, sizes.rounds), {"log": _page(ledger, wanted, number)})["log"]
            note = f"`audit log`, 1,000 events a page: {name}, against half a second"
            yield Entry(f"log_{name}", seconds, [HALF] * len(seconds), "time", 1.0, {"events": sizes.events}, note)


def _page(ledger: Ledger, wanted: audit.Filter, number: int) -> Timed:
    def work() -> None:
        with ledger.reading() as connection:
            for row in audit.page(connection, wanted, limit=1000, number=number).rows:
                audit.summary(row)
            events.head(connection)

    return _timed(work)


def _asked(ledger: Ledger, position: int, question: Question, answer: Callable[[Connection], None]) -> Timed:
    def work() -> None:
        with ledger.reading() as connection, at.asked(connection, position, question) as past:
            answer(past)

    return _timed(work)


def _timed(work: Callable[[], None]) -> Timed:
    def run() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return run
