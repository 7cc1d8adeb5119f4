"""waveledger keys: the TUF roots and their keys."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy import text

from cli.commands import keys_rotate, keys_updates
from cli.context import reading
from cli.options import MOST, At, group
from cli.output import Format, FormatOption, Output, Table, chosen, put, show
from projections import questions

app = group("The TUF roots and their keys.")
tuf = group("The TUF roots and their keys.")
app.add_typer(tuf, name="tuf")
tuf.command("rotate-offline-key")(keys_rotate.rotate_offline_key)
tuf.command("rotate-online-key")(keys_rotate.rotate_online_key)
tuf.command("renew-root")(keys_rotate.renew_root)
tuf.add_typer(keys_updates.app, name="updates")


@app.callback()
def keys() -> None:
    """The TUF roots and their keys."""


@tuf.callback()
def keys_tuf() -> None:
    """The TUF roots and their keys."""


@tuf.command("show-root")
def show_root(
    ctx: typer.Context,
    prod: Annotated[bool, typer.Option("--prod", help="The production root; else the CI root.")] = False,
    version: Annotated[int | None, typer.Option(min=1, max=MOST, metavar="N", help="Default: the newest.")] = None,
    at: At = None,
    format: FormatOption = None,
) -> None:
    """Print a root as clients get it: the file to embed in devices. Its bytes with --format json, a summary else.

    Example: waveledger keys tuf show-root --prod --format json
    """
    import orjson

    from cli.errors import NoRootYet, UnknownRoot

    repository = "production" if prod else "ci"
    with reading(ctx, at, questions.topics("root.published/1")) as connection:
        rows = connection.execute(
            text("SELECT version, metadata FROM release_root WHERE repository = :repository ORDER BY version"),
            {"repository": repository},
        )
        roots: dict[int, str] = dict(rows.all())
    if not roots:
        raise NoRootYet(repository=repository)
    newest = max(roots)
    wanted = version or newest
    if wanted not in roots:
        raise UnknownRoot(version=wanted, repository=repository, newest=newest)
    if chosen(format) is Format.JSON:
        put(roots[wanted], nl=False)  # as it was signed: whoever pipes it to a device gets these bytes
        return
    signed = orjson.loads(roots[wanted])["signed"]
    rows_ = [
        (role, part["threshold"], keyid, signed["keys"][keyid]["keytype"])
        for role, part in sorted(signed["roles"].items())
        for keyid in part["keyids"]
    ]
    lines = [f"{repository} root, version {wanted} of {newest}, expires {signed['expires']}"]
    show(Output(signed, [Table(["role", "threshold", "keyid", "type"], rows_)], lines), format)
