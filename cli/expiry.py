"""When something that is signed offline is to expire, as the user says it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from cli.context import settings_of
from cli.errors import UsageError
from ledger.domain.values import from_epoch, parse_time

DAYS = 365

ExpiresDays = Annotated[
    int | None, typer.Option(metavar="N", help=f"Days until it expires. Default: {DAYS}.", show_default=False)
]
ExpiresAt = Annotated[str | None, typer.Option(metavar="TIME", help="When it expires, RFC 3339.")]


def expiry(ctx: typer.Context, days: int | None, at: str | None, command: str) -> datetime:
    """The moment that was asked for, a year from now if none was. Raises: UsageError, BadTime."""
    if days is not None and at is not None:
        raise UsageError(problem="--expires-days and --expires-at contradict each other", command=command)
    if at is not None:
        return parse_time(at)
    if days is not None and not -36_500 <= days <= 36_500:
        raise UsageError(problem=f"--expires-days {days} is more than a hundred years", command=command)
    return from_epoch(settings_of(ctx).now) + timedelta(days=DAYS if days is None else days)
