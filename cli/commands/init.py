"""waveledger init: a new ledger."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.context import settings_of
from cli.options import DryRun, single
from cli.output import FormatOption, Output, say, show
from cli.settings import DEFAULT_ONLINE_KEYS

app = single()


class KeyKind(StrEnum):
    """What an offline targets key can be."""

    ED25519 = "ed25519"
    RSA4096 = "rsa4096"


@app.command("init")
def init(
    ctx: typer.Context,
    factory: Annotated[str, typer.Option(metavar="NAME", help="The namespace that this ledger is for.")],
    keys: Annotated[Path, typer.Option(metavar="DIR", help="Where to write the keys.")] = Path("keys"),
    offline_key: Annotated[
        list[KeyKind] | None, typer.Option(help="An offline targets key; once for each holder. Default: ed25519.")
    ] = None,
    threshold: Annotated[
        int, typer.Option(metavar="N", help="Signatures on production targets, the online one included.")
    ] = 2,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Create a ledger with its keys and its first TUF roots. Whoever does it is the first owner.

    Example: waveledger init --factory acme
    """
    from cli import keyfiles, newledger
    from ledger.application.factory import make_keys

    settings = settings_of(ctx)
    made = make_keys([kind.value for kind in offline_key or [KeyKind.ED25519]], threshold)
    if dry_run:
        newledger.check(settings, factory)
        archives = keyfiles.targets_archives(len(made.targets))
        say(f"dry run: would create {settings.store} and {keys}/ with root.keys.tgz, {', '.join(archives)}, online/")
        show(Output({"factory": factory, "store": settings.store, "dry_run": True}), format)
        return
    created = newledger.create(settings, factory, keys, made, threshold)
    document = {
        "factory": factory,
        "store": settings.store,
        "owner": settings.actor,
        "keys": [str(path) for path in created.files],
        "threshold": threshold,
        "ledger_key": made.ledger.key.keyval["public"],
        "dry_run": False,
    }
    offline = [str(path) for path in created.files[:-1]]
    lines = [
        f"factory {factory}: ledger {settings.store}, first owner {settings.actor}",
        f"offline keys, take them away and keep them safe: {', '.join(offline)}",
        f"online keys, for the machine that publishes: {created.files[-1]}",
    ]
    show(Output(document, lines=lines), format)
    if settings.online_keys == DEFAULT_ONLINE_KEYS and created.files[-1] != Path(DEFAULT_ONLINE_KEYS):
        say(f"to publish with these keys: export WAVELEDGER_ONLINE_KEYS={created.files[-1]}")
    say("next: waveledger targets import FILE, waveledger devices import FILE.csv")
