"""Bringing the projections of an older store up to date: their tables are made anew from the events.

The version is raised at the end, so an upgrade that was killed is done again, and meanwhile other commands refuse.
"""

from __future__ import annotations

from sqlalchemy import Engine

from ledger.store import engine as store
from ledger.store import migrate
from ledger.store.errors import SchemaMismatch
from ledger.store.migrate import Migration
from projections import runner
from projections.tables import shared_tables


def upgrade(engine: Engine, progress: runner.Progress | None = None, *, dry_run: bool = False) -> Migration:
    """Rebuild all projections of an older program's store; a dry run only says that it would.

    Raises: StoreMissing, SchemaMismatch for a newer program's store.
    """
    shared = shared_tables()
    now: int = shared.info["version"]
    with store.reading(engine) as connection:
        found = migrate.version_of(connection, shared)
    if found > now:
        raise SchemaMismatch(found=found, expected=now)
    if found < now and not dry_run:
        with store.writing(engine) as connection, migrate.changing_projections(connection):
            shared.create_all(connection)
        for fold in runner.folds():
            runner.rebuild(engine, fold.name, progress)
        with store.writing(engine) as connection:
            migrate.mark(connection, shared)
    return Migration(found, now)
