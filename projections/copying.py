"""A ledger in another store: its events as they are, and all that is folded from them.

Rules of this module:

* One transaction in the new store: tables, events, projections. Until it is committed there is nothing.
* Telemetry and notes of what was published are no events; they come along where the whole ledger does. Of a part of it
  all that was signed counts as published, as with ``--at``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from ledger.codec import require_known
from ledger.domain.errors import NotFound
from ledger.store import bulk, copying, events, migrate
from ledger.store import engine as store
from projections import runner
from projections.at import mark_written
from projections.tables import all_tables, shared_tables

Progress = Callable[[str, int, int], None]


class Copied(NamedTuple):
    """How far the copy goes, and its Merkle root."""

    position: int
    root: bytes


class NothingToCopy(NotFound):
    """The ledger does not go as far as the copy was to go."""

    message = "the ledger ends at position {size}, before {position}"
    hint = "leave --until out to copy all of it"
    position: int
    size: int


def copy(source: Engine, target: Engine, until: int | None, progress: Progress, *, dry_run: bool = False) -> Copied:
    """Copy a ledger up to a position, included, or all of it. `progress` gets what is done, how far, and of how much.

    A dry run does all of it, and keeps nothing.

    Raises:
        StoreMissing, SchemaMismatch: of the source.
        StoreExists: there is a ledger in the target.
        NothingToCopy: there are not that many events.
        LeafDamaged, CopyDiffers: the source is damaged, or the copy did not come out the same.
    """
    with store.reading(source) as before:
        migrate.check(before, shared_tables())
        require_known(events.topics(before))
        size = events.head(before).size
        end = size if until is None else until
        if end > size:
            raise NothingToCopy(position=end, size=size)
        with store.writing(target, dry_run=dry_run) as after:
            migrate.create(
                after, *all_tables(), fill=lambda new: copying.fill(before, new, end, _of("events", progress))
            )
            runner.install(after)
            runner.catch_up(after, _of("projections", progress))
            if end == size:
                _copy_notes(before, after)
            else:
                mark_written(after)  # what had reached which destination then, nobody knows
            frontier = copying.verify(before, after, end, _of("verifying", progress))
    return Copied(frontier.size, frontier.root())


def _of(what: str, progress: Progress) -> copying.Progress:
    return lambda done, total: progress(what, done, total)


def _copy_notes(before: Connection, after: Connection) -> None:
    for table in shared_tables().sorted_tables:
        if table.name != "projection":  # how far the new store's own are
            columns = [column.name for column in table.columns]
            rows = bulk.streamed(before, f"SELECT {', '.join(columns)} FROM {table.name}")
            bulk.insert(after, table.name, columns, rows)
