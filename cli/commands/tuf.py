"""waveledger tuf: the published repositories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.context import settings_of
from cli.options import DryRun, group
from cli.output import FormatOption

app = group("Publish, refresh and verify the TUF repositories.")

Where = Annotated[str | None, typer.Argument(metavar="DIR|URL", help="Default: WAVELEDGER_PUBLISH.")]


@app.command("publish")
def publish(ctx: typer.Context, where: Where = None, dry_run: DryRun = False, format: FormatOption = None) -> None:
    """Sign what is due, write what is missing.

    Without online keys it writes what was signed before: a mirror needs no private key.

    Example: waveledger tuf publish /srv/tuf
    """
    from cli.emitting import emit

    emit(ctx, _where(ctx, where), format, refresh=False, force=False, dry_run=dry_run)


@app.command("refresh")
def refresh(
    ctx: typer.Context,
    where: Where = None,
    force: Annotated[bool, typer.Option("--force", help="Sign everything again, however young.")] = False,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Renew what grows old, then publish, and say what expires next.

    Timestamps and snapshots past half of their life are signed again, CI's targets and root too. Run it hourly from
    cron, on as many machines as you like: nothing is signed twice. A repository in trouble does not keep the others
    from it; the exit code tells.

    Example: waveledger tuf refresh /srv/tuf
    """
    from cli.emitting import emit

    emit(ctx, _where(ctx, where), format, refresh=True, force=force, dry_run=dry_run)


@app.command("verify")
def verify(
    ctx: typer.Context,
    where: Where = None,
    now: Annotated[str | None, typer.Option(metavar="TIME", help="The clients' clock (RFC 3339).")] = None,
    no_ledger: Annotated[
        bool, typer.Option("--no-ledger", help="Look at the tree alone, as somebody who has no ledger.")
    ] = False,
    format: FormatOption = None,
) -> None:
    """Check a published tree, or an offline bundle, as clients see it.

    Each view from nothing and from every root; with the ledger at hand, also from whatever devices may have seen
    before, and all files against what was published. Without a ledger, files are compared with each other.
    Exit 6: a client would refuse a view, or a file is not what it should be.

    Example: waveledger tuf verify /srv/tuf
    """
    from cli.verifying import verify as look
    from ledger.domain.values import parse_time

    look(ctx, _where(ctx, where), parse_time(now) if now else None, format, no_ledger=no_ledger)


@app.command("export")
def export(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="WAVE|TAG", help="Or a view: production/TAG, wave/WAVE, held/WAVE.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="New, or empty.")],
    expires_in_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, metavar="N", help="Default: 30, or what root and targets allow.")
    ] = None,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Make an offline bundle, for devices without a network.

    DIR becomes a TUF metadata directory with a bundle.json that lists what to bring along: it holds no target files.
    A device takes it if it saw nothing newer, and can come online later. An active wave must have been rolled out.

    Example: waveledger tuf export stable /mnt/usb/stable --expires-in-days 90
    """
    from cli.exporting import export as make

    make(ctx, name, directory, expires_in_days, format, dry_run=dry_run)


def _where(ctx: typer.Context, where: str | None) -> str:
    from cli.errors import NoDestination

    place = where or settings_of(ctx).publish
    if place is None:
        raise NoDestination
    return place
