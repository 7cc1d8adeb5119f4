"""Opening what a command works on: the ledger for reading or for writing, and the emitter after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import typer
from sqlalchemy import Connection, Engine

from cli import output
from cli.errors import UnsupportedDestination
from cli.settings import Settings
from ledger.domain.errors import LedgerError, NotFound
from ledger.domain.values import check_actor
from ledger.store import engine as store
from ledger.store import migrate
from projections.questions import EVERYTHING, Question
from projections.tables import shared_tables

if TYPE_CHECKING:
    from ledger.session import Ledger
    from projections.at import Moment
    from projections.tuf.destination import Destination


def settings_of(ctx: typer.Context) -> Settings:
    """The settings of this invocation."""
    settings = ctx.obj
    assert isinstance(settings, Settings)
    return settings


@contextmanager
def reading(ctx: typer.Context, at: str | None = None, question: Question = EVERYTHING) -> Iterator[Connection]:
    """One moment of the ledger, for a command that only reads; with `at` a past one, as far as `question` asks.

    Inside, the settings' `now` is the clock of that moment.

    Raises: StoreMissing, SchemaMismatch, BadMoment, FutureMoment, NotReached, BeforeTheLedger, NotThen.
    """
    with reading_ledger(ctx) as connection:
        if at is None:
            yield connection
            return
        with past(ctx, connection, at, question) as (tables, _):
            yield tables


@contextmanager
def past(ctx: typer.Context, ledger: Connection, at: str, question: Question) -> Iterator[tuple[Connection, Moment]]:
    """The tables as they were at the moment that ``--at`` names, as far as `question` asks, and that moment.

    Raises: BadMoment, FutureMoment, NotReached, BeforeTheLedger; NotThen, for whatever is not found in them.
    """
    from cli.errors import NotThen
    from projections.at import asked

    moment = moment_of(ctx, ledger, at)
    try:
        with asked(ledger, moment.position, question) as tables:
            yield tables, moment
    except NotFound as problem:
        raise NotThen(at=at, problem=str(problem)) from problem


@contextmanager
def reading_ledger(ctx: typer.Context) -> Iterator[Connection]:
    """The ledger itself and the live tables. Raises: StoreMissing, SchemaMismatch."""
    engine = open_store(ctx)
    with store.reading(engine) as connection:
        migrate.check(connection, shared_tables())
        yield connection


def moment_of(ctx: typer.Context, connection: Connection, at: str) -> Moment:
    """The moment that ``--at`` names; from here on it is what the settings' clock says.

    Raises: BadMoment, FutureMoment, NotReached, BeforeTheLedger.
    """
    from projections import at as moments

    settings = settings_of(ctx)
    moment = moments.moment(connection, at, settings.now)
    ctx.obj = replace(settings, now=moment.now)
    return moment


def open_store(ctx: typer.Context) -> Engine:
    """The store, until the command ends. Raises: BadStoreUrl, DriverMissing, StoreMissing, NetworkFileSystem."""
    engine = store.open_engine(settings_of(ctx).store)
    ctx.call_on_close(engine.dispose)
    return engine


def open_ledger(ctx: typer.Context) -> Ledger:
    """The ledger for a command that appends. Raises: StoreMissing, SchemaMismatch."""
    from ledger.session import Ledger
    from projections.runner import Projector

    settings = settings_of(ctx)
    engine = open_store(ctx)
    with store.reading(engine) as connection:
        migrate.check(connection, shared_tables())
        actor = check_actor(store.actor_of(connection, settings.actor))
    if settings.actor_flag and actor != settings.actor:
        output.warn(f"acting as {actor}, who logged in to the database, not as {settings.actor}")
    return Ledger(engine, [Projector()], actor, settings.now)


def destination(where: str) -> Destination:
    """The place to publish to: a directory, or a URL that fsspec opens. Raises: UnsupportedDestination."""
    from projections.tuf.destination import Directory

    if "://" not in where:
        return Directory(Path(where))
    from projections.tuf.objects import open_url, without_password

    try:
        url = urlsplit(where)
        if url.scheme == "file" and url.netloc in {"", "localhost"}:
            return Directory(Path(unquote(url.path)))
        return open_url(where)
    except (ImportError, ValueError) as problem:
        raise UnsupportedDestination(where=without_password(where), problem=str(problem)) from None


def publish_now(ctx: typer.Context, ledger: Ledger) -> bool:
    """After a command that changed what devices see: publish, or say that it is still to be done."""
    from cli.signing import open_online
    from projections.tuf import emitter

    settings = settings_of(ctx)
    try:
        keys = open_online(ctx)
        if keys is None or settings.publish is None:
            lacking = (
                f"no online keys at {settings.online_keys}" if keys is None else "no destination (WAVELEDGER_PUBLISH)"
            )
            output.say(f"recorded, not yet published: {lacking} configured; waveledger tuf publish DIR does it")
            return False
        place = destination(settings.publish)
        came = emitter.attempt(ledger, keys, place, everything=False)
    except LedgerError as problem:
        _say_not_published("recorded, not yet published", problem)
        return False
    if came.emitted.views:
        output.say(f"published to {place.place}: {', '.join(came.emitted.views)}")
    for trouble in came.problems:
        # The trouble may be in another repository than the one that the command was about.
        _say_not_published("not published in full" if came.emitted.views else "recorded, not yet published", trouble)
    return not came.problems


def _say_not_published(what: str, problem: LedgerError) -> None:
    # What was asked for is recorded and can't be taken back by failing now; whoever publishes next finishes it.
    output.say(f"{what}: {problem}")
    output.say(f"hint: {problem.render_hint()}; then waveledger tuf publish")


def say_dry_run(ledger_events: list[str]) -> None:
    """What a dry run would have appended."""
    output.say("dry run, nothing was appended; it would be: " + (", ".join(ledger_events) or "no event"))
