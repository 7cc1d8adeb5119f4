"""Creating a store from an export: all of it in one transaction, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from cli import newledger
from cli.settings import Settings
from ledger.application.exchange import ExportContradictory, Manifest, Reader
from ledger.domain.transition import IllegalEvent
from ledger.merkle import Frontier
from ledger.store import bulk, migrate
from ledger.store import engine as store
from ledger.store.copying import refill
from ledger.store.events import Row
from projections import runner
from projections.at import mark_written
from projections.tables import all_tables

_EVERY = 1000  # events between two words about the progress


def create(
    settings: Settings, source: BinaryIO, progress: Callable[[str, int, int], None], *, dry_run: bool = False
) -> Manifest:
    """Read an export into a new store; in a dry run as far as it goes without keeping it.

    Raises: StoreExists, ExportRefused, ExportContradictory, ExportNewer, EventUnreadable.
    """
    with store.opened(settings.store, must_exist=False) as engine, newledger.empty(engine, dry_run=dry_run):
        reader = Reader(iter(source))

        def filled(connection: Connection) -> tuple[Frontier, int]:
            came = refill(connection, _counted(reader, progress))
            bulk.insert(connection, "checkpoint", ("size", "note"), reader.checkpoints)
            return came

        with store.writing(engine, dry_run=dry_run) as connection:

            def fill() -> None:
                migrate.create(connection, *all_tables(), fill=filled)
                runner.install(connection)
                runner.catch_up(connection, lambda done, total: progress("projections", done, total))
                mark_written(connection)  # an export doesn't say what reached which destination

            if problem := _contradiction(connection, fill):
                raise ExportContradictory(problem=problem)
    return reader.manifest


def _contradiction(connection: Connection, fill: Callable[[], None]) -> str | None:
    """Fill a store; what no ledger's own commands appended stops a fold, or breaks a constraint: that is returned."""
    try:
        fill()
    # Rows in bulk go to the driver itself, so its own class comes, too.
    except (IntegrityError, connection.dialect.loaded_dbapi.IntegrityError) as broken:
        problem = str(broken.orig if isinstance(broken, IntegrityError) else broken)
    except IllegalEvent as broken:
        problem = str(broken)
    else:
        return None
    return problem.splitlines()[0][:300]


def _counted(reader: Reader, progress: Callable[[str, int, int], None]) -> Iterator[Row]:
    for row in reader.rows():
        if row.position % _EVERY == 0:
            progress("events", row.position, reader.manifest.size)
        yield row
