"""waveledger keys tuf rotate-offline-key, rotate-online-key, renew-root: the usual changes, for one holder."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import open_ledger, settings_of
from cli.errors import UsageError
from cli.options import DryRun, KeyKind
from cli.output import FormatOption, Output, say, show, when
from cli.rootchanges import finish, show_change, warn_of_devices, warn_once
from cli.rootkeys import (
    OfflineRole,
    RootDays,
    RootKeys,
    TargetsKeys,
    given_online_key,
    has_key_of,
    leaving_key,
    new_offline_key,
    new_online_key,
    online_keyid,
    online_keys,
    open_listed,
    root_expiry,
)
from cli.signing import open_signers

if TYPE_CHECKING:
    from ledger.application.rootchange import Changed
    from ledger.tuf.keys import Signer

OFFLINE, ONLINE = "waveledger keys tuf rotate-offline-key", "waveledger keys tuf rotate-online-key"


class OnlineRole(StrEnum):
    """Roles with an online key; ``root`` only with --ci."""

    TARGETS = "targets"
    SNAPSHOT = "snapshot"
    TIMESTAMP = "timestamp"
    ROOT = "root"


Role = Annotated[OfflineRole, typer.Option("--role", "-r", help="Whose key.", case_sensitive=False)]
NewTargetsKey = Annotated[
    str | None,
    typer.Option(
        "--targets-keys",
        "-K",
        metavar="NEW",
        help="Role targets: where the new key is, or is made: an archive, or a signer URI. Default: the archive of "
        "--keys, if the old one is in it.",
    ),
]
OldTargetsKeys = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE|URI", help="Old targets keys, to sign along: the one that goes, and others'. Repeatable."
    ),
]
NewRootKey = Annotated[
    str | None,
    typer.Option("--new-keys", metavar="NEW", help="Role root: where the new key is, or is made. Default: --keys."),
]
Replace = Annotated[
    str | None, typer.Option(metavar="KEYID", help="Which key is to go. Default: the one that was given.")
]
KeyType = Annotated[KeyKind, typer.Option("--key-type", "-y", help="Of a new key.", case_sensitive=False)]


def renew_root(
    ctx: typer.Context,
    keys: RootKeys,
    expires_days: RootDays = 365,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Give the production root a later expiry, with the same keys.

    The CI root needs no help: tuf refresh renews it, its key is online.

    Example: waveledger keys tuf renew-root --keys root.keys.tgz
    """
    from ledger.application import keys as use_case
    from projections.facts import Facts

    signers = open_listed(ctx, [keys], "root")
    ledger = open_ledger(ctx)
    changed = use_case.renew_root(ledger, Facts(), root_expiry(ctx, expires_days), signers, dry_run=dry_run)
    show_change(changed, {"role": None, "added": [], "removed": []}, [], format, risk=[], dry_run=dry_run)
    finish(ctx, ledger, changed.resigned, ["root.published/1"], waiting=changed.waiting, dry_run=dry_run)


