"""The past: the same tables as the live ones, in memory, folded from the ledger up to a position.

Rules of this module:

* A moment is a position with a clock: that of the event at the position, or the time that was asked for.
* Only the events that a question needs are folded (`projections.questions`), by the folds that fill the live tables,
  so the past is asked with the same queries as the present.
* ``head`` is the head as it was, and ``event`` has those events that a question may read besides. It has no leaves: a
  proof is about the ledger and is asked of the ledger.
* Telemetry is no history, so ``sighting`` is empty. What reached a destination is none either: in the past a view
  counts as published from the event on that records its publication.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import Connection, text

from ledger.codec import require_known
from ledger.domain.errors import BadInput, NotFound
from ledger.domain.values import BadTime, format_time, from_epoch, parse_time, to_epoch
from ledger.garbage import uncollected
from ledger.store import bulk, events
from ledger.store.events import PLAIN
from projections import memory as tables
from projections import runner
from projections.questions import EVERYTHING, Question

# What queries read of the events themselves, whatever is asked: the factory, and when something was signed.
KEPT = ("factory.initialized/1", "root.published/1", "wave.resigned/1", "targets.resigned/1")


class BadMoment(BadInput):
    """Neither a position nor a time."""

    message = "{text!r} is neither a position nor an RFC 3339 time"
    hint = "a position is a number, as waveledger audit log lists them; a time is written like 2027-01-31T12:00:00Z"
    text: str


class FutureMoment(BadInput):
    """A time that has not come yet."""

    message = "{at} has not come yet"
    hint = "leave it out to ask about now"
    at: str


class NotReached(NotFound):
    """A position that the ledger does not have."""

    message = "there is no position {position} to look back to; the ledger has {size} events"
    hint = "positions go from 1 to {size}: waveledger audit log lists them"
    position: int
    size: int


class BeforeTheLedger(NotFound):
    """A time at which there was no ledger yet."""

    message = "at {at} there was no ledger; it begins at {first}"
    hint = "ask about a later time"
    at: str
    first: str


class Moment(NamedTuple):
    """A position, and what the clock said; `now` in seconds since 1970."""

    position: int
    now: int


def moment(connection: Connection, text_: str, now: int) -> Moment:
    """What ``--at`` says. A time after the last event is the head, with that time as the clock.

    Raises: BadMoment, FutureMoment, NotReached, BeforeTheLedger.
    """
    head = events.head(connection)
    if text_.isascii() and text_.isdigit() and len(text_) <= 18:
        position = int(text_)
        row = events.get(connection, position) if 1 <= position <= head.size else None
        if row is None:
            raise NotReached(position=position, size=head.size)
        return Moment(position, row.recorded_at)
    try:
        at = to_epoch(parse_time(text_))
    except BadTime:
        raise BadMoment(text=text_[:100]) from None
    if at > max(now, head.recorded_at):
        raise FutureMoment(at=format_time(from_epoch(at)))
    position = events.position_at(connection, at)
    if position == 0:
        first = events.get(connection, 1)
        begins = format_time(from_epoch(first.recorded_at)) if first else "the first event"
        raise BeforeTheLedger(at=format_time(from_epoch(at)), first=begins)
    return Moment(position, at)


@contextmanager
def asked(ledger: Connection, position: int, question: Question = EVERYTHING) -> Iterator[Connection]:
    """The tables in memory as they were at a position, as far as a question needs them.

    Raises: WrittenByNewerVersion.
    """
    require_known(events.topics(ledger))
    with memory() as connection, uncollected():
        ask(ledger, connection, position, question)
        yield connection


def ask(ledger: Connection, past: Connection, position: int, question: Question) -> None:
    """Fill the empty tables of `memory`."""
    rows = question.select(ledger, position)
    for fold in runner.folds():
        if fold.name in question.folds:
            fold.fold(past, rows(fold.topics))
    tables.make_indexes(past, runner.folds())
    mark_written(past)
    kept = (
        (*row[:6], PLAIN, row.payload)
        for row in rows((*KEPT, *(topic for topic in question.kept if topic not in KEPT)))
    )
    bulk.insert(past, "event", tables.EVENT_COLUMNS, kept)
    if question.root:
        frontier = events.frontier_at(ledger, position).to_bytes()
        newest = events.get(ledger, position)
        recorded_at = newest.recorded_at if newest else 0
        bulk.insert(past, "head", ("id", "size", "frontier", "recorded_at"), [(1, position, frontier, recorded_at)])


def mark_written(past: Connection) -> None:
    """Every repository's newest publication counts as written."""
    past.execute(text("DELETE FROM written"))
    past.execute(text("INSERT INTO written (repository, version) SELECT repository, version FROM release_publication"))


@contextmanager
def memory() -> Iterator[Connection]:
    """The tables, empty, in a database that is gone afterwards."""
    folds = runner.folds()
    with tables.memory(folds) as connection:
        tables.make_asked(connection, folds)
        yield connection
