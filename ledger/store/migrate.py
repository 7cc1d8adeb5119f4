"""Creating the tables, and bringing an older store's up to date. Nothing else runs DDL.

Rules of this module:

* All of it happens in one transaction under the writer lock: a crash leaves either the old tables or the new ones.
* The version of each set of tables is a row of `schema_version`, named and numbered by its MetaData's `info`
  (`component`, `version`). Commands check that row and never change it.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, Engine, MetaData, inspect

from ledger.merkle import Frontier
from ledger.store import bulk
from ledger.store.engine import name_of, writing
from ledger.store.errors import SchemaMismatch, StoreExists, StoreMissing
from ledger.store.tables import COMPONENT, SCHEMA_VERSION, TRIGGERS, metadata


class Migration(NamedTuple):
    """The version that a store had, and the one that it has now."""

    found: int
    now: int


def create(connection: Connection, *extra: MetaData) -> None:
    """Creates the event store's tables and triggers and the given MetaDatas' tables, in the caller's transaction.

    Raises:
        StoreExists: there is a ledger already; nothing was changed.
    """
    if has_ledger(connection):
        raise StoreExists(store=name_of(connection.engine.url))
    for part in (metadata, *extra):
        part.create_all(connection, checkfirst=False)
    for trigger in TRIGGERS:
        connection.exec_driver_sql(trigger)
    empty = Frontier()
    bulk.insert(connection, "head", ("id", "size", "frontier", "recorded_at"), [(1, empty.size, empty.to_bytes(), 0)])
    versions = [(part.info["component"], part.info["version"]) for part in (metadata, *extra) if part.info]
    bulk.insert(connection, "schema_version", ("component", "version"), versions)


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


def migrate(engine: Engine) -> Migration:
    """Brings an older store up to date; on one that is up to date it changes nothing.

    Raises:
        StoreMissing: there is no ledger in this database.
        SchemaMismatch: no way leads from its version to this program's, as when a newer program wrote it.
    """
    with writing(engine) as connection:
        found = _versions(connection).get(COMPONENT, 0)
        if found != SCHEMA_VERSION:  # version 1 is the first: there are no steps yet
            raise SchemaMismatch(found=found, expected=SCHEMA_VERSION)
        return Migration(found, SCHEMA_VERSION)


def version_of(connection: Connection, part: MetaData) -> int:
    """The version that the store has of one set of tables, 0 for none. Raises: StoreMissing."""
    return _versions(connection).get(part.info["component"], 0)


def mark(connection: Connection, part: MetaData) -> None:
    """Say that one set of tables is up to date now, in the caller's transaction."""
    component = (part.info["component"], part.info["version"])
    bulk.execute(connection, "DELETE FROM schema_version WHERE component = ?", [component[:1]])
    bulk.insert(connection, "schema_version", ("component", "version"), [component])


def _versions(connection: Connection) -> dict[str, int]:
    if not has_ledger(connection):
        raise StoreMissing(store=name_of(connection.engine.url))
    rows = bulk.query(connection, "SELECT component, version FROM schema_version")
    return dict(rows.fetchall())


def has_ledger(connection: Connection) -> bool:
    """Whether the database holds a ledger, of whatever version."""
    return inspect(connection).has_table("schema_version")
