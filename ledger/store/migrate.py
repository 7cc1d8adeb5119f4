"""Creating the tables, and bringing an older store's up to date. Nothing else runs DDL.

Rules of this module:

* All of it happens in one transaction under the writer lock: a crash leaves either the old tables or the new ones.
* On PostgreSQL each set of tables is in a schema, and belongs to the schema's owner: the event store's in one, all
  others in that of the projections. Its owner is granted what it needs of the events, and no more.
* The version of each set of tables is a row of `schema_version`, named and numbered by its MetaData's `info`
  (`component`, `version`). Commands check that row and never change it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from sqlalchemy import Connection, Engine, MetaData, inspect

from ledger.merkle import Frontier
from ledger.store import bulk, guards, postgresql, triggers
from ledger.store.bulk import is_postgresql
from ledger.store.engine import name_of, writing
from ledger.store.errors import SchemaMismatch, StoreExists, StoreMissing
from ledger.store.tables import COMPONENT, SCHEMA_VERSION, metadata


class Migration(NamedTuple):
    """The version that a store had, and the one that it has now."""

    found: int
    now: int


def create(
    connection: Connection, *extra: MetaData, fill: Callable[[Connection], tuple[Frontier, int]] | None = None
) -> None:
    """Creates the event store's tables and triggers and the given MetaDatas' tables, in the caller's transaction.

    `fill` puts the events of another ledger into the new table, and returns frontier and time of their end.

    Raises:
        StoreExists: there is a ledger already; nothing was changed.
    """
    if has_ledger(connection):
        raise StoreExists(store=name_of(connection.engine.url))
    if is_postgresql(connection):
        postgresql.create_schemas(connection)
    versions = [(part.info["component"], part.info["version"]) for part in (metadata, *extra) if part.info]
    with _owning(connection, postgresql.LEDGER):
        metadata.create_all(connection, checkfirst=False)
        end, recorded_at = fill(connection) if fill else (Frontier(), 0)
        row = (1, end.size, end.to_bytes(), recorded_at)
        bulk.insert(connection, "head", ("id", "size", "frontier", "recorded_at"), [row])
        bulk.insert(connection, "schema_version", ("component", "version"), versions)
    _guard(connection)
    with changing_projections(connection):
        for part in extra:
            part.create_all(connection, checkfirst=False)
    _grant(connection)


def changing_projections(connection: Connection) -> AbstractContextManager[None]:
    """Where tables of projections are created and dropped, in the caller's transaction."""
    return _owning(connection, postgresql.PROJECTIONS)


def _owning(connection: Connection, schema: str) -> AbstractContextManager[None]:
    return postgresql.as_owner(connection, schema) if is_postgresql(connection) else nullcontext()


def _guard(connection: Connection) -> None:
    """Make the triggers, in place of what an older version made, or somebody else."""
    if not is_postgresql(connection):
        for trigger in guards.changed_triggers(connection):
            bulk.query(connection, f"DROP TRIGGER IF EXISTS {trigger.split()[2]}")
            bulk.query(connection, trigger)
        return
    with _owning(connection, postgresql.LEDGER):
        for trigger in triggers.POSTGRESQL:
            bulk.query(connection, trigger)


def _grant(connection: Connection) -> None:
    """Let the owner of the projections read and append, where it is not the owner of the events, and nobody else."""
    if not is_postgresql(connection):
        return
    owner = postgresql.owner_of(connection, postgresql.LEDGER)
    application = postgresql.owner_of(connection, postgresql.PROJECTIONS)
    with _owning(connection, postgresql.LEDGER):
        for (role,) in bulk.query(connection, triggers.OTHERS, (application,)).fetchall():
            bulk.query(connection, triggers.REVOKE.format(role=role))
        if application is not None and application != owner:
            role = connection.dialect.identifier_preparer.quote(application)
            bulk.query(connection, triggers.REVOKE.format(role=role))
            for grant in triggers.GRANTS:
                bulk.query(connection, grant.format(role=role))


def check(connection: Connection, *extra: MetaData) -> None:
    """Returns if the store's tables are this program's.

    Raises:
        StoreMissing: there is no ledger in this database.
        SchemaMismatch: it has another version.
    """
    found = _versions(connection)
    for part in (metadata, *extra):
        if part.info and found.get(part.info["component"], 0) != part.info["version"]:
            raise SchemaMismatch(found=found.get(part.info["component"], 0), expected=part.info["version"])


def migrate(engine: Engine, *, dry_run: bool = False) -> Migration:
    """Brings an older store up to date; on one that is up to date it renews triggers and rights, and nothing else.

    A dry run does the same, and keeps nothing of it.

    Raises:
        StoreMissing: there is no ledger in this database.
        SchemaMismatch: no way leads from its version to this program's, as when a newer program wrote it.
    """
    with writing(engine, dry_run=dry_run) as connection:
        if not has_ledger(connection):
            raise StoreMissing(store=name_of(engine.url))
        with _owning(connection, postgresql.LEDGER):
            found = _versions(connection).get(COMPONENT, 0)
        if found != SCHEMA_VERSION:  # version 1 is the first: there are no steps yet
            raise SchemaMismatch(found=found, expected=SCHEMA_VERSION)
        _guard(connection)
        _grant(connection)  # roles may be others than when it was created
        return Migration(found, SCHEMA_VERSION)


def version_of(connection: Connection, part: MetaData) -> int:
    """The version that the store has of one set of tables, 0 for none. Raises: StoreMissing."""
    return _versions(connection).get(part.info["component"], 0)


def mark(connection: Connection, part: MetaData) -> None:
    """Say that one set of tables is up to date now, in the caller's transaction."""
    component = (part.info["component"], part.info["version"])
    with _owning(connection, postgresql.LEDGER):
        bulk.execute(connection, "DELETE FROM schema_version WHERE component = ?", [component[:1]])
        bulk.insert(connection, "schema_version", ("component", "version"), [component])


def _versions(connection: Connection) -> dict[str, int]:
    if not has_ledger(connection):
        raise StoreMissing(store=name_of(connection.engine.url))
    rows = bulk.query(connection, "SELECT component, version FROM schema_version")
    return dict(rows.fetchall())


def has_ledger(connection: Connection) -> bool:
    """Whether the database holds a ledger, of whatever version."""
    if is_postgresql(connection):
        return postgresql.has_table(connection, postgresql.LEDGER, "schema_version")
    return inspect(connection).has_table("schema_version")
