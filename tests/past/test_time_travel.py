"""What every reading command said as a history grew, it says again with --at at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.domain.values import format_time, from_epoch
from ledger.store.events import position_at
from tests.past.travel import Travel
from tests.support import Factory


def travel(template: Factory, directory: Path, seed: int, *, points: int, steps: int, asked: int) -> int:
    """Grow a history with so many steps between two points, ask, and ask again; returns how often."""
    factory = template.copy(directory / "ledger.db")
    try:
        told = Travel(factory, directory, seed)
        told.start()
        said = []
        for _ in range(points):
            for _ in range(steps):
                told.step()
            at = told.position()
            every = told.questions()
            chosen = every if asked >= len(every) else told.chance.sample(every, asked)
            said += [(at, factory.now, question, told.answer(question)) for question in chosen]
        for at, now, question, answer in said:
            assert told.answer(question, str(at)) == answer, (seed, at, question)
            with factory.ledger.reading() as connection:
                unambiguous = position_at(connection, now) == at
            if unambiguous:
                assert told.answer(question, format_time(from_epoch(now))) == answer, (seed, at, now, question)
        return len(said)
    finally:
        factory.close()


def test_the_past_is_told_as_it_was(simple: Factory, tmp_path: Path) -> None:
    """Every reading command, byte for byte in JSON, telemetry and warnings aside."""
    assert travel(simple, tmp_path, 1, points=3, steps=12, asked=99) > 60


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 22))
def test_the_past_is_told_as_it_was_at_hundreds_of_points(simple: Factory, tmp_path: Path, seed: int) -> None:
    """The same for twelve histories, at 240 points in all."""
    assert travel(simple, tmp_path, seed, points=20, steps=4, asked=12) == 20 * 12
