"""The follower: sign what is due, write what is missing, and look at the result as a client does."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ledger.domain.errors import LedgerError, TufFailure
from ledger.domain.values import from_epoch
from ledger.session import Ledger
from ledger.tuf.online import OnlineKeys
from projections.tuf import publish, state, tree, verify
from projections.tuf.destination import Destination

Progress = Callable[[int, int], None]


class PublicationRejected(TufFailure):
    """A client would not accept what was just published."""

    message = "published, but a TUF client rejects {view}: {problem}"
    hint = "waveledger tuf verify DIR shows all findings; what expired heals with waveledger tuf refresh DIR"
    view: str
    problem: str


class Emitted(NamedTuple):
    """What an emission did: repositories that were signed, views whose timestamp changed at the destination."""

    repositories: list[str]
    views: list[str]


def emit(
    ledger: Ledger,
    keys: OnlineKeys | None,
    destination: Destination,
    *,
    refresh: bool = False,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Emitted:
    """Publish. Without keys only what was signed before is written: a mirror needs no private key.

    Raises: OnlineKeyMissing, DestinationAhead, DestinationHasOtherBytes, DestinationUnusable, PublicationRejected.
    """
    tree.refuse_if_ahead(ledger, destination)
    signed = publish.Signed([], [])
    if keys:
        signed = publish.publish(ledger, keys, refresh=refresh, force=force, dry_run=dry_run, progress=progress)
    problems = list(signed.problems)
    changed: list[str] = []
    if not dry_run:
        # The ledger is read inside the lock: who waited for another publisher must not write what that superseded.
        with destination.locked():
            written = tree.write(ledger, destination)
            changed = written.changed
            problems += written.problems + _rejected(ledger, destination, changed)
            state.remember_written(ledger.engine, written.versions)
    if problems:
        raise problems[0]
    return Emitted(signed.repositories, changed)


def _rejected(ledger: Ledger, destination: Destination, views: list[str]) -> list[LedgerError]:
    """What a client says of the views that were just written."""
    with ledger.reading() as connection:
        expired = state.expired_closed_views(connection, ledger.now)  # they wait for their removal, as they should
    looked_at = [view for view in views if view not in expired]
    _, findings = verify.check_views(destination, looked_at, now=from_epoch(ledger.now))
    return [PublicationRejected(view=found.view, problem=f"{found.kind}: {found.message}") for found in findings]
