"""waveledger tuf: the published repositories."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.context import destination, open_ledger, say_dry_run, settings_of
from cli.options import DryRun, group
from cli.output import FormatOption, Output, Table, say, show

app = group("Publish, refresh and verify the TUF repositories.")

Where = Annotated[str | None, typer.Argument(metavar="[DIR|URL]", help="Default: WAVELEDGER_PUBLISH.")]


@app.command("publish")
def publish(ctx: typer.Context, where: Where = None, dry_run: DryRun = False, format: FormatOption = None) -> None:
    """Sign what is due, write what is missing.

    Without online keys it writes what was signed before: a mirror needs no private key.

    Example: waveledger tuf publish /srv/tuf
    """
    _emit(ctx, where, format, refresh=False, force=False, dry_run=dry_run)


@app.command("refresh")
def refresh(
    ctx: typer.Context,
    where: Where = None,
    force: Annotated[bool, typer.Option("--force", help="Sign everything again, however young.")] = False,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Renew what grows old, then publish.

    Timestamps and snapshots past half of their life are signed again. Run it hourly from cron.

    Example: waveledger tuf refresh /srv/tuf
    """
    _emit(ctx, where, format, refresh=True, force=force, dry_run=dry_run)


@app.command("verify")
def verify(
    ctx: typer.Context,
    where: Where = None,
    now: Annotated[str | None, typer.Option(metavar="TIME", help="The clients' clock (RFC 3339).")] = None,
    format: FormatOption = None,
) -> None:
    """Check a published tree as a client would, view by view. Needs no ledger. Exit 6: a client would refuse a view.

    Example: waveledger tuf verify /srv/tuf
    """
    from cli.errors import ProblemsFound
    from ledger.domain.values import parse_time
    from projections.tuf import verify as check

    place = _where(ctx, where)
    target = destination(place)
    views = check.find_views(target.root)
    checked, findings = check.check_views(target, views, now=parse_time(now) if now else None)
    if not views:
        findings.append(check.Finding("", "NoViews", f"{place} holds no published view"))
    document = {
        "ok": not findings,
        "views": [
            {
                "view": c.view,
                "root_version": c.root_version,
                "version": c.version,
                "targets_version": c.targets_version,
                "targets": list(c.targets),
            }
            for c in checked
        ],
        "findings": [{"view": f.view, "kind": f.kind, "message": f.message} for f in findings],
    }
    tables = [
        Table(
            ["view", "root", "timestamp", "targets version", "targets"],
            [(c.view, c.root_version, c.version, c.targets_version, len(c.targets)) for c in checked],
        )
    ]
    if findings:
        tables.append(Table(["view", "kind", "message"], [tuple(f) for f in findings], "Findings"))
    show(Output(document, tables), format)
    if findings:
        advice = f"waveledger tuf {'refresh renews what expired' if views else 'publish DIR writes a tree'}"
        raise ProblemsFound(count=len(findings), what=place, advice=advice)


def _emit(ctx: typer.Context, where: str | None, format: Any, *, refresh: bool, force: bool, dry_run: bool) -> None:
    from cli.errors import NothingToPublishWith
    from cli.progress import bar
    from ledger.tuf.online import find_online
    from projections.tuf import emitter

    settings = settings_of(ctx)
    place = _where(ctx, where)
    ledger = open_ledger(ctx)
    keys = find_online(settings.online_keys)
    if keys is None:
        if refresh:
            raise NothingToPublishWith(where=settings.online_keys)
        say(f"no online keys at {settings.online_keys}: writing what was signed before")
    with bar("publishing") as progress:
        came = emitter.emit(
            ledger, keys, destination(place), refresh=refresh, force=force, dry_run=dry_run, progress=progress
        )
    document = {"destination": place, "signed": came.repositories, "views": came.views, "dry_run": dry_run}
    if dry_run:
        lines = [f"would sign: {', '.join(came.repositories) or 'nothing, all of it is'}"]
        show(Output(document, lines=lines), format)
        say_dry_run(["metadata.published/1" for _ in came.repositories])
        return
    lines = [
        f"signed: {', '.join(came.repositories) or 'nothing, all of it was'}",
        f"written to {place}: {', '.join(came.views) or 'nothing, all of it was there'}",
    ]
    show(Output(document, lines=lines), format)


def _where(ctx: typer.Context, where: str | None) -> str:
    from cli.errors import NoDestination

    place = where or settings_of(ctx).publish
    if place is None:
        raise NoDestination
    return place
