"""waveledger keys tuf updates: a change of the root by several holders, each with only their own key file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import open_ledger, reading, say_dry_run, settings_of
from cli.errors import UsageError
from cli.options import At, DryRun, KeyKind, group
from cli.output import Format, FormatOption, Output, say, show
from cli.rootchanges import change_lines, changes_of, finish, show_change, warn_of_devices
from cli.rootkeys import (
    OfflineRole,
    RootDays,
    given_public_key,
    new_offline_key,
    online_keyid,
    public_keys,
    root_expiry,
)
from cli.rootreview import show_review
from cli.signing import open_signers

if TYPE_CHECKING:
    from collections.abc import Callable

    from securesystemslib.signer import Key
    from tuf.api.metadata import Root

UPDATES = "waveledger keys tuf updates"

app = group("A change of the root by several key holders.")

Role = Annotated[OfflineRole, typer.Option("--role", "-r", help="Whose keys.", case_sensitive=False)]
HolderKey = Annotated[
    str, typer.Option("--keys", "-k", metavar="FILE|URI", help="Your key: an archive, a PEM file or a signer URI.")
]


@app.callback()
def updates() -> None:
    """A change of the root by several key holders, each with only their own key file."""


@app.command("init")
def init(
    ctx: typer.Context,
    expires_days: RootDays = 365,
    targets_expires_days: Annotated[
        int | None,
        typer.Option(
            min=1, max=36_500, metavar="N", help="Let all live production targets live so long at least, too."
        ),
    ] = None,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Begin a change of the root. It takes effect with updates apply.

    Example: waveledger keys tuf updates init
    """
    from datetime import timedelta

    from ledger.application import rootupdates
    from ledger.domain.values import from_epoch
    from projections.facts import Facts

    ledger = open_ledger(ctx)
    targets = None
    if targets_expires_days is not None:
        targets = from_epoch(settings_of(ctx).now) + timedelta(days=targets_expires_days)
    event = rootupdates.begin(ledger, Facts(), root_expiry(ctx, expires_days), targets, dry_run=dry_run)
    lines = [f"update {event.update} of the production root {'would be' if dry_run else 'is'} open"]
    show(Output({"update": event.update, "dry_run": dry_run}, lines=lines), format)
    if dry_run:
        say_dry_run([event.topic])
    else:
        say("next: updates add-offline-key, remove-offline-key or set-threshold; then each holder signs")


