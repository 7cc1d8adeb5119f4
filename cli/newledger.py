"""Creating a store together with its keys and its first events: both or neither."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson
from sqlalchemy import Engine

from cli.settings import Settings
from ledger.domain.errors import LedgerError
from ledger.domain.values import check_actor, check_name, from_epoch
from ledger.store import engine as store
from ledger.store import events, migrate, turns
from ledger.store.bulk import is_postgresql
from ledger.store.errors import BadStoreUrl, StoreExists

if TYPE_CHECKING:
    from ledger.application.factory import FactoryKeys
    from ledger.session import Session


class Created(NamedTuple):
    """The key files that were written, of which the last is the directory of the online keys; and the first owner."""

    files: Sequence[Path]
    owner: str


def check(settings: Settings, factory: str) -> None:
    """Whether it could be created. Raises: BadName, BadActor, BadStoreUrl, StoreExists."""
    check_name("factory", factory)
    with store.opened(settings.store, must_exist=False) as engine:
        if not is_postgresql(engine):
            check_actor(settings.actor)
            if not store.is_there(_path(engine), store.name_of(engine.url)):
                return
        with store.reading(engine) as connection:
            check_actor(store.actor_of(connection, settings.actor))
            if migrate.has_ledger(connection):
                raise StoreExists(store=store.name_of(engine.url))


@contextmanager
def empty(engine: Engine, *, dry_run: bool = False, exists: type[StoreExists] = StoreExists) -> Iterator[None]:
    """Where another ledger is to be copied to. A file that was made for it goes again when that fails, or was no copy.

    Raises: BadStoreUrl, and what is to be raised when there is a ledger.
    """
    path = None if is_postgresql(engine) else _path(engine)
    made = path is not None and not store.is_there(path, store.name_of(engine.url))
    if not made:
        with store.reading(engine) as connection:
            if migrate.has_ledger(connection):
                raise exists(store=store.name_of(engine.url))
    kept = False
    try:
        yield
        kept = not dry_run
    finally:
        if made and path is not None and not kept:
            engine.dispose()
            for beside in ("", "-journal", "-wal", "-shm", turns.SUFFIX):
                with suppress(OSError):  # else it would hide why there is nothing to keep
                    Path(f"{path}{beside}").unlink(missing_ok=True)


def _path(engine: Engine) -> Path:
    """The file of a store in SQLite. Raises: BadStoreUrl, for one in memory."""
    path = engine.url.database
    if path in (None, "", ":memory:"):
        problem = "a ledger in memory would be gone when this command ends"
        raise BadStoreUrl(url=store.name_of(engine.url), problem=problem)
    return Path(str(path)).absolute()


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

    def owns(where: str, ledger_key: str) -> bool:
        # What is shown of a URL lacks its password, so our own is opened as it was given.
        return owns_ledger(settings.store if where == place and "://" in place else where, ledger_key)

    with store.opened(settings.store, must_exist=False) as engine:
        place = _place(engine)
        with keyfiles.written(directory, keys, place, owns, given) as files, store.writing(engine) as connection:
            migrate.create(connection, *all_tables())
            runner.install(connection)
            actor = store.actor_of(connection, settings.actor)
            record(Session(connection, actor, settings.now, [runner.Projector()]))
        return Created(files, actor)


def _place(engine: Engine) -> str:
    """What names a store from everywhere on this machine: the path of its file, or its URL without a password."""
    if is_postgresql(engine):
        return store.name_of(engine.url)
    return str(_path(engine))


def owns_ledger(place: str, ledger_key: str) -> bool:
    """Whether the store at a path or URL holds the ledger of that public key; yes where that can't be found out."""
    if "://" not in place and not Path(place).exists():
        return False
    try:
        url = place if "://" in place else f"sqlite:///{place}"
        with store.opened(url) as engine, store.reading(engine) as connection:
            first = events.get(connection, 1) if migrate.has_ledger(connection) else None
    except LedgerError:
        return True
    return first is not None and orjson.loads(first.payload).get("ledger_key") == ledger_key
