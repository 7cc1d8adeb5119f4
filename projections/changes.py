"""What one event changed: rows of the projections before and after it, of what the event is about and no more.

Rules of this module:

* The event is folded in memory, on top of the past that it depends on. So the answer is the folds' own.
* Rows of the fleet are told with names, not with the dense integers that stand for them, which differ in memory.
* A rollout to a whole group is one row: only devices that run its targets already get rows of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Boolean, Connection, text

from ledger.garbage import uncollected
from ledger.store import events
from ledger.store.events import Row
from projections import at, history, questions, runner
from projections.questions import Question

_NAMED = {"tag": "tag", "grp": "group", "hw": "hardware", "target": "target", "wave": "wave", "active": "wave"}
_INTERNAL = {"fleet_name", "fleet_history"}  # the integers themselves, and where each device's events are
_NOTES = {("fleet_tag", "moved")}  # of any of the tag's devices
_SMALL = ("member.added/1", "member.removed/1", "root.published/1", "online-key.set/1")  # the factory's and trust's
_State = dict[str, dict[tuple[Any, ...], dict[str, Any]]]


class Change(NamedTuple):
    """A row that is new (`before` is None), gone (`after` is None) or has other values: then only those are given."""

    table: str
    key: dict[str, Any]
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def of_event(ledger: Connection, row: Row) -> list[Change]:
    """What an event changed, table by table."""
    question = _about(ledger, row)
    with at.memory() as past, uncollected():
        at.ask(ledger, past, row.position - 1, question)
        before = _state(past)
        rows = question.select(ledger, row.position)
        for fold in runner.folds():
            if fold.name in question.folds:
                fold.fold(past, [found for found in rows(fold.topics) if found.position == row.position])
        after = _state(past)
    return [change for table in before for change in _compare(table, before[table], after[table])]


class _Layout(NamedTuple):
    """The columns of a table that are its key, and those that hold truth values."""

    keys: list[str]
    truths: set[str]


@lru_cache
def _layouts() -> dict[str, _Layout]:
    tables = [table for fold in runner.folds() for table in fold.tables(0).tables.values()]
    return {
        str(table.name): _Layout(
            [str(column.name) for column in table.primary_key],
            {str(column.name) for column in table.columns if isinstance(column.type, Boolean)},
        )
        for table in tables
    }


def _about(ledger: Connection, row: Row) -> Question:
    """What an event depends on, as its stream and its payload say."""
    kind, _, name = row.stream.partition(":")
    data = orjson.loads(row.payload)
    match kind:
        case "fleet":
            about = questions.of_devices(data["uuids"])
        case "rollout":
            about = questions.of_devices(data["devices"])
        case "tag":
            about = questions.of_tag(name, fleet=True)
        case "wave":
            about = _about_wave(ledger, name, row.position, whole_group=data.get("full_group", False))
        case "catalog":
            about = questions.catalog()
        case "publication" if name.startswith("production:"):
            about = questions.of_tag(name.partition(":")[2], publications=True)
        case "publication":
            about = questions.of_stream(row.stream)
        case _:
            about = questions.topics(*_SMALL)
    return about


def _about_wave(ledger: Connection, wave: str, position: int, *, whole_group: bool) -> Question:
    first = next(events.read(ledger, stream=f"wave:{wave}", limit=1))
    data = orjson.loads(first.payload)
    if not whole_group:
        return questions.of_tag(data["tag"], fleet=True)
    return questions.of_devices(history.reporters(ledger, data["targets"], position), tags=[data["tag"]])


def _state(past: Connection) -> _State:
    names = {(kind, id_): name for kind, id_, name in past.execute(text("SELECT kind, id, name FROM fleet_name")).all()}
    uuids: dict[int, str] = dict(past.execute(text("SELECT dev, uuid FROM fleet_device")).all())
    state: _State = {}
    for table, layout in _layouts().items():
        found = past.execute(text(f"SELECT * FROM {table}")).mappings() if table not in _INTERNAL else ()
        rows = [
            {
                name: bool(value) if name in layout.truths and value is not None else value
                for name, value in row.items()
                if (table, name) not in _NOTES
            }
            for row in found
        ]
        if table.startswith("fleet_"):
            rows = [_with_names(row, names, uuids) for row in rows]
        state[table] = {tuple(row[key] for key in layout.keys): row for row in rows}
    return state


def _with_names(row: dict[str, Any], names: Mapping[tuple[str, int], str], uuids: Mapping[int, str]) -> dict[str, Any]:
    named = {column: names.get((_NAMED[column], value)) for column, value in row.items() if column in _NAMED}
    device = {"dev": uuids.get(row["dev"])} if "dev" in row else {}
    return row | named | device


def _compare(
    table: str, before: dict[tuple[Any, ...], dict[str, Any]], after: dict[tuple[Any, ...], dict[str, Any]]
) -> Iterator[Change]:
    for place in dict.fromkeys([*before, *after]):
        old, new = before.get(place), after.get(place)
        if old == new:
            continue
        key = dict(zip(_layouts()[table].keys, place, strict=True))
        if old is not None and new is not None:
            differing = [column for column in new if old[column] != new[column]]
            old, new = ({column: row[column] for column in differing} for row in (old, new))
        yield Change(table, key, old, new)