@app.command("add-offline-key")
def add_offline_key(
    ctx: typer.Context,
    role: Role,
    keys: Annotated[
        str,
        typer.Option(
            "--keys", "-k", metavar="FILE|URI", help="The new key: made there if it is not; a public key will do."
        ),
    ],
    key_type: Annotated[
        KeyKind, typer.Option("--key-type", "-y", help="Of a key that is made.", case_sensitive=False)
    ] = KeyKind.ED25519,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Propose one more offline key.

    Each holder may make an own key and give away its public half, or this command makes one for them.

    Example: waveledger keys tuf updates add-offline-key --role targets --keys carol.tgz
    """
    from ledger.application import rootupdates
    from ledger.tuf import rootchange
    from projections.facts import Facts

    def adding(key: Key) -> Callable[[Root], None]:
        return lambda root: rootchange.add_key(root, role.value, key)

    with reading(ctx) as connection:
        proposed = rootupdates.review(connection, Facts(), settings_of(ctx).now).root
    ledger = open_ledger(ctx)
    key: Key | None = given_public_key(ctx, keys)
    place = ""
    if key is None:
        place = f"; it is in {keys}: keep it offline, and back it up"
        key = new_offline_key(
            ctx,
            keys,
            role.value,
            key_type.value,
            lambda new: rootupdates.edit(ledger, Facts(), adding(new.key), dry_run=True),
            proposed=[proposed],
            dry_run=dry_run,
        ).key
    what = {"role": role.value, "added": key.keyid}
    _edit(ctx, adding(key), what, f"{role.value} key {key.keyid} is to be added{place}", format, dry_run=dry_run)


@app.command("remove-offline-key")
def remove_offline_key(
    ctx: typer.Context,
    role: Role,
    key: Annotated[
        str | None,
        typer.Option("--key-id", "-i", metavar="KEYID", help="Which one, as show-root --prod lists it."),
    ] = None,
    keys: Annotated[
        str | None, typer.Option("--keys", "-k", metavar="FILE|URI", help="Which one, by a file that holds it.")
    ] = None,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Propose one offline key less. A lost key is named by its keyid.

    Example: waveledger keys tuf updates remove-offline-key --role targets --keys targets.only.key.2.tgz
    """
    from ledger.application import rootupdates
    from ledger.tuf import rootchange
    from projections.facts import Facts

    if (key is None) == (keys is None):
        raise UsageError(problem="name the key: --key-id KEYID or --keys FILE", command=UPDATES)
    with reading(ctx) as connection:
        proposed = rootupdates.review(connection, Facts(), settings_of(ctx).now).root
    listed = set(proposed.roles[role.value].keyids) - {online_keyid(ctx, "production", "targets")}
    given = {key} if key else {str(rootchange.keyid_of(proposed, one)) for one in public_keys(ctx, str(keys))}
    found = sorted(listed & given)
    if len(found) != 1:
        raise rootchange.KeyNotListed(keyid=str(key or keys)[:100], role=role.value)
    _edit(
        ctx,
        lambda root: rootchange.remove_key(root, role.value, found[0]),
        {"role": role.value, "removed": found[0]},
        f"{role.value} key {found[0]} is to be removed",
        format,
        dry_run=dry_run,
    )


@app.command("set-threshold")
def set_threshold(
    ctx: typer.Context,
    role: Role,
    threshold: Annotated[
        int, typer.Argument(min=1, max=1000, metavar="N", help="For targets with the online signature.")
    ],
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Propose how many keys of a role must sign.

    Example: waveledger keys tuf updates set-threshold --role targets 3
    """

    def edit(root: Root) -> None:
        root.roles[role.value].threshold = threshold

    line = f"the threshold of {role.value} is to be {threshold}"
    _edit(ctx, edit, {"role": role.value, "threshold": threshold}, line, format, dry_run=dry_run)


@app.command("sign")
def sign(ctx: typer.Context, keys: HolderKey, dry_run: DryRun = False, format: FormatOption = None) -> None:
    """Sign the proposed root with your root key.

    Example: waveledger keys tuf updates sign --keys root.keys.tgz
    """
    from ledger.application import rootupdates
    from projections.facts import Facts

    find = rootupdates.find_among(open_signers(ctx, keys), keys)
    found = rootupdates.sign(open_ledger(ctx), Facts(), find, dry_run=dry_run)
    show_review(found, format)
    if dry_run:
        say_dry_run(["root.signed/1"])


@app.command("sign-prod-targets")
def sign_prod_targets(
    ctx: typer.Context, keys: HolderKey, dry_run: DryRun = False, format: FormatOption = None
) -> None:
    """Sign the live production targets with your targets key, where the change needs it.

    Example: waveledger keys tuf updates sign-prod-targets --keys targets.only.key.tgz
    """
    from ledger.application import rootupdates
    from projections.facts import Facts

    find = rootupdates.find_among(open_signers(ctx, keys), keys)
    found = rootupdates.sign_targets(open_ledger(ctx), Facts(), find, dry_run=dry_run)
    show_review(found, format)
    if dry_run:
        say_dry_run(["proposed-targets.signed/1"])


@app.command("review")
def review(ctx: typer.Context, at: At = None, format: FormatOption = None) -> None:
    """Show the open change: what it does, who signed, what is missing.

    Example: waveledger keys tuf updates review
    """
    from ledger.application import rootupdates
    from projections import questions
    from projections.facts import Facts

    with reading(ctx, at, questions.root_update()) as connection:
        found = rootupdates.review(connection, Facts(), settings_of(ctx).now)
    show_review(found, format)
    if at is None:
        warn_of_devices(ctx)


@app.command("apply")
def apply(ctx: typer.Context, dry_run: DryRun = False, format: FormatOption = None) -> None:
    """Carry the change out: production targets at their next revision, then the new root, all at once.

    Example: waveledger keys tuf updates apply
    """
    from ledger.application import rootupdates
    from projections.facts import Facts

    risk = warn_of_devices(ctx)
    ledger = open_ledger(ctx)
    with reading(ctx) as connection:
        number = rootupdates.review(connection, Facts(), settings_of(ctx).now).update.update
    changed = rootupdates.apply(ledger, Facts(), dry_run=dry_run)
    changes = changes_of(changed.before, changed.root)
    what = {"update": number, "changes": changes}
    show_change(changed, what, change_lines(changes), format, risk=risk, dry_run=dry_run)
    finish(
        ctx,
        ledger,
        changed.resigned,
        ["root.published/1", "root.update-closed/1"],
        waiting=changed.waiting,
        dry_run=dry_run,
    )


@app.command("cancel")
def cancel(ctx: typer.Context, dry_run: DryRun = False, format: FormatOption = None) -> None:
    """Give the change up. Nothing of it takes effect.

    Example: waveledger keys tuf updates cancel
    """
    from ledger.application import rootupdates
    from projections.facts import Facts

    number = rootupdates.cancel(open_ledger(ctx), Facts(), dry_run=dry_run)
    lines = [f"update {number} of the root {'would be' if dry_run else 'is'} canceled"]
    show(Output({"update": number, "dry_run": dry_run}, lines=lines), format)
    if dry_run:
        say_dry_run(["root.update-closed/1"])


def _edit(
    ctx: typer.Context,
    change: Callable[[Root], None],
    what: dict[str, Any],
    line: str,
    format: Format | None,
    *,
    dry_run: bool,
) -> None:
    from ledger.application import rootupdates
    from projections.facts import Facts

    event = rootupdates.edit(open_ledger(ctx), Facts(), change, dry_run=dry_run)
    show(Output({"update": event.update, **what, "dry_run": dry_run}, lines=[line]), format)
    if dry_run:
        say_dry_run([event.topic])
    else:
        say("next, each holder: updates sign, and sign-prod-targets where review asks for it; then updates apply")
