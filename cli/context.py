"""Opening what a command works on: the ledger for reading or for writing, and the emitter after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import typer
from sqlalchemy import Connection

from cli import output
from cli.errors import UnsupportedDestination
from cli.settings import Settings
from ledger.domain.errors import LedgerError
from ledger.domain.values import check_actor
from ledger.store import engine as store
from ledger.store import migrate

if TYPE_CHECKING:
    from ledger.session import Ledger
    from projections.tuf.destination import Directory


def settings_of(ctx: typer.Context) -> Settings:
    """The settings of this invocation."""
    settings = ctx.obj
    assert isinstance(settings, Settings)
    return settings


@contextmanager
def reading(ctx: typer.Context) -> Iterator[Connection]:
    """One moment of the ledger, for a command that only reads. Raises: StoreMissing, SchemaMismatch."""
    engine = store.open_engine(settings_of(ctx).store)
    with store.reading(engine) as connection:
        migrate.check(connection)
        yield connection


def open_ledger(ctx: typer.Context) -> Ledger:
    """The ledger for a command that appends. Raises: StoreMissing, SchemaMismatch."""
    from ledger.session import Ledger
    from projections.runner import Projector

    settings = settings_of(ctx)
    check_actor(settings.actor)
    engine = store.open_engine(settings.store)
    with store.reading(engine) as connection:
        migrate.check(connection)
    return Ledger(engine, [Projector()], settings.actor, settings.now)


def destination(where: str) -> Directory:
    """The place to publish to: a directory, or a file: URL. Raises: UnsupportedDestination."""
    from projections.tuf.destination import Directory

    if "://" not in where:
        return Directory(Path(where))
    url = urlsplit(where)
    if url.scheme != "file" or url.netloc not in ("", "localhost"):
        raise UnsupportedDestination(where=where)
    return Directory(Path(unquote(url.path)))


def publish_now(ctx: typer.Context, ledger: Ledger) -> bool:
    """After a command that changed what devices see: publish, or say that it is still to be done."""
    from ledger.tuf.online import find_online
    from projections.tuf import emitter

    settings = settings_of(ctx)
    keys = find_online(settings.online_keys)
    if keys is None or settings.publish is None:
        lacking = f"no online keys at {settings.online_keys}" if keys is None else "no destination (WAVELEDGER_PUBLISH)"
        output.say(f"recorded, not yet published: {lacking} configured; waveledger tuf publish DIR does it")
        return False
    try:
        emitted = emitter.emit(ledger, keys, destination(settings.publish))
    except LedgerError as problem:
        # What was asked for is recorded and can't be taken back by failing now; whoever publishes next finishes it.
        output.say(f"recorded, not yet published: {problem}")
        output.say(f"hint: {problem.render_hint()}; then waveledger tuf publish")
        return False
    if emitted.views:
        output.say(f"published to {settings.publish}: {', '.join(emitted.views)}")
    return True


def say_dry_run(ledger_events: list[str]) -> None:
    """What a dry run would have appended."""
    output.say("dry run, nothing was appended; it would be: " + (", ".join(ledger_events) or "no event"))
