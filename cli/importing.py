"""Creating a store from an export: all of it in one transaction, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection

from cli import newledger
from cli.settings import Settings
from ledger.application.exchange import Manifest, Reader
from ledger.merkle import Frontier
from ledger.store import bulk, migrate
from ledger.store import engine as store
from ledger.store.events import Row
from ledger.store.refill import fill
from projections import runner
from projections.tables import all_tables

_EVERY = 1000  # events between two words about the progress


def create(settings: Settings, source: BinaryIO, progress: Callable[[int], None]) -> Manifest:
    """Read an export into a new store. Raises: StoreExists, ExportRefused, ExportNewer, EventUnreadable."""
    newledger.require_free(settings)
    reader = Reader(iter(source))

    def filled(connection: Connection) -> tuple[Frontier, int]:
        came = fill(connection, _counted(reader.rows(), progress))
        bulk.insert(connection, "checkpoint", ("size", "note"), reader.checkpoints)
        return came

    with store.opened(settings.store, must_exist=False) as engine:
        path = None if bulk.is_postgresql(engine) else Path(str(engine.url.database))
        new = path is not None and not path.exists()
        try:
            with store.writing(engine) as connection:
                migrate.create(connection, *all_tables(), fill=filled)
                runner.install(connection)
                runner.fold_all(connection)
        except BaseException:
            if path is not None and new:
                path.unlink(missing_ok=True)  # rolled back, and empty
            raise
    return reader.manifest


def _counted(rows: Iterator[Row], progress: Callable[[int], None]) -> Iterator[Row]:
    for row in rows:
        if row.position % _EVERY == 0:
            progress(row.position)
        yield row
