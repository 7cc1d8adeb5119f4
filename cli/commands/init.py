"""waveledger init: a new ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import open_ledger, publish_now, settings_of
from cli.options import DryRun, KeyKind, single
from cli.output import FormatOption, Output, say, show, warn
from cli.settings import DEFAULT_ONLINE_KEYS, Settings
from cli.signing import asker
from ledger.store.engine import shown

if TYPE_CHECKING:
    from cli.adopting import Request
    from cli.newledger import Created

app = single()

THRESHOLD = 2  # the online signature and one offline one


@app.command("init")
def init(
    ctx: typer.Context,
    factory: Annotated[str, typer.Option(metavar="NAME", help="The namespace that this ledger is for.")],
    keys: Annotated[Path, typer.Option(metavar="DIR", help="Where to write the keys.")] = Path("keys"),
    offline_key: Annotated[
        list[KeyKind] | None,
        typer.Option(help="A new offline targets key; once for each holder. Default: ed25519, or none if adopting."),
    ] = None,
    threshold: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Signatures on production targets, the online one included. Default: 2; if adopting, as many offline "
            "ones as before and the online one.",
        ),
    ] = None,
    from_roots: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Adopt: the existing root chain, 1.root.json to the newest; with timestamp.json and snapshot.json "
            "there, versions go on above theirs.",
        ),
    ] = None,
    production_targets: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Adopt: the targets.json that production devices get now. Repeatable."),
    ] = None,
    root_keys: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|URI", help="Adopt: a holder's root key. Repeatable. Default: DIR/root.keys.tgz."),
    ] = None,
    targets_keys: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|URI",
            help="Adopt: a holder's offline targets key. Repeatable. Default: DIR/targets.only.key*.tgz.",
        ),
    ] = None,
    drop_key: Annotated[
        list[str] | None,
        typer.Option(metavar="KEYID|FILE|URI", help="Adopt: a targets key that leaves, such as one that signs online."),
    ] = None,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Create a ledger with its keys and its first TUF roots. Whoever does it is the first owner.

    With --from-roots and --production-targets it goes on where an existing TUF 1.0 repository is: its holders sign one
    more root, and its clients carry on.

    Example: waveledger init --factory acme
    """
    from cli.adopting import Request
    from cli.errors import UsageError

    kinds = [kind.value for kind in offline_key or []]
    adopting = {
        "--from-roots": from_roots,
        "--production-targets": production_targets,
        "--root-keys": root_keys,
        "--targets-keys": targets_keys,
        "--drop-key": drop_key,
    }
    if from_roots and production_targets:
        request = Request(
            factory, keys, from_roots, production_targets, root_keys or [], targets_keys or [], drop_key or [], kinds,
            threshold,
        )  # fmt: skip
        _adopt(ctx, request, dry_run=dry_run, format=format)
        return
    for option, value in adopting.items():
        if value:
            problem = f"{option} is for adopting: --from-roots DIR and --production-targets FILE go together"
            raise UsageError(problem=problem, command="waveledger init")
    wanted = THRESHOLD if threshold is None else threshold
    _begin(settings_of(ctx), factory, keys, kinds or [KeyKind.ED25519.value], wanted, dry_run, format)


def _begin(
    settings: Settings, factory: str, keys: Path, kinds: list[str], threshold: int, dry_run: bool, format: FormatOption
) -> None:
    from cli import keyfiles, newledger
    from ledger.application.factory import make_keys

    made = make_keys(kinds, threshold)
    if dry_run:
        newledger.check(settings, factory)
        archives = keyfiles.targets_archives(len(made.targets))
        place = shown(settings.store)
        say(f"dry run: would create {place} and {keys}/ with root.keys.tgz, {', '.join(archives)}, online/")
        show(Output({"factory": factory, "store": place, "dry_run": True}), format)
        return
    created = newledger.create(settings, factory, keys, made, threshold)
    document = _document(settings, factory, created, threshold, made.ledger.key.keyval["public"])
    show(Output(document, lines=_lines(settings, factory, created)), format)
    _say_where(settings, created)
    say("next: waveledger targets import FILE, waveledger devices import FILE.csv")


def _adopt(ctx: typer.Context, request: Request, *, dry_run: bool, format: FormatOption) -> None:
    from cli import adopting

    settings = settings_of(ctx)
    keys, adopted = adopting.prepare(settings, request, asker(ctx))
    for text in adopted.warnings:
        warn(text)
    found = {"adopted": adopting.document(adopted)}
    if dry_run:
        say(f"dry run: would create {shown(settings.store)} and {request.keys}/online/")
        document = {"factory": request.factory, "store": shown(settings.store), "dry_run": True, **found}
        show(Output(document, lines=adopting.lines(adopted)), format)
        return
    created = adopting.create(settings, request, keys, adopted)
    document = _document(settings, request.factory, created, adopted.threshold, keys.ledger.key.keyval["public"])
    lines = [*_lines(settings, request.factory, created), *adopting.lines(adopted)]
    show(Output({**document, **found}, lines=lines), format)
    _say_where(settings, created)
    publish_now(ctx, open_ledger(ctx))
    say("next: serve the published production/<tag>/ where the devices of each tag look now")


def _document(settings: Settings, factory: str, created: Created, threshold: int, ledger_key: str) -> dict[str, object]:
    return {
        "factory": factory,
        "store": shown(settings.store),
        "owner": created.owner,
        "keys": [str(path) for path in created.files],
        "threshold": threshold,
        "ledger_key": ledger_key,
        "dry_run": False,
    }


def _lines(settings: Settings, factory: str, created: Created) -> list[str]:
    offline = [str(path) for path in created.files[:-1]]
    taken = [f"offline keys, take them away and keep them safe: {', '.join(offline)}"] if offline else []
    return [
        f"factory {factory}: ledger {shown(settings.store)}, first owner {created.owner}",
        *taken,
        f"online keys, for the machine that publishes: {created.files[-1]}",
    ]


def _say_where(settings: Settings, created: Created) -> None:
    if settings.online_keys == DEFAULT_ONLINE_KEYS and created.files[-1] != Path(DEFAULT_ONLINE_KEYS):
        say(f"to publish with these keys: export WAVELEDGER_ONLINE_KEYS={created.files[-1]}")
