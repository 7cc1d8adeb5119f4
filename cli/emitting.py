"""What `tuf publish` and `tuf refresh` do: emit, and say what was done, what failed, and what will expire when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from cli import attention
from cli.context import destination, open_ledger, say_dry_run, settings_of
from cli.output import Format, Output, say, show, warn, when
from projections.queries import expiry

if TYPE_CHECKING:
    from ledger.domain.errors import LedgerError
    from ledger.session import Ledger
    from projections.tuf.emitter import Attempt


def emit(ctx: typer.Context, place: str, format: Format | None, *, refresh: bool, force: bool, dry_run: bool) -> None:
    """Publish to `place` what can be; with problems in some repositories, tell all of them and fail with the first."""
    from cli.errors import NothingToPublishWith
    from cli.progress import bar
    from cli.signing import open_online
    from projections.tuf import emitter

    settings = settings_of(ctx)
    ledger = open_ledger(ctx)
    keys = open_online(ctx)
    target = destination(place)
    if keys is None:
        if refresh:
            raise NothingToPublishWith(where=settings.online_keys)
        say(f"no online keys at {settings.online_keys}: writing what was signed before")
    with bar("publishing") as progress:
        came = emitter.attempt(ledger, keys, target, refresh=refresh, force=force, dry_run=dry_run, progress=progress)
    _show(ledger, target.place, came, format, refresh=refresh, dry_run=dry_run)
    if came.problems:
        _tell(came.problems[1:])
        raise came.problems[0]


def _show(ledger: Ledger, place: str, came: Attempt, format: Format | None, *, refresh: bool, dry_run: bool) -> None:
    with ledger.reading() as connection:
        first = next(iter(expiry.expiries(connection)), None)
        before = expiry.refresh_before(connection)
        warnings = attention.warnings(connection, ledger.now)
    signed, views = came.emitted
    document: dict[str, Any] = {
        "destination": place,
        "signed": signed,
        "views": views,
        "ci_root": came.ci_root,
        "problems": [str(problem) for problem in came.problems],
        "next_expiry": {"what": first.what.rstrip(","), "at": when(first.expires)} if first else None,
        "refresh_before": when(before),
        "dry_run": dry_run,
    }
    if dry_run:
        lines = [f"would sign: {', '.join(signed) or 'nothing, all of it is'}"]
    else:
        lines = [
            f"signed: {', '.join(signed) or 'nothing, all of it was'}",
            f"written to {place}: {', '.join(views) or 'nothing, all of it was there'}",
        ]
    if came.ci_root:
        lines.append(f"{'would renew' if dry_run else 'renewed'} the CI root: version {came.ci_root}")
    if first and refresh:
        lines.append(f"next to expire: {first.what.rstrip(',')}, at {when(first.expires)}")
    if before and refresh:
        lines.append(f"refresh again before {when(before)}: half of the timestamps' life")
    show(Output(document, lines=lines), format)
    for warning in warnings:
        warn(warning)
    if dry_run:
        roots = ["root.published/1"] if came.ci_root else []
        say_dry_run([*roots, *("metadata.published/1" for _ in signed)])


def _tell(problems: list[LedgerError]) -> None:
    for problem in problems:
        say(f"error: {problem}")
        say(f"hint: {problem.render_hint()}")
