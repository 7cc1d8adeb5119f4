"""Shell completion of names. A completion never fails: without a ledger there is nothing to complete."""

from __future__ import annotations

from contextlib import suppress

import typer

from ledger.domain.errors import LedgerError

_QUERIES = {
    "wave": "SELECT wave FROM release_wave WHERE wave LIKE :prefix ORDER BY position DESC LIMIT 100",
    "tag": "SELECT name FROM fleet_name WHERE kind = 'tag' AND name LIKE :prefix ORDER BY name LIMIT 100",
    "group": "SELECT name FROM fleet_name WHERE kind = 'group' AND name LIKE :prefix ORDER BY name LIMIT 100",
}


def waves(ctx: typer.Context, incomplete: str) -> list[str]:
    """Wave names, newest first."""
    return _names("wave", ctx, incomplete)


def tags(ctx: typer.Context, incomplete: str) -> list[str]:
    """Tags that devices follow."""
    return _names("tag", ctx, incomplete)


def groups(ctx: typer.Context, incomplete: str) -> list[str]:
    """Device groups."""
    return _names("group", ctx, incomplete)


def _names(kind: str, ctx: typer.Context, incomplete: str) -> list[str]:
    from sqlalchemy import text

    from cli import settings
    from ledger.store import engine

    given = ctx.find_root().params
    store = settings.read(given.get("store"), None, 0).store
    with suppress(LedgerError), engine.opened(store) as opened, engine.reading(opened) as connection:
        found = connection.execute(text(_QUERIES[kind]), {"prefix": f"{incomplete}%"}).scalars()
        return [name for name in found if name.startswith(incomplete)]
    return []
