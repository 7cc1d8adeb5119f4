"""The follower: sign what is due, write what is missing, and look at the result as a client does."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection

from ledger.application import ciroot
from ledger.domain.errors import LedgerError, TufFailure
from ledger.domain.values import from_epoch
from ledger.garbage import uncollected
from ledger.session import Ledger
from ledger.tuf.online import OnlineKeys
from projections.facts import Facts
from projections.tuf import ahead, publish, reached, state, tree, verify
from projections.tuf.destination import Destination
from projections.tuf.drafts import Documents
from projections.tuf.pool import Pool
from projections.tuf.recorded import TOGETHER, Publications

Progress = Callable[[int, int], None]


class PublicationRejected(TufFailure):
    """A client would not accept what was just published."""

    message = "published, but a TUF client rejects {view}: {problem}"
    hint = "waveledger tuf verify DIR shows all findings, waveledger status what expired and how to renew it"
    view: str
    problem: str


class Emitted(NamedTuple):
    """What an emission did: repositories that were signed, views whose timestamp changed at the destination."""

    repositories: list[str]
    views: list[str]


class Attempt(NamedTuple):
    """What an emission did, the CI root's new version if it got one, and what went wrong with some repositories."""

    emitted: Emitted
    ci_root: int | None
    problems: list[LedgerError]


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
    """Publish, and fail at the end with the first problem. Without keys only what was signed before is written.

    Raises: OnlineKeyMissing, DestinationAhead, DestinationHasOtherBytes, DestinationUnusable, PublicationRejected.
    """
    came = attempt(ledger, keys, destination, refresh=refresh, force=force, dry_run=dry_run, progress=progress)
    if came.problems:
        raise came.problems[0]
    return came.emitted


@uncollected()  # documents of thousands of targets are made and dropped, and hold no cycles
def attempt(
    ledger: Ledger,
    keys: OnlineKeys | None,
    destination: Destination,
    *,
    refresh: bool = False,
    force: bool = False,
    everything: bool = True,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Attempt:
    """Publish what can be: a repository in trouble is left alone, and does not keep the others from it.

    Without keys only what was signed before is written: a mirror needs no private key. With `refresh` what grows old
    is renewed, the CI root too. Unless `everything`, only repositories are looked at that are due, or are not known to
    be there in full: a command about one wave does not walk through a thousand tags.

    Raises: DestinationUnusable, when nothing can be written at all.
    """
    publications, read = Publications(ledger), Documents()
    with ledger.reading() as connection:
        due = state.due(connection, ledger.now, refresh=refresh)
        names = {*due, *_to_write(connection, destination.key, everything=everything)}
        publications.look_ahead(sorted(names)[:TOGETHER], 1, connection)
    trouble = ahead.in_trouble(ledger, destination, names, publications)
    problems = list(trouble.values())
    renewed, signed = None, publish.Signed([], [])
    if keys:
        try:
            # Where a CI repository is ahead there may be a newer root, too, which is to be taken in and not made twice.
            renew = refresh and not any(name.startswith(f"{ciroot.CI}/") for name in trouble)
            renewed = ciroot.renew(ledger, Facts(), keys, dry_run=dry_run) if renew else None
        except LedgerError as problem:
            problems.append(problem)
        signed = publish.publish(
            ledger,
            keys,
            refresh=refresh,
            force=force,
            without=trouble,
            dry_run=dry_run,
            progress=progress,
            documents_=read,
        )
    if dry_run and renewed:  # what it would have made due was rolled back with it
        ci = {name for name in names if name.startswith(f"{ciroot.CI}/")}
        signed = signed._replace(repositories=sorted({*signed.repositories, *ci.difference(trouble)}))
    problems += signed.problems
    changed: list[str] = []
    if not dry_run:
        # The ledger is read inside the lock: who waited for another publisher must not write what that superseded.
        with destination.locked():
            written, expired = _write(ledger, destination, publications, Pool(ledger, read), everything=everything)
            changed = written.changed
            looked_at = [view for view in changed if view not in expired]
            problems += [*written.problems.values(), *_rejected(ledger, destination, looked_at)]
    once = list({str(problem): problem for problem in problems}.values())  # seen before signing, and met when writing
    return Attempt(Emitted(signed.repositories, changed), renewed.version if renewed else None, once)


def _write(
    ledger: Ledger, destination: Destination, publications: Publications, pool: Pool, *, everything: bool
) -> tuple[tree.Written, set[str]]:
    """What was written, and the closed views that are expired: they wait for their removal, as they should."""
    everything = everything or not destination.names("pool")  # whatever is remembered of a place that is empty now
    with ledger.reading() as connection:
        position = reached.newest_position(connection)
        names = _to_write(connection, destination.key, everything=everything)
        noted = reached.noted(connection, destination.key)
        expired = state.expired_closed_views(connection, ledger.now)
        if destination.exclusive:
            publications.look_ahead(sorted(names)[:TOGETHER], 2, connection)
    written = tree.write(ledger, destination, names, publications=publications, pool=pool)
    reached.remember(ledger.engine, destination.key, noted, position, written.versions, written.problems)
    return written, expired


def _to_write(connection: Connection, place: str, *, everything: bool) -> dict[str, int]:
    """The repositories to write, each with the position up to which it is known to be there."""
    return dict.fromkeys(state.repositories(connection), 0) if everything else reached.unreached(connection, place)


def _rejected(ledger: Ledger, destination: Destination, views: list[str]) -> list[LedgerError]:
    """What a client says of the views that were just written."""
    _, findings = verify.check_views(destination, views, now=from_epoch(ledger.now))
    return [PublicationRejected(view=found.view, problem=f"{found.kind}: {found.message}") for found in findings]
