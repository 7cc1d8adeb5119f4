"""The keys of commands that change roots: which were given, which one goes, and where a new one comes from.

Rules of this module:

* What does not work with any new key is refused before one is made: the change is rehearsed with a key in memory.
* Nothing is changed before the new key is on disk; a command that was killed in between finds it there and goes on.
* A dry run writes no key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import reading, settings_of
from cli.errors import UsageError
from cli.output import warn
from cli.signing import asker, open_online, open_signers
from ledger.domain.values import from_epoch

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey
    from tuf.api.metadata import Root

    from ledger.tuf.keys import KeyKind as KeyKindName
    from ledger.tuf.keys import Signer
    from ledger.tuf.online import OnlineKeys

    Rehearse = Callable[[Signer], object]
    """The change as a dry run, with a key that is thrown away."""


class OfflineRole(StrEnum):
    """Roles with offline keys."""

    ROOT = "root"
    TARGETS = "targets"


RootKeys = Annotated[
    str, typer.Option("--keys", "-k", metavar="FILE|URI", help="Root key: an archive, a PEM file or a signer URI.")
]
TargetsKeys = Annotated[
    list[str] | None,
    typer.Option("--targets-keys", "-K", metavar="FILE|URI", help="Offline targets key that signs along. Repeatable."),
]
RootDays = Annotated[
    int, typer.Option("--expires-days", min=1, max=36_500, metavar="N", help="Days until the next root expires.")
]


def newest_root(ctx: typer.Context, repository: str = "production") -> Root:
    """The root that clients have."""
    from ledger.tuf import roots
    from projections.tuf import state

    with reading(ctx) as connection:
        return roots.load_root(state.roots(connection, repository)[-1][1]).signed


def online_keyid(ctx: typer.Context, repository: str, role: str) -> str:
    """The keyid of an online key."""
    from projections.tuf import state

    with reading(ctx) as connection:
        return state.online_keyids(connection, repository)[role]


def root_expiry(ctx: typer.Context, days: int, repository: str = "production") -> datetime:
    """When the next root expires; never before the current one does."""
    expires: datetime = newest_root(ctx, repository).expires
    return max(expires, from_epoch(settings_of(ctx).now) + timedelta(days=days))


def open_listed(ctx: typer.Context, sources: Sequence[str], role: str) -> list[Signer]:
    """The private keys of several sources, each of which has one of the current root. Raises: NoMatchingKey."""
    from ledger.application.rootchange import as_listed
    from ledger.tuf.errors import NoMatchingKey

    root = newest_root(ctx)
    online = online_keyid(ctx, "production", "targets")
    found = []
    for source in sources:
        signers = open_signers(ctx, source)
        if not as_listed(signers, root, role, online):
            raise NoMatchingKey(path=source, role=role)
        found += signers
    return found


def leaving_key(ctx: typer.Context, role: str, given: Sequence[Signer], option: str, replace: str | None) -> str:
    """The keyid that goes: the one that was said, the only one there is, or the one that was given.

    Raises: KeyNotListed, NoMatchingKey; UsageError, when it can't be told.
    """
    from ledger.application.rootchange import as_listed
    from ledger.tuf.rootchange import KeyNotListed

    root, online = newest_root(ctx), online_keyid(ctx, "production", "targets")
    offline = [keyid for keyid in root.roles[role].keyids if keyid != online]
    if replace is not None:
        if replace not in offline:
            raise KeyNotListed(keyid=replace[:100], role=role)
        return replace
    found = [signer.keyid for signer in as_listed(given, root, role, online)]
    meant = offline if len(offline) == 1 else found
    if len(meant) != 1:
        problem = f"{option} names {len(found)} of the {len(offline)} current {role} keys"
        raise UsageError(
            problem=f"{problem}: say with --replace KEYID which one is to go",
            command="waveledger keys tuf rotate-offline-key",
        )
    return meant[0]


def has_key_of(ctx: typer.Context, source: str, role: str) -> bool:
    """Whether a file that is there holds a current offline key of the role."""
    from ledger.application.rootchange import as_listed
    from ledger.tuf.keys import is_uri

    if is_uri(source) or not Path(source).exists():
        return False
    online = online_keyid(ctx, "production", "targets")
    return bool(as_listed(open_signers(ctx, source), newest_root(ctx), role, online))


def new_offline_key(
    ctx: typer.Context,
    source: str,
    role: str,
    kind: str,
    rehearse: Rehearse,
    *,
    leaving: str | None = None,
    proposed: Sequence[Root] = (),
    dry_run: bool,
) -> Signer:
    """The key to bring in: the one that waits at a place, or a new one made there; in a dry run only thought of.

    Raises: KeyUsedBefore, PlaceHoldsKey, what opening keys raises, and what the rehearsal raises.
    """
    from ledger.application.keys import require_free_place, require_unused
    from ledger.tuf import keys

    used = _chains(ctx)
    if keys.is_uri(source):
        signer = keys.load_signers(source, asker(ctx), [keys.public_key_of(source, asker(ctx))])[0]
        require_unused(used, signer.key)
        return signer
    there = open_signers(ctx, source) if Path(source).exists() else []
    require_free_place(source, role, there, leaving, newest_root(ctx), *proposed)
    retired = {keys.material(key) for root in used for key in root.keys.values()}
    if all(keys.material(signer.key) in retired for signer in there):
        thought_of = keys.generate("ed25519")
        if dry_run:
            return thought_of
        rehearse(thought_of)
    if dry_run:
        return next(signer for signer in there if keys.material(signer.key) not in retired)
    kind_: KeyKindName = "rsa4096" if kind == "rsa4096" else "ed25519"
    return keys.new_or_existing(source, role, kind_, retired, asker(ctx))


def given_public_key(ctx: typer.Context, source: str) -> SSlibKey | None:
    """The public key that a source is, None where it holds a private one. Raises: KeyUsedBefore."""
    from ledger.application.keys import require_unused
    from ledger.tuf.files import read_key_file
    from ledger.tuf.keys import is_uri, public_key_of

    if not is_uri(source):
        data = read_key_file(Path(source)) if Path(source).exists() else b""
        if not data.lstrip().startswith(b"{") and (b"PUBLIC KEY" not in data or b"PRIVATE KEY" in data):
            return None
    key = public_key_of(source, asker(ctx))
    require_unused(_chains(ctx), key)
    return key


def public_keys(ctx: typer.Context, source: str) -> list[SSlibKey]:
    """The public keys of a source, or of the private keys in it: to say which key is meant."""
    from ledger.tuf.files import read_key_file
    from ledger.tuf.keys import is_uri, public_key_of

    data = b"" if is_uri(source) else read_key_file(Path(source))
    if data.startswith(b"\x1f\x8b") or b"PRIVATE KEY" in data:
        return [signer.key for signer in open_signers(ctx, source)]
    return [public_key_of(source, asker(ctx))]


def online_keys(ctx: typer.Context, *, needed: bool) -> OnlineKeys | None:
    """The configured online keys. Raises: KeyFileMissing, where they are needed and not there."""
    from ledger.tuf.errors import KeyFileMissing

    keys = open_online(ctx)
    if keys is None and needed:
        raise KeyFileMissing(path=settings_of(ctx).online_keys)
    return keys


def given_online_key(ctx: typer.Context, source: str, *, private: bool) -> Signer:
    """The new online key that was named; where only its public half is needed, that will do. Raises: KeyUsedBefore."""
    from ledger.application.keys import PublicHalf, require_unused
    from ledger.tuf import keys

    key = keys.public_key_of(source, asker(ctx))
    require_unused(_chains(ctx), key)
    return keys.load_signers(source, asker(ctx), [key])[0] if private else PublicHalf(key)


def new_online_key(
    ctx: typer.Context, online: OnlineKeys, repository: str, role: str, rehearse: Rehearse, *, dry_run: bool
) -> Signer:
    """A new online key, made where the others are; one that a killed command left there is taken."""
    from ledger.tuf import keys
    from ledger.tuf.online import new_online, waiting_online

    directory, name = Path(online.where), f"{repository}.{role}"
    if not directory.is_dir():
        raise UsageError(
            problem="the online keys are no directory to make a key in: name the new one with --new-key",
            command="waveledger keys tuf rotate-online-key",
        )
    retired = {keys.material(key) for root in _chains(ctx) for key in root.keys.values()}
    waiting = waiting_online(directory, name, retired, asker(ctx))
    if waiting is None:
        thought_of = keys.generate("ed25519")
        if dry_run:
            return thought_of
        rehearse(thought_of)
    if dry_run and waiting:
        return waiting
    new = new_online(directory, name, newest_root(ctx, repository).version + 1, retired, asker(ctx))
    if waiting is None and any(b"ENCRYPTED" in path.read_bytes() for path in directory.glob("*.pem")):
        warn(
            f"the new key {name} in {directory} is not encrypted, and others there are: openssl pkey -in KEY.pem "
            "-aes256 -out LOCKED.pem"
        )
    return new


def _chains(ctx: typer.Context) -> list[Root]:
    """All roots of both repositories, oldest first."""
    from ledger.tuf import roots
    from projections.tuf import state

    with reading(ctx) as connection:
        files = [data for kind in ("production", "ci") for _, data in state.roots(connection, kind)]
    return [roots.load_root(data).signed for data in files]