def rotate_offline_key(
    ctx: typer.Context,
    role: Role,
    keys: RootKeys,
    targets_keys: NewTargetsKey = None,
    old_targets_keys: OldTargetsKeys = None,
    new_keys: NewRootKey = None,
    replace: Replace = None,
    key_type: KeyType = KeyKind.ED25519,
    expires_days: RootDays = 365,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Put a new offline key in the place of an old one.

    Live production targets are signed anew with the old and the new key, then the new root is published. Active waves
    and held devices go on. A lost targets key can be replaced, too: leave --old-targets-keys out, and where there are
    several keys say --replace KEYID. The new root key goes into the archive of --keys, where the old one stays.

    Example: waveledger keys tuf rotate-offline-key --role targets --keys root.keys.tgz --targets-keys new.tgz
    --old-targets-keys targets.only.key.tgz
    """
    from ledger.application import keys as use_case
    from projections.facts import Facts

    root_signers = open_listed(ctx, [keys], "root")
    if role is OfflineRole.TARGETS:
        place, old = _targets_place(ctx, keys, targets_keys, old_targets_keys, new_keys)
        given, option = old, "--old-targets-keys"
    elif targets_keys or old_targets_keys:
        raise UsageError(problem="--targets-keys and --old-targets-keys go with --role targets", command=OFFLINE)
    else:
        place, old, given, option = new_keys or keys, [], root_signers, "--keys"
    ledger = open_ledger(ctx)
    leaving = leaving_key(ctx, role.value, given, option, replace)
    expires = root_expiry(ctx, expires_days)

    def change(new: Signer, *, dry_run: bool = True) -> Changed:
        rotation = use_case.OfflineRotation(role.value, leaving, new, expires, root_signers, old)
        return use_case.rotate_offline_key(ledger, Facts(), rotation, dry_run=dry_run)

    risk = warn_of_devices(ctx)
    new = new_offline_key(ctx, place, role.value, key_type.value, change, leaving=leaving, dry_run=dry_run)
    changed = change(new, dry_run=dry_run)
    what = {"role": role.value, "added": [new.keyid], "removed": [leaving]}
    lines = [f"{role.value} key {new.keyid} in the place of {leaving}"]
    show_change(changed, what, lines, format, risk=risk, dry_run=dry_run)
    if not dry_run:
        say(f"the new key is in {place}: keep it offline, and back it up")
    finish(ctx, ledger, changed.resigned, ["root.published/1"], waiting=changed.waiting, dry_run=dry_run)


def rotate_online_key(
    ctx: typer.Context,
    role: Annotated[OnlineRole, typer.Option("--role", "-r", help="Whose key.", case_sensitive=False)],
    keys: Annotated[
        str | None,
        typer.Option("--keys", "-k", metavar="FILE|URI", help="Root key; not with --ci, whose root key is online."),
    ] = None,
    targets_keys: TargetsKeys = None,
    new_key: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URI",
            help="The new key, or its public half where another machine publishes. Default: made beside the old one.",
        ),
    ] = None,
    ci: Annotated[bool, typer.Option("--ci", help="Of the CI root.")] = False,
    expires_days: RootDays = 365,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Put a new online key in the place of the old one.

    It is made where the online keys are. The old one, while it is still there, signs along for a day, for clients that
    are in the middle of a refresh. For role targets, offline targets keys sign the live documents anew.

    Example: waveledger keys tuf rotate-online-key --role timestamp --keys root.keys.tgz
    """
    if ci:
        if keys or targets_keys:
            problem = "--ci goes without --keys and --targets-keys: all keys of the CI root are online"
            raise UsageError(problem=problem, command=ONLINE)
        _rotate_ci_key(ctx, role.value, new_key, expires_days, format, dry_run=dry_run)
        return
    if role is OnlineRole.ROOT:
        raise UsageError(problem="the production root's keys are offline: use rotate-offline-key", command=ONLINE)
    if keys is None:
        raise UsageError(problem="--keys is missing: a root key signs the change", command=ONLINE)
    if targets_keys and role is not OnlineRole.TARGETS:
        raise UsageError(problem="--targets-keys goes with --role targets", command=ONLINE)
    _rotate_production_key(ctx, role.value, keys, targets_keys or [], new_key, expires_days, format, dry_run=dry_run)


def _rotate_production_key(
    ctx: typer.Context, role: str, keys: str, targets_keys: list[str], new_key: str | None, days: int, format: Any,
    *, dry_run: bool,
) -> None:  # fmt: skip
    from ledger.application import keys as use_case
    from projections.facts import Facts

    root_signers, targets = open_listed(ctx, [keys], "root"), open_listed(ctx, targets_keys, "targets")
    ledger, online = open_ledger(ctx), online_keys(ctx, needed=new_key is None)
    leaving, expires = online_keyid(ctx, "production", role), root_expiry(ctx, days)
    old = online.signer(leaving, role) if online and not online.missing([leaving]) else None

    def change(new: Signer, *, dry_run: bool = True) -> Changed:
        rotation = use_case.OnlineRotation(role, new, expires, root_signers, targets, old)
        return use_case.rotate_online_key(ledger, Facts(), rotation, dry_run=dry_run)

    risk = warn_of_devices(ctx)
    if new_key is not None:
        new = given_online_key(ctx, new_key, private=False)
    else:
        assert online is not None  # it was needed
        new = new_online_key(ctx, online, "production", role, change, dry_run=dry_run)
    changed = change(new, dry_run=dry_run)
    what = {"role": role, "added": [new.keyid], "removed": [leaving]}
    lines = [f"online {role} key {new.keyid} in the place of {leaving}"]
    show_change(changed, what, lines, format, risk=risk, dry_run=dry_run)
    if role != "targets" and online and not old:
        warn_once(f"the old {role} key is not in {online.where}, so it does not sign along")
    _say_old(ctx, role, dry_run=dry_run)
    finish(
        ctx,
        ledger,
        changed.resigned,
        ["root.published/1", "online-key.set/1"],
        waiting=changed.waiting,
        dry_run=dry_run,
    )


def _rotate_ci_key(
    ctx: typer.Context, role: str, new_key: str | None, days: int, format: Any, *, dry_run: bool
) -> None:
    from ledger.application import keys as use_case
    from projections.facts import Facts

    ledger, online = open_ledger(ctx), online_keys(ctx, needed=True)
    assert online is not None  # it was needed
    leaving, expires = online_keyid(ctx, "ci", role), root_expiry(ctx, days, "ci")

    def change(new: Signer, *, dry_run: bool = True) -> Any:
        return use_case.rotate_ci_key(ledger, Facts(), role, new, online, expires, dry_run=dry_run)

    if new_key is not None:
        new = given_online_key(ctx, new_key, private=role == "root")
    else:
        new = new_online_key(ctx, online, "ci", role, change, dry_run=dry_run)
    published = change(new, dry_run=dry_run)
    document = {
        "repository": "ci",
        "version": published.version,
        "expires": when(int(published.expires.timestamp())),
        "role": role,
        "added": [new.keyid],
        "removed": [leaving],
        "dry_run": dry_run,
    }
    lines = [
        f"{'would make ' if dry_run else ''}CI root {published.version}, expires {document['expires']}",
        f"online {role} key {new.keyid} in the place of {leaving}",
    ]
    show(Output(document, lines=lines), format)
    if role != "root" and online.missing([leaving]):
        warn_once(f"the old {role} key is not in {online.where}, so it does not sign along")
    _say_old(ctx, role, dry_run=dry_run)
    finish(ctx, ledger, [], ["root.published/1", "online-key.set/1"], dry_run=dry_run)


def _say_old(ctx: typer.Context, role: str, *, dry_run: bool) -> None:
    if not dry_run:
        when_ = "once this is published" if role in {"root", "targets"} else "a day after this is published"
        say(f"{when_}, the old key can be deleted from {settings_of(ctx).online_keys}")


def _targets_place(
    ctx: typer.Context, keys: str, targets_keys: str | None, old_targets_keys: list[str] | None, new_keys: str | None
) -> tuple[str, list[Signer]]:
    """Where the new targets key goes, and the old ones that are at hand."""
    if new_keys:
        raise UsageError(problem="--new-keys goes with --role root; --targets-keys says it here", command=OFFLINE)
    old = open_listed(ctx, old_targets_keys or [], "targets")
    if targets_keys is None:
        if not has_key_of(ctx, keys, "targets"):
            raise UsageError(problem="--role targets needs --targets-keys NEW", command=OFFLINE)
        targets_keys = keys  # one archive for both roles, as in factories of old
    if has_key_of(ctx, targets_keys, "targets"):  # as fioctl has it: the new key goes to the old one
        old = [*old, *open_signers(ctx, targets_keys)]
    return targets_keys, old
