"""Creating a store together with its keys and its first events: both or neither."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from cli.settings import Settings
from ledger.domain.errors import LedgerError
from ledger.domain.values import check_actor, check_name, from_epoch
from ledger.store import engine as store
from ledger.store import events, migrate
from ledger.store.errors import BadStoreUrl, StoreExists

if TYPE_CHECKING:
    from ledger.application.factory import FactoryKeys
    from ledger.session import Session


class Created(NamedTuple):
    """The key files that were written; the directory of the online keys is the last."""

    files: Sequence[Path]


def check(settings: Settings, factory: str) -> None:
    """Whether it could be created. Raises: BadName, BadStoreUrl, StoreExists."""
    check_name("factory", factory)
    check_actor(settings.actor)
    engine = store.open_engine(settings.store, must_exist=False)
    path = engine.url.database
    if engine.dialect.name == "sqlite" and path in (None, "", ":memory:"):
        raise BadStoreUrl(url=settings.store, problem="a ledger in memory would be gone when this command ends")
    if path and Path(path).exists():
        with store.reading(engine) as connection:
            if migrate.has_ledger(connection):
                raise StoreExists(store=settings.store)


def create(settings: Settings, factory: str, directory: Path, keys: FactoryKeys, threshold: int) -> Created:
    """Write the keys, then the ledger in one transaction. Raises: StoreExists, KeyFileExists, BadName."""
    from ledger.application.factory import initialize
    from ledger.tuf.roots import LIFETIME

    expires = from_epoch(settings.now) + LIFETIME
    check(settings, factory)
    return write(settings, directory, keys, lambda session: initialize(session, factory, keys, threshold, expires))


def write(
    settings: Settings,
    directory: Path,
    keys: FactoryKeys,
    record: Callable[[Session], None],
    given: Collection[Path] = (),
) -> Created:
    """Write the new keys, then the ledger with what `record` appends, in one transaction.

    `given` are key files of others, see `keyfiles.written`. Raises: StoreExists, KeyFileExists.
    """
    from cli import keyfiles
    from ledger.session import Session
    from projections import runner
    from projections.tables import all_tables

    engine = store.open_engine(settings.store, must_exist=False)
    place = str(Path(str(engine.url.database)).absolute())
    with keyfiles.written(directory, keys, place, owns_ledger, given) as files:
        with store.writing(engine) as connection:
            migrate.create(connection, *all_tables())
            runner.install(connection)
            record(Session(connection, settings.actor, settings.now, [runner.Projector()]))
        return Created(files)


def owns_ledger(place: str, ledger_key: str) -> bool:
    """Whether the store at a path holds the ledger of that public key; yes where that can't be found out."""
    if not Path(place).exists():
        return False
    try:
        with store.reading(store.open_engine(f"sqlite:///{place}")) as connection:
            first = events.get(connection, 1) if migrate.has_ledger(connection) else None
    except LedgerError:
        return True
    return first is not None and orjson.loads(first.payload).get("ledger_key") == ledger_key
