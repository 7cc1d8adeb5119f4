"""Rows that are kept until they are written are the rows that as many statements would have left."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

from projections import at
from projections.fold import Fold
from projections.kept import Kept
from projections.releases import Releases

VIEWS = ("production/a", "held/w1", "wave/w2", "wave/w3")
COLUMNS = "view name number hardware_id body"


@pytest.fixture
def past() -> Iterator[Connection]:
    """Empty tables."""
    with at.memory() as connection:
        yield connection


def rows_of(connection: Connection) -> list[tuple[object, ...]]:
    found = connection.execute(text("SELECT view, name, number, hardware_id, body FROM release_view_target"))
    return sorted(tuple(row) for row in found)


def entry(number: int) -> tuple[object, ...]:
    return (f"t{number}", number, "hw", "{}")


def act(kept: Kept, past: Connection, model: dict[str, list[tuple[object, ...]]], chance: random.Random) -> None:
    """One change, to what is kept and to the model."""
    view, other, number = *chance.sample(VIEWS, 2), chance.randrange(1_000_000)
    match chance.randrange(6):
        case 0 if not model[view]:
            kept.new(view, lambda: [entry(number)])
            model[view] = [entry(number)]
        case 1:
            kept.add(view, [entry(number)])
            model[view] = [*model[view], entry(number)]
        case 2:
            kept.put(view, [entry(number), entry(number + 1)])
            model[view] = [entry(number), entry(number + 1)]
        case 3:
            kept.change(past, view, number=number, body="changed")
            model[view] = [(row[0], number, row[2], "changed") for row in model[view]]
        case 4:
            kept.move(past, view, other)
            model[other], model[view] = model[view], []
        case 5:
            kept.put(view, ())
            model[view] = []


@pytest.mark.parametrize("seed", range(20))
def test_what_is_written_is_what_was_said(past: Connection, seed: int) -> None:
    """Whatever is said of rows, and whenever they are written, the table has what the last word was."""
    chance = random.Random(seed)
    kept = Kept(Fold(), "release_view_target", COLUMNS)
    model: dict[str, list[tuple[object, ...]]] = {view: [] for view in VIEWS}
    for _ in range(60):
        act(kept, past, model, chance)
        for view in chance.sample(VIEWS, chance.randrange(2)):
            assert sorted(map(repr, kept.rows(past, view))) == sorted(map(repr, model[view]))
        if chance.random() < 0.2:
            kept.write(past)
            assert rows_of(past) == sorted((view, *row) for view, rows in model.items() for row in rows)


def test_what_is_replaced_is_never_made(past: Connection) -> None:
    """Rows that are given as a function and go before they are written cost nothing."""
    kept = Kept(Fold(), "release_view_target", COLUMNS)
    kept.new("wave/w2", lambda: pytest.fail("made for nothing"))
    kept.move(past, "wave/w2", "production/a")
    kept.put("production/a", [entry(1)])
    kept.write(past)

    assert rows_of(past) == [("production/a", *entry(1))]


def test_what_a_failed_fold_kept_is_forgotten(past: Connection) -> None:
    """A fold that was stopped by an error leaves nothing for the next one to write."""
    releases = Releases()
    releases._views.new("production/a", [("production/a", 1, None, None, None, None, None, 7)])

    releases.fold(past, [])

    assert past.execute(text("SELECT count(*) FROM release_view")).scalar_one() == 0
